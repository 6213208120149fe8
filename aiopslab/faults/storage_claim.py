"""Family ``storage``: a store that was deployed anew and does not find its volume.

Its data are safe on the claim it had; the new manifests ask for another one, which nobody made.
Source: AIOpsLab's ``redeploy_without_PV``.
"""

from __future__ import annotations

import json

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, as_declared, condition, discard, fetch, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import Object
from aiopslab.models.support import everywhere
from aiopslab.models.truth import FixStep
from aiopslab.services.store_manifests import store_objects
from aiopslab.world.kube.objects import clone, dig

PIPELINE = "ci-pipeline"
_VOLUME = "data"
_PATIENCE_S = 60.0
"""In which a deleted StatefulSet and its pod are gone."""


class OtherClaim(Fault):
    """A new chart mounts an existing claim by name, and the name is not that of the data."""

    kind = "storage/other-claim"
    support = everywhere()
    cause = "volume_unavailable"
    system_level = "Hardware"
    fault_type = "Network/Storage Issue"

    class Params(Model):
        """Parameters."""

        name: str = "{store}-data"
        """The claim that is asked for."""

    params: Params
    _found: Object | None = None
    """The StatefulSet as it was; known once injected."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        needed = {name for journey in app.journeys for name in app.needs(journey)}
        return component in app.stores and component in needed

    @property
    def _right(self) -> str:
        return f"{_VOLUME}-{self.site.target}-0"

    @property
    def _wrong(self) -> str:
        return self.params.name.format(store=self.site.target)

    def _declared(self) -> Object:
        if self._found is not None:
            return self._found
        objects = store_objects(self.site.app, self.site.target, lambda _: "")
        return next(o for o in objects if o["kind"] == "StatefulSet")

    def _redeployed(self) -> Object:
        """Return the StatefulSet of the new chart: a claim by name instead of a template."""
        found: Object = clone(self._declared())
        del found["spec"]["volumeClaimTemplates"]
        found["spec"]["template"]["spec"].setdefault("volumes", []).append(
            self._source(self._wrong)
        )
        return found

    @staticmethod
    def _source(claim: str) -> Object:
        return {"name": _VOLUME, "persistentVolumeClaim": {"claimName": claim}}

    async def _replace(self, env: Environment, manifest: Object) -> None:
        name = self.site.target
        await discard(env, "StatefulSet", name, actor=PIPELINE)
        deadline = env.now() + _PATIENCE_S
        while await fetch(env, "Pod", f"{name}-0") is not None and env.now() < deadline:
            await env.advance(1.0)
        await env.kube.create(manifest, actor=PIPELINE)

    async def inject(self, env: Environment) -> None:
        name = self.site.target
        self._found = await as_declared(env, "StatefulSet", name, self._declared())
        await self._replace(env, self._redeployed())

    async def recover(self, env: Environment) -> None:
        await self._replace(env, self._declared())

    def fix(self) -> list[FixStep]:
        volumes = {"volumes": [self._source(self._right)]}
        patch = json.dumps({"spec": {"template": {"spec": volumes}}})
        mount = {"kind": "StatefulSet", "name": self.site.target, "patch": patch}
        # The controller does not replace a pod that never became ready by itself.
        again = {"kind": "Pod", "name": f"{self.site.target}-0"}
        return [
            FixStep(tool="k8s_patch", arguments=mount),
            FixStep(tool="k8s_delete", arguments=again),
        ]

    def aliases(self) -> list[str]:
        return [self._right, self._wrong]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        pod = await fetch(env, "Pod", f"{self.site.target}-0") or {}
        mounted = [
            dig(volume, "persistentVolumeClaim", "claimName")
            for volume in dig(pod, "spec", "volumes", default=())
        ]
        met = self._right in mounted
        detail = f"{self.site.target}-0 {'mounts' if met else 'does not mount'} {self._right}"
        return [
            condition("volume", met, detail),
            await rolled_out(env, "StatefulSet", self.site.target),
        ]


KINDS = (OtherClaim,)
