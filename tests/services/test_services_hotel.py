"""The hotel app on nodes, stores and a network, without Kubernetes: healthy, and hurt when cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from services_mini import MiniWorld

from aiopslab.models.app import App
from aiopslab.models.evidence import SliWindow
from aiopslab.services.catalogue import load_app

WARM_UP_S = 75.0


@pytest.fixture(scope="module")
def hotel() -> App:
    return load_app("hotel")


def served(world: MiniWorld, seconds: float, warm_up_s: float = WARM_UP_S) -> dict[str, SliWindow]:
    """Put the world under load, warm it up, and return what users saw in the time after."""
    world.run_for(15.0)
    world.load.start()
    world.run_for(warm_up_s)
    start = world.loop.time()
    world.run_for(seconds)
    return {window.journey: window for window in world.slis.window(start, world.loop.time())}


@pytest.fixture(scope="module")
def healthy(hotel: App) -> tuple[MiniWorld, dict[str, SliWindow]]:
    world = MiniWorld(hotel)
    return world, served(world, 90.0)


def test_every_promise_is_kept_with_room_to_spare(
    healthy: tuple[MiniWorld, dict[str, SliWindow]],
) -> None:
    _, windows = healthy
    assert set(windows) == {"search-hotels", "recommend", "book"}
    for window in windows.values():
        assert window.met
        assert window.succeeded == window.offered
        assert window.p95_ms is not None
        assert window.p95_ms < 0.65 * window.slo_p95_ms


def test_usage_leaves_headroom_below_every_limit(
    hotel: App, healthy: tuple[MiniWorld, dict[str, SliWindow]]
) -> None:
    world, _ = healthy
    elapsed = world.loop.time() - 1_773_133_200.0
    for boxes in world.boxes.values():
        for box in boxes:
            assert box.exit is None
            assert box.cpu.limit is not None
            assert box.memory.limit is not None
            assert box.cpu.usage_seconds / elapsed < 0.45 * box.cpu.limit
            assert box.memory.working_set < 0.6 * box.memory.limit


def test_requests_have_about_a_dozen_spans_and_a_third_of_a_log_line(
    healthy: tuple[MiniWorld, dict[str, SliWindow]],
) -> None:
    world, _ = healthy
    spans = world.store.frame("spans")
    requests = len(world.slis)
    assert 10 < len(spans) / requests < 16
    assert len(world.store.frame("logs")) / requests < 0.5
    assert (spans["error"] == "").mean() > 0.99


def test_a_trace_is_one_tree_from_the_edge(
    healthy: tuple[MiniWorld, dict[str, SliWindow]],
) -> None:
    world, _ = healthy
    spans = world.store.frame("spans")
    roots = spans[(spans["name"] == "GET /hotels") & (spans["kind"] == "server")]
    trace = spans[spans["trace_id"] == roots["trace_id"].iloc[-50]]
    assert set(trace["service"]) == {"frontend", "search", "geo", "rate", "reservation", "profile"}
    parents = Counter(trace["parent_id"])
    known = set(trace["span_id"])
    assert sum(count for parent, count in parents.items() if parent not in known) == 1


@pytest.mark.parametrize(
    ("changes", "limits"),
    [
        ({"reservation": {"DB_POOL_SIZE": "1"}}, {}),
        ({}, {"search": 0.06}),
        ({"rate": {"CACHE_ADDR": "reservation-valkey:6380"}}, {}),
    ],
    ids=["pool of one", "CPU limit cut", "cache out of reach"],
)
def test_a_cut_hurts_searching_and_only_through_its_mechanism(
    hotel: App, changes: Mapping[str, Mapping[str, str]], limits: Mapping[str, float]
) -> None:
    windows = served(MiniWorld(hotel, changes=changes, limits=limits), 20.0, 10.0)
    assert not windows["search-hotels"].met
    assert windows["recommend"].met


def test_two_worlds_of_one_seed_are_the_same(hotel: App) -> None:
    def record(seed: int) -> list[tuple[object, ...]]:
        world = MiniWorld(hotel, seed=seed)
        world.run_for(12.0)
        world.load.start()
        world.run_for(8.0)
        return [tuple(row) for row in world.store.frame("spans").itertuples(index=False)]

    first = record(5)
    assert repr(first) == repr(record(5))
    assert repr(first) != repr(record(6))
