"""Family ``flag``: a product colleague switches a feature flag on, and a latent defect wakes.

Nothing is rolled out and nothing restarts; the change reaches the pods when the kubelet has
brought the file up to date. The defect is the app's content (``flags.<name>.bug``).
Source: faults.md ``app-latent-flag``, ``app-error-subset``, ``app-latency-subset``,
``app-gc-thrash``, ``app-cache-unbounded``.
"""

from __future__ import annotations

import json
from abc import ABC
from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, edit, fetch
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.support import Support, everywhere
from aiopslab.models.truth import FixStep
from aiopslab.services.flags import map_name


class _SwitchedOn(Fault, ABC):
    """A flag whose defect sets one field."""

    support: ClassVar[Support] = everywhere()
    field: str
    cause = "flag_defect"
    system_level = "Application"
    fault_type = "Code Defect"

    class Params(Model):
        """Parameters."""

        actor: str = "n.castillo"
        """The colleague."""

    params: Params

    @classmethod
    def _flag_of(cls, app: App, component: str) -> str | None:
        for name, flag in app.flags_of(component).items():
            asleep = flag.bug is not None and not flag.default
            if asleep and getattr(flag.bug, cls.field) is not None:
                return name
        return None

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return cls._flag_of(app, component) is not None

    @property
    def _flag(self) -> str:
        return self._flag_of(self.site.app, self.site.target) or ""

    @property
    def _map(self) -> str:
        return map_name(self.site.app.name)

    async def _set(self, env: Environment, value: str) -> None:
        patch = {"data": {self._flag: value}}
        await edit(env, "ConfigMap", self._map, patch, actor=self.params.actor, type="merge")

    async def inject(self, env: Environment) -> None:
        await self._set(env, "true")

    async def recover(self, env: Environment) -> None:
        await self._set(env, "false")

    def fix(self) -> list[FixStep]:
        patch = json.dumps({"data": {self._flag: "false"}})
        arguments = {"kind": "ConfigMap", "name": self._map, "patch": patch, "type": "merge"}
        return [FixStep(tool="k8s_patch", arguments=arguments)]

    def aliases(self) -> list[str]:
        return [self._map, self._flag]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        config = await fetch(env, "ConfigMap", self._map)
        now = (config or {}).get("data", {}).get(self._flag)
        return [condition("flag", now != "true", f"{self._flag} is {now!r}")]


class Errors(_SwitchedOn):
    """Requests, all or those that carry one parameter value, hit an unhandled exception."""

    kind = "flag/errors-for-some"
    field = "error_rate"


class Latency(_SwitchedOn):
    """Requests, all or those that carry one parameter value, wait without need."""

    kind = "flag/latency-for-some"
    field = "latency_ms"


class Pauses(_SwitchedOn):
    """Garbage is collected by force: the process stands still again and again."""

    kind = "flag/forced-pauses"
    field = "pause_ms"


class UnboundedCache(_SwitchedOn):
    """A cache inside the process grows with every distinct key until the kernel kills it."""

    kind = "flag/unbounded-cache"
    field = "kept_per_key"

    def fix(self) -> list[FixStep]:
        """Turn it off, and replace the pods: those that were killed wait for minutes by now."""
        restart = {"action": "restart", "kind": "Deployment", "name": self.site.target}
        return [*super().fix(), FixStep(tool="k8s_rollout", arguments=restart)]


class CpuHot(_SwitchedOn):
    """Every request costs many times the CPU."""

    kind = "flag/cpu-hot"
    field = "cpu_factor"


KINDS = (Errors, Latency, Pauses, UnboundedCache, CpuHot)
