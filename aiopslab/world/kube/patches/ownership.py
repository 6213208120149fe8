"""Who manages which field: ``metadata.managedFields`` and server-side apply.

Every write from outside is entered under its field manager, as the real server does it. The
cluster's own components write so often that their entries are not kept but implied: an object
without ``managedFields`` belongs to the component that made it, and a status to the one that
reports it; :func:`shown` spells that out for readers, and the first outside write makes it
explicit. An *empty* list is what a client leaves that cleared it: nobody owns anything.

Neighbours: ``typed`` (fields of objects), ``fieldsets`` (FieldsV1), ``api`` (when this applies).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from aiopslab.models.kube import KubeError
from aiopslab.world.kube import versions
from aiopslab.world.kube.errors import bad_request
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import Object, dig
from aiopslab.world.kube.options import Subresource
from aiopslab.world.kube.patches import fieldsets, typed
from aiopslab.world.kube.patches.fieldsets import FieldSet, Path

Operation = Literal["Apply", "Update"]

_UNOWNED: FieldSet = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            "name", "namespace", "creationTimestamp", "selfLink", "uid", "generation",
            "managedFields", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds",
        )
    }
)  # fmt: skip
"""Fields of the server itself."""
_STATUS, _REPLICAS = "f:status", ("f:spec", "f:replicas")
_BEFORE_FIRST_APPLY = "before-first-apply"
CONTROLLERS, KUBELET, SCHEDULER = "kube-controller-manager", "kubelet", "kube-scheduler"
_OF_KUBELET = ("Node", "Lease")
_STATUS_OF_KUBELET = ("Pod", "Node")
_VERBS = {"create": "kubectl-create", "update": "kubectl-replace", "patch": "kubectl-patch"}


@dataclass(frozen=True, slots=True)
class Owner:
    """One entry of ``managedFields``."""

    manager: str
    operation: Operation
    api_version: str
    time: str
    """When its fields last changed, RFC 3339."""
    subresource: Subresource = ""
    fields: FieldSet = fieldsets.EMPTY

    def same(self, other: Owner) -> bool:
        """Whether two entries are one: appliers own their fields in every version of the API."""
        mine = (self.manager, self.operation, self.subresource)
        return mine == (other.manager, other.operation, other.subresource) and (
            self.operation == "Apply" or self.api_version == other.api_version
        )

    def __str__(self) -> str:
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return text if self.operation == "Apply" else f"{text} using {self.api_version}"


def manager_of(actor: str, verb: str, subresource: Subresource) -> str:
    """Return the field manager of a writer who names none: a component, or a plain kubectl."""
    if actor.startswith("system:node:"):
        return KUBELET
    if actor.startswith("system:"):
        return SCHEDULER if actor.endswith(SCHEDULER) else CONTROLLERS
    return "kubectl" if subresource == "scale" else _VERBS[verb]


# -- entries --------------------------------------------------------------------------------------


def _read(entries: Iterable[Object]) -> list[Owner]:
    return [
        Owner(
            manager=entry.get("manager", ""),
            operation=entry["operation"],
            api_version=entry.get("apiVersion", ""),
            time=entry.get("time", ""),
            subresource=entry.get("subresource", ""),
            fields=fieldsets.from_v1(entry.get("fieldsV1", {})),
        )
        for entry in entries
    ]


def _write(owners: Iterable[Owner]) -> list[Object]:
    """Return entries in the server's order; owners of nothing are left out."""
    ordered = sorted(
        (owner for owner in owners if owner.fields),
        key=lambda o: (o.operation, o.time, o.manager, o.api_version, o.subresource),
    )
    return [_entry(owner) for owner in ordered]


def _entry(owner: Owner) -> Object:
    entry = {
        "apiVersion": owner.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": fieldsets.to_v1(owner.fields),
        "manager": owner.manager,
        "operation": owner.operation,
        "subresource": owner.subresource,
        "time": owner.time,
    }
    return {key: value for key, value in entry.items() if value}


def _within(fields: Iterable[Path], subresource: Subresource) -> FieldSet:
    """Return the fields that a writer of a (sub)resource can own."""
    if subresource == "status":
        return frozenset(path for path in fields if path[0] == _STATUS)
    if subresource == "scale":
        return frozenset(path for path in fields if path == _REPLICAS)
    return frozenset(path for path in fields if path[0] != _STATUS and path not in _UNOWNED)


# -- what readers see -----------------------------------------------------------------------------


def shown(kind: Kind, obj: Object) -> Object:
    """Return an object as a reader sees it: with the entries that are implied."""
    entries = [*(obj["metadata"].get("managedFields") or ()), *_write(_implied(kind, obj))]
    metadata = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    if entries:
        metadata["managedFields"] = entries
    return {**obj, "metadata": metadata}


