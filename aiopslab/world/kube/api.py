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

import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from aiopslab.seeds import Streams
from aiopslab.world.kube import (
    admission,
    defaults,
    immutability,
    kinds,
    patching,
    scale,
    selectors,
    validation,
)
from aiopslab.world.kube.errors import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    invalid_patch,
    no_such_resource,
    not_found,
)
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import (
    Object,
    Objects,
    clone,
    deleting,
    name_of,
    namespace_of,
    timestamp,
)
from aiopslab.world.kube.patching import PatchType
from aiopslab.world.kube.store import ObjectStore
from aiopslab.world.kube.watch import Watch

EventType = Literal["ADDED", "MODIFIED", "DELETED"]
Subscriber = Callable[[EventType, Object, Object | None], None]
"""Called with (event, object, previous object) after the commit."""
Propagation = Literal["Background", "Foreground", "Orphan"]

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_UNAUDITED = ("Event", "Lease", "Endpoints", "EndpointSlice")
"""Kinds written only by the cluster itself, many times a minute."""
_STATUS_KEPT_ON_CREATE = ("Node", "Namespace", "PersistentVolume", "PersistentVolumeClaim")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One accepted write of desired state. Status writes and heartbeats are not audited."""

    time: float
    actor: str
    verb: Literal["create", "update", "patch", "delete"]
    kind: str
    namespace: str
    name: str
    before: Object | None
    after: Object | None


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
        self.audit: list[AuditEntry] = []
        self.on_audit: list[Callable[[AuditEntry], None]] = []
        self.allowed: Callable[[str, str, str, str], bool] | None = None
        """Policy ``(actor, verb, kind, namespace)`` for writes; None allows everything."""
        self._streams = streams.scope("kube-api")
        self._subscribers: dict[str, list[Subscriber]] = {}
        self._pending: deque[tuple[EventType, Object, Object | None]] = deque()
        self._announcing = False

    @property
    def revision(self) -> int:
        """The revision of the latest write."""
        return self.store.revision

    # -- reads ------------------------------------------------------------------------------------

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """Return one object. ``kind`` may be any name kubectl takes.

        Raises:
            ApiError: 404, unknown kind or object.
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
            ApiError: 404 for the kind, 400 for a selector.
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
            ApiError: 404, also for kinds that cannot be scaled.
        """
        if not self.kind(kind).scale:
            raise no_such_resource()
        return scale.of(self.get(kind, name, namespace))

    def kind(self, name: str) -> Kind:
        """Look a kind up.

        Raises:
            ApiError: 404, not served.
        """
        found = kinds.find(name)
        if found is None:
            message = f'the server doesn\'t have a resource type "{name}"'
            raise ApiError(404, "NotFound", message)
        return found

    # -- following --------------------------------------------------------------------------------

    def subscribe(self, kind: str, callback: Subscriber) -> Callable[[], None]:
        """Call back after every commit of a kind; returns the function that ends it.

        Callbacks run synchronously in subscription order. Writes made inside one are announced
        after the present announcement, so every subscriber sees all changes in commit order.
        """
        callbacks = self._subscribers.setdefault(self.kind(kind).kind, [])
        callbacks.append(callback)
        return lambda: callbacks.remove(callback) if callback in callbacks else None

    def watch(self, kind: str, namespace: str | None = None) -> Watch:
        """Iterate (asynchronously) over (event, object) from now on; close it when done."""
        return Watch(lambda deliver: self.subscribe(kind, deliver), namespace)

    def _announce(self, event: EventType, obj: Object, old: Object | None) -> None:
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

    def _record(self, verb: Any, actor: str, before: Object | None, after: Object | None) -> None:
        obj = after if after is not None else before
        if obj is None or obj["kind"] in _UNAUDITED:
            return
        entry = AuditEntry(
            self.now(), actor, verb, obj["kind"], namespace_of(obj), name_of(obj), before, after
        )
        self.audit.append(entry)
        for callback in self.on_audit:
            callback(entry)

    def _authorize(self, actor: str, verb: str, kind: Kind, namespace: str, name: str) -> None:
        if self.allowed is None or self.allowed(actor, verb, kind.kind, namespace):
            return
        scope = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        why = (
            f'User "{actor}" cannot {verb} resource "{kind.plural}" '
            f'in API group "{kind.group}" {scope}'
        )
        raise forbidden(kind, name, why)

    # -- create -----------------------------------------------------------------------------------

    def create(self, obj: Object, *, actor: str, dry_run: bool = False) -> Object:
        """Store a new object and return it as stored.

        Raises:
            ApiError: 400, 403, 404 (namespace), 409 or 422.
        """
        kind = self._kind_of(obj)
        new = clone(obj) if _trusted(actor) else _decode(kind, obj)
        metadata = new.setdefault("metadata", {})
        if kind.namespaced:
            metadata.setdefault("namespace", "default")
        else:
            metadata.pop("namespace", None)
        self._authorize(actor, "create", kind, namespace_of(new), metadata.get("name", ""))
        self._check_namespace(kind, new)
        stream = "dry-run" if dry_run else "objects"
        self._stamp(kind, new, stream)
        self._admit(kind, new, actor, stream)
        if self.store.get(kind.kind, namespace_of(new), name_of(new)) is not None:
            raise already_exists(kind, name_of(new))
        if dry_run:
            return new
        stored = self.store.put(new)
        self._record("create", actor, None, stored)
        self._announce("ADDED", stored, None)
        return stored

    def _stamp(self, kind: Kind, new: Object, stream: str) -> None:
        """Set what only the server sets; drop what a client may not bring."""
        metadata = new["metadata"]
        for name in ("managedFields", "selfLink", "resourceVersion", "deletionTimestamp"):
            metadata.pop(name, None)
        metadata.pop("deletionGracePeriodSeconds", None)
        if not metadata.get("name") and metadata.get("generateName"):
            draw = self._streams(stream, "names")
            suffix = "".join(draw.choice(_SUFFIX_ALPHABET) for _ in range(5))
            metadata["name"] = metadata["generateName"][:58] + suffix
        if not metadata.get("name"):
            message = "resource name may not be empty"
            raise ApiError(422, "Invalid", f"{kind.qualified} is invalid: metadata.name: {message}")
        bits = self._streams(stream, "uids").getrandbits(128)
        metadata["uid"] = str(uuid.UUID(int=bits, version=4))
        metadata["creationTimestamp"] = timestamp(self.now())
        if "spec" in new:
            metadata["generation"] = 1

    def _admit(self, kind: Kind, new: Object, actor: str, stream: str) -> None:
        """Apply defaults and admission to a new object, and validate it."""
        if not _trusted(actor) and kind.kind not in _STATUS_KEPT_ON_CREATE:
            new.pop("status", None)
        defaults.apply(kind, new)
        if kind.kind == "Pod":
            admission.default_tolerations(new["spec"])
            admission.set_priority(new, self.store)
            admission.apply_limit_ranges(new, self.store)
            new.setdefault("status", {"phase": "Pending"})
            new["status"].setdefault("qosClass", admission.qos_class(new))
        elif kind.kind == "Job":
            admission.select_own_pods(new)
        if not _trusted(actor):
            _validate(kind, new)
        if kind.kind == "Service":
            admission.allocate_service(new, self.store, self._streams(stream, "services"))
        admission.check_quota(kind, new, self.store)

    def _check_namespace(self, kind: Kind, new: Object) -> None:
        if not kind.namespaced:
            return
        namespace = namespace_of(new)
        found = self.store.get("Namespace", "", namespace)
        if found is None:
            raise not_found(kinds.BY_KIND["Namespace"], namespace)
        if deleting(found):
            why = (
                f"unable to create new content in namespace {namespace} because it is being "
                "terminated"
            )
            raise forbidden(kind, new["metadata"].get("name", ""), why)

    def _kind_of(self, obj: Any) -> Kind:
        """Find the kind an object says it is."""
        if not isinstance(obj, dict):
            raise bad_request("the body is not an object")
        name, version = obj.get("kind"), obj.get("apiVersion")
        if not name or not version:
            missing = "kind" if not name else "apiVersion"
            raise bad_request(f"Object '{missing}' is missing in the request")
        kind = kinds.BY_KIND.get(name)
        if kind is None or kind.api_version != version:
            raise bad_request(f'no matches for kind "{name}" in version "{version}"')
        return kind

    # -- change -----------------------------------------------------------------------------------

    def replace(self, obj: Object, *, actor: str, dry_run: bool = False) -> Object:
        """Replace an object's metadata and spec; its status stays. Returns it as stored.

        Raises:
            ApiError: 400, 403, 404, 409 (stale resourceVersion) or 422.
        """
        kind = self._kind_of(obj)
        new = clone(obj) if _trusted(actor) else _decode(kind, obj)
        if kind.namespaced:
            new.setdefault("metadata", {}).setdefault("namespace", "default")
        namespace, name = namespace_of(new), name_of(new)
        self._authorize(actor, "update", kind, namespace, name)
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
            ApiError: 400, 403, 404, 409 or 422; a strategic patch that cannot be merged is 500,
                as on the real server.
        """
        served = self.kind(kind)
        self._authorize(actor, "patch", served, _space(served, namespace), name)
        if subresource:
            current = self.get_scale(kind, name, namespace)
            old = self.get(kind, name, namespace)
            new = scale.apply(served, old, patching.apply("Scale", current, patch, type))
        else:
            old = self.get(kind, name, namespace)
            new = patching.apply(served.schema, old, patch, type)
        if isinstance(new, dict):
            # Status belongs to the cluster: not decoded here, and restored below.
            new = {k: v for k, v in new.items() if k != "status"}
        try:
            new = validation.decode(served, new)
        except validation.DecodeError as error:
            detail = f"patch: Invalid value: {patching.quote(patch)}: {error}"
            raise invalid_patch(detail) from error
        stored = self._update(served, old, new, verb="patch", actor=actor, dry_run=dry_run)
        return scale.of(stored) if subresource else stored

    def _update(
        self, kind: Kind, old: Object, new: Object, *, verb: str, actor: str, dry_run: bool
    ) -> Object:
        """Bring a changed copy of ``old`` through the rules and store it."""
        self._carry_over(kind, old, new)
        defaults.apply(kind, new)
        if new == old:
            return old
        if not _trusted(actor):
            causes = validation.check(kind, new) + immutability.check(kind, old, new)
            if causes:
                raise invalid(kind, name_of(new), causes)
        if kind.kind == "Service":
            admission.allocate_service(new, self.store, self._streams("objects", "services"))
        if new.get("spec") != old.get("spec") and "generation" in old["metadata"]:
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        if dry_run:
            return new
        if _gone(kind, new):
            return self._remove(old, new, verb, actor)
        stored = self.store.put(new)
        self._record(verb, actor, old, stored)
        self._announce("MODIFIED", stored, old)
        return stored

    def _carry_over(self, kind: Kind, old: Object, new: Object) -> None:
        """Keep what an update may not touch, and refuse an update of a stale copy."""
        was, now = old["metadata"], new.setdefault("metadata", {})
        if now.get("name") != was["name"] or now.get("namespace") != was.get("namespace"):
            raise bad_request(
                f"the name of the object ({now.get('name')}) does not match the name on the URL "
                f"({was['name']})"
            )
        if now.get("resourceVersion") not in (None, "", was["resourceVersion"]):
            raise conflict(kind, was["name"])
        if now.get("uid") not in (None, "", was["uid"]):
            raise conflict(kind, was["name"])
        now.pop("managedFields", None)
        for name in (
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ):
            if name in was:
                now[name] = was[name]
            else:
                now.pop(name, None)
        new["apiVersion"], new["kind"] = kind.api_version, kind.kind
        if "status" in old:
            new["status"] = old["status"]
        else:
            new.pop("status", None)
        if kind.kind == "Service" and not new.get("spec", {}).get("clusterIP"):
            for name in ("clusterIP", "clusterIPs"):
                if name in old["spec"] and new.get("spec", {}).get("type") != "ExternalName":
                    new.setdefault("spec", {})[name] = old["spec"][name]

    def update_status(
        self, kind: str, name: str, namespace: str | None, status: Object, *, actor: str
    ) -> Object:
        """Replace an object's status. Keeps generation; a status that is equal keeps the revision.

        The caller gives the dict away: it is stored as it is.

        Raises:
            ApiError: 404.
        """
        old = self.get(kind, name, namespace)
        if old.get("status") == status:
            return old
        stored = self.store.put({**old, "status": status})
        self._announce("MODIFIED", stored, old)
        return stored

    def bind(self, name: str, namespace: str, node: str, *, actor: str) -> Object:
        """Assign a pod to a node: the scheduler's ``binding`` subresource.

        Raises:
            ApiError: 404; 409 if it is assigned already or being deleted.
        """
        old = self.get("Pod", name, namespace)
        if old["spec"].get("nodeName") or deleting(old):
            state = "being deleted" if deleting(old) else "already assigned to a node"
            message = (
                f'Operation cannot be fulfilled on pods/binding "{name}": pod {name} is {state}'
            )
            raise ApiError(409, "Conflict", message)
        stored = self.store.put({**old, "spec": {**old["spec"], "nodeName": node}})
        self._announce("MODIFIED", stored, old)
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
            ApiError: 403 or 404.
        """
        served = self.kind(kind)
        self._authorize(actor, "delete", served, _space(served, namespace), name)
        old = self.get(kind, name, namespace)
        marked = {**old, "metadata": dict(old["metadata"])}
        self._mark(served, old, marked, grace_s, propagation)
        if _gone(served, marked) or (served.kind == "Namespace" and grace_s == 0):
            return self._remove(old, marked, "delete", actor)
        if marked == old:
            return old
        stored = self.store.put(marked)
        self._record("delete", actor, old, stored)
        self._announce("MODIFIED", stored, old)
        return stored

    def _mark(
        self,
        kind: Kind,
        old: Object,
        marked: Object,
        grace_s: int | None,
        propagation: Propagation,
    ) -> None:
        """Set deletion timestamp, grace period and finalizers on a copy."""
        metadata = marked["metadata"]
        grace = _grace(old, grace_s) if kind.kind == "Pod" else 0
        known = metadata.get("deletionGracePeriodSeconds")
        if known is None or grace < known:
            since = self.now()
            metadata["deletionTimestamp"] = timestamp(since + grace)
            metadata["deletionGracePeriodSeconds"] = grace
            if known is None and "generation" in metadata:
                metadata["generation"] += 1
        finalizer = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(propagation)
        if finalizer and not deleting(old):
            metadata["finalizers"] = [*(metadata.get("finalizers") or ()), finalizer]
        if kind.kind == "Namespace":
            marked["status"] = {**(old.get("status") or {}), "phase": "Terminating"}

    def _remove(self, old: Object, last: Object, verb: str, actor: str) -> Object:
        self.store.remove(old)
        self._record("delete" if verb == "delete" else verb, actor, old, None)
        self._announce("DELETED", last, old)
        return last

    # -- events -----------------------------------------------------------------------------------

    def store_event(self, event: Object) -> Object:
        """Store an Event object, new or counted up: the recorder's short way in."""
        old = self.store.get("Event", namespace_of(event), name_of(event))
        if old is None:
            self._stamp(kinds.BY_KIND["Event"], event, "events")
        stored = self.store.put(event)
        self._announce("ADDED" if old is None else "MODIFIED", stored, old)
        return stored

    def drop_event(self, name: str, namespace: str) -> None:
        """Forget an Event object whose time is over; no-op if it is gone already."""
        old = self.store.get("Event", namespace, name)
        if old is not None:
            self.store.remove(old)
            self._announce("DELETED", old, old)


def _space(kind: Kind, namespace: str | None) -> str:
    """Return the namespace an object of a kind lives in; empty for cluster-scoped kinds."""
    return (namespace or "default") if kind.namespaced else ""


def _decode(kind: Kind, obj: Object) -> Object:
    try:
        return validation.decode(kind, obj)
    except validation.DecodeError as error:
        raise bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {error}'
        ) from error


def _validate(kind: Kind, obj: Object) -> None:
    causes = validation.check(kind, obj)
    if causes:
        raise invalid(kind, name_of(obj), causes)


def _gone(kind: Kind, obj: Object) -> bool:
    """Whether nothing holds a deleted object back any more."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if kind.kind == "Namespace":
        return not obj.get("spec", {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds")


def _grace(pod: Object, asked: int | None) -> int:
    """Return the grace period of a pod: 0 if it never ran on a node or has finished."""
    phase = (pod.get("status") or {}).get("phase")
    if not pod["spec"].get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if asked is not None:
        return max(asked, 0)
    seconds: int = pod["spec"].get("terminationGracePeriodSeconds", 30)
    return seconds
