"""Watch: the changes of a collection from a revision on, as lines of JSON.

A watch takes one turn to begin and none while it waits: it reads the history of its kind, which
any thread may, whenever the world has moved. A selector turns a change into ``ADDED`` when an
object starts to match and into ``DELETED`` when it stops. It ends after ``timeoutSeconds`` of the
world or of the host, whichever are over first, with the gate, or when its place in the history is
forgotten. Not here: the history (``world.kube.history``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from aiopslab.errors import LimitExceeded
from aiopslab.models.kube import KubeError, Object
from aiopslab.wire.kubernetes.cluster import Cluster, call_of, cluster_of, refusable
from aiopslab.wire.kubernetes.pods import flag, number
from aiopslab.wire.kubernetes.status import encode, failure, refusal, status_refusal
from aiopslab.wire.kubernetes.streams.streaming import LiveResponse
from aiopslab.wire.kubernetes.tables import Presenter
from aiopslab.wire.kubernetes.target import Target
from aiopslab.world.kube import selectors
from aiopslab.world.kube.history import Change
from aiopslab.world.kube.objects import namespace_of
from aiopslab.world.kube.selectors import FieldTerm, Selector

BOOKMARK_S = 60.0
"""Seconds of the host between bookmarks, where the client wants them."""
_INITIAL_END = {"k8s.io/initial-events-end": "true"}


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """The query of a watch."""

    labels: str
    fields: str
    revision: int
    """Where it starts; 0 is with the objects there are."""
    bookmarks: bool
    initial: bool
    """``sendInitialEvents``: a bookmark says where the objects there are end."""
    timeout_s: int | None


def read_options(request: Request) -> WatchOptions:
    """Read and check the query.

    Raises:
        KubeError: 400 or 422.
    """
    query = request.query_params
    text = query.get("resourceVersion") or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise KubeError(400, "BadRequest", f'invalid resource version "{text}"')
    initial = flag(query, "sendInitialEvents")
    if initial and query.get("resourceVersionMatch") != "NotOlderThan":
        words = (
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        )
        raise KubeError(422, "Invalid", words)
    return WatchOptions(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        revision=0 if initial else int(text),
        bookmarks=flag(query, "allowWatchBookmarks"),
        initial=initial,
        timeout_s=number(query, "timeoutSeconds"),
    )


async def watch(request: Request, target: Target, presenter: Presenter) -> Response:
    """Answer a watch."""
    cluster = cluster_of(request.scope)
    try:
        options = read_options(request)
        stream = WatchStream(cluster, target, options, presenter)
        async with refusable(cluster.gate, call_of(request)) as turn:
            first = stream.begin()
            turn.saw(b"".join(first)[:4000].decode("utf-8", "replace"))
    except KubeError as error:
        return refusal(error)
    except LimitExceeded as error:
        return status_refusal(429, str(error))
    return LiveResponse(stream.lines(first), media_type="application/json")


@dataclass(slots=True)
class WatchStream:
    """One open watch."""

    cluster: Cluster
    target: Target
    options: WatchOptions
    presenter: Presenter
    _revision: int = 0
    """Of the last change that was looked at."""
    _headed: bool = False
    """Whether the columns of the table have been defined."""
    _labels: Selector = ()
    _fields: tuple[FieldTerm, ...] = ()

    def begin(self) -> list[bytes]:
        """Return the lines that stand at the beginning; the world stands still meanwhile.

        Raises:
            KubeError: 400, a selector.
        """
        kind, options = self.target.resource.kind, self.options
        self._labels = selectors.parse_labels(options.labels)
        self._fields = selectors.parse_fields(options.fields, kind)
        if options.revision:
            self._revision = options.revision
            return []
        api = self.cluster.world.api
        found = api.list(kind, self.target.space, labels=options.labels, fields=options.fields)
        self._revision = api.revision
        lines = [self._line("ADDED", obj) for obj in found]
        if options.initial and options.bookmarks:
            lines.append(self._bookmark(_INITIAL_END))
        return lines

    async def lines(self, first: list[bytes]) -> AsyncIterator[bytes]:
        """Yield what happens until the watch ends."""
        for line in first:
            yield line
        gate, loop = self.cluster.gate, asyncio.get_running_loop()
        began, marked = loop.time(), loop.time()
        world_began = self.cluster.world.loop.time()
        while True:
            # One commit may be under way: what is before it is in the history for certain.
            settled = self.cluster.world.api.revision - 1
            try:
                for line in self._changes():
                    yield line
            except KubeError as error:
                yield encode({"type": "ERROR", "object": failure(error)})
                return
            self._revision = max(self._revision, settled)
            if self.options.bookmarks and loop.time() - marked >= BOOKMARK_S:
                marked = loop.time()
                yield self._bookmark({})
            left = self._left(loop.time() - began, self.cluster.world.loop.time() - world_began)
            if gate.closing.is_set() or (left is not None and left <= 0):
                if self.options.bookmarks:
                    yield self._bookmark({})
                return
            try:
                async with asyncio.timeout(left):
                    await gate.moved()
            except TimeoutError:
                continue
            except LimitExceeded:
                return

    def _left(self, host_s: float, world_s: float) -> float | None:
        """Return the seconds until the time is over; None if it never is."""
        if self.options.timeout_s is None:
            return None
        return self.options.timeout_s - max(host_s, world_s)

    def _changes(self) -> Iterator[bytes]:
        kind = self.target.resource.kind
        for change in self.cluster.world.api.changes_since(kind, self._revision):
            self._revision = change.revision
            seen = self._transition(change)
            if seen is not None:
                yield self._line(*seen)

    def _transition(self, change: Change) -> tuple[str, Object] | None:
        """Return what a change is to this watch; None if it does not concern it."""
        was = change.old is not None and self._matches(change.old)
        now = change.event != "DELETED" and self._matches(change.object)
        if now:
            return ("MODIFIED" if was else "ADDED"), change.object
        if not was:
            return None
        if change.event == "DELETED":
            return "DELETED", change.object
        # It left the selection: the last state that was in it, under the revision of the change.
        last = change.old or {}
        revision = change.object["metadata"]["resourceVersion"]
        return "DELETED", {**last, "metadata": {**last["metadata"], "resourceVersion": revision}}

    def _matches(self, obj: Object) -> bool:
        return (
            self.target.namespace in ("", namespace_of(obj))
            and selectors.matches(self._labels, obj["metadata"].get("labels") or {})
            and all(term.matches(obj) for term in self._fields)
        )

    def _line(self, event: str, obj: Object) -> bytes:
        presenter = self.presenter
        if presenter.form.shape == "table":
            metadata = {"resourceVersion": obj["metadata"]["resourceVersion"]}
            now = self.cluster.world.loop.time()
            obj = presenter.at(now).table([obj], metadata, head=not self._headed)
            self._headed = True
        else:
            obj = presenter.one(obj)
        return encode({"type": event, "object": obj})

    def _bookmark(self, annotations: dict[str, str]) -> bytes:
        """Return a bookmark: an object that has nothing but the revision."""
        metadata: Object = {"resourceVersion": str(self._revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        resource = self.target.resource
        marker = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        if self.presenter.form.shape == "table":
            marker = self.presenter.blank(marker)
        elif self.presenter.form.shape == "metadata":
            marker = self.presenter.one(marker)
        return encode({"type": "BOOKMARK", "object": marker})
