"""The API server: every write of Kubernetes objects goes through here.

Synchronous and in-process; HTTP is put before it by ``wire.kubernetes``. A write passes
authorization, decoding, defaults, admission, validation and the conflict check, is stored under a
new revision, entered into the audit trail, and announced to subscribers. Controllers, scheduler
and kubelet act as ``system:...``: their writes skip decoding and validation, which exist to
protect *them* from outside actors, and because they write often.

Objects are shared, as :mod:`reading` says. Neighbours: ``reading`` (the reads), ``store``
(keeping), ``admission``, ``validation``, ``ownership`` (who manages which field), ``components``
(short ways in of the cluster's own parts), ``eviction``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from aiopslab.models.kube import PatchType
from aiopslab.models.timestamps import rfc3339
from aiopslab.seeds import Streams
from aiopslab.world.kube import admission, allocation, decoding, defaults, kinds, scale, versions
from aiopslab.world.kube import metadata as metadata_rules
from aiopslab.world.kube.authorization import authorize
from aiopslab.world.kube.components import ComponentApi, is_component
from aiopslab.world.kube.errors import (
    already_exists,
    conflict,
    invalid,
    no_such_resource,
    not_found,
)
from aiopslab.world.kube.journal import Verb
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import (
    Object,
    Objects,
    name_of,
    namespace_of,
    without_nulls,
)
from aiopslab.world.kube.options import DELETE, WRITE, DeleteOptions, Subresource, WriteOptions
from aiopslab.world.kube.patches import ownership, patching
from aiopslab.world.kube.reading import space_of
from aiopslab.world.kube.validation import immutability, validation

_STATUS_KEPT_ON_CREATE = ("Node", "Namespace", "PersistentVolume", "PersistentVolumeClaim")


@dataclass(frozen=True, slots=True)
class _Write:
    """One change of an object that exists: by whom, and how."""

    actor: str
    verb: Verb
    options: WriteOptions
    subresource: Subresource = ""
    apply: bool = False
    managed: list[Object] | None = None
    """What ``managedFields`` will be; None is found out from what changes."""

    @property
    def trusted(self) -> bool:
        return is_component(self.actor)


class ApiServer(ComponentApi):
    """The cluster's state and its rules.

    Args:
        now: Unix seconds of the world.
        streams: Random streams for uids, name suffixes and addresses.
    """

    # -- create -----------------------------------------------------------------------------------

    def create(self, obj: Object, *, actor: str, options: WriteOptions = WRITE) -> Object:
        """Store a new object and return it as stored.

        Raises:
            KubeError: 400, 403, 404 (namespace), 409 or 422.
        """
        return self._create(obj, actor, options)

    def _create(
        self, obj: Object, actor: str, options: WriteOptions, *, apply: bool = False
    ) -> Object:
        spoken = decoding.kind_of(obj)
        kind = kinds.BY_KIND[spoken.kind]
        new = without_nulls(obj) if is_component(actor) else decoding.read(spoken, obj, options)
        metadata = new.setdefault("metadata", {})
        if kind.namespaced:
            metadata.setdefault("namespace", "default")
        else:
            metadata.pop("namespace", None)
        authorize(self.allowed, actor, "create", kind, namespace_of(new), metadata.get("name", ""))
        admission.check_namespace(kind, new, self.store)
        streams = self._dry_run_streams if options.dry_run else self._streams
        metadata_rules.stamp(kind, new, self.now(), streams)
        new = self._admit(kind, new, actor, streams)
        metadata = new["metadata"]
        if self.store.get(kind.kind, namespace_of(new), name_of(new)) is not None:
            raise already_exists(kind, name_of(new))
        if not is_component(actor):
            writer = self._owner(kind, _Write(actor, "create", options, apply=apply))
            config = obj if apply else None
            metadata["managedFields"] = ownership.created(kind, new, writer, config)
        if options.dry_run:
            return new
        stored = self.store.put(new)
        self._journal.record(self.now(), actor, "create", None, stored)
        self._journal.announce("ADDED", stored, None)
        return stored

    def apply(
        self,
        kind: str,
        name: str,
        config: Object,
        *,
        namespace: str | None = None,
        force: bool = False,
        subresource: Literal["", "status"] = "",
        actor: str,
        options: WriteOptions,
    ) -> Object:
        """Apply a configuration on the server's side; creates the object if there is none.

        ``options.field_manager`` is required. Field validation does not apply: what the schema
        does not know is refused.

        Raises:
            KubeError: 400, 403, 404, 409 (fields that others own), 422; 500, the configuration
                does not fit the schema.
        """
        served = self.kind(kind)
        decoding.check_depth(config)
        ownership.check_config(served, name, config, options.field_manager)
        space = space_of(served, namespace)
        authorize(self.allowed, actor, "patch", served, space, name)
        config = versions.store(config)
        place = {"name": name, "namespace": space} if space else {"name": name}
        config = without_nulls({**config, "metadata": {**config.get("metadata", {}), **place}})
        old = self.find(kind, name, namespace)
        if old is None and subresource:
            raise not_found(served, name)
        if old is None:
            return self._create(config, actor, options, apply=True)
        write = _Write(actor, "patch", options, subresource, apply=True)
        writer = self._owner(served, write)
        new, entries = ownership.applied(served, old, config, writer, force=force)
        new = decoding.read_patched(served, new, config, options)
        return self._update(served, old, new, replace(write, managed=entries))

    def _owner(self, kind: Kind, write: _Write) -> ownership.Owner:
        """Return the entry of ``managedFields`` that a write goes under, without fields."""
        manager = write.options.field_manager
        manager = manager or ownership.manager_of(write.actor, write.verb, write.subresource)
        operation: ownership.Operation = "Apply" if write.apply else "Update"
        time = rfc3339(self.now())
        return ownership.Owner(manager, operation, kind.api_version, time, write.subresource)

    def _admit(self, kind: Kind, new: Object, actor: str, streams: Streams) -> Object:
        """Apply defaults and admission to a new object, validate it, and return it."""
        if not is_component(actor) and kind.kind not in _STATUS_KEPT_ON_CREATE:
            new.pop("status", None)
        defaults.apply(kind, new)
        new = self.webhooks.mutate(kind, new)
        admission.prepare(kind, new, self.store)
        if not is_component(actor):
            _validate(kind, new)
        if kind.kind == "Service":
            allocation.allocate_service(new, self.store, streams("services"))
        self.webhooks.validate(kind, new)
        admission.check_quota(kind, new, self.store)
        admission.check_room(kind, self.store)
        return new

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
        spoken = decoding.kind_of(obj)
        kind = kinds.BY_KIND[spoken.kind]
        new = without_nulls(obj) if is_component(actor) else decoding.read(spoken, obj, options)
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
        decoding.check_depth(patch)
        old = self.get(kind, name, namespace)
        if subresource == "scale":
            current = self.get_scale(kind, name, namespace)
            changed = patching.apply(scale.KIND.schema, current, patch, type)
            changed = decoding.read_patched(scale.KIND, changed, patch, options)
            new = scale.apply(served, old, changed)
        else:
            spoken = versions.spoken(served.kind, options.api_version) or served
            seen = ownership.shown(served, old) if type == "json" else old
            seen = versions.show(seen, spoken.api_version)
            new = patching.apply(spoken.schema, seen, patch, type)
            new = decoding.read_patched(spoken, new, patch, options)
        stored = self._update(served, old, new, _Write(actor, "patch", options, subresource))
        return scale.of(stored) if subresource == "scale" else stored

    def _update(self, kind: Kind, old: Object, new: Object, write: _Write) -> Object:
        """Bring a changed copy of ``old`` through the rules and store it."""
        if write.subresource == "status":
            new = _only_status(kind, old, new)
        else:
            metadata_rules.carry_over(kind, old, new)
        defaults.apply(kind, new)
        if write.managed is not None:
            new["metadata"]["managedFields"] = write.managed
        if new == old:
            return old
        if not write.trusted:
            if kind.kind == "Namespace":  # its finalizers are the namespace controller's
                new["spec"] = old["spec"]
            status = write.subresource == "status"
            causes = validation.check(kind, new, status=status)
            causes += immutability.check(kind, old, new)
            if causes:
                raise invalid(kind, name_of(old), causes)
        if kind.kind == "Service":
            streams = self._dry_run_streams if write.options.dry_run else self._streams
            allocation.allocate_service(new, self.store, streams("services"))
        if new.get("spec") != old.get("spec") and "generation" in old["metadata"]:
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        # What components write on their own objects is implied: see ``ownership``.
        if write.managed is None and not (write.trusted and "managedFields" not in old["metadata"]):
            entries = ownership.updated(kind, old, new, self._owner(kind, write))
            new["metadata"]["managedFields"] = entries
        if write.options.dry_run:
            return new
        if metadata_rules.gone(kind, new):
            return self._remove(old, new, write.verb, write.actor)
        stored = self.store.put(new)
        self._journal.record(self.now(), write.actor, write.verb, old, stored)
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
        admission.check_deletable(served, name)
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
    version = new.get("metadata", {}).get("resourceVersion")
    if version not in (None, "", old["metadata"]["resourceVersion"]):
        raise conflict(kind, name_of(old))
    return {**old, "metadata": dict(old["metadata"]), "status": new.get("status", {})}
