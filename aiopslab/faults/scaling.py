"""Family ``scaling``: more replicas make it worse.

Every replica takes its share of something that has a bound for all together. Nothing is wrong until
somebody adds capacity, and adding more adds to the trouble. Source: hard pattern 9 of incidents.md;
faults.md ``dep-db-max-connections``. Not here: too few replicas (``workload``, ``autoscaling``).
"""

from __future__ import annotations

import re

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import (
    Fault,
    ask,
    condition,
    edit,
    fetch,
    restart,
    rolled_out,
    until_rolled_out,
)
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.support import everywhere
from aiopslab.models.truth import FixStep
from aiopslab.services.manifests import extra_objects

KEY = "DB_POOL_MIN_IDLE"
_RESERVED = 3
"""``superuser_reserved_connections``."""
_SPARE = 3
"""Sessions that must be free at the end, so that whoever needs one more gets it."""


class PoolsOutgrowServer(Fault):
    """Each replica holds a whole pool ready; scaled out, together they take every connection.

    Target is the service. The replicas that come last get none, and neither does anybody else who
    uses the same database.
    """

    kind = "scaling/pools-outgrow-server"
    support = everywhere("the machines must have room for all replicas")
    cause = "too_many_connections"
    system_level = "Application"
    fault_type = "Dependency Problem"

    class Params(Model):
        """Parameters."""

        replicas: int = 12
        """To how many it is scaled out."""
        actor: str = "s.ivanova"
        """Who does that."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        store = service.uses.get("db", "") if service else ""
        shared = sum(s.uses.get("db") == store for s in app.services.values()) > 1
        if not (store in app.stores and shared) or _autoscaled(app, component):
            return False
        limit = int(str(app.stores[store].config.get("max_connections", 100)))
        needed = any(component in app.needs(j) for j in app.journeys)
        return needed and cls._pool(app, component) * cls.Params().replicas > limit

    @staticmethod
    def _pool(app: App, component: str) -> int:
        return int(str(app.services[component].config.get("DB_POOL_SIZE", 0)))

    @property
    def _map(self) -> str:
        return f"{self.site.target}-config"

    @property
    def _store(self) -> str:
        return self.site.app.services[self.site.target].uses["db"]

    @property
    def _usual(self) -> int:
        return self.site.app.services[self.site.target].replicas

    async def _ready(self, env: Environment, least: int | None) -> None:
        value = None if least is None else str(least)
        patch = {"data": {KEY: value}}
        await edit(env, "ConfigMap", self._map, patch, actor="config-sync", type="merge")
        await restart(env, "Deployment", self.site.target, actor="config-sync")

    async def _scale(self, env: Environment, replicas: int) -> None:
        patch = {"spec": {"replicas": replicas}}
        await edit(env, "Deployment", self.site.target, patch, actor=self.params.actor)

    async def inject(self, env: Environment) -> None:
        await self._ready(env, self._pool(self.site.app, self.site.target))
        await until_rolled_out(env, "Deployment", self.site.target)
        await self._scale(env, self.params.replicas)

    async def recover(self, env: Environment) -> None:
        await self._scale(env, self._usual)
        await self._ready(env, None)

    def fix(self) -> list[FixStep]:
        arguments = {"name": self.site.target, "replicas": self._usual}
        return [FixStep(tool="k8s_scale", arguments=arguments)]

    def aliases(self) -> list[str]:
        return [self._map]

    def accepted(self) -> list[tuple[str, str]]:
        return [(self._store, self.cause), (self.site.target, "config_value_wrong")]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        """Look whether the server has sessions left, and replicas would not take the last."""
        limit = await self._number(env, "SHOW max_connections")
        used = await self._number(env, "SELECT count(*) FROM pg_stat_activity")
        config = await fetch(env, "ConfigMap", self._map) or {}
        deployment = await fetch(env, "Deployment", self.site.target) or {}
        least = str(config.get("data", {}).get(KEY, "0"))
        held = int(least) if least.isdecimal() else 0
        wanted = held * int(deployment.get("spec", {}).get("replicas", 1))
        free = limit - _RESERVED - max(used, wanted)
        detail = f"{used} of {limit} sessions are there, {wanted} are held by {self.site.target}"
        return [
            condition("sessions", limit > 0 and free >= _SPARE, detail),
            await rolled_out(env, "Deployment", self.site.target),
        ]

    async def _number(self, env: Environment, sql: str) -> int:
        found = re.search(r"^\s*(\d+)\s*$", await ask(env, self._store, sql), re.MULTILINE)
        return int(found.group(1)) if found else 0


def _autoscaled(app: App, component: str) -> bool:
    """Say whether an autoscaler would take the replicas back."""
    scalers = [o for o in extra_objects(app) if o["kind"] == "HorizontalPodAutoscaler"]
    return any(o["spec"]["scaleTargetRef"]["name"] == component for o in scalers)


KINDS: tuple[type[Fault], ...] = (PoolsOutgrowServer,)
