"""The users of a cluster, asked through the API server: the same contract as in the simulation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_served import Cluster, Run, end, hotel, standing
from cluster_users import LAB, Entry, Proxy, offered, users

from aiopslab.environments.cluster.traffic import ClusterTraffic
from aiopslab.errors import InfraError
from aiopslab.models.journey import Journey, JourneyStep

HOUR = 3600.0
TOKEN = "only-the-lab-knows"


class Clock:
    """The host's clock, which differs from the generator's by years."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        import asyncio

        return asyncio.get_running_loop().time() + 1e9 + self.offset


class Lab:
    def __init__(self, cluster: Cluster, run: Run, proxy: Proxy, home: Entry) -> None:
        self.run, self.proxy, self.entry, self.now = run, proxy, home, Clock()
        self.cluster = cluster
        self.traffic = self.user_of(TOKEN)

    def user_of(self, token: str) -> ClusterTraffic:
        return ClusterTraffic(self.cluster.connect(), LAB, self.now, token)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    sim, proxy, entry = hotel(), Proxy(), Entry()
    with standing(sim, tmp_path_factory.mktemp("served"), proxy.around) as (cluster, run):
        program = users(entry, TOKEN)
        proxy.port = run(program.__aenter__())
        try:
            yield Lab(cluster, run, proxy, entry)
        finally:
            run(program.__aexit__(None, None, None))
    end(sim)


@pytest.fixture(autouse=True)
def quiet(lab: Lab) -> Iterator[None]:
    yield
    lab.run(lab.traffic.stop())
    lab.entry.status = 200
    lab.entry.seen.clear()


def test_users_arrive_from_start_to_stop_and_their_slis_are_told(lab: Lab) -> None:
    async def scenario() -> None:
        begin = lab.now()
        await lab.traffic.start()
        await offered(lab.entry, "/search", 10)
        assert (await lab.traffic.health()).running
        await lab.traffic.stop()
        found = {w.journey: w for w in await lab.traffic.slis(begin, lab.now())}
        assert not (await lab.traffic.health()).running
        assert found["search"].offered >= 10
        assert found["search"].met
        assert found["search"].start == begin
        (before, _) = await lab.traffic.slis(begin - HOUR, begin)
        assert before.offered == 0
        series = await lab.traffic.series(begin - HOUR, HOUR, 2)
        (search,) = [j for j in series.journeys if j.journey == "search"]
        assert search.offered == [0, found["search"].offered]
        assert search.p95_ms[0] is None
        assert search.slo_success == found["search"].slo_success

    lab.run(scenario())


def test_what_users_do_not_get_is_in_the_slis(lab: Lab) -> None:
    async def scenario() -> None:
        begin = lab.now()
        lab.entry.status = 503
        await lab.traffic.start()
        await offered(lab.entry, "/search", 5)
        await lab.traffic.stop()
        windows = await lab.traffic.slis(begin, lab.now() + 1.0)
        assert all(w.succeeded == 0 and not w.met for w in windows)

    lab.run(scenario())


def test_one_journey_is_scaled_alone(lab: Lab) -> None:
    async def scenario() -> None:
        await lab.traffic.start()
        await lab.traffic.scale(0.0, journey="book")
        lab.entry.seen.clear()
        await offered(lab.entry, "/search", 20)
        assert {path for path, _ in lab.entry.seen[5:]} == {"/search"}
        await lab.traffic.scale(1.0)
        await offered(lab.entry, "/book", 1)

    lab.run(scenario())


def test_a_visitor_comes_from_his_own_address_and_counts_in_no_sli(lab: Lab) -> None:
    visit = Journey(entry="frontend", rate=50.0, steps=[JourneyStep(request="GET /scrape")])

    async def scenario() -> None:
        begin = lab.now()
        await lab.traffic.start()
        await lab.traffic.visitor("198.18.9.9", visit)
        await offered(lab.entry, "/scrape", 5)
        assert {who for path, who in lab.entry.seen if path == "/scrape"} == {"198.18.9.9"}
        await lab.traffic.visitor("198.18.9.9", None)
        assert {w.journey for w in await lab.traffic.slis(begin, lab.now())} == {"search", "book"}

    lab.run(scenario())


def test_what_the_generator_refuses_is_an_error_of_the_lab(lab: Lab) -> None:
    with pytest.raises(InfraError, match="no journey 'nonesuch'"):
        lab.run(lab.traffic.scale(1.0, journey="nonesuch"))
    with pytest.raises(InfraError, match="load factor"):
        lab.run(lab.traffic.scale(-1.0))


def test_a_generator_that_is_away_for_a_moment_is_asked_again(lab: Lab) -> None:
    lab.proxy.refusals = 2
    assert lab.run(lab.traffic.health()).dropped == 0
    assert lab.proxy.refusals == 0


def test_a_generator_that_never_comes_is_not_ready(lab: Lab, tmp_path: Path) -> None:
    port, lab.proxy.port = lab.proxy.port, 0
    try:
        with pytest.raises(InfraError, match="the users are not ready"):
            lab.run(lab.traffic.ready(timeout_s=0.0))
    finally:
        lab.proxy.port = port
    lab.run(lab.traffic.ready())


def test_users_whose_pod_began_anew_are_lost_and_not_a_promise_that_was_broken(lab: Lab) -> None:
    async def scenario() -> None:
        begin = lab.now()
        await lab.traffic.start()
        await lab.traffic._ask("POST", "stop")  # as a new process is: nobody told it to start
        with pytest.raises(InfraError, match="restarted"):
            await lab.traffic.slis(begin, lab.now())
        with pytest.raises(InfraError, match="restarted"):
            await lab.traffic.series(begin, 1.0, 1)
        await lab.traffic.start()
        assert await lab.traffic.slis(begin, lab.now())

    lab.run(scenario())


@pytest.mark.parametrize("token", ["", "guessed", "\xfc"])
def test_who_reaches_the_port_and_does_not_know_the_token_changes_no_load(
    lab: Lab, token: str
) -> None:
    visit = Journey(entry="frontend", rate=50.0, steps=[JourneyStep(request="GET /scrape")])

    async def scenario() -> None:
        stranger, now = lab.user_of(token), lab.now()
        await lab.traffic.start()
        for attempt in (
            stranger.stop(), stranger.scale(0.0), stranger.visitor("198.18.9.9", visit),
            stranger.slis(now, now + 1.0),
        ):  # fmt: skip
            with pytest.raises(InfraError, match="the token is missing or wrong"):
                await attempt
        assert (await stranger.health()).running

    lab.run(scenario())
