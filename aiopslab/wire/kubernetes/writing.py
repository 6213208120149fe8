"""Writes: create, replace, patch, apply, delete, and the subresources that change something.

Reads a request into the API server's own terms (``world.kube.options``) and makes the call. The
world stands still meanwhile: ``wire.metered`` holds its turn. Not here: the rules of writing
(``world.kube.api``), the forms of bodies (``body``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from aiopslab.models.kube import KubeError, Object
from aiopslab.wire.kubernetes import body as bodies
from aiopslab.wire.kubernetes.cluster import cluster_of, identity_of
from aiopslab.wire.kubernetes.pods import flag, number
from aiopslab.wire.kubernetes.reading import present, presenter_of
from aiopslab.wire.kubernetes.status import success
from aiopslab.wire.kubernetes.target import Target
from aiopslab.world.kube.errors import bad_request
from aiopslab.world.kube.eviction import evict
from aiopslab.world.kube.options import (
    DeleteOptions,
    FieldValidation,
    Propagation,
    Subresource,
    WriteOptions,
)
from aiopslab.world.world import World

MANAGER_LENGTH = 128
"""Characters of a field manager's name."""


@dataclass(slots=True)
class Write:
    """One request that writes."""

    request: Request
    target: Target
    world: World
    actor: str
    body: Any
    repeated: list[str]
    """Keys that occur twice in the body."""
    warnings: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.target.name

    def options(self) -> WriteOptions:
        """Read how to write, and judge the repeated keys of the body by it.

        Raises:
            KubeError: 400 or 422.
        """
        query = self.request.query_params
        validation = _validation(query.get("fieldValidation") or "Warn")
        if self.repeated and validation == "Strict":
            kind, version = self.target.resource.kind, self.target.resource.version
            words = ", ".join(f'duplicate field "{path}"' for path in self.repeated)
            raise bad_request(
                f'{kind} in version "{version}" cannot be handled as a {kind}: '
                f"strict decoding error: {words}"
            )
        if validation == "Warn":
            self.warnings += [f'duplicate field "{path}"' for path in self.repeated]
        return WriteOptions(
            field_manager=self._manager(),
            dry_run=dry_run(query.getlist("dryRun")),
            validation=validation,
            api_version=self.target.resource.api_version,
            warn=self.warnings.append,
        )

    def _manager(self) -> str:
        """Return who writes: as stated, else the client's name in ``User-Agent``."""
        stated = self.request.query_params.get("fieldManager", "")
        if len(stated) > MANAGER_LENGTH:
            words = f"fieldManager: Invalid value: may not be more than {MANAGER_LENGTH} bytes"
            raise KubeError(422, "Invalid", f'"" is invalid: {words}')
        agent = self.request.headers.get("user-agent", "").partition("/")[0]
        return stated or "".join(c for c in agent if c.isprintable())[:MANAGER_LENGTH] or "unknown"


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
    result, code = act(job)
    if target.subresource != "scale" and result.get("kind") not in ("Status", "Table"):
        result = presenter.one(result)
    response = present(request, presenter, result, code)
    for text in job.warnings:
        response.headers.append("warning", f"299 - {_quoted(text)}")
    return response


def dry_run(values: list[str]) -> bool:
    """Read ``dryRun``.

    Raises:
        KubeError: 422 for anything but ``All``.
    """
    wrong = [v for v in values if v != "All"]
    if wrong:
        words = f'dryRun: Unsupported value: "{wrong[0]}": supported values: "All"'
        raise KubeError(422, "Invalid", f'"" is invalid: {words}')
    return bool(values)


def _validation(text: str) -> FieldValidation:
    if text == "Strict":
        return "Strict"
    if text == "Warn":
        return "Warn"
    if text == "Ignore":
        return "Ignore"
    words = (
        f'fieldValidation: Unsupported value: "{text}": supported values: "Ignore", "Strict", '
        '"Warn"'
    )
    raise KubeError(422, "Invalid", f'"" is invalid: {words}')


