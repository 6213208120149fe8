"""Family ``container``: a container that is there for everybody but does nothing.

Whoever takes an image of its memory stops its threads first; here they were never let go on.
Kubernetes sees a running container, and a probe that only connects is content, because the kernel
accepts. Source: AIOpsLab's ``pod_failure``.
"""

from __future__ import annotations

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import KubeError
from aiopslab.models.support import everywhere
from aiopslab.models.truth import FixStep

_ANSWER_S = 5.0
"""In which a server that runs answers."""


class Suspended(Fault):
    """All threads of a store's server are stopped; clients connect and are never answered."""

    kind = "container/suspended"
    support = everywhere("a pod of the lab on the same machine sends the signal")
    cause = "process_suspended"
    system_level = "Operating System"
    fault_type = "Operation Error"

    class Params(Model):
        """No parameters."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        needed = {name for journey in app.journeys for name in app.needs(journey)}
        store = app.stores.get(component)
        return store is not None and store.kind == "postgres" and component in needed

    @property
    def _pod(self) -> str:
        return f"{self.site.target}-0"

    async def inject(self, env: Environment) -> None:
        await env.substrate.suspend(self._pod, on=True)

    async def recover(self, env: Environment) -> None:
        await env.substrate.suspend(self._pod, on=False)

    def fix(self) -> list[FixStep]:
        return [FixStep(tool="k8s_delete", arguments={"kind": "Pod", "name": self._pod})]

    def aliases(self) -> list[str]:
        return [self._pod]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        database = self.site.app.stores[self.site.target].database or "postgres"
        ask = ["psql", "-U", "postgres", "-d", database, "-c", "SELECT 1"]
        try:
            done = await env.kube.exec(self._pod, env.namespace, ask, timeout_s=_ANSWER_S)
            met, said = done.code == 0, (done.stderr or "an answer").strip()
        except KubeError as error:
            met, said = False, error.message
        return [
            condition("runs", met, f"{self._pod} says {said!r}"),
            await rolled_out(env, "StatefulSet", self.site.target),
        ]


KINDS = (Suspended,)
