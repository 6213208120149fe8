"""Family ``config``: a value in a ConfigMap that no review would have let pass.

The service reads configuration at start, so the change comes with a restart, as config
pipelines do it; ``rollout undo`` does not bring the old value back. Source: faults.md
``app-threadpool-exhausted``, ``app-timeout-inversion``, ``app-env-missing``.
"""

from __future__ import annotations

import json
from typing import ClassVar

from pydantic import Field

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, edit, fetch, restart, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.cause import FaultType
from aiopslab.models.evidence import CheckResult
from aiopslab.models.support import Support, everywhere
from aiopslab.models.truth import FixStep
from aiopslab.services.config import settings

PIPELINE = "config-sync"


class Value(Fault):
    """One key of ``<service>-config`` changed or removed, perhaps with others that go with it."""

    support: ClassVar[Support] = everywhere()
    system_level = "Application"
    fault_type: ClassVar[FaultType] = "Misconfiguration"
    suffix: str

    class Params(Model):
        """Parameters."""

        key: str = ""
        """The key; empty: the first one that ends as the kind's keys do."""
        value: int = Field(default=1)
        """What it is set to."""

    params: Params

    @classmethod
    def _keys(cls, app: App, component: str) -> list[str]:
        service = app.services.get(component)
        return sorted(k for k in service.config if k.endswith(cls.suffix)) if service else []

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return bool(cls._keys(app, component))

    @property
    def _key(self) -> str:
        return self.params.key or self._keys(self.site.app, self.site.target)[0]

    @property
    def _map(self) -> str:
        return f"{self.site.target}-config"

    def _wrong(self) -> str | None:
        """Return the value that is set; None removes the key."""
        return str(self.params.value)

    def _wrong_data(self) -> dict[str, str | None]:
        """Return everything that is set."""
        return {self._key: self._wrong()}

    def _right_data(self) -> dict[str, str | None]:
        """Return what the same keys hold when nothing is wrong; None is not set."""
        declared = settings(self.site.app, self.site.target)
        return {key: declared.get(key) for key in self._wrong_data()}

    async def _set(self, env: Environment, data: dict[str, str | None]) -> None:
        await edit(env, "ConfigMap", self._map, {"data": data}, actor=PIPELINE, type="merge")
        await restart(env, "Deployment", self.site.target, actor=PIPELINE)

    async def inject(self, env: Environment) -> None:
        await self._set(env, self._wrong_data())

    async def recover(self, env: Environment) -> None:
        await self._set(env, self._right_data())

    def fix(self) -> list[FixStep]:
        patch = json.dumps({"data": self._right_data()})
        again = {"action": "restart", "kind": "Deployment", "name": self.site.target}
        return [
            FixStep(
                tool="k8s_patch",
                arguments={
                    "kind": "ConfigMap", "name": self._map, "patch": patch, "type": "merge",
                },
            ),
            FixStep(tool="k8s_rollout", arguments=again),
        ]  # fmt: skip

    def aliases(self) -> list[str]:
        return [self._map]

    def accepted(self) -> list[tuple[str, str]]:
        return [(self.site.target, "config_value_wrong")]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        config = await fetch(env, "ConfigMap", self._map)
        now = (config or {}).get("data", {}).get(self._key)
        met = now is not None and now != self._wrong()
        value = condition("value", met, f"{self._key} is {now!r}")
        return [value, await rolled_out(env, "Deployment", self.site.target)]


class PoolTooSmall(Value):
    """A connection pool was shrunk below the concurrency."""

    kind = "config/pool-too-small"
    cause = "connection_pool_too_small"
    suffix = "_POOL_SIZE"


class TimeoutTooShort(Value):
    """A client timeout is shorter than the callee's usual answer."""

    kind = "config/timeout-too-short"
    cause = "timeout_too_short"
    suffix = "_TIMEOUT_MS"


class MissingKey(Value):
    """A required key is gone; new pods do not start.

    Required are the addresses of what a service calls; what the app declares beside them has a
    default in the program.
    """

    kind = "config/missing-key"
    cause = "missing_configuration"
    suffix = ""

    @classmethod
    def _keys(cls, app: App, component: str) -> list[str]:
        service = app.services.get(component)
        return sorted(set(settings(app, component)) - set(service.config)) if service else []

    def _wrong(self) -> None:
        return None

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        return [await rolled_out(env, "Deployment", self.site.target)]


KINDS = (PoolTooSmall, TimeoutTooShort, MissingKey)
