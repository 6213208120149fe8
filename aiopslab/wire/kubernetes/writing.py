"""Writes: create, replace, patch, apply, delete, and the subresources that change something.

Makes the API server's calls; the world stands still meanwhile, because ``wire.metered`` holds its
turn. Not here: the rules of writing (``world.kube.api``), reading the request (``write_request``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from aiopslab.models.kube import KubeError, Object
from aiopslab.wire.gate import Turn
from aiopslab.wire.kubernetes import body as bodies
from aiopslab.wire.kubernetes.cluster import cluster_of, identity_of
from aiopslab.wire.kubernetes.pods import flag
from aiopslab.wire.kubernetes.reading import present, presenter_of
from aiopslab.wire.kubernetes.status import success
from aiopslab.wire.kubernetes.target import Target
from aiopslab.wire.kubernetes.write_request import Write, delete_options, object_of
from aiopslab.world.kube.errors import bad_request
from aiopslab.world.kube.eviction import evict
from aiopslab.world.kube.journal import AuditEntry
from aiopslab.world.kube.options import Subresource


async def write(request: Request, target: Target, verb: str) -> Response:
    """Answer a request that writes.

    Raises:
        KubeError: Whatever the API server refuses.
    """
    sent = await request.body()
    kind = request.headers.get("content-type", "")
    value, repeated = bodies.read(sent, kind) if sent else (None, [])
    world, actor = cluster_of(request.scope).world, identity_of(request.scope).user
    job = Write(request, target, world, actor, value, repeated)
    act: Callable[[Write], tuple[Object, int]] = _ACTS[verb]
    if verb == "create" and target.subresource:
        act = _SUBRESOURCES[target.subresource]
    presenter = presenter_of(request, target)
    trail = world.api.audit
    known = len(trail)
    result, code = act(job)
    _state(request, [entry for entry in trail[known:] if entry.actor == actor])
    if target.subresource != "scale" and "uid" in result["metadata"]:
        result = presenter.one(result)
    response = present(request, presenter, result, code)
    for text in job.warnings:
        response.headers.append("warning", f"299 - {_quoted(text)}")
    return response


def _state(request: Request, written: Sequence[AuditEntry]) -> None:
    """State in the request's turn which objects it wrote, before and after, as tools do.

    What is deleted has no state after, though it may take its time to go.
    """
    turn: Turn | None = request.scope.get("turn")
    if turn is None or not written:
        return
    before = [_bare(e.before) for e in written]
    after = [None if e.verb == "delete" else _bare(e.after) for e in written]
    one = len(written) == 1
    turn.before, turn.after = (before[0], after[0]) if one else (before, after)


def _bare(obj: Object | None) -> Object | None:
    """Return an object without bookkeeping."""
    if obj is None:
        return None
    kept = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    return {**obj, "metadata": kept}


def _quoted(text: str) -> str:
    """Return a quoted string for a header: one line of ASCII."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _create(job: Write) -> tuple[Object, int]:
    return job.world.api.create(object_of(job), actor=job.actor, options=job.options()), 201


def _update(job: Write) -> tuple[Object, int]:
    api, target = job.world.api, job.target
    if target.subresource == "scale":
        result = api.replace_scale(
            target.resource.kind,
            target.name,
            job.body,
            namespace=target.space,
            actor=job.actor,
            options=job.options(),
        )
        return result, 200
    result = api.replace(
        object_of(job), subresource=_part(target), actor=job.actor, options=job.options()
    )
    return result, 200


