"""Users in real time: the clock they live by, and how their requests travel."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiopslab.load.generator import Generator, Reply
from aiopslab.load.real import HttpUsers, WallLoop, offer
from aiopslab.load.slis import Slis
from aiopslab.models.journey import Journey, Load, Slo
from aiopslab.seeds import Streams
from aiopslab.services.protocols import Handler, Request, Response
from aiopslab.services.real.http_server import HttpServer, bind
from aiopslab.world.clock import Handle, VirtualLoop

EPOCH = 1_773_133_200.0
JOURNEY = Journey.model_validate({
    "entry": "web", "rate": 5.0, "timeout_s": 2.0,
    "steps": [{"request": "GET /s", "params": {"n": {"int": [1, 999]}}}],
})  # fmt: skip


class Tardy(VirtualLoop):
    """A loop that is short of CPU: each timer is late by a second."""

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> Handle:
        return super().call_at(when + 1.0, callback, *args)


class Prompt:
    """An app that answers at once."""

    async def request(
        self, service: str, method: str, path: str, params: Mapping[str, str], *, timeout_s: float
    ) -> Reply:
        return Reply(200)


def driven(loop: VirtualLoop) -> Slis:
    slis = Slis({"search": Slo(success=0.99, p95_ms=100.0)})
    generator = Generator(Prompt(), loop, Streams(1), {"search": JOURNEY}, Load(), slis)
    generator.start()
    loop.run_until(21.0)
    generator.stop()
    return slis


def test_a_generator_that_is_late_itself_offers_and_charges_what_was_intended() -> None:
    prompt, tardy = (driven(loop).window(0.0, 20.0)[0] for loop in (VirtualLoop(0), Tardy(0)))
    assert tardy.offered == prompt.offered > 50
    assert prompt.p50_ms == 0.0
    assert tardy.p50_ms == pytest.approx(1000.0)


def test_the_loop_tells_unix_seconds() -> None:
    with asyncio.Runner(loop_factory=lambda: WallLoop(EPOCH)) as runner:

        async def slept() -> list[float]:
            loop = asyncio.get_running_loop()
            before = loop.time()
            await asyncio.sleep(0.01)
            return [before, loop.time()]

        before, after = runner.run(slept())
    assert EPOCH <= before <= after - 0.01
    assert after < EPOCH + 60.0


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[HttpUsers]:
    """Users of a service that answers as a handler says."""
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = HttpServer(handler, None)
    await server.open(listener)
    try:
        async with HttpUsers({"web": f"http://127.0.0.1:{port}"}) as users:
            yield users
    finally:
        await server.aclose()


async def ask(users: HttpUsers, method: str, timeout_s: float = 20.0) -> Reply:
    return await users.request(
        "web", method, "/page", {"day": "3", "to": "ü&"}, timeout_s=timeout_s
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_service_sees_what_users_send(method: str) -> None:
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return Response(418)

    async def scenario() -> Reply:
        async with serving(handler) as users:
            return await ask(users, method)

    assert asyncio.run(scenario()) == Reply(418)
    (request,) = seen
    assert (request.method, request.path, request.params) == (
        method, "/page", {"day": "3", "to": "ü&"},
    )  # fmt: skip
    assert (request.trace_id, request.client) == (0, "198.18.250.10")


def test_of_a_streamed_answer_users_know_when_it_began_and_its_pauses() -> None:
    async def handler(request: Request) -> Response:
        assert request.emit is not None
        request.emit()
        return Response(200, pauses=((0.02, 7), (0.5, 1)))

    async def scenario() -> tuple[Reply, float]:
        async with serving(handler) as users:
            return await ask(users, "GET"), asyncio.get_running_loop().time()

    reply, end = asyncio.run(scenario())
    assert reply.status == 200
    assert reply.pauses == ((0.02, 7), (0.5, 1))
    assert reply.first_at is not None
    assert reply.first_at <= end


def test_no_answer_in_time_is_status_0() -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(20.0)
        return Response(200)

    async def scenario() -> Reply:
        async with serving(handler) as users:
            return await ask(users, "GET", timeout_s=0.05)

    assert asyncio.run(scenario()) == Reply(0)


def test_nobody_there_is_status_0() -> None:
    async def scenario() -> Reply:
        with contextlib.closing(bind("127.0.0.1", 0)) as nobody:
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            async with HttpUsers({"web": url}) as users:
                return await ask(users, "GET")

    assert asyncio.run(scenario()) == Reply(0)


def test_offering_ends_with_the_last_user() -> None:
    done: list[str] = []

    async def handler(request: Request) -> Response:
        await asyncio.sleep(0.1)
        done.append(request.params["n"])
        return Response(200)

    async def scenario() -> Slis:
        slis = Slis({"search": Slo(success=0.99, p95_ms=100.0)})
        loop = asyncio.get_running_loop()
        async with serving(handler) as users:
            journeys = {"search": JOURNEY.model_copy(update={"rate": 60.0})}
            load = Load(shape="constant")
            await offer(Generator(users, loop, Streams(1), journeys, load, slis), 0.3)
        return slis

    assert len(asyncio.run(scenario())) == len(done) > 0


def test_connections_are_replaced_after_some_seconds_and_requests_under_way_end_on_theirs() -> None:
    """So that a pod that joins an app gets users, however busy the others' connections are."""
    clients: list[tuple[str, Any]] = []
    slow = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ")[1].decode()
                clients.append((path, writer.get_extra_info("peername")))
                if path == "/slow":
                    await slow.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def scenario(loop: WallLoop) -> list[int]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with HttpUsers({"web": f"http://127.0.0.1:{port}"}) as users:

            async def ask(path: str) -> int:
                return (await users.request("web", "GET", path, {}, timeout_s=300.0)).status

            waiting = asyncio.create_task(ask("/slow"))
            found = [await ask("/a"), await ask("/b")]
            loop._epoch += 60.0
            found += [await ask("/c"), await ask("/d")]
            slow.set()
            found.append(await waiting)
            assert len(users._batches) == 1
        server.close()
        return found

    with asyncio.Runner(loop_factory=lambda: WallLoop(EPOCH)) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, WallLoop)
        statuses = runner.run(scenario(loop))
    assert statuses == [200] * 5
    by_path = dict(clients)
    assert by_path["/a"] == by_path["/b"] != by_path["/c"] == by_path["/d"]