def _quoted(text: str) -> str:
    """Return a quoted string for a header: one line of ASCII."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _object(job: Write) -> Object:
    """Return the object of a body, in agreement with the URL.

    Raises:
        KubeError: 400.
    """
    resource, target = job.target.resource, job.target
    if not isinstance(job.body, dict):
        raise bad_request("the body of the request is not an object")
    obj = dict(job.body)
    version, kind = (
        obj.setdefault("apiVersion", resource.api_version),
        obj.setdefault("kind", resource.kind),
    )
    if version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version "
            f"({resource.api_version})"
        )
    if kind != resource.kind:
        raise bad_request(
            f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f"converting ({version}.{kind}) to ({resource.api_version}.{resource.kind}): unknown "
            "conversion"
        )
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
    if target.namespace and metadata.get("namespace") not in (None, "", target.namespace):
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if target.name and metadata.get("name") not in (None, "", target.name):
        raise bad_request(
            f"the name of the object ({metadata.get('name')}) does not match the name on the URL "
            f"({target.name})"
        )
    if isinstance(obj.get("metadata", {}), dict):
        named = {"namespace": target.namespace, "name": target.name}
        obj["metadata"] = {**metadata, **{k: v for k, v in named.items() if v}}
    return obj


def _create(job: Write) -> tuple[Object, int]:
    return job.world.api.create(_object(job), actor=job.actor, options=job.options()), 201


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
        _object(job), subresource=_part(target), actor=job.actor, options=job.options()
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
        options=_delete_options(job),
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


def _delete_options(job: Write) -> DeleteOptions:
    """Read ``DeleteOptions`` from the body, else from the query.

    Raises:
        KubeError: 400 or 422.
    """
    query = job.request.query_params
    body = job.body if isinstance(job.body, dict) else {}
    grace = body.get("gracePeriodSeconds", number(query, "gracePeriodSeconds"))
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool)):
        raise bad_request("json: cannot unmarshal gracePeriodSeconds into an int64")
    orphan = body.get("orphanDependents", flag(query, "orphanDependents"))
    policy = body.get("propagationPolicy") or query.get("propagationPolicy") or "Background"
    conditions = body.get("preconditions") or {}
    return DeleteOptions(
        grace_s=grace,
        propagation="Orphan" if orphan else _propagation(str(policy)),
        dry_run=dry_run([*(body.get("dryRun") or ()), *query.getlist("dryRun")]),
        uid=str(conditions.get("uid") or ""),
        resource_version=str(conditions.get("resourceVersion") or ""),
    )


def _propagation(text: str) -> Propagation:
    if text == "Background":
        return "Background"
    if text == "Foreground":
        return "Foreground"
    if text == "Orphan":
        return "Orphan"
    words = (
        f'propagationPolicy: Unsupported value: "{text}": supported values: "Foreground", '
        '"Background", "Orphan"'
    )
    raise KubeError(422, "Invalid", f'DeleteOptions.meta.k8s.io "" is invalid: {words}')


def _delete_collection(job: Write) -> tuple[Object, int]:
    target, query = job.target, job.request.query_params
    found = job.world.api.delete_collection(
        target.resource.kind,
        target.space,
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        actor=job.actor,
        options=_delete_options(job),
    )
    presenter = presenter_of(job.request, target)
    metadata = {"resourceVersion": str(job.world.api.revision)}
    return presenter.many(found, metadata), 200


def _bind(job: Write) -> tuple[Object, int]:
    target = job.target
    body = job.body if isinstance(job.body, dict) else {}
    node = (body.get("target") or {}).get("name")
    if not node:
        words = 'Binding "" is invalid: target.name: Required value'
        raise KubeError(422, "Invalid", words)
    job.world.api.bind(target.name, target.namespace, str(node), actor=job.actor)
    return success({}), 201


def _evict(job: Write) -> tuple[Object, int]:
    body = job.body if isinstance(job.body, dict) else {}
    options = body.get("deleteOptions")
    inner = replace(job, body=options if isinstance(options, dict) else {})
    target = job.target
    evict(
        job.world.api,
        target.name,
        target.namespace,
        actor=job.actor,
        options=_delete_options(inner),
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