def _implied(kind: Kind, obj: Object) -> list[Owner]:
    metadata, owners = obj["metadata"], []
    entries = metadata.get("managedFields")
    born = metadata.get("creationTimestamp", "")
    if entries is None:
        owner = Owner(_maker(kind, obj), "Update", kind.api_version, born)
        owners.append(replace(owner, fields=_within(everything(kind, obj), "")))
    if obj.get("status") and entries != [] and kind.kind != "Namespace":
        said = {field for o in _read(entries or ()) for field in o.fields}
        fields = _within(everything(kind, {"status": obj["status"]}), "status") - said
        manager = KUBELET if kind.kind in _STATUS_OF_KUBELET else CONTROLLERS
        owner = Owner(manager, "Update", kind.api_version, _reported(obj, born), "status", fields)
        owners.append(owner)
    return owners


def _maker(kind: Kind, obj: Object) -> str:
    """Return the component that makes objects of a kind."""
    if kind.kind == "Event":
        component = dig(obj, "source", "component")
        return {"kubelet": KUBELET, "default-scheduler": SCHEDULER}.get(component, CONTROLLERS)
    if kind.kind in _OF_KUBELET:
        return KUBELET
    return "kube-apiserver" if kind.kind == "Namespace" else CONTROLLERS


def _reported(obj: Object, born: str) -> str:
    """Return when a status last changed, as far as it tells."""
    conditions = dig(obj, "status", "conditions", default=())
    return max([born, *(c.get("lastTransitionTime") or born for c in conditions)])


def everything(kind: Kind, obj: Object) -> set[Path]:
    """Return every field of an object, as its creator would own it."""
    return typed.compare(None, obj, typed.root(kind.schema)).added


# -- writes ---------------------------------------------------------------------------------------


def created(kind: Kind, new: Object, writer: Owner, config: Object | None) -> list[Object]:
    """Return the entries of a new object: all of it, or (applied) what the configuration says.

    Raises:
        KubeError: 500, the configuration does not fit the schema.
    """
    fields = _applied(kind, config) if config is not None else everything(kind, new)
    return _write([replace(writer, fields=_within(fields, ""))])


def settled(kind: Kind, old: Object, sent: object) -> list[Object] | None:
    """Return the entries to go on from after a client sent a list; None if there are none.

    A client that knows nothing of managed fields sends none, or the list it read: nothing
    changes. ``[{}]`` clears them. Anything else is the client's own list, as ``kubectl apply
    --server-side`` sends to take over from client-side apply.
    """
    stored: list[Object] | None = old["metadata"].get("managedFields")
    if sent == [{}]:
        return []
    if not isinstance(sent, list) or not sent or sent == stored:
        return stored
    implied = _write(_implied(kind, old))
    if sent == [*(stored or ()), *implied]:
        return stored
    try:
        owners = _read(sent)
    except (fieldsets.FieldsError, KeyError):
        return stored
    if any(owner.operation not in ("Apply", "Update") for owner in owners):
        return stored
    return [entry for entry in sent if entry not in implied or not entry.get("subresource")]


def updated(kind: Kind, old: Object, new: Object, writer: Owner) -> list[Object]:
    """Return the entries after an update: what it changed is the writer's, and nobody else's.

    ``new`` carries the entries to go on from; those of ``old`` are looked at only for what a
    component of the cluster owned before anybody else wrote.
    """
    entries = new["metadata"].get("managedFields")
    if entries == []:
        return []  # cleared: nothing is entered before the next apply
    owners = _read(entries) if entries is not None else _of_components(kind, old)
    change = typed.compare(old, new, typed.root(kind.schema))
    taken = _within(change.added | change.modified, writer.subresource)
    lost = taken | change.removed
    mine = next((o for o in owners if o.same(writer)), replace(writer, fields=fieldsets.EMPTY))
    fields = (mine.fields | taken) - change.removed
    time = writer.time if fields != mine.fields else mine.time
    others = [replace(o, fields=o.fields - lost) for o in owners if o is not mine]
    return _write([*others, replace(mine, fields=fields, time=time)])


def reported(kind: Kind, old: Object, new: Object) -> list[Object]:
    """Return the entries after a component wrote a status: it alone has what it changed."""
    change = typed.compare(old, new, typed.root(kind.schema))
    lost = change.added | change.modified | change.removed
    owners = _read(new["metadata"]["managedFields"])
    return _write(replace(owner, fields=owner.fields - lost) for owner in owners)


def _of_components(kind: Kind, old: Object) -> list[Owner]:
    return [owner for owner in _implied(kind, old) if not owner.subresource]


