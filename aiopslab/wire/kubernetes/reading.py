"""Reads: one object, a list or a page of it, a watch.

Not here: what is stored and how lists are paged (``world.kube``), usage (``usage``).
"""

from __future__ import annotations

import yaml
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from aiopslab.models.kube import KubeError, Object
from aiopslab.wire.kubernetes import negotiation, usage
from aiopslab.wire.kubernetes.cluster import cluster_of
from aiopslab.wire.kubernetes.pods import number
from aiopslab.wire.kubernetes.status import reply
from aiopslab.wire.kubernetes.tables import Presenter, include_of
from aiopslab.wire.kubernetes.target import Target
from aiopslab.wire.kubernetes.watching import watch


def presenter_of(request: Request, target: Target) -> Presenter:
    """Return how the answer to a request is presented.

    Raises:
        KubeError: 406, or 400 for an unknown ``includeObject``.
    """
    form = negotiation.form(request.headers.get("accept", ""))
    if target.subresource == "scale":
        form = negotiation.Form(yaml=form.yaml)
    include = include_of(request.query_params.get("includeObject", ""))
    now = cluster_of(request.scope).world.loop.time()
    return Presenter(target.resource, form, include, now)


def present(request: Request, presenter: Presenter, value: Object, code: int = 200) -> Response:
    """Answer with a value that is in its form already."""
    if presenter.form.yaml:
        text = yaml.safe_dump(value, sort_keys=True, allow_unicode=True)
        return Response(text, code, media_type="application/yaml")
    return reply(value, code)


async def read(request: Request, target: Target, verb: str) -> Response:
    """Answer a get, list or watch.

    Raises:
        KubeError: 400, 404, 406, 410.
    """
    presenter = presenter_of(request, target)
    if target.resource.source == "usage":
        return present(request, presenter, _usage(request, target, presenter))
    if verb == "watch":
        return await watch(request, target, presenter)
    if verb == "list":
        return present(request, presenter, _page(request, target, presenter))
    return present(request, presenter, _one(request, target, presenter))


def _usage(request: Request, target: Target, presenter: Presenter) -> Object:
    if target.name:
        return presenter.one(usage.one(request, target))
    return presenter.many(usage.listed(request, target), {})


def _one(request: Request, target: Target, presenter: Presenter) -> Object:
    api = cluster_of(request.scope).world.api
    kind, name = target.resource.kind, target.name
    if target.subresource == "scale":
        return api.get_scale(kind, name, target.space)
    return presenter.one(api.get(kind, name, target.space))


def _page(request: Request, target: Target, presenter: Presenter) -> Object:
    query = request.query_params
    limit = number(query, "limit") or 0
    if limit < 0:
        raise KubeError(400, "BadRequest", f"invalid limit {limit}: it must not be negative")
    api = cluster_of(request.scope).world.api
    _check_revision(query.get("resourceVersion", ""), api.revision)
    exact = _is_exact(query)
    page = api.list_page(
        target.resource.kind,
        target.space,
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        limit=limit,
        token=query.get("continue", ""),
        revision=int(query["resourceVersion"]) if exact else None,
    )
    metadata: Object = {"resourceVersion": str(page.revision)}
    if page.token:
        metadata["continue"] = page.token
        if page.remaining is not None:
            metadata["remainingItemCount"] = page.remaining
    return presenter.many(page.items, metadata)


def _is_exact(query: QueryParams) -> bool:
    """Read ``resourceVersionMatch``: whether the state of exactly that revision is wanted.

    Raises:
        KubeError: 422, it does not go with the rest of the query.
    """
    match, revision = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    if not match:
        return False
    problem = ""
    if query.get("continue"):
        problem = "Forbidden: resourceVersionMatch is forbidden when continue is provided"
    elif not revision:
        problem = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
    elif match not in ("Exact", "NotOlderThan"):
        problem = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan"'
    elif match == "Exact" and int(revision) == 0:
        problem = 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
    if problem:
        words = f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: {problem}'
        raise KubeError(422, "Invalid", words)
    return match == "Exact"


def _check_revision(text: str, latest: int) -> None:
    """Refuse a list "not older than" a revision that is still to come.

    Raises:
        KubeError: 400, not a number; 504, too large.
    """
    if not text:
        return
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise KubeError(400, "BadRequest", f'Invalid value: "{text}": strconv.ParseUint')
    if int(text) > latest:
        words = f"Too large resource version: {int(text)}, current: {latest}"
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        raise KubeError(504, "Timeout", words, {"causes": [cause], "retryAfterSeconds": 1})
