"""Family ``preemption``: work that may be interrupted, and work that only says so.

Source: incidents.md CR-07.
"""

from __future__ import annotations

import json

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, edit, fetch, rolled_out, until_rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import Object
from aiopslab.models.support import simulated
from aiopslab.models.truth import FixStep
from aiopslab.world.reclaimer import PREEMPTIBLE


class StoreMarked(Fault):
    """A review of costs marks a database preemptible; then the provider needs its capacity back."""

    kind = "preemption/store-marked"
    support = simulated("no provider takes capacity back")
    cause = "workload_hint_wrong"
    system_level = "Virtualization"
    fault_type = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        actor: str = "finops-bot"
        every_s: float = 5.0
        """Seconds between two waves: whoever comes back is taken again."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        store = app.stores.get(component)
        return store is not None and store.kind == "postgres"

    @property
    def _next(self) -> str:
        """The service that is reviewed after the store."""
        return min(n for n, s in self.site.app.services.items() if s.replicas > 1)

    @staticmethod
    def _mark(value: str | None) -> Object:
        annotations = {PREEMPTIBLE: value}
        return {"spec": {"template": {"metadata": {"annotations": annotations}}}}

    async def inject(self, env: Environment) -> None:
        await edit(
            env, "StatefulSet", self.site.target, self._mark("true"), actor=self.params.actor
        )
        await until_rolled_out(env, "StatefulSet", self.site.target)
        # The review goes on: the next workload is told, rightly, that it is not preemptible.
        await edit(env, "Deployment", self._next, self._mark("false"), actor=self.params.actor)
        await until_rolled_out(env, "Deployment", self._next)
        await env.substrate.take_back(every_s=self.params.every_s)

    async def recover(self, env: Environment) -> None:
        await env.substrate.take_back(every_s=0.0)
        for kind, name in (("StatefulSet", self.site.target), ("Deployment", self._next)):
            if await fetch(env, kind, name) is not None:
                await edit(env, kind, name, self._mark(None), actor=self.params.actor)

    def fix(self) -> list[FixStep]:
        arguments = {
            "kind": "StatefulSet",
            "name": self.site.target,
            "patch": json.dumps(self._mark(None)),
        }
        return [FixStep(tool="k8s_patch", arguments=arguments)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        found = await fetch(env, "StatefulSet", self.site.target)
        template = found["spec"]["template"] if found is not None else {}
        annotations = template.get("metadata", {}).get("annotations") or {}
        marked = annotations.get(PREEMPTIBLE) == "true"
        detail = f"{PREEMPTIBLE} is {annotations.get(PREEMPTIBLE, 'not set')}"
        return [
            condition("hint", found is not None and not marked, detail),
            await rolled_out(env, "StatefulSet", self.site.target),
        ]


KINDS = (StoreMarked,)
