"""The short ways into the API server for the cluster's own components.

Status writes, bindings and events come many times a second and are trusted to be well formed: no
decoding, no validation, no audit. Not here: what anybody else may do (``api``).
"""

from __future__ import annotations

from collections.abc import Callable

from aiopslab.models.kube import KubeError
from aiopslab.seeds import Streams
from aiopslab.world.kube import kinds
from aiopslab.world.kube import metadata as metadata_rules
from aiopslab.world.kube.authorization import Policy, authorize
from aiopslab.world.kube.objects import Object, deleting, name_of, namespace_of
from aiopslab.world.kube.patches import ownership
from aiopslab.world.kube.reading import ApiReader
from aiopslab.world.kube.webhooks import Webhooks


def is_component(actor: str) -> bool:
    """Whether an actor is a part of the cluster, which is trusted to write what is well formed.

    Service accounts beside the controllers' stand for whatever runs in a pod, and are not.
    """
    if actor.startswith("system:serviceaccount:"):
        return actor.startswith("system:serviceaccount:kube-system:")
    return actor.startswith("system:")


class ComponentApi(ApiReader):
    """What controllers, scheduler and kubelets write by the short way.

    Args:
        now: Unix seconds of the world.
        streams: Random streams for uids, name suffixes and addresses.
    """

    def __init__(self, now: Callable[[], float], streams: Streams) -> None:
        super().__init__(now)
        self.allowed: Policy | None = None
        """Rights of actors to write; None allows everything."""
        self.webhooks = Webhooks(self.store)
        """Programs that are asked before an object is stored."""
        self._streams = streams.scope("kube-api")
        # Apart, so that an event or a dry run never shifts the uids of other objects.
        self._event_streams = self._streams.scope("events")
        self._dry_run_streams = self._streams.scope("dry-run")

    def update_status(
        self, kind: str, name: str, namespace: str | None, status: Object, *, actor: str
    ) -> Object:
        """Replace an object's status: the short way for the cluster's own components.

        Keeps generation; a status that is equal keeps the revision. The caller gives the dict
        away: it is stored as it is. Outsiders use ``replace`` or ``patch`` on ``status``.

        Raises:
            KubeError: 404.
        """
        old = self.get(kind, name, namespace)
        if old.get("status") == status:
            return old
        new = {**old, "status": status}
        entries = old["metadata"].get("managedFields") or ()
        if any(entry.get("subresource") == "status" for entry in entries):
            entries = ownership.reported(self.kind(kind), old, new)
            new["metadata"] = {**old["metadata"], "managedFields": entries}
        stored = self.store.put(new)
        self._journal.announce("MODIFIED", stored, old)
        return stored

    def bind(self, name: str, namespace: str, node: str, *, actor: str) -> Object:
        """Assign a pod to a node: the scheduler's ``binding`` subresource.

        Raises:
            KubeError: 403, 404; 409 if it is assigned already or being deleted.
        """
        authorize(self.allowed, actor, "create", self.kind("Pod"), namespace, name)
        old = self.get("Pod", name, namespace)
        if old["spec"].get("nodeName") or deleting(old):
            state = "being deleted" if deleting(old) else "already assigned to a node"
            message = (
                f'Operation cannot be fulfilled on pods/binding "{name}": pod {name} is {state}'
            )
            raise KubeError(409, "Conflict", message, {"name": name, "kind": "pods/binding"})
        stored = self.store.put({**old, "spec": {**old["spec"], "nodeName": node}})
        if not is_component(actor):
            self._journal.record(self.now(), actor, "update", old, stored)
        self._journal.announce("MODIFIED", stored, old)
        return stored

    def store_event(self, event: Object) -> Object:
        """Store an Event object, new or counted up: the recorder's short way in."""
        old = self.store.get("Event", namespace_of(event), name_of(event))
        if old is None:
            kind = kinds.BY_KIND["Event"]
            metadata_rules.stamp(kind, event, self.now(), self._event_streams)
        stored = self.store.put(event)
        self._journal.announce("ADDED" if old is None else "MODIFIED", stored, old)
        return stored

    def drop_event(self, name: str, namespace: str) -> None:
        """Forget an Event object whose time is over; no-op if it is gone already."""
        old = self.store.get("Event", namespace, name)
        if old is not None:
            self._journal.announce("DELETED", self.store.remove(old, old), old)
