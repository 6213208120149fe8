"""Family ``resources``: limits that no longer fit what the program needs.

Mechanism: a CPU quota throttles the container's cgroup; a memory limit makes the kernel kill.
Source: faults.md ``ctr-cpu-throttle``, ``ctr-oomkill``; incidents.md CR-09.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, container_of, edit, fetch, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.support import Support, everywhere
from aiopslab.models.truth import FixStep
from aiopslab.world.kube import quantity

BOT = "cost-optimizer"


class _Limit(Fault):
    """One resource limit lowered; the request follows where it would exceed the limit."""

    support: ClassVar[Support] = everywhere()
    resource: str
    system_level = "Virtualization"
    fault_type = "Misconfiguration"

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        return service is not None and cls.resource in service.resources.limits

    @abstractmethod
    def _value(self) -> str:
        """Return the limit that is set."""

    async def _set(self, env: Environment, limit: str, request: str | None) -> None:
        resources: dict[str, dict[str, str]] = {"limits": {self.resource: limit}}
        if request is not None:
            resources["requests"] = {self.resource: request}
        container = {"name": self.site.target, "resources": resources}
        patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
        await edit(env, "Deployment", self.site.target, patch, actor=BOT)

    def _declared(self) -> tuple[str, str | None]:
        resources = self.site.app.services[self.site.target].resources
        limits: dict[str, str] = dict(resources.limits)  # type: ignore[arg-type]
        requests: dict[str, str] = dict(resources.requests)  # type: ignore[arg-type]
        return limits[self.resource], requests.get(self.resource)

    async def inject(self, env: Environment) -> None:
        _, request = self._declared()
        lower = request is not None and quantity.parse(request) > quantity.parse(self._value())
        await self._set(env, self._value(), self._value() if lower else None)

    async def recover(self, env: Environment) -> None:
        limit, request = self._declared()
        await self._set(env, limit, request)

    def fix(self) -> list[FixStep]:
        undo = {"action": "undo", "kind": "Deployment", "name": self.site.target}
        return [FixStep(tool="k8s_rollout", arguments=undo)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        name = self.site.target
        deployment = await fetch(env, "Deployment", name)
        limits = {}
        if deployment is not None:
            limits = container_of(deployment, name).get("resources", {}).get("limits", {})
        now = limits.get(self.resource)
        bad = quantity.parse(self._value())
        met = deployment is not None and (
            now is None or float(quantity.parse(now)) > float(bad) * 1.5
        )
        limit = condition("limit", met, f"{self.resource} limit is {now or 'not set'}")
        return [limit, await rolled_out(env, "Deployment", name)]


class CpuLimit(_Limit):
    """The CPU limit was cut below what the load needs."""

    kind = "resources/cpu-limit"
    cause = "cpu_limit_too_low"
    resource = "cpu"

    class Params(Model):
        """Parameters."""

        millicores: int = 60

    params: Params

    def _value(self) -> str:
        return f"{self.params.millicores}m"


class MemoryLimit(_Limit):
    """The memory limit was cut below the working set."""

    kind = "resources/memory-limit"
    cause = "memory_limit_too_low"
    resource = "memory"

    class Params(Model):
        """Parameters."""

        mebibytes: int = 40

    params: Params

    def _value(self) -> str:
        return f"{self.params.mebibytes}Mi"


KINDS = (CpuLimit, MemoryLimit)
