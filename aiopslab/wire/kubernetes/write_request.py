"""What a request that writes says: its object, how to write it, how to delete.

Reads body and query into the API server's own terms (``world.kube.options``). Not here: making the
calls (``writing``), the forms of bodies (``body``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from aiopslab.models.kube import KubeError, Object
from aiopslab.wire.kubernetes.pods import flag, number
from aiopslab.wire.kubernetes.resources import Resource
from aiopslab.wire.kubernetes.target import Target
from aiopslab.world.kube.errors import bad_request
from aiopslab.world.kube.options import (
    DeleteOptions,
    FieldValidation,
    Propagation,
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
            dry_run=_dry_run(query.getlist("dryRun")),
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


def object_of(job: Write) -> Object:
    """Return the object of a body, in agreement with the URL.

    Raises:
        KubeError: 400.
    """
    resource, target = job.target.resource, job.target
    if not isinstance(job.body, dict):
        raise bad_request("the body of the request is not an object")
    obj = {"apiVersion": resource.api_version, "kind": resource.kind, **job.body}
    _check_kind(resource, obj["apiVersion"], obj["kind"])
    metadata = obj.get("metadata") or {}
    if not isinstance(metadata, dict):
        return obj  # the decoder says what is wrong with it
    if target.namespace and metadata.get("namespace") not in (None, "", target.namespace):
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if target.name and metadata.get("name") not in (None, "", target.name):
        raise bad_request(
            f"the name of the object ({metadata.get('name')}) does not match the name on the URL "
            f"({target.name})"
        )
    named = {"namespace": target.namespace, "name": target.name}
    obj["metadata"] = {**metadata, **{key: value for key, value in named.items() if value}}
    return obj


def _check_kind(resource: Resource, version: Any, kind: Any) -> None:
    """Refuse an object of another version or kind than the URL's."""
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


def delete_options(job: Write) -> DeleteOptions:
    """Read ``DeleteOptions`` from the body, else from the query.

    Raises:
        KubeError: 400 or 422.
    """
    query, body = job.request.query_params, _options(job.body)
    grace = body.get("gracePeriodSeconds", number(query, "gracePeriodSeconds"))
    orphan = body.get("orphanDependents", flag(query, "orphanDependents"))
    policy = body.get("propagationPolicy") or query.get("propagationPolicy") or "Background"
    conditions = body.get("preconditions") or {}
    return DeleteOptions(
        grace_s=grace,
        propagation="Orphan" if orphan else _propagation(policy),
        dry_run=_dry_run([*body.get("dryRun", ()), *query.getlist("dryRun")]),
        uid=conditions.get("uid") or "",
        resource_version=conditions.get("resourceVersion") or "",
    )


def _options(body: Any) -> Object:
    """Return the ``DeleteOptions`` of a body, without what is null in it.

    Raises:
        KubeError: 400, it is of another type, or a field of it is.
    """
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise bad_request("the body of the request is not an object")
    given = {name: value for name, value in body.items() if value is not None}
    for name, (of, shown) in _OPTION_TYPES.items():
        # A boolean is no int64, though it is an ``int``.
        if name in given and type(given[name]) is not of:
            raise bad_request(f"json: cannot unmarshal {name} into {shown}")
    for name in ("uid", "resourceVersion"):
        if not isinstance((given.get("preconditions") or {}).get(name) or "", str):
            raise bad_request(f"json: cannot unmarshal preconditions.{name} into a string")
    return given


_OPTION_TYPES: dict[str, tuple[type, str]] = {
    "gracePeriodSeconds": (int, "an int64"),
    "orphanDependents": (bool, "a bool"),
    "propagationPolicy": (str, "a string"),
    "preconditions": (dict, "a v1.Preconditions"),
    "dryRun": (list, "a []string"),
}


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


def _dry_run(values: list[str]) -> bool:
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
