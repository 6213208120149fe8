"""The Kubernetes API of a world over HTTP, for kubectl 1.31 or later and client libraries.

One ASGI application: discovery and schemas without a turn, requests of objects with one (``wire.
metered``), watches and streams that take their own. A guard stands before it and says who asks.
What is served, and what is not, is in ``docs/kubernetes.md``. Not here: the cluster's state and
rules (``world.kube``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from aiopslab.environments.sim import Sim
from aiopslab.models.kube import KubeError
from aiopslab.models.observation import Effect
from aiopslab.wire.gate import Gate
from aiopslab.wire.kubernetes import discovery, openapi
from aiopslab.wire.kubernetes.access import require
from aiopslab.wire.kubernetes.cluster import Cluster, identity_of
from aiopslab.wire.kubernetes.pods import TRUE
from aiopslab.wire.kubernetes.reading import read
from aiopslab.wire.kubernetes.reviews import review
from aiopslab.wire.kubernetes.status import refusal
from aiopslab.wire.kubernetes.status import status_refusal as status_refusal
from aiopslab.wire.kubernetes.streams.attach import attach, attach_refused
from aiopslab.wire.kubernetes.streams.exec import exec as exec_stream
from aiopslab.wire.kubernetes.streams.exec import exec_refused
from aiopslab.wire.kubernetes.streams.logs import is_followed, logs
from aiopslab.wire.kubernetes.streams.portforward import portforward, portforward_refused
from aiopslab.wire.kubernetes.target import of_path
from aiopslab.wire.kubernetes.writing import write
from aiopslab.wire.metered import Metered
from aiopslab.wire.monitoring.assembly import Dated
from aiopslab.world.world import World

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Scope

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_POD = "/api/v1/namespaces/{namespace}/pods/{name}"
_DEPRECATED = {
    "Endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
}
"""Kinds of which the server warns whoever uses them."""


def kubernetes_app(world: World, gate: Gate, *, env: Sim) -> ASGIApp:
    """Return the API of one world as an ASGI application.

    Args:
        world: The cluster; it is only touched while a turn on it is held.
        gate: The way to the turns.
        env: The environment of the world, which lets commands in containers take their time.
    """
    app = Starlette(routes=_routes(), exception_handlers={HTTPException: _not_routed})
    app.router.redirect_slashes = False
    app.state.cluster = Cluster(world, env, gate)
    dated = Dated(app, world.loop.time)
    return Metered(
        dated, gate, "kubernetes", status_refusal, effect=_effect, free=_is_free, streams=_is_stream
    )


def _routes() -> list[BaseRoute]:
    return [
        *_both("/version", discovery.version),
        *(Route(f"/{name}", discovery.healthy) for name in ("healthz", "livez", "readyz")),
        *_both("/api", discovery.core_versions),
        *_both("/apis", discovery.group_list),
        *_both("/api/{version}", discovery.resource_list),
        *_both("/apis/{group}", discovery.one_group),
        *_both("/apis/{group}/{version}", discovery.resource_list),
        Route("/openapi/v3", openapi.index),
        Route("/openapi/v3/api/{version}", openapi.document),
        Route("/openapi/v3/apis/{group}/{version}", openapi.document),
        Route(f"{_POD}/log", logs, methods=["GET"]),
        WebSocketRoute(f"{_POD}/exec", exec_stream),
        Route(f"{_POD}/exec", exec_refused, methods=["GET", "POST"]),
        WebSocketRoute(f"{_POD}/attach", attach),
        Route(f"{_POD}/attach", attach_refused, methods=["GET", "POST"]),
        WebSocketRoute(f"{_POD}/portforward", portforward),
        Route(f"{_POD}/portforward", portforward_refused, methods=["GET", "POST"]),
        Route("/api/{rest:path}", _object_request, methods=_METHODS),
        Route("/apis/{rest:path}", _object_request, methods=_METHODS),
    ]


def _both(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> list[BaseRoute]:
    """Serve a path with and without a slash at its end, as clients write both."""
    return [Route(path, endpoint), Route(f"{path}/", endpoint)]


async def _object_request(request: Request) -> Response:
    """Answer a request about an object or a collection."""
    try:
        target = of_path(_path(request.scope))
        verb = target.verb(request.method, watching=_watches(request.scope))
        if target.resource.source == "review":
            return await review(request, target)
        require(identity_of(request.scope), verb, target)
        answer = read if verb in ("get", "list", "watch") else write
        response = await answer(request, target, verb)
    except KubeError as error:
        return refusal(error)
    if target.resource.kind in _DEPRECATED:
        response.headers.append("warning", f'299 - "{_DEPRECATED[target.resource.kind]}"')
    return response


async def _not_routed(request: Request, error: Exception) -> Response:
    """Answer for a path or method that no route has."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 404:
        return PlainTextResponse("404 page not found\n", 404)
    words = "the server does not allow this method on the requested resource"
    return status_refusal(error.status_code, words)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _watches(scope: Scope) -> bool:
    return QueryParams(scope["query_string"]).get("watch") in TRUE


def _is_stream(scope: Scope) -> bool:
    """Whether a request's handler takes its own turns: watches of collections, followed logs."""
    if scope["method"] != "GET":
        return False
    try:
        target = of_path(_path(scope))
    except KubeError:
        return False
    if target.subresource:
        return target.subresource == "log" and is_followed(scope)
    return not target.name and _watches(scope) and "watch" in target.resource.verbs


def _is_free(scope: Scope) -> bool:
    """Whether a request says nothing about the world: schemas, versions, one's own rights."""
    parts = _path(scope).strip("/").split("/")
    if parts[0] == "apis":
        return len(parts) <= 3 or parts[1] in ("authentication.k8s.io", "authorization.k8s.io")
    return parts[0] != "api" or len(parts) <= 2


def _effect(scope: Scope) -> Effect:
    dry = QueryParams(scope["query_string"]).getlist("dryRun") == ["All"]
    return "read" if dry or scope["method"] in ("GET", "HEAD") else "write"
