"""``pods/X/attach``: the output of a running container from now on.

Standard input goes nowhere: no program in the world reads its own. Not here: what was written
before (``logs``), commands (``exec``).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketDisconnect

from aiopslab.errors import LimitExceeded
from aiopslab.models.kube import KubeError
from aiopslab.wire.gate import Gate
from aiopslab.wire.kubernetes.cluster import call_of, cluster_of, identity_of, refusable
from aiopslab.wire.kubernetes.pods import authorize, choose_container, flag
from aiopslab.wire.kubernetes.status import failure, refusal, status_refusal
from aiopslab.wire.kubernetes.streams.channels import (
    STDOUT,
    V4,
    V5,
    Channels,
    exit_status,
    negotiate,
)
from aiopslab.world.container import Container

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket


async def attach(socket: WebSocket) -> None:
    """Serve ``/api/v1/namespaces/{namespace}/pods/{name}/attach`` to a WebSocket."""
    gate = cluster_of(socket.scope).gate
    try:
        tty = flag(socket.query_params, "tty")
        protocol = negotiate(socket.scope["subprotocols"], (V5, V4))
        async with refusable(gate, call_of(socket)):
            box = find(socket)
            written = box.lines_written
    except KubeError as error:
        await socket.send_denial_response(refusal(error))
        return
    except LimitExceeded as error:
        await socket.send_denial_response(status_refusal(429, str(error)))
        return
    await socket.accept(protocol)
    channels = Channels(socket, gate.closing)
    with contextlib.suppress(WebSocketDisconnect):
        following = asyncio.ensure_future(_follow(channels, gate, box, written, tty=tty))
        leaving = asyncio.ensure_future(_ignore_input(channels))
        try:
            await asyncio.wait({following, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if following.done() or gate.closing.is_set():
                await following
        finally:
            following.cancel()
            leaving.cancel()


async def attach_refused(request: Request) -> Response:
    """Answer a request that is no WebSocket: kubectl's fall-back, or an old client."""
    try:
        find(request)
    except KubeError as error:
        return refusal(error)
    return status_refusal(400, "unable to upgrade: WebSocket is needed; use kubectl 1.31 or later")


def find(request: HTTPConnection) -> Container:
    """Find the running container that is meant.

    Raises:
        KubeError: 400, 403 or 404.
    """
    namespace, name = request.path_params["namespace"], request.path_params["name"]
    world = cluster_of(request.scope).world
    authorize(identity_of(request.scope), "create", "attach", name, namespace)
    container = choose_container(
        world.api.get("Pod", name, namespace), request.query_params.get("container")
    )
    return world.kubelet_of(name, namespace).running(name, namespace, container)


async def _follow(
    channels: Channels, gate: Gate, box: Container, written: int, *, tty: bool
) -> None:
    """Send lines as they are written, until the container ends or nothing more is served."""
    end = "\r\n" if tty else "\n"
    while True:
        ended = box.exit
        lines, written = box.log_after(written)
        await channels.send(STDOUT, "".join(f"{line}{end}" for _, line in lines).encode())
        if ended is not None:
            await channels.finish(exit_status(ended.code))
            return
        try:
            if not gate.closing.is_set():
                await gate.moved()
        except LimitExceeded as error:
            await channels.finish(failure(KubeError(429, "TooManyRequests", str(error))))
            return
        if gate.closing.is_set():
            await channels.finish()
            return


async def _ignore_input(channels: Channels) -> None:
    """Read on, so that the client's leaving is noticed."""
    while await channels.receive() is not None:
        continue
