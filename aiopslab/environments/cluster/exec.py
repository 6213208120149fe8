"""A command in a container of a cluster, over the WebSocket that kubectl uses.

The official client makes the connection; the channels are read here, because standard input needs
an end (``v5.channel.k8s.io``) and the exit code is wanted, not an exception. A command that is
still running at the deadline, or that nobody waits for any more, is left: closing the stream does
not end it. Not here: the simulated containers (``world.images``).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from socket import SHUT_RDWR
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from aiopslab.environments.cluster.connection import CONNECT_S, Connection, of_status, refusal
from aiopslab.errors import InfraError
from aiopslab.models.kube import ExecResult, Object

if TYPE_CHECKING:
    from websocket import WebSocket

_STDIN, _STDOUT, _STDERR, _STATUS, _CLOSE = 0, 1, 2, 3, 255
_V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
_GIVEN_UP, _NOT_FOUND = 124, 127
_FRAME = 1 << 20
OUTPUT_LIMIT = 16 << 20
"""Bytes that a command may print before it is given up."""
_TOO_LATE = "command still running after {timeout_s:g} s, gave up"
_TOO_MUCH = f"more than {OUTPUT_LIMIT >> 20} MiB of output, gave up"
_NOT_STARTED = re.compile(
    r'(exec: "[^"]*": (?:.*executable file not found.*?|stat .*?))(?:: unknown)?$'
)


@dataclass(slots=True)
class _Output:
    """What has come on the channels."""

    parts: dict[int, bytearray] = field(default_factory=dict)

    def text(self, channel: int) -> str:
        return bytes(self.parts.get(channel, b"")).decode("utf-8", "replace")


class Line:
    """The stream of one command, which another thread may cut: its reader hears the end of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: WebSocket | None = None
        self._is_cut = False

    def carry(self, socket: WebSocket) -> None:
        """Be the stream of a connection; one that was cut before is cut at once."""
        with self._lock:
            self._socket = socket
        if self._is_cut:
            self.cut()

    def cut(self) -> None:
        """End it, wherever its reader is."""
        with self._lock:
            self._is_cut = True
            raw = self._socket.sock if self._socket is not None else None
            if raw is not None:
                with suppress(OSError):
                    raw.shutdown(SHUT_RDWR)


def execute(
    connection: Connection,
    path: str,
    argv: Sequence[str],
    *,
    container: str,
    stdin: str,
    timeout_s: float,
    line: Line,
) -> ExecResult:
    """Run a command to its end, in the calling thread.

    Args:
        connection: The way to the server.
        path: The URL of the pod's ``exec``.
        argv: The command.
        container: Where.
        stdin: What it reads; empty is nothing.
        timeout_s: Seconds until it is given up; the exit code is 124 then.
        line: Whoever waits for it no longer cuts it.

    Raises:
        KubeError: The server refused it, or the container does not run.
        InfraError: The connection failed.
    """
    query = [("container", container), ("stdout", "true"), ("stderr", "true")]
    query += [("stdin", "true")] if stdin else []
    query += [("command", word) for word in argv]
    output = _Output()
    target = f"{path}?{urlencode(query)}"
    given_up = _collect(connection, target, stdin, output, timeout_s, line)
    if given_up:
        return ExecResult(
            output.text(_STDOUT), f"{output.text(_STDERR)}error: {given_up}\n", _GIVEN_UP
        )
    status = output.text(_STATUS)
    if not status:
        raise InfraError("kubernetes", f"exec {path}: the stream ended without an exit code")
    return _result(output, json.loads(status))


def _collect(
    connection: Connection, target: str, stdin: str, output: _Output, timeout_s: float, line: Line
) -> str:
    """Run a command and collect what it prints; returns why it was given up, empty if not."""
    from websocket import WebSocketException  # noqa: PLC0415 - the client is an extra

    end = monotonic() + timeout_s
    try:
        socket = open_socket(connection, target, f"{_V5},{V4}")
        try:
            line.carry(socket)
            _feed(socket, stdin)
            return _read(socket, output, end).format(timeout_s=timeout_s)
        finally:
            socket.shutdown()
    except (WebSocketException, OSError) as error:
        path = target.partition("?")[0]
        raise InfraError("kubernetes", f"exec {path}: {error}") from error


