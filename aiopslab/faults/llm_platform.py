"""Family ``llm``: what steers the pool goes wrong: plans, machines, credentials, clocks.

No engine is broken. There are too few of them, they go without a word, or they are held back.
Source: llmserve.md LS-11, LS-14, LS-16, LS-17 (SageServe, WI, DynamoLLM).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import condition, edit, fetch
from aiopslab.faults.llm_knobs import FOLLOWED, Knobs
from aiopslab.faults.llm_scheduling import NoParams
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.truth import FixStep
from aiopslab.services.config import settings
from aiopslab.services.llm.planning import offset_s

_BACK = FixStep(
    tool="wait",
    arguments={"seconds": 210.0, "reason": "until machines are back and weights loaded"},
)
_LATER_S = 25.0
_OFFSETS = ("-10:00", "-09:00")


class _Platform(Knobs):
    """Keys of a program that steers the pool, changed by somebody who goes on to the router's logs.

    The newest change is then not the one that hurts, as on most days.
    """

    beside: ClassVar[Mapping[str, str]] = {"DECISION_LOG_RATIO": "0.2"}
    """Keys of the router that the same hand sets a little later; they hardly matter."""

    def _router(self) -> str:
        services = self.site.app.services
        return next(n for n, s in sorted(services.items()) if s.program == "llm-router")

    async def inject(self, env: Environment) -> None:
        await super().inject(env)
        await env.advance(_LATER_S)
        await self._set(env, self._router(), self.beside)

    async def recover(self, env: Environment) -> None:
        await super().recover(env)
        declared = settings(self.site.app, self._router())
        await self._set(env, self._router(), {key: declared[key] for key in self.beside})

    async def _data(self, env: Environment) -> dict[str, str]:
        config = await fetch(env, "ConfigMap", f"{self.site.target}-config")
        return dict((config or {}).get("data", {}))


class ForecastTimezone(_Platform):
    """The autoscaler takes the day for the night: a template of another site set its time."""

    kind = "llm/forecast-timezone"
    cause = "forecast_misaligned"
    program = "llm-autoscaler"
    actor = "m.okoye"

    class Params(Model):
        """Parameters."""

        place: int = 0
        """Which offset."""

    params: Params

    def wrong(self) -> Mapping[str, str]:
        return {"SCALE_TZ": _OFFSETS[self.params.place % len(_OFFSETS)]}

    def good(self, key: str, value: str | None) -> bool:
        right = offset_s(self.right(self.site.target)[key])
        try:
            return abs(offset_s(value or "") - right) <= 7200.0
        except ValueError:
            return False

    def fix(self) -> list[FixStep]:
        return [*super().fix(), _BACK]

    def accepted(self) -> list[tuple[str, str]]:
        return [*super().accepted(), (self.site.target, "autoscaler_misconfigured")]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        """The plan is for this hour, or none is made from the hour, or it keeps every engine."""
        data = await self._data(env)
        pool = sum(s.program == "llm-engine" for s in self.site.app.services.values())
        least = data.get("SCALE_MIN", "0")
        kept = data.get("SCALE_MODE") != "forecast" or (least.isdecimal() and int(least) >= pool)
        met = kept or self.good("SCALE_TZ", data.get("SCALE_TZ"))
        return [condition("plan", met, f"time {data.get('SCALE_TZ')}, kept {kept}")]


class ForecastStale(_Platform):
    """Forecasts are made every hour and three quarters instead of every minute, and grow old."""

    kind = "llm/forecast-stale"
    cause = "stale_input_to_controller"
    program = "llm-autoscaler"
    fault_type = "Dependency Problem"
    Params = NoParams

    def wrong(self) -> Mapping[str, str]:
        return {"SCALE_PLAN_S": "6000"}

    async def _age_s(self, env: Environment) -> float:
        config = await fetch(env, "ConfigMap", f"{self._clocks()}-config")
        text = (config or {}).get("data", {}).get("POWER_FORECAST_MAX_AGE_S", "0")
        return _number(text)

    def _clocks(self) -> str:
        services = self.site.app.services
        return next(n for n, s in sorted(services.items()) if s.program == "llm-power-mgr")

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        """Forecasts are younger than what counts, or the clocks follow none."""
        data = await self._data(env)
        config = await fetch(env, "ConfigMap", f"{self._clocks()}-config")
        profile = (config or {}).get("data", {}).get("POWER_CLOCK_PROFILE")
        every, age = _number(data.get("SCALE_PLAN_S", "")), await self._age_s(env)
        met = profile == "day" or 0.0 < every < age
        return [condition("fresh", met, f"every {every:g} s, {age:g} s count, profile {profile}")]


class EvictionHook(_Platform):
    """Machines are taken away after a notice, and nobody drains their engines any more."""

    kind = "llm/eviction-hook"
    cause = "drain_hook_disabled"
    program = "llm-platform-agent"
    pressure: ClassVar[str] = "spot_taken_every_s"

    class Params(Model):
        """Parameters."""

        every_s: float = 200.0
        """From one notice for a machine to the next."""

    params: Params

    def wrong(self) -> Mapping[str, str]:
        return {"PLATFORM_EVICTION_HOOK": "none"}

    def good(self, key: str, value: str | None) -> bool:
        return value == "drain"

    def spot(self) -> list[str]:
        """Name the machines that the provider may take."""
        return [n.name for n in self.site.app.nodes if n.labels.get("capacity") == "spot"]

    async def inject(self, env: Environment) -> None:
        await super().inject(env)
        for node in self.spot():
            await env.substrate.hardware(node, self.pressure, self.params.every_s)

    async def recover(self, env: Environment) -> None:
        await super().recover(env)
        for node in self.spot():
            await env.substrate.hardware(node, self.pressure, None)


class ReclaimToken(_Platform):
    """Tokens live shorter than they are renewed: lent machines do not come back."""

    kind = "llm/reclaim-token"
    cause = "credential_expired"
    program = "llm-platform-agent"
    fault_type = "Authentication Issue"
    actor = "sec-baseline"

    class Params(Model):
        """Parameters."""

        ttl_s: int = 45
        """Life of a token."""
        engines: int = 3
        """Engines that stay while the others' machines are lent."""

    params: Params

    def wrong(self) -> Mapping[str, str]:
        return {"PLATFORM_TOKEN_TTL_S": str(self.params.ttl_s)}

    def _planner(self) -> str:
        services = self.site.app.services
        return next(n for n, s in sorted(services.items()) if s.program == "llm-autoscaler")

    async def _most(self, env: Environment, engines: Any) -> None:
        patch = {"data": {"SCALE_MAX": str(engines)}}
        await edit(
            env, "ConfigMap", f"{self._planner()}-config", patch, actor="i.calvo", type="merge"
        )

    async def inject(self, env: Environment) -> None:
        """A training job is lent machines for a while, and meanwhile the baseline is rolled out."""
        await self._most(env, self.params.engines)
        await env.advance(100.0)
        await super().inject(env)
        await env.advance(100.0 + self.params.ttl_s)
        await self._most(env, self._pool())

    def _pool(self) -> int:
        return sum(s.program == "llm-engine" for s in self.site.app.services.values())

    async def recover(self, env: Environment) -> None:
        await super().recover(env)
        await self._most(env, self._pool())

    def fix(self) -> list[FixStep]:
        return [*super().fix()[:-1], FOLLOWED, _BACK]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        """A token lives as long as it takes to the next one."""
        data = await self._data(env)
        life, renew = (_number(data.get(f"PLATFORM_TOKEN_{key}_S", "")) for key in ("TTL", "RENEW"))
        return [condition("token", life > renew > 0.0, f"lives {life:g} s, renewed {renew:g} s")]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


KINDS = (ForecastTimezone, ForecastStale, EvictionHook, ReclaimToken)
