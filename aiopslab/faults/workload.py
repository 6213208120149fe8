"""Family ``workload``: the Deployment asks for the wrong number of pods, or for impossible ones.

Source: faults.md ``k8s-scale-zero``, ``k8s-node-selector``, ``ctr-readiness-bad``,
``ctr-liveness-bad``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, container_of, edit, fetch, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.cause import FaultType, SystemLevel
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import Object
from aiopslab.models.support import Support, everywhere
from aiopslab.models.truth import FixStep


class ScaledToZero(Fault):
    """Somebody scaled the Deployment to zero."""

    kind = "workload/scaled-to-zero"
    support = everywhere()
    cause = "scaled_to_zero"
    system_level = "Virtualization"
    fault_type = "Operation Error"

    class Params(Model):
        """Parameters."""

        actor: str = "j.meyer"

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.services

    @property
    def _replicas(self) -> int:
        return self.site.app.services[self.site.target].replicas

    async def _scale(self, env: Environment, replicas: int) -> None:
        patch = {"spec": {"replicas": replicas}}
        await edit(env, "Deployment", self.site.target, patch, actor=self.params.actor)

    async def inject(self, env: Environment) -> None:
        await self._scale(env, 0)

    async def recover(self, env: Environment) -> None:
        await self._scale(env, self._replicas)

    def fix(self) -> list[FixStep]:
        arguments = {
            "kind": "Deployment",
            "name": self.site.target,
            "replicas": self._replicas,
        }
        return [FixStep(tool="k8s_scale", arguments=arguments)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        return [await rolled_out(env, "Deployment", self.site.target)]


class TemplateRollout(Fault):
    """A rollout whose pod template cannot work, with a strategy that replaces all pods at once."""

    support: ClassVar[Support] = everywhere()
    system_level: ClassVar[SystemLevel] = "Virtualization"
    fault_type: ClassVar[FaultType] = "Misconfiguration"
    actor = "ci-pipeline"

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        return service is not None and service.readiness is not None

    @abstractmethod
    def _spec(self, *, broken: bool) -> Object:
        """Return the pod spec part of the patch."""

    async def _apply(self, env: Environment, *, broken: bool) -> None:
        surge: int | str = "100%" if broken else 0
        spec: Object = {
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": surge}},
            "template": {"spec": self._spec(broken=broken)},
        }
        await edit(env, "Deployment", self.site.target, {"spec": spec}, actor=self.actor)

    async def inject(self, env: Environment) -> None:
        await self._apply(env, broken=True)

    async def recover(self, env: Environment) -> None:
        await self._apply(env, broken=False)

    def fix(self) -> list[FixStep]:
        undo = {"action": "undo", "kind": "Deployment", "name": self.site.target}
        return [FixStep(tool="k8s_rollout", arguments=undo)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        return [await rolled_out(env, "Deployment", self.site.target)]


class NodeSelector(TemplateRollout):
    """The template selects nodes that do not exist."""

    kind = "workload/node-selector"
    cause = "node_selector_unsatisfiable"
    fault_type = "Dependency Problem"

    class Params(Model):
        """Parameters."""

        label: str = "node-pool"
        value: str = "highmem"

    params: Params

    def _spec(self, *, broken: bool) -> Object:
        return {"nodeSelector": {self.params.label: self.params.value if broken else None}}


class _Probe(TemplateRollout):
    """A probe asks for a path that the program does not serve."""

    field: str

    class Params(Model):
        """Parameters."""

        path: str = "/health/v2"

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        probe = getattr(service, cls.field.removesuffix("Probe")) if service else None
        return probe is not None and probe.path is not None

    def _declared(self) -> str:
        service = self.site.app.services[self.site.target]
        path: str = getattr(service, self.field.removesuffix("Probe")).path
        return path

    def _spec(self, *, broken: bool) -> Object:
        path = self.params.path if broken else self._declared()
        probe = {"httpGet": {"path": path}}
        return {"containers": [{"name": self.site.target, self.field: probe}]}

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        deployment = await fetch(env, "Deployment", self.site.target)
        probe: Object = {}
        if deployment is not None:
            probe = container_of(deployment, self.site.target).get(self.field, {})
        path = probe.get("httpGet", {}).get("path")
        met = deployment is not None and path != self.params.path
        return [
            condition("probe", met, f"{self.field} asks for {path!r}"),
            await rolled_out(env, "Deployment", self.site.target),
        ]


class Readiness(_Probe):
    """The readiness probe never succeeds: endpoints empty while pods run."""

    kind = "workload/readiness-probe"
    cause = "readiness_probe_misconfigured"
    field = "readinessProbe"


class Liveness(_Probe):
    """The liveness probe never succeeds: a healthy program is restarted for ever."""

    kind = "workload/liveness-probe"
    cause = "liveness_probe_misconfigured"
    field = "livenessProbe"


KINDS = (ScaledToZero, NodeSelector, Readiness, Liveness)
