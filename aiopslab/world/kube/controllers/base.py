"""What every controller is built from: its surroundings, subscriptions, a queue, status writes.

Not here: any decision about any kind of object. Neighbours: ``queue`` (when), ``control_plane``
(which controllers run), the API server (the only way controllers talk to each other).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from aiopslab.seeds import Streams
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.controllers.queue import Key, WorkQueue
from aiopslab.world.kube.events import EventRecorder
from aiopslab.world.kube.objects import Object, controller_of, name_of, namespace_of

EventKind = Literal["Normal", "Warning"]

REACTION_S = (0.010, 0.050)
"""Range of the time from a change to the reconcile it causes: watch latency plus queueing."""


@dataclass(slots=True)
class Surroundings:
    """What controllers are given."""

    api: ApiServer
    loop: VirtualLoop
    streams: Streams
    recorder: EventRecorder


class Controller(ABC):
    """One reconcile loop.

    Subclasses name themselves, subscribe in ``watch`` and implement ``reconcile``, which reads
    the object's state as it is now and makes one step towards the state asked for.
    """

    name: ClassVar[str]
    """Component in events; the actor in the audit trail is its service account."""

    def __init__(self, around: Surroundings) -> None:
        self.api = around.api
        self.loop = around.loop
        self.recorder = around.recorder
        self.actor = f"system:serviceaccount:kube-system:{self.name}"
        draw = around.streams("controllers", self.name)
        self.queue = WorkQueue(around.loop, self._process, lambda: draw.uniform(*REACTION_S))

    def start(self) -> None:
        """Subscribe, and look at everything that exists."""
        self.watch()

    @abstractmethod
    def watch(self) -> None:
        """Subscribe to the kinds this controller reacts to."""

    @abstractmethod
    def reconcile(self, namespace: str, name: str) -> None:
        """Make one step for one object.

        Raises:
            KubeError: The API server refused a write; the key comes back after a back-off.
        """

    def _process(self, key: Key) -> None:
        self.reconcile(*key)

    # -- subscriptions ----------------------------------------------------------------------------

    def follow(self, kind: str, keys: Callable[[Object], list[Key]]) -> None:
        """Enqueue what ``keys`` names, for each change of a kind and each object there is."""

        def changed(_event: str, obj: Object, old: Object | None) -> None:
            for key in keys(obj):
                self.queue.add(key)
            if old is not None and old is not obj:
                for key in keys(old):
                    self.queue.add(key)

        self.api.subscribe(kind, changed)
        for obj in self.api.list(kind):
            changed("ADDED", obj, None)

    def follow_own(self, kind: str) -> None:
        """Enqueue every object of a kind when it changes."""
        self.follow(kind, lambda obj: [(namespace_of(obj), name_of(obj))])

    def follow_children(self, kind: str, owner_kind: str) -> None:
        """Enqueue the controlling owner when a child changes."""

        def owner_key(obj: Object) -> list[Key]:
            owner = controller_of(obj)
            if owner is None or owner["kind"] != owner_kind:
                return []
            return [(namespace_of(obj), owner["name"])]

        self.follow(kind, owner_key)

    # -- the API ----------------------------------------------------------------------------------

    def now(self) -> float:
        """Unix seconds of the world."""
        return self.loop.time()

    def find(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """Get an object, None if there is none."""
        return self.api.find(kind, name, namespace)

    def children(self, owner: Object, kind: str) -> list[Object]:
        """List the objects of a kind that ``owner`` controls, by name."""
        uid = owner["metadata"]["uid"]
        found = [
            obj
            for obj in self.api.owned_by(uid)
            if obj["kind"] == kind and (controller_of(obj) or {}).get("uid") == uid
        ]
        return sorted(found, key=name_of)

    def write_status(self, obj: Object, status: Object) -> None:
        """Write a status if it differs from the stored one."""
        if obj.get("status") != status:
            namespace = namespace_of(obj) or None
            self.api.update_status(obj["kind"], name_of(obj), namespace, status, actor=self.actor)

    def event(self, obj: Object, kind: EventKind, reason: str, message: str) -> None:
        """Record an event about an object; ``kind`` is Normal or Warning."""
        self.recorder.record_event(obj, kind, reason, message, self.name)
