"""Port forwarding, in memory: SPDY in WebSocket as kubectl speaks it, and the Python client's."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams_served import V4, Served, Socket
from streams_world import Run, a_pod, hotel, one_loop

from aiopslab.environments.sim import Sim
from aiopslab.wire.identity import on_call
from aiopslab.wire.kubernetes.streams.portforward import SPDY_PROTOCOL
from aiopslab.wire.kubernetes.streams.spdy import (
    DICTIONARY,
    Aborted,
    Arrived,
    Opened,
    Pinged,
    Spdy,
    SpdyError,
)

GET = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
KEPT = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    yield from hotel(load=0.2, warm_s=10.0)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Run coroutines on one event loop, to which a gate belongs."""
    yield from one_loop()


class Client:
    """The client's end of SPDY, as far as kubectl goes."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._buffer = b""

    def open(self, stream: int, kind: str, port: int, id: str = "0", *, fin: bool = False) -> bytes:
        headers = {"streamtype": kind, "port": str(port), "requestid": id}
        plain = struct.pack(">I", len(headers))
        for name, value in headers.items():
            plain += struct.pack(">I", len(name)) + name.encode()
            plain += struct.pack(">I", len(value)) + value.encode()
        block = self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        body = struct.pack(">IIH", stream, 0, 0) + block
        return struct.pack(">HHI", 0x8003, 1, int(fin) << 24 | len(body)) + body

    def data(self, stream: int, data: bytes, *, fin: bool = False) -> bytes:
        return struct.pack(">II", stream, int(fin) << 24 | len(data)) + data

    def frames(self, data: bytes) -> Iterator[tuple[str, int, bytes, bool]]:
        self._buffer += data
        while len(self._buffer) >= 8:
            head, size = struct.unpack(">II", self._buffer[:8])
            flags, size = size >> 24, size & 0xFFFFFF
            if len(self._buffer) < 8 + size:
                return
            body, self._buffer = self._buffer[8 : 8 + size], self._buffer[8 + size :]
            if head >> 31:
                if head & 0xFFFF == 2:
                    assert self._inflate.decompress(body[4:]) == b"\0\0\0\0"
                kind = {2: "reply", 6: "ping"}[head & 0xFFFF]
                yield kind, struct.unpack(">I", body[:4])[0], b"", False
            else:
                yield "data", head, body, bool(flags)


async def forwarded(
    served: Served, pod: str, port: int, *sent: bytes, fin: bool = False
) -> dict[int, bytes]:
    """Open one connection as kubectl does; return what came on streams 1 (error) and 3 (data)."""
    client, seen = Client(), {1: b"", 3: b""}
    async with served.socket(pod, "portforward", offered=(SPDY_PROTOCOL,)) as socket:
        assert socket.accepted == SPDY_PROTOCOL
        opening = client.open(1, "error", port, fin=True) + client.open(3, "data", port)
        socket.send(opening[:11])
        socket.send(opening[11:])
        for data in sent:
            socket.send(client.data(3, data))
        if fin:
            socket.send(client.data(3, b"", fin=True))
        ended: set[int] = set()
        while ended != {1, 3}:
            message = await socket.receive()
            assert message is not None
            for kind, stream, data, last in client.frames(message):
                if kind == "data":
                    seen[stream] += data
                    ended |= {stream} if last else set()
    return seen


def test_a_request_reaches_the_program_and_its_answer_comes_back(sim: Sim, run: Run) -> None:
    served = Served(sim)
    seen = run(forwarded(served, a_pod(sim, "geo"), 8080, GET[:20], GET[20:]))
    head, _, body = seen[3].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"ok"
    assert seen[1] == b""
    [(call, turn)] = served.gate.calls
    assert (call.arguments["port"], call.arguments["request"]) == (8080, "GET /readyz")
    assert (call.effect, turn.ok) == ("read", True)


def test_one_connection_carries_many_requests(sim: Sim, run: Run) -> None:
    seen = run(forwarded(Served(sim), a_pod(sim, "geo"), 8080, KEPT + KEPT, KEPT, fin=True))
    assert seen[3].count(b"HTTP/1.1 200 OK") == 3


def test_a_request_is_traced_under_the_clients_trace(sim: Sim, run: Run) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    request = (
        b"GET /recommendations HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"traceparent: 00-" + trace.encode() + b"-00f067aa0ba902b7-01\r\n\r\n"
    )
    pod = a_pod(sim, "frontend")
    answer = run(forwarded(Served(sim), pod, 8080, request))[3]
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"missing required parameter" in run(forwarded(
        Served(sim), a_pod(sim, "recommendation"), 8080, request.replace(b"e4736", b"e4737")
    ))[3]  # fmt: skip
    spans = run(sim.telemetry.trace(trace))
    assert {s.service for s in spans} >= {"frontend", "recommendation"}


def test_nobody_listening_is_told_on_the_error_stream(sim: Sim, run: Run) -> None:
    seen = run(forwarded(Served(sim), a_pod(sim, "geo"), 9999, GET))
    assert seen[3] == b""
    assert b"dial tcp4 127.0.0.1:9999: connect: connection refused" in seen[1]


@pytest.mark.parametrize("sent", [b"\x00\x00\x00\x08\x04\xd2\x16\x2f", GET])
def test_stores_and_other_protocols_are_refused_in_clear_words(
    sim: Sim, run: Run, sent: bytes
) -> None:
    port = sim.app.stores["geo-postgres"].port
    seen = run(forwarded(Served(sim), a_pod(sim, "geo-postgres"), port, sent))
    assert b"only HTTP" in seen[1]
    assert seen[3] == b""


def test_a_looking_identity_forwards_looks_only(sim: Sim, run: Run) -> None:
    reader = Served(sim, who=on_call("oncall", "diagnosis", "hotel"))
    assert b"200 OK" in run(forwarded(reader, a_pod(sim, "geo"), 8080, GET))[3]
    seen = run(forwarded(reader, a_pod(sim, "geo"), 8080, GET.replace(b"GET", b"DELETE")))
    assert b"DELETE is not allowed" in seen[1]
    assert seen[3] == b""


def test_connections_of_one_tunnel_are_apart_and_pings_come_back(sim: Sim, run: Run) -> None:
    async def scenario() -> tuple[dict[int, bytes], list[str]]:
        client, seen, kinds = Client(), {3: b"", 7: b""}, []
        async with Served(sim).socket(
            a_pod(sim, "geo"), "portforward", offered=(SPDY_PROTOCOL,)
        ) as socket:
            for first, port, id in ((1, 8080, "a"), (5, 8080, "b")):
                socket.send(client.open(first, "error", port, id, fin=True))
                socket.send(client.open(first + 2, "data", port, id))
            socket.send(struct.pack(">HHII", 0x8003, 6, 4, 77))
            socket.send(client.data(7, GET.replace(b"/readyz", b"/nowhere")))
            socket.send(client.data(3, GET))
            while not (b"200 OK" in seen[3] and b"404" in seen[7]):
                message = await socket.receive()
                assert message is not None
                for kind, stream, data, _ in client.frames(message):
                    kinds.append(f"{kind} {stream}")
                    if stream in seen:
                        seen[stream] += data
        return seen, kinds

    _, kinds = run(scenario())
    assert "ping 77" in kinds
    assert {"reply 1", "reply 3", "reply 5", "reply 7"} <= set(kinds)


async def channels(socket: Socket, sent: bytes) -> dict[int, bytes]:
    seen: dict[int, bytes] = {}
    async with socket:
        assert socket.refused is None, socket.refused
        socket.send(b"\x00" + sent)
        while (message := await socket.receive()) is not None:
            seen[message[0]] = seen.get(message[0], b"") + message[1:]
    return seen


def test_the_python_clients_channels_begin_with_the_port_and_end_with_the_socket(
    sim: Sim, run: Run
) -> None:
    served = Served(sim)
    socket = served.socket(a_pod(sim, "geo"), "portforward", offered=(V4,), ports="8080")
    seen = run(channels(socket, GET))
    port = struct.pack("<H", 8080)
    assert seen[1] == port
    assert seen[0].startswith(port + b"HTTP/1.1 200 OK")
    socket = served.socket(a_pod(sim, "geo"), "portforward", offered=(V4,), ports="9999")
    assert b"connection refused" in run(channels(socket, GET))[1]


@pytest.mark.parametrize(
    ("pod", "query", "code", "text"),
    [
        ("geo", {}, 400, 'query parameter "ports" is required'),
        ("geo", {"ports": "99999"}, 400, 'query parameter "ports" is required'),
        ("nobody", {"ports": "80"}, 404, 'pods "nobody" not found'),
    ],
)
def test_what_cannot_be_forwarded_is_refused(
    sim: Sim, run: Run, pod: str, query: Any, code: int, text: str
) -> None:
    async def scenario() -> Any:
        name = pod if pod == "nobody" else a_pod(sim, pod)
        async with Served(sim).socket(name, "portforward", offered=(V4,), **query) as socket:
            return socket.refused

    status, body = run(scenario())
    assert status == code
    assert text in body["message"]


# -- frames ---------------------------------------------------------------------------------------


def test_the_dictionary_is_the_protocols() -> None:
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


@given(st.lists(st.tuples(st.integers(1, 99), st.binary(max_size=40), st.booleans())), st.data())
def test_frames_are_read_however_the_bytes_are_cut(
    sent: list[tuple[int, bytes, bool]], draw: st.DataObject
) -> None:
    client, server = Client(), Spdy()
    stream = b"".join(
        client.open(n, "data", n, data.hex(), fin=fin) + client.data(n, data, fin=fin)
        for n, data, fin in sent
    )
    events = []
    while stream:
        cut = draw.draw(st.integers(1, len(stream)))
        events += server.feed(stream[:cut])
        stream = stream[cut:]
    wanted: list[object] = []
    for n, data, fin in sent:
        headers = {"streamtype": "data", "port": str(n), "requestid": data.hex()}
        wanted += [Opened(n, headers, fin), Arrived(n, data, fin)]
    assert events == wanted


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_frames(data: bytes) -> None:
    try:
        events = Spdy().feed(data)
    except SpdyError:
        return
    assert all(isinstance(e, Opened | Arrived | Aborted | Pinged) for e in events)


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(sim: Sim, run: Run) -> None:
    head = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    seen = run(forwarded(Served(sim), a_pod(sim, "geo"), 8080, head, b"a=b", fin=True))
    assert seen[3].startswith(b"HTTP/1.1 100")
    assert b"HTTP/1.1 404 Not Found" in seen[3]


def test_bodies_without_end_are_refused(sim: Sim, run: Run) -> None:
    head = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n"
    seen = run(forwarded(Served(sim), a_pod(sim, "geo"), 8080, head, *[b"x" * 2**18] * 5))
    assert b"a body of over" in seen[1]
