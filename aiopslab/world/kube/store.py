"""Where the API server keeps objects: revisions, order, the index of owners.

No policy here: ``api`` decides what may be written. A stored object is never changed in place;
every write replaces it, so readers share it without copying. Listing is by namespace and name.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiopslab.world.kube.history import Change, EventType, History
from aiopslab.world.kube.objects import Object, Objects, name_of, namespace_of

_Key = tuple[str, str, str]


class ObjectStore:
    """Objects by kind, namespace and name."""

    __slots__ = ("_objects", "_order", "_owned", "history", "revision")

    def __init__(self) -> None:
        self.revision = 0
        self.history = History()
        self._objects: dict[str, dict[str, dict[str, Object]]] = {}
        self._order: dict[tuple[str, str], list[str]] = {}
        self._owned: dict[str, dict[_Key, None]] = {}

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """Return the object, shared with all other readers."""
        return self._objects.get(kind, {}).get(namespace, {}).get(name)

    def list(self, kind: str, namespace: str | None) -> Objects:
        """Return a kind's objects, of one namespace or (None) of all."""
        spaces = self._objects.get(kind, {})
        if namespace is None:
            return [obj for space in sorted(spaces) for obj in self._ordered(kind, space)]
        return self._ordered(kind, namespace)

    def count(self, kind: str) -> int:
        """Return how many objects of a kind there are."""
        return sum(len(objects) for objects in self._objects.get(kind, {}).values())

    def _ordered(self, kind: str, namespace: str) -> Objects:
        objects = self._objects.get(kind, {}).get(namespace)
        if not objects:
            return []
        names = self._order.get((kind, namespace))
        if names is None:
            names = self._order[kind, namespace] = sorted(objects)
        return [objects[name] for name in names]

    def put(self, obj: Object) -> Object:
        """Store an object under a new revision and return it as stored.

        The metadata is copied, so ``obj`` may share its other parts with an earlier version.
        """
        self.revision += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.revision)}}
        kind, space, name = obj["kind"], namespace_of(obj), name_of(obj)
        objects = self._objects.setdefault(kind, {}).setdefault(space, {})
        old = objects.get(name)
        if old is None:
            self._order.pop((kind, space), None)
        objects[name] = obj
        before, after = _owners(old) if old else [], _owners(obj)
        if before != after:
            self._disown((kind, space, name), before)
            for uid in after:
                self._owned.setdefault(uid, {})[kind, space, name] = None
        event: EventType = "ADDED" if old is None else "MODIFIED"
        self.history.enter(kind, Change(self.revision, event, obj, old))
        return obj

    def remove(self, obj: Object, last: Object) -> Object:
        """Forget an object; returns ``last``, its final state, under the deletion's revision."""
        self.revision += 1
        kind, space, name = obj["kind"], namespace_of(obj), name_of(obj)
        del self._objects[kind][space][name]
        self._order.pop((kind, space), None)
        self._disown((kind, space, name), _owners(obj))
        last = {**last, "metadata": {**last["metadata"], "resourceVersion": str(self.revision)}}
        self.history.enter(kind, Change(self.revision, "DELETED", last, obj))
        return last

    def owned_by(self, uid: str) -> Objects:
        """Return the objects whose owner references name a uid, by kind, namespace, name."""
        keys = sorted(self._owned.get(uid, ()))
        return [self._objects[kind][space][name] for kind, space, name in keys]

    def _disown(self, key: _Key, uids: Iterable[str]) -> None:
        for uid in uids:
            keys = self._owned.get(uid)
            if keys is not None:
                keys.pop(key, None)
                if not keys:
                    del self._owned[uid]


def _owners(obj: Object) -> list[str]:
    return [r["uid"] for r in obj["metadata"].get("ownerReferences") or ()]
