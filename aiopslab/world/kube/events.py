"""Events: what components tell operators about objects.

Repeats of the same message about the same object are counted, not duplicated; entries go after an
hour, as on a real cluster. Listeners (telemetry) hear every occurrence. Event objects bypass
validation and audit: they are written often, and only from here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from aiopslab.models.signal import Event
from aiopslab.models.timestamps import rfc3339
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.objects import Object, dig, name_of, namespace_of, uid_of

TTL_S = 3600.0
"""How long an event is kept after its last occurrence."""

_Same = tuple[str, str, str, str, str, str]


class EventRecorder:
    """Writes Event objects and tells listeners."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._known: OrderedDict[_Same, tuple[str, str, float]] = OrderedDict()
        self._listeners: list[Callable[[Event], None]] = []

    def on_event(self, callback: Callable[[Event], None]) -> None:
        """Call back synchronously on every occurrence, repeats included."""
        self._listeners.append(callback)

    def record_event(
        self,
        involved: Object,
        type: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        component: str,
        *,
        field_path: str = "",
    ) -> Object:
        """Record one occurrence and return the Event object as stored.

        Args:
            involved: The object it is about; its kind, name, namespace and uid are kept.
            type: ``Warning`` for what an operator should look at.
            reason: CamelCase word: ``BackOff``.
            message: The sentence.
            component: Who reports: ``kubelet``.
            field_path: Part of the object, such as ``spec.containers{web}``.
        """
        now = self._api.now()
        self._expire(now)
        same = (uid_of(involved) or name_of(involved), type, reason, message, component, field_path)
        known = self._known.pop(same, None)
        old = self._api.find("Event", known[1], known[0]) if known else None
        if old is not None:
            event = {**old, "count": old.get("count", 1) + 1, "lastTimestamp": rfc3339(now)}
        else:
            event = self._new(involved, now, field_path)
        # Anybody may have changed the object meanwhile, and left parts out.
        event |= {"type": type, "reason": reason, "message": message}
        event |= _reporter(involved, component)
        stored = self._api.store_event(event)
        self._known[same] = (namespace_of(stored), name_of(stored), now)
        self._announce(stored, involved)
        return stored

    def _announce(self, stored: Object, involved: Object) -> None:
        record = Event(
            time=self._api.now(),
            type=stored["type"],
            reason=stored["reason"],
            namespace=namespace_of(stored),
            kind=involved["kind"],
            name=name_of(involved),
            message=stored["message"],
            component=stored["source"]["component"],
            count=stored["count"],
        )
        for listener in self._listeners:
            listener(record)

    def _new(self, involved: Object, now: float, field_path: str) -> Object:
        namespace = namespace_of(involved) or "default"
        reference = {
            "apiVersion": involved["apiVersion"],
            "kind": involved["kind"],
            "name": name_of(involved),
            "namespace": namespace_of(involved),
            "uid": uid_of(involved),
            "resourceVersion": involved["metadata"].get("resourceVersion", ""),
        }
        if field_path:
            reference["fieldPath"] = field_path
        # A real suffix is the time in nanoseconds. Two events of one object may share a virtual
        # instant, so the revision, which every event raises, joins in.
        suffix = int(now) * 10**9 + int(now % 1 * 1e6) * 1000 + self._api.revision
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name_of(involved)}.{suffix:x}", "namespace": namespace},
            "involvedObject": {k: v for k, v in reference.items() if v},
            "firstTimestamp": rfc3339(now),
            "lastTimestamp": rfc3339(now),
            "count": 1,
        }

    def _expire(self, now: float) -> None:
        """Drop what has not occurred for :data:`TTL_S`; the oldest comes first."""
        while self._known:
            namespace, name, last = next(iter(self._known.values()))
            if now - last < TTL_S:
                return
            self._known.popitem(last=False)
            self._api.drop_event(name, namespace)


def _reporter(involved: Object, component: str) -> Object:
    """Return who reports; the kubelet adds its node."""
    source = {"component": component}
    if component == "kubelet" and dig(involved, "spec", "nodeName"):
        source["host"] = involved["spec"]["nodeName"]
    return {"source": source, "reportingComponent": component}
