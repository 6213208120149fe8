"""One forwarded connection: HTTP/1.1 as bytes on the client's side, requests in the world behind.

Programs in the world exchange messages, not bytes, so only HTTP can be carried; what speaks
another protocol is refused in clear words. Each request takes a turn on the world. Not here: how
the bytes travel (``portforward``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import responses
from urllib.parse import parse_qsl

import h11
from starlette.websockets import WebSocket

from aiopslab.models.kube import KubeError
from aiopslab.services.protocols import (
    ConnectionRefused,
    ConnectTimeout,
    NetError,
    Request,
    Response,
)
from aiopslab.wire.kubernetes.cluster import call_of, cluster_of, identity_of, may_write
from aiopslab.world.container import Container

PATIENCE_S = 120.0
"""Virtual seconds that a connection, and then an answer, may take."""
_BODILESS = (204, 304)
_LOOKS = ("GET", "HEAD", "OPTIONS")
_TRACE = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_BODY_LIMIT = 2**20
_FORM = "application/x-www-form-urlencoded"


class ForwardError(Exception):
    """The connection cannot be forwarded; the text is for the stream's error channel."""


@dataclass(slots=True)
class _Asked:
    """A request as far as it has arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)

    def message(self) -> Request:
        """Return it as programs in the world take it: form fields join the query's."""
        path, _, query = self.target.partition("?")
        params = dict(parse_qsl(query, keep_blank_values=True))
        if self.headers.get("content-type", "").startswith(_FORM):
            text = self.body.decode("utf-8", "replace")
            params |= dict(parse_qsl(text, keep_blank_values=True))
        trace = _TRACE.fullmatch(self.headers.get("traceparent", ""))
        ids = (int(trace[1], 16), int(trace[2], 16)) if trace else (0, 0)
        return Request(self.method, path, params, *ids)


class Forwarded:
    """One connection to a port of a pod.

    Args:
        socket: The stream it belongs to.
        pod: Name.
        namespace: Its namespace.
        port: Port in the pod.
    """

    def __init__(self, socket: WebSocket, pod: str, namespace: str, port: int) -> None:
        self._socket = socket
        self._cluster = cluster_of(socket.scope)
        self._pod, self._namespace, self._port = pod, namespace, port
        self._http = h11.Connection(h11.SERVER)
        self._asked: _Asked | None = None
        self.closed = False
        """The server's side sends no more."""

    async def feed(self, data: bytes) -> bytes:
        """Take bytes of the client, empty at its end; return those of the answers.

        Raises:
            ForwardError: Nobody listens there, it is not HTTP, or not allowed.
            LimitExceeded: A budget of the trial is used up.
        """
        if self.closed:
            return b""
        out = b""
        try:
            self._http.receive_data(data)
            for asked in self._requests():
                out += await self._answer(asked)
                if self.closed:
                    return out
        except h11.RemoteProtocolError as error:
            raise ForwardError(f"{self._where()}: only HTTP/1.1 is carried: {error}") from error
        if self._http.they_are_waiting_for_100_continue:
            out += self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
        self.closed = not data or self._http.our_state is h11.MUST_CLOSE
        return out

    def _requests(self) -> Iterator[_Asked]:
        """Yield the requests that are complete."""
        while True:
            match self._http.next_event():
                case h11.Request(method=method, target=target, headers=headers):
                    fields = {k.decode(): v.decode("latin-1") for k, v in headers}
                    self._asked = _Asked(method.decode(), target.decode("latin-1"), fields)
                case h11.Data(data=data) if self._asked is not None:
                    self._asked.body += data
                    if len(self._asked.body) > _BODY_LIMIT:
                        raise ForwardError(f"{self._where()}: a body of over {_BODY_LIMIT} bytes")
                case h11.EndOfMessage() if self._asked is not None:
                    asked, self._asked = self._asked, None
                    yield asked
                case _:
                    return

    async def _answer(self, asked: _Asked) -> bytes:
        """Ask the program, and write its answer as HTTP."""
        answer = await self._ask(asked)
        if answer is None:
            self.closed = True
            return b""
        body = b"" if answer.status in _BODILESS else answer.body.encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"),
                   ("Content-Length", str(len(body)))]  # fmt: skip
        if answer.close:
            headers.append(("Connection", "close"))
        reason = responses.get(answer.status, "").encode()
        head = h11.Response(status_code=answer.status, headers=headers, reason=reason)
        out = self._http.send(head) or b""
        if body and asked.method != "HEAD":
            out += self._http.send(h11.Data(data=body)) or b""
        out += self._http.send(h11.EndOfMessage()) or b""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            self.closed = True
        return out

    async def _ask(self, asked: _Asked) -> Response | None:
        """Send a request to the pod while the world is ours; None if the connection broke."""
        writes = asked.method not in _LOOKS
        if writes and not may_write(identity_of(self._socket.scope), self._namespace):
            raise ForwardError(
                f"{self._where()}: {asked.method} is not allowed; this user may look"
            )
        call = call_of(
            self._socket, "write" if writes else "read",
            port=self._port, request=f"{asked.method} {asked.target}",
        )  # fmt: skip
        answer: Response | None = None
        problem = ""
        async with self._cluster.gate.turn(call) as turn:
            # What escapes a turn is a failure of ours; these are answers.
            try:
                answer = await self._cluster.env.within(self._exchange(asked.message()))
            except (ForwardError, KubeError) as error:
                problem = str(error)
                turn.saw(problem, ok=False)
            except NetError as error:
                turn.saw(str(error), ok=False)
            else:
                turn.saw(f"HTTP {answer.status}\n{answer.body}"[:4000], ok=answer.status < 400)
        if problem:
            raise ForwardError(problem)
        return answer

    async def _exchange(self, request: Request) -> Response:
        """Connect inside the pod and send a request; runs on the world's loop."""
        world = self._cluster.world
        kubelet = world.kubelet_of(self._pod, self._namespace)
        box = kubelet.running(self._pod, self._namespace)
        if box.pod.component in world.app.stores and self._port in box.netns.listening():
            text = "only HTTP is carried; run psql or valkey-cli in the pod with exec"
            raise ForwardError(f"{self._where()}: {text}")
        try:
            connection = await box.netns.connect("localhost", self._port, timeout_s=PATIENCE_S)
        except (ConnectionRefused, ConnectTimeout) as error:
            raise ForwardError(self._unreachable(box, error.reason)) from error
        try:
            answer: Response = await connection.call(request, timeout_s=PATIENCE_S)
        finally:
            connection.close()
        return answer

    def _where(self) -> str:
        return f"error forwarding port {self._port} to pod {self._pod}"

    def _unreachable(self, box: Container, reason: str) -> str:
        """Word a failed connection as the container runtime does."""
        id = hashlib.sha256(f"sandbox/{box.pod.uid}".encode()).hexdigest()
        space = f"cni-{id[:8]}-{id[8:12]}-{id[12:16]}-{id[16:20]}-{id[20:32]}"
        return (
            f"error forwarding port {self._port} to pod {id}, uid : failed to execute portforward "
            f'in network namespace "/var/run/netns/{space}": failed to connect to '
            f'localhost:{self._port} inside namespace "{id}", IPv4: dial tcp4 '
            f"127.0.0.1:{self._port}: connect: {reason} IPv6 dial tcp6: address localhost: no "
            "suitable address found "
        )
