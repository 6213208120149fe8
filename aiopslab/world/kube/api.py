"""The API server: every read and write of Kubernetes objects goes through here.

Synchronous and in-process; there is no HTTP surface. A write passes authorization, strict
decoding, defaults, admission, validation and the conflict check, is stored under a new revision,
entered into the audit trail, and announced to subscribers. Controllers, scheduler and kubelet act
as ``system:...``: their writes skip decoding and validation, which exist to protect *them* from
outside actors, and because they write often.

Objects are shared: what ``get`` and ``list`` return is the stored dict itself. Never change it;
:func:`objects.clone` first. Neighbours: ``store`` (keeping), ``admission``, ``validation``,
``scale`` (the subresource), ``watch``. Server-side apply and ``managedFields`` are not modelled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

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
    selectors,
    validation,
)
from aiopslab.world.kube import metadata as metadata_rules
from aiopslab.world.kube.authorization import Policy, authorize
from aiopslab.world.kube.errors import (
    already_exists,
    invalid,
    no_such_kind,
    no_such_resource,
    not_found,
)
from aiopslab.world.kube.journal import AuditEntry, Journal, Subscriber, Verb
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.metadata import Propagation
from aiopslab.world.kube.objects import (
    Object,
    Objects,
    deleting,
    name_of,
    namespace_of,
    without_nulls,
)
from aiopslab.world.kube.store import ObjectStore
from aiopslab.world.kube.watch import Watch

_STATUS_KEPT_ON_CREATE = ("Node", "Namespace", "PersistentVolume", "PersistentVolumeClaim")


def _trusted(actor: str) -> bool:
    return actor.startswith("system:")


class ApiServer:
    """The cluster's state and its rules.

    Args:
        now: Unix seconds of the world.
        streams: Random streams for uids, name suffixes and addresses.
    """

    def __init__(self, now: Callable[[], float], streams: Streams) -> None:
        self.now = now
        self.store = ObjectStore()
        self._journal = Journal()
        self.allowed: Policy | None = None
        """Rights of actors to write; None allows everything."""
        self._streams = streams.scope("kube-api")
        # Apart, so that an event or a dry run never shifts the uids of other objects.
        self._event_streams = self._streams.scope("events")
        self._dry_run_streams = self._streams.scope("dry-run")

    @property
    def audit(self) -> list[AuditEntry]:
        """Every accepted write of desired state, oldest first."""
        return self._journal.audit

    @property
    def on_audit(self) -> list[Callable[[AuditEntry], None]]:
        """Callbacks for new audit entries; append yours."""
        return self._journal.on_audit

    @property
    def revision(self) -> int:
        """The revision of the latest write."""
        return self.store.revision

    # -- reads ------------------------------------------------------------------------------------

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """Return one object. ``kind`` may be any name kubectl takes.

        Raises:
            KubeError: 404, unknown kind or object.
        """
        served = self.kind(kind)
        obj = self.store.get(served.kind, _space(served, namespace), name)
        if obj is None:
            raise not_found(served, name)
        return obj

    def find(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """Return one object, or None if there is none."""
        served = self.kind(kind)
        return self.store.get(served.kind, _space(served, namespace), name)

    def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Objects:
        """Return objects by namespace and name; None as namespace means all.

        Args:
            kind: Any name kubectl takes.
            namespace: Ignored for cluster-scoped kinds.
            labels: Label selector: ``app=web,tier in (a,b)``.
            fields: Field selector: ``status.phase=Running``.

        Raises:
            KubeError: 404 for the kind, 400 for a selector.
        """
        served = self.kind(kind)
        found = self.store.list(served.kind, namespace if served.namespaced else "")
        if labels:
            selector = selectors.parse_labels(labels)
            found = [
                o for o in found if selectors.matches(selector, o["metadata"].get("labels") or {})
            ]
        if fields:
            terms = selectors.parse_fields(fields, served.kind)
            found = [o for o in found if all(term.matches(o) for term in terms)]
        return found

    def owned_by(self, uid: str) -> Objects:
        """Return the objects that have an owner reference to this uid."""
        return self.store.owned_by(uid)

    def get_scale(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """Return the ``scale`` subresource (autoscaling/v1 Scale) of a workload.

        Raises:
            KubeError: 404, also for kinds that cannot be scaled.
        """
        if not self.kind(kind).scale:
            raise no_such_resource()
        return scale.of(self.get(kind, name, namespace))

    def kind(self, name: str) -> Kind:
        """Look a kind up.

        Raises:
            KubeError: 404, not served.
        """
        found = kinds.find(name)
        if found is None:
            raise no_such_kind(name)
        return found

    # -- following --------------------------------------------------------------------------------

    def subscribe(self, kind: str, callback: Subscriber) -> Callable[[], None]:
        """Call back after every commit of a kind; returns the function that ends it.

        Callbacks run synchronously in subscription order. Writes made inside one are announced
        after the present announcement, so every subscriber sees all changes in commit order.
        """
        return self._journal.subscribe(self.kind(kind).kind, callback)

    def watch(self, kind: str, namespace: str | None = None) -> Watch:
        """Iterate (asynchronously) over (event, object) from now on; close it when done."""
        return Watch(lambda deliver: self.subscribe(kind, deliver), namespace)

    # -- create -----------------------------------------------------------------------------------

    def create(self, obj: Object, *, actor: str, dry_run: bool = False) -> Object:
        """Store a new object and return it as stored.

        Raises:
            KubeError: 400, 403, 404 (namespace), 409 or 422.
        """
        kind = decoding.kind_of(obj)
        new = without_nulls(obj) if _trusted(actor) else decoding.read(kind, obj)
        metadata = new.setdefault("metadata", {})
        if kind.namespaced:
            metadata.setdefault("namespace", "default")
        else:
            metadata.pop("namespace", None)
        authorize(self.allowed, actor, "create", kind, namespace_of(new), metadata.get("name", ""))
        admission.check_namespace(kind, new, self.store)
        streams = self._dry_run_streams if dry_run else self._streams
        metadata_rules.stamp(kind, new, self.now(), streams)
        self._admit(kind, new, actor, streams)
        if self.store.get(kind.kind, namespace_of(new), name_of(new)) is not None:
            raise already_exists(kind, name_of(new))
        if dry_run:
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

    def replace(self, obj: Object, *, actor: str, dry_run: bool = False) -> Object:
        """Replace an object's metadata and spec; its status stays. Returns it as stored.

        Raises:
            KubeError: 400, 403, 404, 409 (stale resourceVersion) or 422.
        """
        kind = decoding.kind_of(obj)
        new = without_nulls(obj) if _trusted(actor) else decoding.read(kind, obj)
        metadata = new.setdefault("metadata", {})
        if kind.namespaced:
            metadata.setdefault("namespace", "default")
        namespace, name = namespace_of(new), name_of(new)
        authorize(self.allowed, actor, "update", kind, namespace, name)
        old = self.get(kind.kind, name, namespace)
        return self._update(kind, old, new, verb="update", actor=actor, dry_run=dry_run)

    def patch(
        self,
        kind: str,
        name: str,
        patch: Any,
        *,
        namespace: str | None = None,
        type: PatchType = "strategic",
        subresource: Literal["", "scale"] = "",
        actor: str,
        dry_run: bool = False,
    ) -> Object:
        """Patch an object and return it as stored; with ``subresource="scale"``, its Scale.

        Raises:
            KubeError: 400, 403, 404, 409 or 422; a strategic patch that cannot be merged is 500,
                as on the real server.
        """
        served = self.kind(kind)
        authorize(self.allowed, actor, "patch", served, _space(served, namespace), name)
        old = self.get(kind, name, namespace)
        if subresource:
            current = self.get_scale(kind, name, namespace)
            changed = patching.apply(scale.KIND.schema, current, patch, type)
            changed = decoding.read_patched(scale.KIND, changed, patch)
            new = scale.apply(served, old, changed)
        else:
            new = patching.apply(served.schema, old, patch, type)
        new = decoding.read_patched(served, new, patch)
        stored = self._update(served, old, new, verb="patch", actor=actor, dry_run=dry_run)
        return scale.of(stored) if subresource else stored

    def _update(
        self, kind: Kind, old: Object, new: Object, *, verb: Verb, actor: str, dry_run: bool
    ) -> Object:
        """Bring a changed copy of ``old`` through the rules and store it."""
        metadata_rules.carry_over(kind, old, new)
        defaults.apply(kind, new)
        if new == old:
            return old
        if not _trusted(actor):
            causes = validation.check(kind, new) + immutability.check(kind, old, new)
            if causes:
                raise invalid(kind, name_of(new), causes)
        if kind.kind == "Service":
            admission.allocate_service(new, self.store, self._streams("services"))
        if new.get("spec") != old.get("spec") and "generation" in old["metadata"]:
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        if dry_run:
            return new
        if metadata_rules.gone(kind, new):
            return self._remove(old, new, verb, actor)
        stored = self.store.put(new)
        self._journal.record(self.now(), actor, verb, old, stored)
        self._journal.announce("MODIFIED", stored, old)
        return stored

    def update_status(
        self, kind: str, name: str, namespace: str | None, status: Object, *, actor: str
    ) -> Object:
        """Replace an object's status. Keeps generation; a status that is equal keeps the revision.

        The caller gives the dict away: it is stored as it is.

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
            KubeError: 404; 409 if it is assigned already or being deleted.
        """
        old = self.get("Pod", name, namespace)
        if old["spec"].get("nodeName") or deleting(old):
            state = "being deleted" if deleting(old) else "already assigned to a node"
            message = (
                f'Operation cannot be fulfilled on pods/binding "{name}": pod {name} is {state}'
            )
            raise KubeError(409, "Conflict", message)
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
        grace_s: int | None = None,
        propagation: Propagation = "Background",
    ) -> Object:
        """Delete an object, or mark it for deletion; returns its last state.

        A pod on a node is marked and goes when the kubelet deletes it with ``grace_s=0``. Objects
        with finalizers are marked and go when the last one is taken off.

        Raises:
            KubeError: 403 or 404.
        """
        served = self.kind(kind)
        authorize(self.allowed, actor, "delete", served, _space(served, namespace), name)
        old = self.get(kind, name, namespace)
        marked = {**old, "metadata": dict(old["metadata"])}
        metadata_rules.mark_deleted(served, marked, self.now(), grace_s, propagation)
        if metadata_rules.gone(served, marked) or (served.kind == "Namespace" and grace_s == 0):
            return self._remove(old, marked, "delete", actor)
        if marked == old:
            return old
        stored = self.store.put(marked)
        self._journal.record(self.now(), actor, "delete", old, stored)
        self._journal.announce("MODIFIED", stored, old)
        return stored

    def _remove(self, old: Object, last: Object, verb: Verb, actor: str) -> Object:
        self.store.remove(old)
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
            self.store.remove(old)
            self._journal.announce("DELETED", old, old)


def _space(kind: Kind, namespace: str | None) -> str:
    """Return the namespace an object of a kind lives in; empty for cluster-scoped kinds."""
    return (namespace or "default") if kind.namespaced else ""


def _validate(kind: Kind, obj: Object) -> None:
    causes = validation.check(kind, obj)
    if causes:
        raise invalid(kind, name_of(obj), causes)
