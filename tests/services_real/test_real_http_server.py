"""Requests and answers over real HTTP, as handler and client of the program see them."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_hosts import LOOPBACK, Raw, client, raw_server, request_of, server
from waiting import until

from aiopslab.services import protocols as p
from aiopslab.services.protocols import Request, Response
from aiopslab.services.real import wire

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=20)


async def curl(port: int, request: str) -> str:
    """Send text as it is; return everything that comes back."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(request.replace("\n", "\r\n").encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    params=st.dictionaries(TEXT.filter(bool), TEXT, max_size=4),
    ids=st.tuples(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1)),
    body=TEXT,
    status=st.sampled_from([200, 201, 404, 503]),
)
def test_a_request_arrives_as_it_was_sent_and_so_does_the_answer(
    method: str, params: dict[str, str], ids: tuple[int, int], body: str, status: int
) -> None:
    async def scenario() -> None:
        seen: list[Request] = []

        async def handler(request: Request) -> Response:
            seen.append(request)
            return Response(status, body)

        async with server(handler) as port, client(port) as http:
            sent = Request(method, "/v1/orders", params, *ids, client="front-0")
            answer = await http.send(sent, timeout_s=20)
        assert answer == Response(status, body)
        seen[0].emit = None
        assert seen == [sent]

    asyncio.run(scenario())


def test_a_streamed_answer_is_begun_before_it_is_done() -> None:
    async def scenario() -> None:
        begun, pauses = asyncio.Event(), ((0.005, 3), (0.2, 1))

        async def handler(request: Request) -> Response:
            assert request.emit is not None
            request.emit()
            await begun.wait()
            return Response(200, "done", pauses=pauses)

        async with server(handler) as port, client(port) as http:
            request = Request("POST", "/v1/completions", {}, client="gateway-0")
            answer = await http.send(request, timeout_s=20, on_part=begun.set)
            assert answer == Response(200, "done", pauses=pauses)
            assert http.stats().idle == 1

    asyncio.run(scenario())


def test_a_streamed_answer_may_still_fail_and_still_close() -> None:
    async def scenario() -> None:
        async def handler(request: Request) -> Response:
            assert request.emit is not None
            request.emit()
            return Response(503, "engine lost", close=True)

        async with server(handler) as port, client(port) as http:
            answer = await http.send(Request("POST", "/v1/completions"), timeout_s=20)
            assert answer == Response(503, "engine lost", close=True)
            assert http.stats().idle == 0

    asyncio.run(scenario())


def test_a_stream_that_breaks_off_is_a_reset() -> None:
    async def half(state: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(state, reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + wire.PART)
        await writer.drain()

    async def scenario() -> None:
        parts = []
        async with raw_server(half) as peer, client(peer.port) as http:
            with pytest.raises(p.ConnectionReset):
                await http.send(
                    Request("POST", "/x"), timeout_s=20, on_part=lambda: parts.append(1)
                )
        assert parts == [1]

    asyncio.run(scenario())


def test_work_goes_on_for_a_client_that_has_given_up() -> None:
    async def scenario() -> None:
        leave, done = asyncio.Event(), asyncio.Event()

        async def handler(request: Request) -> Response:
            await leave.wait()
            assert request.emit is not None
            request.emit()
            done.set()
            return Response(200, pauses=((0.1, 1),))

        async with server(handler) as port, client(port) as http:
            with pytest.raises(p.RequestTimeout):
                await http.send(Request("GET", "/slow"), timeout_s=0.1)
            leave.set()
            await until(done.is_set)

    asyncio.run(scenario())


def test_an_answer_on_its_way_is_sent_before_the_server_hangs_up() -> None:
    async def scenario() -> None:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def handler(request: Request) -> Response:
            entered.set()
            await leave.wait()
            return Response(200, "late", close=True)

        async with server(handler) as port:
            sent = asyncio.create_task(curl(port, "GET /slow HTTP/1.1\nHost: x\n\n"))
            await entered.wait()
            leave.set()
        assert (await sent).endswith("late")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("head", "caller"),
    [
        ("User-Agent: front-7d9-x2\n", "front-7d9-x2"),
        ("User-Agent: curl/8\nX-Forwarded-For: 198.18.9.1, 10.0.0.1\n", "198.18.9.1"),
        ("", LOOPBACK),
    ],
)
def test_a_caller_is_known_by_what_its_request_says(head: str, caller: str) -> None:
    async def scenario() -> None:
        seen: list[str] = []

        async def handler(request: Request) -> Response:
            seen.append(request.client)
            return Response(200, close=True)

        async with server(handler) as port:
            await curl(port, f"GET / HTTP/1.1\nHost: x\n{head}\n")
        assert seen == [caller]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ("00-" + "a" * 32 + "-" + "b" * 16 + "-01", (int("a" * 32, 16), int("b" * 16, 16))),
        ("cc-" + "a" * 32 + "-" + "b" * 16 + "-01-more", (int("a" * 32, 16), int("b" * 16, 16))),
        ("00-" + "0" * 32 + "-" + "b" * 16 + "-01", (0, 0)),
        ("00-" + "A" * 32 + "-" + "b" * 16 + "-01", (0, 0)),
        ("nonsense", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_a_traceparent_that_cannot_be_read_is_none(value: str, ids: tuple[int, int]) -> None:
    assert wire.trace({"traceparent": value}) == ids


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (json.dumps({"item": "cup", "n": 2, "gift": True}),
         "{'item': 'cup', 'n': '2', 'gift': 'true'}"),
        ("[1]", "the body must be a JSON object"),
        ("{", "the body is not valid JSON"),
    ],
)  # fmt: skip
def test_people_may_send_json(body: str, answer: str) -> None:
    async def scenario() -> None:
        async def handler(request: Request) -> Response:
            return Response(200, str(request.params), close=True)

        async with server(handler) as port:
            got = await curl(
                port,
                "POST /orders HTTP/1.1\nHost: x\nConnection: close\n"
                f"Content-Type: application/json\nContent-Length: {len(body)}\n\n{body}",
            )
        assert got.endswith(answer)

    asyncio.run(scenario())
