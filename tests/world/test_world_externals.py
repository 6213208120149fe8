"""Parties outside the cluster: reached by name over TLS, limited, disturbed, and their posts."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from aiopslab.models.external import Disturbance, External
from aiopslab.models.signal import StatusPost
from aiopslab.seeds import Streams
from aiopslab.services.protocols import ConnectTimeout, Request, RequestTimeout, Response, TlsError
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.externals import Party
from aiopslab.world.netns import Netns
from aiopslab.world.network import Network
from aiopslab.world.tls import PUBLIC_AUTHORITY, ClientTls

T = TypeVar("T")
START = 1_773_133_200.0
HOST = "api.pay.example"
LAG_S = 120.0
TRUST = ClientTls(frozenset({PUBLIC_AUTHORITY}))


class Outside:
    """One partner and one client in the cluster."""

    def __init__(self, **spec: Any) -> None:
        self.loop = VirtualLoop(START)
        self.network = Network(self.loop, Streams(3))
        self.posts: list[StatusPost] = []
        fields: dict[str, Any] = {
            "summary": "Payments.", "owner": "core", "provider": "Payer", "host": HOST,
            "address": "198.18.252.5", "moved_to": "198.18.252.6", "round_trip_ms": 20,
            "endpoints": {"POST /charges": {"ms": 50, "cv": 0}},
            "status_page": {"lag_s": LAG_S},
        }  # fmt: skip
        external = External.model_validate(fields | spec)
        self.party = Party("payments", external, self.network, Streams(3), self.posts.append)
        self.client: Netns = self.network.netns(
            "198.19.0.1", namespace="shop", component="web", labels={}, node="node-a"
        )

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(main)

    async def charge(self, timeout_s: float = 2.0) -> Response:
        connection = await self.client.connect(HOST, 443, timeout_s=1.0, tls=TRUST)
        try:
            reply: Response = await connection.call(
                Request("POST", "/charges"), timeout_s=timeout_s
            )
        finally:
            connection.close()
        return reply

    async def statuses(self, count: int) -> list[int]:
        return [(await self.charge()).status for _ in range(count)]

    def states(self) -> list[str]:
        return [post.state for post in self.posts]


def test_a_partner_answers_by_name_over_tls_after_the_way_there_and_back() -> None:
    outside = Outside()

    async def main() -> float:
        start = outside.loop.time()
        assert (await outside.charge()).status == 200
        return outside.loop.time() - start

    # Set-up, handshake and request: three round trips, then 50 ms of work.
    assert outside.run(main()) == pytest.approx(0.11, rel=0.15)


def test_a_client_that_does_not_trust_the_public_authority_is_refused() -> None:
    outside = Outside()

    async def main() -> None:
        stranger = ClientTls(frozenset({"somebody"}))
        await outside.client.connect(HOST, 443, timeout_s=1.0, tls=stranger)

    with pytest.raises(TlsError, match="unknown authority"):
        outside.run(main())


def test_beyond_the_rate_limit_requests_get_429_until_the_bucket_fills_again() -> None:
    outside = Outside(rate_limit={"per_s": 1, "burst": 3})

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(outside.charge()) for _ in range(5)]
        assert sorted(task.result().status for task in tasks) == [200, 200, 200, 429, 429]
        await asyncio.sleep(10.0)
        assert await outside.statuses(2) == [200, 200]

    outside.run(main())


def test_a_disturbance_shows_in_answers_and_ends_with_a_neutral_one() -> None:
    outside = Outside()

    async def main() -> None:
        outside.party.disturb(Disturbance(error_rate=1.0))
        assert await outside.statuses(2) == [503, 503]
        outside.party.disturb(Disturbance(per_s=0.5))
        assert 429 in await outside.statuses(3)
        outside.party.disturb(Disturbance(silent=True))
        with pytest.raises(RequestTimeout):
            await outside.charge(0.5)
        outside.party.disturb(Disturbance(latency_factor=20.0))
        with pytest.raises(RequestTimeout):
            await outside.charge(0.5)
        outside.party.disturb(Disturbance())
        assert await outside.statuses(1) == [200]

    outside.run(main())


def test_a_partner_that_moves_is_lost_to_those_who_believe_an_old_answer() -> None:
    outside = Outside()

    async def main() -> None:
        assert await outside.statuses(1) == [200]
        outside.party.disturb(Disturbance(moved=True))
        with pytest.raises(ConnectTimeout):
            await outside.charge()
        await asyncio.sleep(5.0)
        assert await outside.statuses(1) == [200]

    outside.run(main())


def test_the_status_page_speaks_late_of_what_it_mentions_and_of_its_end() -> None:
    outside = Outside()

    async def main() -> None:
        outside.party.disturb(Disturbance(error_rate=0.5))
        await asyncio.sleep(0.8 * LAG_S)
        assert outside.states() == []
        await asyncio.sleep(0.6 * LAG_S)
        assert outside.states() == ["investigating"]
        outside.party.disturb(Disturbance())
        await asyncio.sleep(2 * LAG_S)
        assert outside.states() == ["investigating", "resolved"]

    outside.run(main())


@pytest.mark.parametrize(
    ("spec", "disturbance"),
    [
        ({}, Disturbance(per_s=1.0)),
        ({"status_page": None}, Disturbance(error_rate=1.0)),
        ({"status_page": {"omits": ["latency"]}}, Disturbance(latency_factor=9.0)),
    ],
)
def test_some_things_are_never_posted(spec: dict[str, Any], disturbance: Disturbance) -> None:
    outside = Outside(**spec)

    async def main() -> None:
        outside.party.disturb(disturbance)
        await asyncio.sleep(1200.0)
        outside.party.disturb(Disturbance())
        await asyncio.sleep(1200.0)

    outside.run(main())
    assert outside.states() == []


def test_what_was_over_before_anybody_looked_is_never_posted() -> None:
    outside = Outside()

    async def main() -> None:
        outside.party.disturb(Disturbance(error_rate=0.5))
        await asyncio.sleep(0.5 * LAG_S)
        outside.party.disturb(Disturbance())
        await asyncio.sleep(1200.0)

    outside.run(main())
    assert outside.states() == []


def test_a_maintenance_is_announced_with_its_times() -> None:
    outside = Outside()
    outside.party.announce(START + 600.0, 900.0)
    assert outside.states() == ["scheduled"]
    assert "from 2026-03-10T09:10:00Z to 2026-03-10T09:25:00Z" in outside.posts[0].text
