"""OpenAPI v3: what kubectl needs to merge, validate by the server and explain.

One document for each group and version: its paths, made of the resource table, and the schemas
they refer to, from derived data (``data/README.md``). It says nothing about the world. Not here:
the field table the server itself decodes by (``world.kube.schema``).
"""

from __future__ import annotations

import gzip
import hashlib
import json
from functools import cache
from importlib import resources as files
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from aiopslab.wire.kubernetes import resources
from aiopslab.wire.kubernetes.resources import Resource
from aiopslab.wire.kubernetes.status import encode, refusal, reply
from aiopslab.world.kube.errors import no_such_resource
from aiopslab.world.kube.kubelet.node import VERSION

_DATA = "openapi-1.34.json.gz"
_PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
_WRITE_QUERY = {
    "dryRun": "When present, indicates that modifications should not be persisted.",
    "fieldManager": "fieldManager is a name associated with the actor or entity that is making "
    "these changes.",
    "fieldValidation": "fieldValidation instructs the server on how to handle objects in the "
    "request containing unknown or duplicate fields: Ignore, Warn, Strict.",
}
_LIST_QUERY = {
    "labelSelector": "A selector to restrict the list of returned objects by their labels.",
    "fieldSelector": "A selector to restrict the list of returned objects by their fields.",
    "limit": "limit is a maximum number of responses to return for a list call.",
    "continue": "The continue option should be set when retrieving more results from the server.",
    "resourceVersion": "resourceVersion sets a constraint on what resource versions a request may "
    "be served from.",
    "timeoutSeconds": "Timeout for the list/watch call.",
    "watch": "Watch for changes to the described resources.",
}


async def index(request: Request) -> Response:
    """Answer ``/openapi/v3``."""
    paths = {
        (f"apis/{group}/{version}" if group else f"api/{version}"): {
            "serverRelativeURL": _url(group, version)
        }
        for group, versions in resources.groups()
        for version in versions
        if _documented(group, version)
    }
    return reply({"paths": paths})


async def document(request: Request) -> Response:
    """Answer ``/openapi/v3/api/v1`` and ``/openapi/v3/apis/<group>/<version>``."""
    group, version = request.path_params.get("group", ""), request.path_params["version"]
    if not _documented(group, version):
        return refusal(no_such_resource())
    tag = f'"{_hash(group, version)}"'
    headers = {"etag": tag, "cache-control": "public, immutable", "vary": "Accept"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(_document(group, version), headers=headers, media_type="application/json")


def _documented(group: str, version: str) -> bool:
    """Whether there are schemas for a version; usage has none in the published ones."""
    return any(r.source != "usage" for r in resources.in_version(group, version))


def _url(group: str, version: str) -> str:
    path = f"apis/{group}/{version}" if group else f"api/{version}"
    return f"/openapi/v3/{path}?hash={_hash(group, version)}"


@cache
def _raw() -> bytes:
    return (files.files("aiopslab.wire.kubernetes") / "data" / _DATA).read_bytes()


@cache
def _hash(group: str, version: str) -> str:
    text = repr([*resources.in_version(group, version), _WRITE_QUERY, _LIST_QUERY])
    return hashlib.sha512(_raw() + text.encode()).hexdigest().upper()


@cache
def _schemas() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(_raw()))
    return found


@cache
def _by_kind() -> dict[tuple[str, str, str], str]:
    """Return the schema names by group, version and kind."""
    return {
        (g["group"], g["version"], g["kind"]): name
        for name, schema in _schemas().items()
        for g in schema.get("x-kubernetes-group-version-kind", ())
    }


@cache
def _document(group: str, version: str) -> bytes:
    paths: dict[str, Any] = {}
    for resource in resources.in_version(group, version):
        if (resource.group, resource.version, resource.kind) in _by_kind():
            paths |= _paths(resource)
    wanted: dict[str, Any] = {}
    _collect(paths, wanted)
    return encode(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": VERSION},
            "paths": paths,
            "components": {"schemas": dict(sorted(wanted.items()))},
        }
    )


def _collect(value: Any, found: dict[str, Any]) -> None:
    """Add every schema that a value refers to, directly or not."""
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str):
            name = reference.rpartition("/")[2]
            if name not in found:
                found[name] = _schemas()[name]
                _collect(found[name], found)
        for item in value.values():
            _collect(item, found)
    elif isinstance(value, list):
        for item in value:
            _collect(item, found)


def _paths(resource: Resource) -> dict[str, Any]:
    base = resource.path
    space = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"{base}{space}/{resource.plural}"
    own = (resource.group, resource.version, resource.kind)
    paths = {collection: _item(resource, own, ("list", "create", "deletecollection"))}
    if "get" in resource.verbs:
        one = ("get", "update", "patch", "delete")
        paths[f"{collection}/{{name}}"] = _item(resource, own, one)
    if resource.namespaced and "list" in resource.verbs:
        paths[f"{base}/{resource.plural}"] = _item(resource, own, ("list",))
    for part in resource.subresources:
        kind = (part.group or resource.group, part.version or resource.version, part.kind)
        if kind in _by_kind():
            path = f"{collection}/{{name}}/{part.name}"
            paths[path] = _item(resource, kind, part.verbs, of_resource=False)
    return {path: item for path, item in paths.items() if item}


_METHODS = {
    "list": ("get", "list"),
    "get": ("get", "get"),
    "create": ("post", "post"),
    "update": ("put", "put"),
    "patch": ("patch", "patch"),
    "delete": ("delete", "delete"),
    "deletecollection": ("delete", "deletecollection"),
}


def _item(
    resource: Resource,
    kind: tuple[str, str, str],
    verbs: tuple[str, ...],
    *,
    of_resource: bool = True,
) -> dict[str, Any]:
    """Return the operations of a path."""
    item: dict[str, Any] = {}
    for verb in verbs:
        if of_resource and verb not in resource.verbs:
            continue
        method, action = _METHODS[verb]
        item[method] = _operation(verb, action, kind)
    return item


def _operation(verb: str, action: str, kind: tuple[str, str, str]) -> dict[str, Any]:
    group, version, name = kind
    schema = {"$ref": f"#/components/schemas/{_by_kind()[kind]}"}
    query: dict[str, str] = {}
    if verb in ("create", "update", "patch"):
        query = _WRITE_QUERY
    elif verb in ("list", "deletecollection"):
        query = _LIST_QUERY
    elif verb == "delete":
        query = {"dryRun": _WRITE_QUERY["dryRun"]}
    operation: dict[str, Any] = {
        "description": f"{action} {name}",
        "parameters": [_parameter(key, text) for key, text in query.items()],
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": schema}}}
        },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": name},
    }
    if verb in ("create", "update"):
        operation["requestBody"] = {"content": {"*/*": {"schema": schema}}, "required": True}
    elif verb == "patch":
        patch = {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Patch"}
        content = {kind: {"schema": patch} for kind in _PATCH_TYPES}
        operation["requestBody"] = {"content": content, "required": True}
    return operation


def _parameter(name: str, description: str) -> dict[str, Any]:
    type_ = {"limit": "integer", "timeoutSeconds": "integer", "watch": "boolean"}
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": {"type": type_.get(name, "string"), "uniqueItems": True},
    }