def open_socket(connection: Connection, target: str, protocols: str) -> WebSocket:
    """Make a connection for channels.

    Args:
        connection: The way to the server.
        target: Path and query.
        protocols: What we speak, the best first.

    Raises:
        KubeError: The server refused the request.
        WebSocketException: There was no answer, or none of a WebSocket.
    """
    from kubernetes.stream.ws_client import create_websocket  # noqa: PLC0415 - an extra
    from websocket import WebSocketBadStatusException, setdefaulttimeout  # noqa: PLC0415

    # The official client gives the handshake no time of its own; it is this library's only user.
    setdefaulttimeout(CONNECT_S)
    url = re.sub("^http", "ws", connection.server.rstrip("/")) + target

    def opened() -> WebSocket:
        headers = {**connection.credentials(), "sec-websocket-protocol": protocols}
        return create_websocket(connection.configuration, url, headers)

    try:
        try:
            return opened()
        except WebSocketBadStatusException as error:
            if error.status_code != HTTPStatus.UNAUTHORIZED or not connection.renewed():
                raise
        return opened()
    except WebSocketBadStatusException as error:
        raise refusal(error.status_code, error.resp_body or b"") from error


def _feed(socket: WebSocket, stdin: str) -> None:
    """Send standard input, and its end.

    Raises:
        InfraError: The server has no way to be told the end.
    """
    if not stdin:
        return
    # The library forgets a protocol that was asked for by header.
    agreed = {k.lower(): v for k, v in (socket.getheaders() or {}).items()}
    if agreed.get("sec-websocket-protocol") != _V5:
        raise InfraError("kubernetes", f"standard input needs {_V5} (Kubernetes 1.30 or later)")
    data = stdin.encode()
    for start in range(0, len(data), _FRAME):
        socket.send_binary(bytes([_STDIN]) + data[start : start + _FRAME])
    socket.send_binary(bytes([_CLOSE, _STDIN]))


def _read(socket: WebSocket, output: _Output, end: float) -> str:
    """Collect what comes until the stream ends; returns why it did not, empty if it did."""
    from websocket import (  # noqa: PLC0415 - the client is an extra
        ABNF,
        WebSocketConnectionClosedException,
        WebSocketTimeoutException,
    )

    size = 0
    while (left := end - monotonic()) > 0:
        socket.settimeout(left)
        try:
            code, frame = socket.recv_data_frame(control_frame=True)
        except WebSocketTimeoutException:
            return _TOO_LATE
        except WebSocketConnectionClosedException:
            return ""
        if code == ABNF.OPCODE_CLOSE:
            return ""
        if code in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT) and frame.data:
            data = frame.data.encode() if isinstance(frame.data, str) else frame.data
            output.parts.setdefault(data[0], bytearray()).extend(data[1:])
            size += len(data)
            if size > OUTPUT_LIMIT:
                return _TOO_MUCH
    return _TOO_LATE


def _result(output: _Output, status: Object) -> ExecResult:
    """Read how the command ended.

    Raises:
        KubeError: It was not started.
    """
    out, err = output.text(_STDOUT), output.text(_STDERR)
    if status.get("status") == "Success":
        return ExecResult(out, err, 0)
    for cause in (status.get("details") or {}).get("causes") or ():
        if status.get("reason") == "NonZeroExitCode" and cause.get("reason") == "ExitCode":
            return ExecResult(out, err, int(cause["message"]))
    missing = _NOT_STARTED.search(str(status.get("message") or ""))
    if missing:
        return ExecResult(out, f"{err}{missing[1]}\n", _NOT_FOUND)
    raise of_status(status)
