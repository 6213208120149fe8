"""Family ``autoscaling``: the autoscaler does what it was told, and that is wrong.

Replicas set by hand are set back by it within seconds. Source: faults.md ``as-max-too-low``.
"""

from __future__ import annotations

import json

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, discard, edit, fetch
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import Object
from aiopslab.models.support import everywhere, simulated
from aiopslab.models.truth import FixStep
from aiopslab.services.manifests import extra_objects

BOT = "cost-optimizer"
KIND = "HorizontalPodAutoscaler"


def _declared(app: App, component: str) -> Object | None:
    """Return the autoscaler that the app brings for a component."""
    found = (o for o in extra_objects(app) if o["kind"] == KIND)
    return next((o for o in found if o["spec"]["scaleTargetRef"]["name"] == component), None)


class _Autoscaler(Fault):
    """An autoscaler of the target whose bound is too low."""

    cause = "autoscaler_misconfigured"
    system_level = "Virtualization"
    fault_type = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        maximum: int = 1

    params: Params

    @property
    def _name(self) -> str:
        declared = _declared(self.site.app, self.site.target)
        return self.site.target if declared is None else str(declared["metadata"]["name"])

    @property
    def _enough(self) -> int:
        declared = _declared(self.site.app, self.site.target)
        wanted = self.site.app.services[self.site.target].replicas
        return wanted if declared is None else int(declared["spec"]["maxReplicas"])

    def fix(self) -> list[FixStep]:
        spec = {"maxReplicas": self._enough, "minReplicas": self._floor}
        patch = json.dumps({"spec": spec})
        arguments = {"kind": KIND, "name": self._name, "patch": patch, "type": "merge"}
        return [FixStep(tool="k8s_patch", arguments=arguments)]

    @property
    def _floor(self) -> int:
        return self.site.app.services[self.site.target].replicas

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        hpa = await fetch(env, KIND, self._name)
        bound = None if hpa is None else int(hpa["spec"]["maxReplicas"])
        met = bound is None or bound > self.params.maximum
        return [condition("bound", met, f"maxReplicas is {bound or 'not set'}")]


class MaximumTooLow(_Autoscaler):
    """The maximum of the app's autoscaler was cut to what usual load needs."""

    kind = "autoscaling/maximum-too-low"
    support = simulated("the autoscaler needs a metrics server, which a kind cluster lacks")

    class Params(_Autoscaler.Params):
        """Parameters."""

        maximum: int = 2

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.services and _declared(app, component) is not None

    async def _set(self, env: Environment, maximum: int) -> None:
        patch = {"spec": {"maxReplicas": maximum}}
        await edit(env, KIND, self._name, patch, actor=BOT, type="merge")

    async def inject(self, env: Environment) -> None:
        await self._set(env, self.params.maximum)

    async def recover(self, env: Environment) -> None:
        await self._set(env, self._enough)


class Pinned(_Autoscaler):
    """A new autoscaler holds a service at fewer replicas than its load needs."""

    kind = "autoscaling/pinned"
    support = everywhere()

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        return service is not None and service.replicas > 1 and _declared(app, component) is None

    async def inject(self, env: Environment) -> None:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.site.target}
        cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 400}}
        spec = {
            "scaleTargetRef": target,
            "minReplicas": 1,
            "maxReplicas": self.params.maximum,
            "metrics": [{"type": "Resource", "resource": cpu}],
        }
        labels = {
            "app.kubernetes.io/name": self.site.target,
            "app.kubernetes.io/part-of": self.site.app.name,
        }
        metadata = {"name": self._name, "namespace": self.site.namespace, "labels": labels}
        hpa = {
            "apiVersion": "autoscaling/v2",
            "kind": KIND,
            "metadata": metadata,
            "spec": spec,
        }
        await env.kube.create(hpa, actor=BOT)

    async def recover(self, env: Environment) -> None:
        await discard(env, KIND, self._name, actor=BOT)
        patch = {"spec": {"replicas": self._floor}}
        await edit(env, "Deployment", self.site.target, patch, actor=BOT)


KINDS = (MaximumTooLow, Pinned)
