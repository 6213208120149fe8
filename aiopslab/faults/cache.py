"""Family ``cache``: a cache too small for its keys, so the database behind it takes the load.

Source: faults.md ``dep-cache-*``; hard pattern 3 (stampede) of incidents.md.
"""

from __future__ import annotations

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, ask, condition
from aiopslab.models.app import App
from aiopslab.models.base import Model, parse_size
from aiopslab.models.evidence import CheckResult
from aiopslab.models.signal import Change
from aiopslab.models.truth import FixStep


class Undersized(Fault):
    """``maxmemory`` was cut and the keys were flushed with it."""

    kind = "cache/undersized"
    cause = "cache_undersized"
    system_level = "Application"
    fault_type = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        kibibytes: int = 1400
        """The new ``maxmemory``."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        store = app.stores.get(component)
        return store is not None and store.kind == "valkey" and "maxmemory" in store.config

    async def inject(self, env: Environment) -> None:
        await env.substrate.store_admin(self.site.target, self._set(self.params.kibibytes * 1024))
        await env.substrate.store_admin(self.site.target, "FLUSHALL")
        change = Change(
            time=env.now(),
            actor="t.lindqvist",
            kind="config",
            component=self.site.target,
            summary=f"{self.site.target}: memory right-sizing, round 2",
        )
        await env.substrate.record_change(change)

    async def recover(self, env: Environment) -> None:
        await env.substrate.store_admin(self.site.target, self._set(self._declared()))

    def _declared(self) -> int:
        return parse_size(str(self.site.app.stores[self.site.target].config["maxmemory"]))

    def _set(self, size: int) -> str:
        return f"CONFIG SET maxmemory {size}"

    def fix(self) -> list[FixStep]:
        arguments = {"store": self.site.target, "command": self._set(self._declared())}
        return [FixStep(tool="cache_command", arguments=arguments)]

    def accepted(self) -> list[tuple[str, str]]:
        return [(self.site.target, "cache_flushed")]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        answer = await ask(env, self.site.target, "CONFIG GET maxmemory")
        if not answer:
            return [condition("maxmemory", False, "the cache does not answer")]
        size = int(answer.split()[-1])
        met = size == 0 or size > self.params.kibibytes * 1024 * 4
        return [condition("maxmemory", met, f"maxmemory is {size} bytes")]


KINDS = (Undersized,)
