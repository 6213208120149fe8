"""``GET pods/X/log``: what a container wrote, once or for as long as it writes.

A plain request is read while its turn on the world lasts. A followed one takes a turn for what is
there and then waits for the world to move; it ends when the container ends, the client leaves or
the gate closes. Not here: keeping the lines (``world.container``), routes (``app``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from aiopslab.errors import LimitExceeded
from aiopslab.models.kube import KubeError
from aiopslab.models.timestamps import rfc3339_nano, unix
from aiopslab.wire.kubernetes.cluster import Cluster, call_of, cluster_of, identity_of, refusable
from aiopslab.wire.kubernetes.pods import TRUE, authorize, choose_container, flag, number
from aiopslab.wire.kubernetes.status import refusal, status_refusal
from aiopslab.wire.kubernetes.streams.streaming import LiveResponse
from aiopslab.world.container import Container
from aiopslab.world.kube.errors import Cause

if TYPE_CHECKING:
    from starlette.types import Scope

PLAIN = "text/plain"


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The query of a request for a log (core/v1 ``PodLogOptions``)."""

    container: str | None
    previous: bool
    follow: bool
    timestamps: bool
    tail: int | None
    since_s: int | None
    """Seconds before the world's now."""
    since: float | None
    """Unix seconds."""
    limit: int | None
    """Bytes after which the answer is cut."""

    def start(self, now: float) -> float | None:
        """Return the unix time before which nothing is shown."""
        return now - self.since_s if self.since_s is not None else self.since


def is_followed(scope: Scope) -> bool:
    """Whether a request's answer goes on until the container ends."""
    if not scope["path"].endswith("/log"):
        return False
    return QueryParams(scope["query_string"]).get("follow") in TRUE


async def logs(request: Request) -> Response:
    """Answer ``GET /api/v1/namespaces/{namespace}/pods/{name}/log``."""
    namespace, name = request.path_params["namespace"], request.path_params["name"]
    cluster = cluster_of(request.scope)
    try:
        authorize(identity_of(request.scope), "get", "log", name, namespace)
        options = read_options(request.query_params, name)
        if not options.follow:
            box = _source(cluster, name, namespace, options)
            return Response(_page(box, options), media_type=PLAIN)
        async with refusable(cluster.gate, call_of(request)) as turn:
            box = _source(cluster, name, namespace, options)
            written, page = box.lines_written, _page(box, options)
            turn.saw(page[:4000].decode("utf-8", "replace"))
    except KubeError as error:
        return refusal(error)
    except LimitExceeded as error:
        return status_refusal(429, str(error))
    return LiveResponse(_followed(cluster, box, options, page, written), media_type=PLAIN)


def read_options(query: QueryParams, pod: str) -> LogOptions:
    """Read and check the query.

    Raises:
        KubeError: 400 for values that cannot be read, 422 for those out of range.
    """
    since, text = None, query.get("sinceTime")
    if text:
        try:
            since = unix(text)
        except ValueError:
            raise KubeError(400, "BadRequest", f'parsing time "{text}" as RFC 3339') from None
    options = LogOptions(
        container=query.get("container") or None,
        previous=flag(query, "previous"),
        follow=flag(query, "follow"),
        timestamps=flag(query, "timestamps"),
        tail=number(query, "tailLines"),
        since_s=number(query, "sinceSeconds"),
        since=since,
        limit=number(query, "limitBytes"),
    )
    causes = _causes(options)
    if causes:
        listed = str(causes[0]) if len(causes) == 1 else f"[{', '.join(map(str, causes))}]"
        raise KubeError(422, "Invalid", f'PodLogOptions "{pod}" is invalid: {listed}')
    return options


def _causes(options: LogOptions) -> list[Cause]:
    causes = []
    if options.tail is not None and options.tail < 0:
        text = f"Invalid value: {options.tail}: must be greater than or equal to 0"
        causes.append(Cause("tailLines", text))
    if options.limit is not None and options.limit < 1:
        text = f"Invalid value: {options.limit}: must be greater than 0"
        causes.append(Cause("limitBytes", text))
    if options.since_s is not None and options.since is not None:
        text = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        causes.append(Cause("", text))
    elif options.since_s is not None and options.since_s < 1:
        text = f"Invalid value: {options.since_s}: must be greater than 0"
        causes.append(Cause("sinceSeconds", text))
    return causes


def _source(cluster: Cluster, name: str, namespace: str, options: LogOptions) -> Container:
    """Find the life of the container whose output is meant."""
    pod = cluster.world.api.get("Pod", name, namespace)
    container = choose_container(pod, options.container)
    kubelet = cluster.world.kubelet_of(name, namespace)
    return kubelet.log_source(name, namespace, container, previous=options.previous)


def _page(box: Container, options: LogOptions) -> bytes:
    lines = box.log_lines(tail=options.tail, since=options.start(box.loop.time()))
    return _text(lines, options)[: options.limit]


def _text(lines: Sequence[tuple[float, str]], options: LogOptions) -> bytes:
    if options.timestamps:
        return "".join(f"{rfc3339_nano(t)} {line}\n" for t, line in lines).encode()
    return "".join(f"{line}\n" for _, line in lines).encode()


async def _followed(
    cluster: Cluster, box: Container, options: LogOptions, page: bytes, written: int
) -> AsyncIterator[bytes]:
    """Yield what is there, then what comes."""
    left = options.limit
    gate = cluster.gate
    while True:
        if page:
            yield page
        if left is not None:
            left -= len(page)
        # Whether it ended is asked before the last lines are read, so that none is lost.
        ended = box.exit is not None
        lines, written = box.log_after(written)
        page = _text(lines, options)[:left]
        if page:
            continue
        if ended or left == 0 or gate.closing.is_set():
            return
        try:
            await gate.moved()
        except LimitExceeded:
            return
