"""The API server: every write of Kubernetes objects goes through here.

Synchronous and in-process; HTTP is put before it by ``wire.kubernetes``. A write passes
authorization, decoding, defaults, admission, validation and the conflict check, is stored under a
new revision, entered into the audit trail, and announced to subscribers. Controllers, scheduler
and kubelet act as ``system:...``: their writes skip decoding and validation, which exist to
protect *them* from outside actors, and because they write often.

Objects are shared, as :mod:`reading` says. Neighbours: ``reading`` (the reads), ``store``
(keeping), ``admission``, ``validation``, ``ownership`` (who manages which field), ``deletion``,
``eviction``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from aiopslab.models.kube import KubeError, PatchType
from aiopslab.seeds import Streams
from aiopslab.world.kube import (
    admission,
    decoding,
    defaults,
    immutability,
    kinds,
    patching,
    scale,
    validation,
)
from aiopslab.world.kube import metadata as metadata_rules
from aiopslab.world.kube.authorization import Policy, authorize
from aiopslab.world.kube.errors import already_exists, conflict, invalid, no_such_resource
from aiopslab.world.kube.journal import Verb
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import (
    Object,
    Objects,
    deleting,
    name_of,
    namespace_of,
    without_nulls,
)
from aiopslab.world.kube.options import DELETE, WRITE, DeleteOptions, Subresource, WriteOptions
from aiopslab.world.kube.reading import ApiReader, space_of

_STATUS_KEPT_ON_CREATE = ("Node", "Namespace", "PersistentVolume", "PersistentVolumeClaim")


def _trusted(actor: str) -> bool:
    return actor.startswith("system:")


@dataclass(frozen=True, slots=True)
class _Write:
    """One change of an object that exists: by whom, and how."""

    actor: str
    verb: Verb
    options: WriteOptions
    subresource: Subresource = ""

    @property
    def trusted(self) -> bool:
        return _trusted(self.actor)


class ApiServer(ApiReader):
    """The cluster's state and its rules.

    Args:
        now: Unix seconds of the world.
        streams: Random streams for uids, name suffixes and addresses.
    """

    def __init__(self, now: Callable[[], float], streams: Streams) -> None:
        super().__init__(now)
        self.allowed: Policy | None = None
        """Rights of actors to write; None allows everything."""
        self._streams = streams.scope("kube-api")
        # Apart, so that an event or a dry run never shifts the uids of other objects.
        self._event_streams = self._streams.scope("events")
        self._dry_run_streams = self._streams.scope("dry-run")

    # -- create -----------------------------------------------------------------------------------

    def create(self, obj: Object, *, actor: str, options: WriteOptions = WRITE) -> Object:
        """Store a new object and return it as stored.

        Raises:
            KubeError: 400, 403, 404 (namespace), 409 or 422.
        """
        kind = decoding.kind_of(obj)
        new = without_nulls(obj) if _trusted(actor) else decoding.read(kind, obj, options)
        metadata = new.setdefault("metadata", {})
        if kind.namespaced:
            metadata.setdefault("namespace", "default")
        else:
            metadata.pop("namespace", None)
        authorize(self.allowed, actor, "create", kind, namespace_of(new), metadata.get("name", ""))
        admission.check_namespace(kind, new, self.store)
        streams = self._dry_run_streams if options.dry_run else self._streams
        metadata_rules.stamp(kind, new, self.now(), streams)
        self._admit(kind, new, actor, streams)
        if self.store.get(kind.kind, namespace_of(new), name_of(new)) is not None:
            raise already_exists(kind, name_of(new))
        if options.dry_run:
            return new
        stored = self.store.put(new)
        self._journal.record(self.now(), actor, "create", None, stored)
        self._journal.announce("ADDED", stored, None)
        return stored

    def _admit(self, kind: Kind, new: Object, actor: str, streams: Streams) -> None:
        """Apply defaults and admission to a new object, and validate it."""
        if not _trusted(actor) and kind.kind not in _STATUS_KEPT_ON_CREATE:
            new.pop("status", None)
        defaults.apply(kind, new)
        admission.prepare(kind, new, self.store)
        if not _trusted(actor):
            _validate(kind, new)
        if kind.kind == "Service":
            admission.allocate_service(new, self.store, streams("services"))
        admission.check_quota(kind, new, self.store)

    # -- change -----------------------------------------------------------------------------------

    def replace(
        self,
        obj: Object,
        *,
        subresource: Subresource = "",
        actor: str,
        options: WriteOptions = WRITE,
    ) -> Object:
        """Replace an object's metadata and spec, its status stays; or, as said, its status only.

        Returns it as stored. A Scale is replaced by :meth:`replace_scale`.

        Raises:
            KubeError: 400, 403, 404, 409 (stale resourceVersion) or 422.
        """
        kind = decoding.kind_of(obj)
        new = without_nulls(obj) if _trusted(actor) else decoding.read(kind, obj, options)
        metadata = new.setdefault("metadata", {})
        if kind.namespaced:
            metadata.setdefault("namespace", "default")
        namespace, name = namespace_of(new), name_of(new)
        authorize(self.allowed, actor, "update", kind, namespace, name)
        old = self.get(kind.kind, name, namespace)
        return self._update(kind, old, new, _Write(actor, "update", options, subresource))

    def replace_scale(
        self,
        kind: str,
        name: str,
        wanted: Object,
        *,
        namespace: str | None = None,
        actor: str,
        options: WriteOptions = WRITE,
    ) -> Object:
        """Replace the ``scale`` subresource of a workload; returns it as it is now.

        Raises:
            KubeError: 400, 403, 404, 409 or 422.
        """
        served = self.kind(kind)
        authorize(self.allowed, actor, "update", served, space_of(served, namespace), name)
        self.get_scale(kind, name, namespace)
        decoded = decoding.read(scale.KIND, wanted, options)
        old = self.get(kind, name, namespace)
        new = scale.apply(served, old, decoded)
        return scale.of(self._update(served, old, new, _Write(actor, "update", options, "scale")))

    def patch(
        self,
        kind: str,
        name: str,
        patch: Any,
        *,
        namespace: str | None = None,
        type: PatchType = "strategic",
        subresource: Subresource = "",
        actor: str,
        options: WriteOptions = WRITE,
    ) -> Object:
        """Patch an object and return it as stored; with ``subresource="scale"``, its Scale.

        Raises:
            KubeError: 400, 403, 404, 409 or 422; a strategic patch that cannot be merged is 500,
                as on the real server.
        """
        served = self.kind(kind)
        authorize(self.allowed, actor, "patch", served, space_of(served, namespace), name)
        old = self.get(kind, name, namespace)
        if subresource == "scale":
            current = self.get_scale(kind, name, namespace)
            changed = patching.apply(scale.KIND.schema, current, patch, type)
            changed = decoding.read_patched(scale.KIND, changed, patch, options)
            new = scale.apply(served, old, changed)
        else:
            new = patching.apply(served.schema, old, patch, type)
            new = decoding.read_patched(served, new, patch, options)
        stored = self._update(served, old, new, _Write(actor, "patch", options, subresource))
        return scale.of(stored) if subresource == "scale" else stored

    def _update(self, kind: Kind, old: Object, new: Object, write: _Write) -> Object:
        """Bring a changed copy of ``old`` through the rules and store it."""
        if write.subresource == "status":
            new = _only_status(kind, old, new)
        else:
            metadata_rules.carry_over(kind, old, new)
        defaults.apply(kind, new)
        if new == old:
            return old
        if not write.trusted:
            status = write.subresource == "status"
            causes = validation.check(kind, new, status=status)
            causes += immutability.check(kind, old, new)
            if causes:
                raise invalid(kind, name_of(old), causes)
        if kind.kind == "Service":
            streams = self._dry_run_streams if write.options.dry_run else self._streams
            admission.allocate_service(new, self.store, streams("services"))
        if new.get("spec") != old.get("spec") and "generation" in old["metadata"]:
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        if write.options.dry_run:
            return new
        if metadata_rules.gone(kind, new):
            return self._remove(old, new, write.verb, write.actor)
        stored = self.store.put(new)
        self._journal.record(self.now(), write.actor, write.verb, old, stored)
        self._journal.announce("MODIFIED", stored, old)
        return stored

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
        stored = self.store.put({**old, "status": status})
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
        self._journal.announce("MODIFIED", stored, old)
        return stored

    # -- delete -----------------------------------------------------------------------------------

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        actor: str,
        options: DeleteOptions = DELETE,
    ) -> Object:
        """Delete an object, or mark it for deletion; returns its last state.

        A pod on a node is marked and goes when the kubelet deletes it with a grace of 0. Objects
        with finalizers are marked and go when the last one is taken off.

        Raises:
            KubeError: 403, 404, or 409 for a precondition.
        """
        served = self.kind(kind)
        authorize(self.allowed, actor, "delete", served, space_of(served, namespace), name)
        old = self.get(kind, name, namespace)
        metadata_rules.check_preconditions(served, old, options)
        marked = {**old, "metadata": dict(old["metadata"])}
        metadata_rules.mark_deleted(served, marked, self.now(), options)
        if options.dry_run:
            return marked
        if metadata_rules.gone(served, marked):
            return self._remove(old, marked, "delete", actor)
        if marked == old:
            return old
        stored = self.store.put(marked)
        self._journal.record(self.now(), actor, "delete", old, stored)
        self._journal.announce("MODIFIED", stored, old)
        return stored

    def delete_collection(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        actor: str,
        options: DeleteOptions = DELETE,
    ) -> Objects:
        """Delete what a list with these selectors shows; returns the last states.

        Raises:
            KubeError: 403, or as ``list``.
        """
        served = self.kind(kind)
        where = (namespace or "") if served.namespaced else ""
        authorize(self.allowed, actor, "deletecollection", served, where, "")
        found = self.list(kind, namespace, labels=labels, fields=fields)
        each = replace(options, uid="", resource_version="")
        return [
            self.delete(kind, name_of(obj), namespace_of(obj), actor=actor, options=each)
            for obj in found
        ]

    def _remove(self, old: Object, last: Object, verb: Verb, actor: str) -> Object:
        last = self.store.remove(old, last)
        self._journal.record(self.now(), actor, verb, old, None)
        self._journal.announce("DELETED", last, old)
        return last

    # -- events -----------------------------------------------------------------------------------

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


def _validate(kind: Kind, obj: Object) -> None:
    causes = validation.check(kind, obj)
    if causes:
        raise invalid(kind, name_of(obj), causes)


def _only_status(kind: Kind, old: Object, new: Object) -> Object:
    """Return ``old`` with the status of ``new``: all that a write of the status may change.

    Raises:
        KubeError: 404, the kind has no status; 409, ``new`` was made from a stale copy.
    """
    if not kind.has_status:
        raise no_such_resource()
    version = new["metadata"].get("resourceVersion")
    if version not in (None, "", old["metadata"]["resourceVersion"]):
        raise conflict(kind, name_of(old))
    return {**old, "metadata": dict(old["metadata"]), "status": new.get("status", {})}
