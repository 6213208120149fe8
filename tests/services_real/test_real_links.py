"""Ways that are not as usual: what clients of a process meet on them, over real sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from real_hosts import LOOPBACK, client, server
from stores import CACHE_PASSWORD, SUPERUSER_PASSWORD, Process, run
from waiting import until

from aiopslab.models.network import Links, Shape
from aiopslab.models.store import Statement
from aiopslab.services.catalogue import load_app
from aiopslab.services.net_errors import ConnectTimeout, NetError, RequestTimeout
from aiopslab.services.packets import RTO_S, SYN_RTO_S
from aiopslab.services.protocols import Request, Response
from aiopslab.services.real import sealed
from aiopslab.services.real.cache import CacheClient
from aiopslab.services.real.links import Way, Ways
from aiopslab.services.real.orders import EVERY_S, PATH, FileOrders, LabOrders
from aiopslab.services.real.queue import QueueClient
from aiopslab.services.real.sql import SqlPool

HOTEL = load_app("hotel")
CUT, SLOW = Shape(cut=True), Shape(delay_s=0.15)
SHORT_S = 0.4
Work = Callable[[], Awaitable[Any]]


class Switch:
    """What is not as usual, changed while a client is at work."""

    def __init__(self) -> None:
        self.links = Links()

    def now(self) -> Links:
        return self.links

    def to(self, target: str, shape: Shape, source: str = "search") -> None:
        self.links = Links(pairs={source: {target: shape}})

    def way(self, target: str) -> Way:
        return Ways(HOTEL, "search", "search-0", self.now).to(target)


async def timed(work: Work) -> float:
    loop = asyncio.get_running_loop()
    start = loop.time()
    await work()
    return loop.time() - start


async def fails(work: Work) -> type[NetError]:
    with pytest.raises(NetError) as caught:
        await work()
    return type(caught.value)


async def answer(_request: Request) -> Response:
    return Response(200, "ok")


async def slow_then_cut(switch: Switch, way: str, ask: Callable[..., Awaitable[None]]) -> None:
    """A way is well, then slow, then cut, and well again; the client says so of each."""
    await ask()
    switch.to(way, SLOW)
    assert await timed(ask) >= SLOW.delay_s
    switch.to(way, CUT)
    assert await fails(lambda: ask(SHORT_S)) is RequestTimeout
    assert await fails(lambda: ask(SHORT_S)) is ConnectTimeout
    switch.links = Links()
    await ask()


def test_http_over_a_way_that_is_slow_then_cut_then_well_again() -> None:
    switch = Switch()

    async def scenario() -> None:
        async with server(answer) as port, client(port, name="geo", way=switch.way("geo")) as http:

            async def ask(timeout_s: float = 5.0) -> None:
                assert (await http.send(Request("GET", "/x"), timeout_s=timeout_s)).status == 200

            await ask()
            switch.to("geo", SLOW)
            assert await timed(ask) >= SLOW.delay_s
            switch.to("geo", CUT)
            assert await fails(lambda: ask(SHORT_S)) is RequestTimeout
            assert await fails(lambda: ask(SHORT_S)) is ConnectTimeout
            switch.links = Links()
            await ask()

    run(scenario())


def test_an_answer_is_kept_where_the_way_back_is_cut() -> None:
    switch, served = Switch(), []

    async def note(request: Request) -> Response:
        served.append(request.path)
        return Response(200)

    async def scenario() -> None:
        async with server(note) as port, client(port, name="geo", way=switch.way("geo")) as http:
            await http.send(Request("GET", "/first"), timeout_s=5.0)
            switch.to("search", CUT, source="geo")
            with pytest.raises(RequestTimeout):
                await http.send(Request("GET", "/second"), timeout_s=SHORT_S)

    run(scenario())
    assert served == ["/first", "/second"]


def test_sql_over_a_way_that_is_cut(postgres: Process) -> None:
    switch = Switch()
    one = Statement(text="SELECT 1", table="t", kind="SELECT")

    async def scenario() -> None:
        pool = SqlPool(
            postgres.address, user="postgres", password=SUPERUSER_PASSWORD, database="postgres",
            application="search", statements={"one": one}, pool=1, pool_timeout_s=SHORT_S,
            way=switch.way("geo-postgres"),
        )  # fmt: skip

        async def ask(timeout_s: float = 5.0) -> None:
            assert (await pool.execute("one", {}, timeout_s=timeout_s)).rows == 1

        await slow_then_cut(switch, "geo-postgres", ask)
        pool.close()

    run(scenario())


def test_a_cache_over_a_way_that_is_cut(valkey: Process) -> None:
    switch = Switch()

    async def scenario() -> None:
        cache = CacheClient(
            valkey.address, password=CACHE_PASSWORD, pool=1, pool_timeout_s=SHORT_S,
            way=switch.way("rate-valkey"),
        )  # fmt: skip

        async def ask(timeout_s: float = 5.0) -> None:
            await cache.set("k", 10, None, timeout_s=timeout_s)

        await slow_then_cut(switch, "rate-valkey", ask)
        cache.close()

    run(scenario())


def test_a_queue_over_a_way_that_is_cut(nats: Process) -> None:
    switch = Switch()

    async def scenario() -> None:
        queue = QueueClient(nats.address, password="", way=switch.way("events-nats"))

        async def ask(timeout_s: float = 5.0) -> None:
            with pytest.raises(Exception, match="no response from stream"):
                await queue.publish(
                    "nobody", {}, size=2, id="", trace_id=0, span_id=0, timeout_s=timeout_s
                )

        async def give_up() -> None:
            await queue.publish(
                "nobody", {}, size=2, id="", trace_id=0, span_id=0, timeout_s=SHORT_S
            )

        await ask()
        switch.to("events-nats", CUT)
        assert await fails(give_up) is RequestTimeout
        await queue.close()
        assert await fails(give_up) is ConnectTimeout
        switch.links = Links()
        await ask()
        await queue.close()

    run(scenario())


@pytest.mark.parametrize(("step", "rto_s"), [("out", RTO_S), ("dial", SYN_RTO_S)])
def test_a_lost_packet_is_sent_again_after_the_wait_of_tcp(step: str, rto_s: float) -> None:
    class Twice(random.Random):
        """Loses the first packet, and no other."""

        lost = False

        def random(self) -> float:
            self.lost, before = True, self.lost
            return 0.9 if before else 0.0

    lossy = Shape(loss=0.5)
    way = Way(lambda: lossy, lambda: lossy, Twice())

    async def scenario() -> float:
        return await timed(lambda: getattr(way, step)())

    assert run(scenario()) >= rto_s


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_pods_own_ways_add_to_those_of_its_component(one: float, other: float) -> None:
    links = Links(
        pairs={"search": {"geo": Shape(delay_s=1.0, loss=one)}},
        pods={"search-0": Shape(delay_s=0.5, loss=other)},
    )
    ways = Ways(HOTEL, "search", "search-0", lambda: links)
    shape = ways._of("search", "geo")
    assert shape.delay_s == 1.5
    assert shape.loss == pytest.approx(1.0 - (1.0 - one) * (1.0 - other))
    back = ways._of("geo", "search")
    assert (back.delay_s, back.loss) == (0.5, pytest.approx(other))
    assert not Ways(HOTEL, "search", "search-1", lambda: links)._of("geo", "search").loss


def test_names_lead_to_components_in_every_form() -> None:
    links = Links(pairs={"reservation": {"cards": CUT, "reservation-postgres": CUT}})
    ways = Ways(HOTEL, "reservation", "p", lambda: links)
    for host in ("api.cardbridge.example", "reservation-postgres",
                 "reservation-postgres.hotel-x7k2p.svc.cluster.local"):  # fmt: skip
        assert ways.to(host)._out().cut
    assert not ways.to("user")._out().cut


# -- how a process learns of it --------------------------------------------------------------------


def test_a_file_is_followed_and_its_absence_is_a_good_day(tmp_path: Path) -> None:
    path = tmp_path / "links.json"
    orders = FileOrders(path)
    assert orders.current() == Links()
    wanted = Links(pods={"a": CUT})
    path.write_text(wanted.model_dump_json(), "utf-8")
    assert orders.current() == wanted
    path.unlink()
    assert orders.current() == Links()


def test_what_the_lab_seals_says_nothing_to_anybody_else() -> None:
    busy = Links(pairs={"search": {"geo": Shape(loss=0.3)}})
    texts = [sealed.seal("hotel", links) for links in (busy, busy, Links())]
    assert len(set(texts)) == 3
    assert len({len(text) for text in texts}) == 1
    assert sealed.unseal("hotel", texts[0]) == busy
    for app, text in (("shop", texts[0]), ("hotel", "nonsense"), ("hotel", texts[0][:-8])):
        with pytest.raises(sealed.NotSealed):
            sealed.unseal(app, text)


def test_a_process_asks_where_its_telemetry_goes_and_keeps_what_it_knows_while_that_is_away() -> (
    None
):
    cut = Links(pods={"search-0": CUT})
    said = {"text": sealed.seal("hotel", cut), "status": 200}

    async def config(_request: web.Request) -> web.Response:
        return web.Response(text=str(said["text"]), status=int(said["status"]))

    async def scenario() -> None:
        site = web.Application()
        site.router.add_get(PATH, config)
        runner = web.AppRunner(site)
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, 0).start()
        host, port = runner.addresses[0][:2]
        orders = LabOrders("hotel", f"http://{host}:{port}/", every_s=EVERY_S / 100)
        orders.start()
        await until(lambda: orders.current() == cut)
        said["status"] = 404
        await asyncio.sleep(EVERY_S / 20)
        assert orders.current() == cut
        said.update(status=200, text=sealed.seal("hotel", Links()))
        await until(lambda: orders.current() == Links())
        await runner.cleanup()
        await orders.aclose()

    run(scenario())


def test_requests_that_reach_a_struck_pod_and_their_answers_are_held_up() -> None:
    links = Links(pods={"frontend-1": SLOW})
    struck = Ways(HOTEL, "frontend", "frontend-1", lambda: links).shaped(answer)
    well = Ways(HOTEL, "frontend", "frontend-2", lambda: links).shaped(answer)

    async def scenario() -> tuple[float, float]:
        request = Request("GET", "/x")
        return await timed(lambda: struck(request)), await timed(lambda: well(request))

    held, quick = run(scenario())
    assert held >= 2 * SLOW.delay_s
    assert quick < held
