"""The objects of the app's namespace, and the nodes, as they are now: kept by watches.

A kind that may not be watched, or is not served, is lacking and tried again. Not here: what is made
of objects and of their changes (``changes``, ``events``, ``tailing``, ``world.kube_state``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.watch import ClusterWatch
from aiopslab.errors import InfraError
from aiopslab.models.kube import KubeError, Object
from aiopslab.observer.lacks import Lacks
from aiopslab.world.kube.objects import name_of, namespace_of

AGAIN_S = 5.0
"""Seconds until a kind that was refused is tried again."""
PATIENCE_S = 15.0
"""Seconds until a kind that was not listed yet counts as lacking."""
Heard = Callable[[str, Object, Object | None], None]
"""Is told (``LISTED`` | ``ADDED`` | ``MODIFIED`` | ``DELETED``, object, what it was before).

``LISTED`` is what is there when a kind is looked at for the first time, whenever it was made.
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """One kind, where it is watched."""

    kind: str
    namespace: str | None
    """None is the whole cluster."""


class Mirror:
    """``world.kube_state.Lister`` of a cluster.

    Args:
        kube: The way to it.
        watched: What to keep.
        lacks: Is told what cannot be watched.
    """

    def __init__(self, kube: ClusterKube, watched: Sequence[Watched], lacks: Lacks) -> None:
        self._kube = kube
        self._watched = watched
        self._lacks = lacks
        self._objects: dict[str, dict[tuple[str, str], Object]] = {w.kind: {} for w in watched}
        self._heard: list[Heard] = []
        self._begun: set[str] = set()
        """Kinds of which all is here."""
        self._seen: set[str] = set()
        """Kinds of which all has been here once."""

    def on_change(self, heard: Heard) -> None:
        """Tell every change from now on, and what is there at the beginning."""
        self._heard.append(heard)

    def list(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Return all objects of a kind."""
        found = self._objects.get(kind, {})
        if namespace is None:
            return list(found.values())
        return [obj for (space, _), obj in found.items() if space == namespace]

    def find(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return one object, None if there is none."""
        return self._objects.get(kind, {}).get((namespace, name))

    def complete(self, kind: str) -> bool:
        """Whether a kind has been listed, so that what is not here is not there."""
        return kind in self._begun

    async def run(self) -> None:
        """Keep everything until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for watched in self._watched:
                tasks.create_task(self._keep(watched))

    async def _keep(self, watched: Watched) -> None:
        what = f"watch {watched.kind}"
        while True:
            try:
                await self._follow(watched, what)
            except (KubeError, InfraError) as error:
                self._lacks.lack(what, str(error))
                self._begun.discard(watched.kind)
            await asyncio.sleep(AGAIN_S)

    async def _follow(self, watched: Watched, what: str) -> None:
        """Follow one watch until it fails."""
        watch = self._kube.watch(watched.kind, watched.namespace, from_start=True, patient=True)
        try:
            await self._begin(watch, watched.kind, what)
            async for event, obj in watch:
                self._take(watched.kind, event, obj)
        finally:
            await watch.aclose()

    async def _begin(self, watch: ClusterWatch, kind: str, what: str) -> None:
        """Take what is there; what was known before and is no more has gone meanwhile."""
        ready = asyncio.create_task(watch.ready())
        try:
            done, _ = await asyncio.wait([ready], timeout=PATIENCE_S)
            if not done:
                self._lacks.lack(what, watch.trouble or "no answer yet")
                await ready
        finally:
            ready.cancel()
        gone = dict(self._objects[kind])
        for _ in range(watch.waiting):
            event, obj = await anext(watch)
            gone.pop(_key(obj), None)
            self._take(kind, event, obj)
        for obj in gone.values():
            self._take(kind, "DELETED", obj)
        self._begun.add(kind)
        self._seen.add(kind)
        self._lacks.have(what)

    def _take(self, kind: str, event: str, obj: Object) -> None:
        known, key = self._objects[kind], _key(obj)
        old = known.get(key)
        if event == "DELETED":
            known.pop(key, None)
        elif old is not None and _revision(old) == _revision(obj):
            return
        else:
            known[key] = obj
            made = "ADDED" if kind in self._seen else "LISTED"
            event = made if old is None else "MODIFIED"
        for heard in self._heard:
            heard(event, obj, old)


def _key(obj: Object) -> tuple[str, str]:
    return namespace_of(obj), name_of(obj)


def _revision(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion") or "")
