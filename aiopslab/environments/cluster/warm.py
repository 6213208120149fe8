"""A cluster that is used again: what it was like before the fault, and putting it back.

Objects are written back (``cluster.restoring``), caches that were set up anew are restarted, and
then everything is looked at: that it is ready, promises kept, objects equal, stores set up as
before, no row gone. Rows that users added stay. Whatever cannot be put back (a database whose
grants somebody changed, a volume that is gone) is said, so that the app is deployed anew. Not here:
what a fault changed below Kubernetes, which its own ``recover`` undoes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiopslab.environments.cluster.cleaning import inventory
from aiopslab.environments.cluster.declared import Declared, declared
from aiopslab.environments.cluster.labels import is_agents_access
from aiopslab.environments.cluster.readiness import until_ready
from aiopslab.environments.cluster.restoring import ACTOR, Restorer
from aiopslab.environments.health import slo_checks
from aiopslab.errors import InfraError
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import KubeError

if TYPE_CHECKING:
    from aiopslab.environments.cluster.environment import Cluster

_POLL_S = 5.0
_CALM_S = 20.0
"""Length of the window in which promises must be kept again."""


@dataclass(frozen=True, slots=True)
class _Before:
    """A healthy moment."""

    objects: Declared
    of_cluster: frozenset[str]
    """Uids of the trial's objects that have no namespace."""
    rows: Mapping[str, int]
    setup: Mapping[str, str]
    logins: Mapping[str, Mapping[str, str]]


class Warm:
    """What is remembered of one environment.

    Args:
        cluster: The environment.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._kube = cluster.pipeline
        self._before: _Before | None = None

    async def remember(self) -> None:
        """Take the snapshot.

        Raises:
            KubeError: The cluster refuses to be read.
            InfraError: A store is away.
        """
        cluster = self._cluster
        self._before = _Before(
            await declared(self._kube, cluster.namespace),
            frozenset((await self._of_cluster()).keys()),
            await cluster.stores.digest(),
            await cluster.stores.fingerprints(),
            await cluster.stores.logins(),
        )

    async def restore(self) -> list[CheckResult]:
        """Put everything back; returns what was looked at."""
        if self._before is None:
            return [CheckResult(id="snapshot", met=False, detail="none was taken")]
        before = self._before
        try:
            return await self._restore(before)
        except (KubeError, InfraError) as error:
            return [CheckResult(id="restore", met=False, detail=str(error))]

    async def calm(self) -> list[CheckResult]:
        """Wait until promises are kept; returns the last look at them."""
        cluster = self._cluster
        begun, end = cluster.now(), cluster.now() + cluster.terms.patience.warm_s
        while True:
            now = cluster.now()
            windows = await cluster.traffic.slis(max(begun, now - _CALM_S), now)
            checks = slo_checks(windows)
            calm = now - begun >= _CALM_S and all(check.met for check in checks)
            if calm or now >= end:
                return checks
            await asyncio.sleep(_POLL_S)

    async def _restore(self, before: _Before) -> list[CheckResult]:
        cluster = self._cluster
        for uid, (kind, name) in (await self._of_cluster()).items():
            if uid not in before.of_cluster:
                await self._kube.delete(kind, name, actor=ACTOR)
        restorer = Restorer(self._kube, cluster.app, before.objects, cluster.now)
        done = await restorer.undo()
        await cluster.traffic.scale(1.0)
        await cluster.traffic.start()
        patience = cluster.terms.patience.warm_s
        await until_ready(self._kube, cluster.namespace, patience)
        await cluster.stores.put_back(before.logins)
        setup = await self._settled(before)
        checks = [_check("objects", [*done.stuck, *await restorer.differences()])]
        checks.append(_check("stores", [f"{store} is set up otherwise" for store in setup]))
        checks.append(_check("rows", await self._fewer(before)))
        checks += await self.calm()
        await restorer.tidy()
        return checks

    async def _settled(self, before: _Before) -> list[str]:
        """Return the stores that are set up otherwise than before; caches are restarted first."""
        cluster, stores = self._cluster, self._cluster.app.stores
        differing = await self._differing(before)
        caches = [store for store in differing if stores[store].kind == "valkey"]
        for store in caches:
            await self._kube.delete("Pod", f"{store}-0", cluster.namespace, actor=ACTOR)
        if caches:
            await asyncio.sleep(_POLL_S)
            await until_ready(self._kube, cluster.namespace, cluster.terms.patience.warm_s)
            differing = await self._differing(before)
        return differing

    async def _differing(self, before: _Before) -> list[str]:
        now = await self._cluster.stores.fingerprints()
        return [store for store, text in before.setup.items() if now.get(store) != text]

    async def _fewer(self, before: _Before) -> list[str]:
        now = await self._cluster.stores.digest()
        tables = {k: v for k, v in before.rows.items() if k.startswith("table:")}
        return [f"{k} has {now.get(k)} rows of {v}" for k, v in tables.items()
                if now.get(k, 0) < v]  # fmt: skip

    async def _of_cluster(self) -> dict[str, tuple[str, str]]:
        """Return the trial's objects without a namespace by uid; agents' rights are not among them.

        A fault may have made some: rules of admission, priorities.
        """
        found = await inventory(self._kube, self._cluster.placement.labels)
        mine = [o for o in found.objects if not o.namespace and o.served.kind.kind != "Namespace"]
        kept = {}
        for obj in mine:
            whole = await self._kube.get(obj.served.kind.qualified, obj.name)
            if not is_agents_access(whole):
                kept[obj.uid] = (obj.served.kind.qualified, obj.name)
        return kept


def _check(id: str, wrong: list[str]) -> CheckResult:
    detail = "; ".join(wrong[:5]) if wrong else "as before"
    return CheckResult(id=f"restored:{id}", met=not wrong, detail=detail)
