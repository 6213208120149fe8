"""Pages of a list: every page shows the state at the revision of the first.

A continue token names that revision and where the next page starts, so the server keeps nothing
between pages: the state is the present one with the later changes undone. Once the history does
not reach back far enough, the token is answered with 410 and one that goes on inconsistently, as
etcd's compaction makes a real server do. Not here: what a list looks like on the wire.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from aiopslab.models.kube import KubeError
from aiopslab.world.kube import selectors
from aiopslab.world.kube.errors import bad_request
from aiopslab.world.kube.objects import Object, Objects, name_of, namespace_of
from aiopslab.world.kube.store import ObjectStore

_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can "
    "start a new list without the continue parameter, or use the continue token in this response "
    "to retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)
_TOO_OLD = "The resourceVersion for the provided list is too old."
_LATEST = -1
"""Revision in a token that goes on inconsistently."""

_Place = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list."""

    items: Objects
    revision: int
    """Of the state shown: the list's ``metadata.resourceVersion``."""
    token: str = ""
    """``metadata.continue``; empty on the last page."""
    remaining: int | None = None
    """``metadata.remainingItemCount``; None on the last page and with a selector."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which objects of a kind a list shows, and how many at a time."""

    namespace: str | None = None
    """None for all."""
    labels: str = ""
    fields: str = ""
    limit: int = 0
    """Most objects of a page; 0 is no limit."""
    token: str = ""
    """``Page.token`` of the page before; empty for the first."""
    revision: int | None = None
    """Of the state that the first page shows; None is the present one."""


def page(store: ObjectStore, kind: str, query: Query) -> Page:
    """Cut one page of a list.

    Raises:
        KubeError: 400, not a token or selector; 410, the state it belongs to is forgotten.
    """
    wanted = _LATEST if query.revision is None else query.revision
    after, revision = _read(query.token) if query.token else (None, wanted)
    if revision == _LATEST:
        found, revision = store.list(kind, query.namespace), store.revision
    else:
        found = _state_at(store, kind, query.namespace, revision, after)
    if after is not None:
        found = [obj for obj in found if _place(obj) > after]
    found = selectors.select(found, kind, query.labels, query.fields)
    if query.limit <= 0 or len(found) <= query.limit:
        return Page(found, revision)
    items = found[: query.limit]
    remaining = None if query.labels or query.fields else len(found) - query.limit
    return Page(items, revision, _write(_place(items[-1]), revision), remaining)


def _state_at(
    store: ObjectStore, kind: str, namespace: str | None, revision: int, after: _Place | None
) -> Objects:
    """Return a kind's objects as they were: the present ones with later changes undone."""
    if revision > store.revision:
        raise bad_request("continue key is not valid: it is from the future")
    try:
        later = store.history.since(kind, revision)
    except KubeError as error:
        if after is None:
            raise KubeError(410, "Expired", _TOO_OLD) from error
        token = _write(after, _LATEST)
        raise KubeError(410, "Expired", _EXPIRED, continue_token=token) from error
    objects = {_place(obj): obj for obj in store.list(kind, namespace)}
    for change in reversed(later):
        if namespace is not None and namespace_of(change.object) != namespace:
            continue
        if change.old is None:
            objects.pop(_place(change.object), None)
        else:
            objects[_place(change.old)] = change.old
    return [objects[place] for place in sorted(objects)]


def _place(obj: Object) -> _Place:
    return namespace_of(obj), name_of(obj)


def _write(last: _Place, revision: int) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": "/".join(last) + "\0"})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(token: str) -> tuple[_Place, int]:
    """Return the place after which the page starts, and the revision.

    Raises:
        KubeError: 400, not one of our tokens.
    """
    try:
        raw = base64.urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
        content = json.loads(raw)
        namespace, _, name = content["start"].rstrip("\0").partition("/")
        return (namespace, name), int(content["rv"])
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError,
            RecursionError) as error:  # fmt: skip
        raise bad_request("continue key is not valid: it is not one this server gave") from error
