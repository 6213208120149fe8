"""Who hears of writes: subscribers of a kind, and the audit trail.

The audit trail holds writes of desired state, with the object before and after; objects are
never changed in place, so holding them costs a reference. Status writes and heartbeats would
drown it and are left out. Neighbour: ``api``, the only writer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from aiopslab.world.kube.history import EventType
from aiopslab.world.kube.objects import Object, name_of, namespace_of

Verb = Literal["create", "update", "patch", "delete"]
Subscriber = Callable[[EventType, Object, Object | None], None]
"""Called with (event, object, previous object) after the commit."""

_UNAUDITED = ("Event", "Lease", "Endpoints", "EndpointSlice")
"""Kinds written only by the cluster itself, many times a minute."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One accepted write of desired state."""

    time: float
    actor: str
    verb: Verb
    kind: str
    namespace: str
    name: str
    before: Object | None
    after: Object | None


class Journal:
    """Delivers each commit to its subscribers, in commit order."""

    __slots__ = ("_announcing", "_pending", "_subscribers", "audit", "on_audit")

    def __init__(self) -> None:
        self.audit: list[AuditEntry] = []
        self.on_audit: list[Callable[[AuditEntry], None]] = []
        self._subscribers: dict[str, list[Subscriber]] = {}
        self._pending: deque[tuple[EventType, Object, Object | None]] = deque()
        self._announcing = False

    def subscribe(self, kind: str, callback: Subscriber) -> Callable[[], None]:
        """Deliver a kind's changes to a callback; returns the function that ends it."""
        callbacks = self._subscribers.setdefault(kind, [])
        callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in callbacks:
                callbacks.remove(callback)

        return unsubscribe

    def announce(self, event: EventType, obj: Object, old: Object | None) -> None:
        """Tell the subscribers. A write made inside a callback is announced after this one."""
        self._pending.append((event, obj, old))
        if self._announcing:
            return
        self._announcing = True
        try:
            while self._pending:
                change = self._pending.popleft()
                for callback in tuple(self._subscribers.get(change[1]["kind"], ())):
                    callback(*change)
        finally:
            self._announcing = False

    def record(
        self, time: float, actor: str, verb: Verb, before: Object | None, after: Object | None
    ) -> None:
        """Enter a write into the audit trail, unless its kind is not audited."""
        obj = after if after is not None else before
        if obj is None or obj["kind"] in _UNAUDITED:
            return
        entry = AuditEntry(
            time, actor, verb, obj["kind"], namespace_of(obj), name_of(obj), before, after
        )
        self.audit.append(entry)
        for callback in self.on_audit:
            callback(entry)
