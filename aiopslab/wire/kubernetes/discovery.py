"""Discovery: which groups, versions and resources there are, and the server's version.

Serves the aggregated form (one document, ``apidiscovery.k8s.io``) and the plain lists. It says
nothing about the world, so it is answered without a turn. Not here: schemas (``openapi``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from aiopslab.wire.kubernetes import resources
from aiopslab.wire.kubernetes.negotiation import media_types
from aiopslab.wire.kubernetes.resources import Resource, Subresource
from aiopslab.wire.kubernetes.status import encode, refusal, reply
from aiopslab.world.kube.errors import no_such_resource
from aiopslab.world.kube.kubelet.node import VERSION as RELEASE

VERSION = {
    "major": "1",
    "minor": "34",
    "emulationMajor": "1",
    "emulationMinor": "34",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "33",
    "gitVersion": RELEASE,
    "gitCommit": "8cc511e399b929453cd98ae65b419c3cc227ec79",
    "gitTreeState": "clean",
    "buildDate": "2025-11-11T19:05:21Z",
    "goVersion": "go1.24.9",
    "compiler": "gc",
    "platform": "linux/amd64",
}
"""Of the release whose schema is served."""


async def version(request: Request) -> Response:
    """Answer ``/version``."""
    return reply(VERSION)


async def healthy(request: Request) -> Response:
    """Answer ``/healthz``, ``/livez`` and ``/readyz``."""
    if "verbose" in request.query_params:
        name = request.url.path.rsplit("/", 1)[-1]
        return PlainTextResponse(f"[+]ping ok\n{name} check passed\n")
    return PlainTextResponse("ok")


async def core_versions(request: Request) -> Response:
    """Answer ``/api``."""
    aggregated = _aggregated_version(request)
    if aggregated:
        return _document(request, aggregated, core=True)
    address = {"clientCIDR": "0.0.0.0/0", "serverAddress": request.headers.get("host", "")}
    return reply(
        {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [address],
        }
    )


async def group_list(request: Request) -> Response:
    """Answer ``/apis``."""
    aggregated = _aggregated_version(request)
    if aggregated:
        return _document(request, aggregated, core=False)
    groups = [_group(name, versions) for name, versions in resources.groups() if name]
    return reply({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})


async def one_group(request: Request) -> Response:
    """Answer ``/apis/<group>``."""
    wanted = request.path_params["group"]
    for name, versions in resources.groups():
        if name and name == wanted:
            return reply({"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)})
    return refusal(no_such_resource())


async def resource_list(request: Request) -> Response:
    """Answer ``/api/v1`` and ``/apis/<group>/<version>``."""
    group = request.path_params.get("group", "")
    found = resources.in_version(group, request.path_params["version"])
    if not found:
        return refusal(no_such_resource())
    return reply(
        {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": found[0].api_version,
            "resources": [entry for resource in found for entry in _entries(resource)],
        }
    )


def _group(name: str, versions: Iterable[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _entries(resource: Resource) -> Iterable[dict[str, Any]]:
    """Iterate over a resource and its subresources, as ``APIResource``."""
    entry: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short:
        entry["shortNames"] = list(resource.short)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.source == "stored":
        entry["storageVersionHash"] = _storage_hash(resource)
    yield entry
    for part in resource.subresources:
        sub: dict[str, Any] = {
            "name": f"{resource.plural}/{part.name}",
            "singularName": "",
            "namespaced": resource.namespaced,
        }
        if part.group:
            sub |= {"group": part.group, "version": part.version}
        yield {**sub, "kind": part.kind, "verbs": list(part.verbs)}


def _storage_hash(resource: Resource) -> str:
    """Return what stands for the version an object is stored in: the same for all its versions."""
    text = f"{resource.stored.api_version}/{resource.kind}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# -- the aggregated form ----------------------------------------------------------------------


def _aggregated_version(request: Request) -> str:
    """Return the version of ``apidiscovery.k8s.io`` that is asked for before plain JSON."""
    for name, parameters in media_types(request.headers.get("accept", "")):
        wanted = parameters.get("as")
        if wanted is None and name in ("application/json", "*/*", "application/*"):
            return ""
        if wanted == "APIGroupDiscoveryList" and parameters.get("v") in ("v2", "v2beta1"):
            return parameters["v"]
    return ""


def _document(request: Request, version: str, *, core: bool) -> Response:
    body, tag = _encoded(version, core)
    headers = {"etag": tag, "vary": "Accept", "cache-control": "public"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    kind = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    return Response(body, headers=headers, media_type=kind)


@cache
def _encoded(version: str, core: bool) -> tuple[bytes, str]:
    """Return the document and its tag."""
    items = [
        {
            "metadata": {"name": name} if name else {},
            "versions": [
                {
                    "version": v,
                    "resources": [_discovered(r) for r in resources.in_version(name, v)],
                    "freshness": "Current",
                }
                for v in versions
            ],
        }
        for name, versions in resources.groups()
        if (name == "") is core
    ]
    body = encode(
        {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": items,
        }
    )
    tag = hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest().upper()
    return body, f'"{tag}"'


def _discovered(resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": {
            "group": resource.group,
            "version": resource.version,
            "kind": resource.kind,
        },
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short:
        entry["shortNames"] = list(resource.short)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [_part(resource, part) for part in resource.subresources]
    return entry


def _part(resource: Resource, part: Subresource) -> dict[str, Any]:
    kind = {
        "group": part.group or resource.group,
        "version": part.version or resource.version,
        "kind": part.kind,
    }
    return {"subresource": part.name, "responseKind": kind, "verbs": list(part.verbs)}
