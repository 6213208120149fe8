"""The observer put together: what is watched, asked, taken in and recorded.

Not here: HTTP (``serving``), the command (``__main__``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from aiopslab.environments.cluster.connection import Connection, Request
from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.telemetry import Telemetry
from aiopslab.errors import InfraError, first_of
from aiopslab.models.app import App
from aiopslab.models.kube import KubeError, Object
from aiopslab.models.signal import Change
from aiopslab.observer import kubelet
from aiopslab.observer.changes import Changes
from aiopslab.observer.events import event_of
from aiopslab.observer.forwarding import Forwarding, Take
from aiopslab.observer.intake import Intake
from aiopslab.observer.kubelet import NodeFigures
from aiopslab.observer.lacks import Lacks
from aiopslab.observer.mirror import Mirror, Watched
from aiopslab.observer.pods import Pods
from aiopslab.observer.pushed import PushedMetrics
from aiopslab.observer.recording import Recording
from aiopslab.observer.rounds import Nodes, Pace, Rounds, Stores
from aiopslab.observer.stores.asking import StoreAsking
from aiopslab.observer.tailing import Tailing
from aiopslab.telemetry.rules import load_rules
from aiopslab.wire.board import Board
from aiopslab.world.discovery import Found
from aiopslab.world.kube.objects import name_of
from aiopslab.world.kube.snapshot import declared_kinds
from aiopslab.world.kube_state import KINDS

ASK_S = 4.0
"""Seconds that kubelets and stores have to answer in a round."""
_STANDING_AGAIN_S = 1.0


def watched(namespace: str) -> list[Watched]:
    """Return what an observer watches: the app's objects, and the nodes."""
    kinds = {kind.kind for kind in declared_kinds()} | set(KINDS) | {"Pod", "Event"}
    return [Watched(kind, None if kind == "Node" else namespace) for kind in sorted(kinds)]


class Observer:
    """Observes one app on one cluster.

    Args:
        app: The app, with the namespace it is in.
        connection: The way to the API server.
        now: Unix seconds.
        lacks: Is told what is missing.
        limit: Bytes that a recording may hold.
        forward: Collector that OTLP is passed on to; empty: none.
    """

    def __init__(
        self,
        app: App,
        connection: Connection,
        now: Callable[[], float],
        lacks: Lacks,
        *,
        limit: int,
        forward: str = "",
    ) -> None:
        self.now = now
        self.lacks = lacks
        self._app = app
        self._connection = connection
        self._limit = limit
        self._groups = load_rules(journey.entry for journey in app.journeys.values())
        kube = ClusterKube(connection, now=now)
        self.mirror = Mirror(kube, watched(app.namespace), lacks)
        self.pods = Pods(self.mirror, app.namespace)
        self.pushed = PushedMetrics(self.pods, now)
        self.recording = self._anew()
        self.board = Board()
        """What the lab tells the app's processes."""
        self.intake = Intake(lambda: self.recording, self.pods, self.pushed, now, lacks)
        self._forwarding = Forwarding(forward, lacks) if forward else None
        self._changes = Changes(app, self._changed, now)
        self._stores = StoreAsking(app, self.mirror, self._fetched, lacks)
        self._tailing = Tailing(
            connection, self.pods, self.intake, lambda: self.recording, lacks
        )  # fmt: skip
        self.pace = Pace(
            lambda: self._rounds, lambda: self.recording, self, self.pods, now, lacks
        )  # fmt: skip
        for heard in (self._event, self._changes.heard, self._tailing.heard):
            self.mirror.on_change(heard)

    @property
    def telemetry(self) -> Telemetry:
        """What the monitoring APIs tell."""
        return self.recording.telemetry

    def begin(self, *, clear: bool) -> None:
        """From now on writes are changes.

        Args:
            clear: Also forget what was recorded so far.
        """
        if clear:
            self.recording = self._anew()
            self._changes.begun = False
        self._changes.begin()

    @property
    def take(self) -> Take:
        """What takes in OTLP."""
        if self._forwarding is None:
            return self.intake.take
        return self._forwarding.beside(self.intake.take)

    async def run(self) -> None:
        """Observe until cancelled; a part that fails is counted and begun again."""
        parts = {"watches": self.mirror.run, "rounds": self.pace.run}
        if self._forwarding is not None:
            parts["collector"] = self._forwarding.run
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, part in parts.items():
                    tasks.create_task(self._standing(name, part))
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """End what is open."""
        await self._tailing.aclose()
        await self._stores.aclose()

    async def _standing(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await part()
            except Exception as error:
                cause = first_of(error)
                self.lacks.lack(name, f"{type(cause).__name__}: {cause}")
                await asyncio.sleep(_STANDING_AGAIN_S)

    async def _fetched(self, request: Request) -> str:
        return await self._connection.run(self._connection.text, request)

    def _anew(self) -> Recording:
        recording = Recording(self._groups, self.now, limit=self._limit)
        self._rounds = Rounds(recording, self.mirror, self.pods, self.pushed)
        return recording

    def _changed(self, change: Change) -> None:
        self.recording.store.change(change)

    def _event(self, event: str, obj: Object, old: Object | None) -> None:
        if obj.get("kind") != "Event" or event == "DELETED":
            return
        found = event_of(obj)
        if found is not None and found.time >= self.recording.began - 1.0:
            self.recording.store.event(found)

    # -- rounds.Sources ---------------------------------------------------------------------------

    async def nodes(self, time: float) -> Nodes:
        """Ask every kubelet."""
        names = sorted(name_of(node) for node in self.mirror.list("Node"))
        async with asyncio.TaskGroup() as tasks:
            asked = {name: tasks.create_task(self._node(name, time)) for name in names}
        return {name: task.result() for name, task in asked.items()}

    async def _node(self, name: str, time: float) -> NodeFigures | None:
        what = f"kubelet {name}"
        try:
            async with asyncio.timeout(ASK_S):
                found = await self._connection.run(
                    kubelet.ask, self._connection, name, self._app.namespace, time
                )
        except TimeoutError:
            self.lacks.lack(what, f"no answer in {ASK_S:g} s")
        except (KubeError, InfraError) as error:
            self.lacks.lack(what, str(error))
        else:
            self.lacks.have(what)
            return found
        return None

    async def stores(self, found: Iterable[Found]) -> Stores:
        """Ask those of the targets that are stores."""
        return await self._stores.ask(found, ASK_S)