def applied(
    kind: Kind, old: Object, config: Object, writer: Owner, *, force: bool
) -> tuple[Object, list[Object]]:
    """Return the object with a configuration applied, and its entries.

    What the manager applied before and no longer does is removed, unless another applier has it.

    Raises:
        KubeError: 409, others own fields that the configuration sets to other values; 500, it
            does not fit the schema.
    """
    schema = typed.root(kind.schema)
    owners = _standing(kind, old, writer)
    fields = _within(_applied(kind, config), writer.subresource)
    mine = next((o for o in owners if o.same(writer)), None)
    others = [o for o in owners if o is not mine]
    merged = typed.merge(old, config, schema)
    if mine is not None:
        kept = fields.union(*(o.fields for o in others if o.operation == "Apply"))
        merged = typed.remove(merged, _abandoned(mine.fields, kept), schema)
    change = typed.compare(old, merged, schema)
    taken = _within(change.added | change.modified, writer.subresource)
    conflicts = [(o, path) for o in others for path in sorted(o.fields & taken)]
    if conflicts and not force:
        raise _conflict(conflicts)
    moved = mine is None or mine.fields != fields or old != merged
    time = writer.time if moved or mine is None else mine.time
    others = [replace(o, fields=o.fields - taken - change.removed) for o in others]
    result = [*others, replace(writer, fields=fields, time=time)]
    implied = [o for o in _implied(kind, old) if o.subresource]
    return merged, _write(o for o in result if o not in implied)


def _standing(kind: Kind, old: Object, writer: Owner) -> list[Owner]:
    """Return the owners an apply meets; if nobody owns anything, the past itself does."""
    entries = old["metadata"].get("managedFields")
    owners = [*_read(entries or ()), *_implied(kind, old)]
    if owners:
        return owners
    past = replace(writer, manager=_BEFORE_FIRST_APPLY, operation="Update", subresource="")
    return [replace(past, fields=_within(everything(kind, old), ""))]


def _applied(kind: Kind, config: Object) -> FieldSet:
    try:
        return typed.field_set(config, typed.root(kind.schema))
    except typed.SchemaError as error:
        metadata = config.get("metadata", {})
        place = f"{metadata['namespace']}/" if metadata.get("namespace") else "/"
        what = f"{place}{metadata.get('name', '')}; {kind.api_version}, Kind={kind.kind}"
        message = f"failed to create typed patch object ({what}): {error}"
        raise KubeError(500, "InternalError", message) from error


def _abandoned(last: FieldSet, kept: FieldSet) -> FieldSet:
    """Return what goes when a manager drops fields; an item goes only with all that is in it."""
    gone = fieldsets.with_parents(last) - fieldsets.with_parents(kept)
    above = fieldsets.prefixes(kept)
    return frozenset(
        path
        for path in gone
        if path not in _UNOWNED and (path[-1].startswith("f:") or path not in above)
    )


def _conflict(conflicts: Sequence[tuple[Owner, Path]]) -> KubeError:
    """409 in the server's words, one cause a field."""
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {owner}",
            "field": fieldsets.show(path),
        }
        for owner, path in conflicts
    ]
    if len(conflicts) == 1:
        owner, path = conflicts[0]
        text = f"1 conflict: conflict with {owner}: {fieldsets.show(path)}"
    else:
        lines = []
        for owner in sorted({owner for owner, _ in conflicts}, key=str):
            lines.append(f"conflicts with {owner}:")
            lines += [f"- {fieldsets.show(path)}" for o, path in conflicts if o is owner]
        text = f"{len(conflicts)} conflicts: " + "\n".join(lines)
    return KubeError(409, "Conflict", f"Apply failed with {text}", {"causes": causes})


def check_config(kind: Kind, name: str, config: object, manager: str) -> None:
    """Hold an apply request to its form, in whichever version it speaks.

    Raises:
        KubeError: 400 or 422; 500, the configuration does not fit the schema.
    """
    if not manager:
        words = "fieldManager: Required value: is required for apply patch"
        raise KubeError(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {words}')
    if not isinstance(config, dict) or not isinstance(config.get("metadata", {}), dict):
        raise bad_request("error decoding patch: the patch is not an object")
    spoken = versions.spoken(kind.kind, str(config.get("apiVersion")))
    if config.get("kind") != kind.kind or spoken is None:
        sent = f"{config.get('apiVersion')}, Kind={config.get('kind')}"
        raise bad_request(
            f"incorrect type or version of the patch: got {sent}, expected {kind.api_version}, "
            f"Kind={kind.kind}"
        )
    metadata = config.get("metadata", {})
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    if metadata.get("name", name) != name:
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL "
            f"({name})"
        )
    _applied(spoken, config)