def _patch(job: Write) -> tuple[Object, int]:
    target = job.target
    kind = bodies.media_type(job.request.headers.get("content-type", ""))
    type_ = bodies.PATCHES.get(kind)
    if kind in bodies.APPLY:
        return _apply(job)
    if type_ is None:
        accepted = ", ".join([*bodies.PATCHES, *bodies.APPLY])
        words = (
            "the body of the request was in an unknown format - accepted media types include: "
            f"{accepted}"
        )
        raise KubeError(415, "UnsupportedMediaType", words)
    if "force" in job.request.query_params:
        words = "force: Forbidden: may not be specified for non-apply patch"
        raise KubeError(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {words}')
    result = job.world.api.patch(
        target.resource.kind,
        target.name,
        job.body,
        namespace=target.space,
        type=type_,
        subresource=_part(target),
        actor=job.actor,
        options=job.options(),
    )
    return result, 200


def _apply(job: Write) -> tuple[Object, int]:
    target, query = job.target, job.request.query_params
    if not isinstance(job.body, dict):
        raise bad_request("the body of the request is not an object")
    if target.subresource == "scale":
        raise KubeError(415, "UnsupportedMediaType", "apply patches of a scale are not served")
    api, kind = job.world.api, target.resource.kind
    is_new = api.find(kind, target.name, target.space) is None
    result = api.apply(
        kind,
        target.name,
        job.body,
        namespace=target.space,
        force=flag(query, "force"),
        subresource="status" if target.subresource else "",
        actor=job.actor,
        # Who applies must say who it is; a name derived from the program would not do.
        options=replace(job.options(), field_manager=query.get("fieldManager", "")),
    )
    return result, 201 if is_new else 200


def _part(target: Target) -> Subresource:
    if target.subresource == "scale":
        return "scale"
    return "status" if target.subresource == "status" else ""


def _delete(job: Write) -> tuple[Object, int]:
    target = job.target
    result = job.world.api.delete(
        target.resource.kind,
        target.name,
        target.space,
        actor=job.actor,
        options=delete_options(job),
    )
    if job.world.api.find(target.resource.kind, target.name, target.space) is not None:
        return result, 200
    if target.resource.kind in _RETURNED:
        return result, 200
    resource, uid = target.resource, result["metadata"].get("uid", "")
    named = {"name": target.name, "group": resource.group, "kind": resource.plural, "uid": uid}
    return success(named), 200


_RETURNED = ("Pod", "Service", "PersistentVolumeClaim", "ServiceAccount", "ResourceQuota")
"""Kinds whose deletion is answered with the object even where it is gone."""


def _delete_collection(job: Write) -> tuple[Object, int]:
    target, query = job.target, job.request.query_params
    found = job.world.api.delete_collection(
        target.resource.kind,
        target.space,
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        actor=job.actor,
        options=delete_options(job),
    )
    presenter = presenter_of(job.request, target)
    metadata = {"resourceVersion": str(job.world.api.revision)}
    return presenter.many(found, metadata), 200


def _bind(job: Write) -> tuple[Object, int]:
    target = job.target
    body = job.body if isinstance(job.body, dict) else {}
    wanted = body.get("target") or {}
    if not isinstance(wanted, dict):
        raise bad_request("json: cannot unmarshal target into a v1.ObjectReference")
    node = wanted.get("name")
    if not node:
        words = 'Binding "" is invalid: target.name: Required value'
        raise KubeError(422, "Invalid", words)
    job.world.api.bind(target.name, target.namespace, str(node), actor=job.actor)
    return success({}), 201


def _evict(job: Write) -> tuple[Object, int]:
    body = job.body if isinstance(job.body, dict) else {}
    inner, target = replace(job, body=body.get("deleteOptions")), job.target
    evict(
        job.world.api,
        target.name,
        target.namespace,
        actor=job.actor,
        options=delete_options(inner),
    )
    return success({}), 201


_ACTS: dict[str, Callable[[Write], tuple[Object, int]]] = {
    "create": _create,
    "update": _update,
    "patch": _patch,
    "delete": _delete,
    "deletecollection": _delete_collection,
}
_SUBRESOURCES: dict[str, Callable[[Write], tuple[Object, int]]] = {
    "binding": _bind,
    "eviction": _evict,
}
