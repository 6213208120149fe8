"""Family ``overload``: overload that outlives its trigger.

A change that looked like a gain (fail fast, try again) waits for a short disturbance; from then on
the answers that come too late are the load that makes the next ones late. The trigger is gone when
the agent comes. Source: hard patterns 1, 2 and 3 of incidents.md; faults.md
``app-retry-amplification``, ``dep-cache-stampede``.
"""

from __future__ import annotations

from pydantic import Field

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import condition, fetch, rolled_out, until_rolled_out
from aiopslab.faults.config import Value
from aiopslab.models.app import App
from aiopslab.models.evidence import CheckResult
from aiopslab.models.signal import Change
from aiopslab.models.support import everywhere, simulated
from aiopslab.services.config import prefix, targets


class RetryStorm(Value):
    """One call is given up early and repeated at once, many times; a short stall set that off.

    Target is the caller.
    """

    kind = "overload/retry-storm"
    support = everywhere("the short disturbance is made where the app program dials")
    cause = "retry_storm"
    suffix = "_RETRIES"

    class Params(Value.Params):
        """Parameters."""

        value: int = Field(default=8)
        """Further attempts after a failure."""
        timeout_ms: int = 220
        """Deadline of one attempt."""
        stall_s: float = 30.0
        """How long the dependency answered late, once."""

    params: Params

    @classmethod
    def _keys(cls, app: App, component: str) -> list[str]:
        called = {f"{prefix(t)}{cls.suffix}": t for t in _called(app, component)}
        keys = [key for key in super()._keys(app, component) if key in called]
        # Where a cache answers, what is called is quick as long as nothing is wrong.
        return sorted(keys, key=lambda k: ("cache" not in app.services[called[k]].uses, k))

    @property
    def _stem(self) -> str:
        return self._key.removesuffix(self.suffix)

    def _wrong_data(self) -> dict[str, str | None]:
        return {
            self._key: str(self.params.value),
            f"{self._stem}_TIMEOUT_MS": str(self.params.timeout_ms),
            f"{self._stem}_BACKOFF_MS": "0",
        }

    async def inject(self, env: Environment) -> None:
        await super().inject(env)
        await until_rolled_out(env, "Deployment", self.site.target)
        here = self.site.target
        there = next(t for t in _called(self.site.app, here) if prefix(t) == self._stem)
        await env.substrate.link(here, there, delay_s=2.0)
        await env.advance(self.params.stall_s)
        await env.substrate.link(here, there)

    def accepted(self) -> list[tuple[str, str]]:
        called = [t for t in _called(self.site.app, self.site.target) if prefix(t) == self._stem]
        return [
            *super().accepted(),
            (self.site.target, "timeout_too_short"),
            (self.site.target, "metastable_overload"),
            *((t, "metastable_overload") for t in called),
        ]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        config = await fetch(env, "ConfigMap", self._map) or {}
        now = str(config.get("data", {}).get(self._key, "1"))
        met = now.isdecimal() and int(now) <= self.params.value // 2
        value = condition("value", met, f"{self._key} is {now!r}")
        return [value, await rolled_out(env, "Deployment", self.site.target)]


class Stampede(Value):
    """Statements that refill a cache are given up before they end, so a flush is for ever.

    Target is the service whose cache was flushed. While the cache is warm its few statements are
    quick; cold, all of them at once are not, and each one that is given up was for nothing.
    """

    kind = "overload/stampede"
    support = simulated("statements of a real server are quicker than the limit")
    cause = "metastable_overload"
    fault_type = "Dependency Problem"
    suffix = "DB_TIMEOUT_MS"

    class Params(Value.Params):
        """Parameters."""

        value: int = Field(default=200)
        """Longest statement, milliseconds."""
        settle_s: float = 30.0
        """From the rollout to the flush."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        needed = any(component in app.needs(j) for j in app.journeys)
        uses = set(service.uses) if service else set()
        return needed and uses >= {"db", "cache"} and super().fits(app, component)

    @property
    def _cache(self) -> str:
        return self.site.app.services[self.site.target].uses["cache"]

    async def inject(self, env: Environment) -> None:
        await super().inject(env)
        await until_rolled_out(env, "Deployment", self.site.target)
        await env.advance(self.params.settle_s)
        await env.substrate.store_admin(self._cache, "FLUSHALL")
        change = Change(
            time=env.now(),
            actor="t.lindqvist",
            kind="other",
            component=self._cache,
            summary=f"{self._cache}: drop entries of the old price list",
        )
        await env.substrate.record_change(change)

    def accepted(self) -> list[tuple[str, str]]:
        return [
            *super().accepted(),
            (self.site.target, "timeout_too_short"),
            (self._cache, "cache_flushed"),
            (self._cache, self.cause),
            (self.site.app.services[self.site.target].uses["db"], self.cause),
        ]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        config = await fetch(env, "ConfigMap", self._map) or {}
        now = str(config.get("data", {}).get(self._key, "3000"))
        met = now.isdecimal() and (int(now) == 0 or int(now) >= self.params.value * 4)
        value = condition("value", met, f"{self._key} is {now!r}")
        return [value, await rolled_out(env, "Deployment", self.site.target)]


def _called(app: App, component: str) -> list[str]:
    """Name the services of the app that one calls."""
    if component not in app.services:
        return []
    return [t for t in targets(app, component) if t in app.services]


KINDS = (RetryStorm, Stampede)
