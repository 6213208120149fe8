"""The shop on nodes, stores and a network, without Kubernetes: healthy, and hurt when cut."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from services_mini import MiniWorld

from aiopslab.models.app import App
from aiopslab.models.evidence import SliWindow
from aiopslab.services.catalogue import load_app

WARM_UP_S = 75.0


@pytest.fixture(scope="module")
def shop() -> App:
    return load_app("shop")


def served(world: MiniWorld, seconds: float, warm_up_s: float = WARM_UP_S) -> dict[str, SliWindow]:
    """Put the world under load, warm it up, and return what customers saw in the time after."""
    world.run_for(15.0)
    world.load.start()
    world.run_for(warm_up_s)
    start = world.loop.time()
    world.run_for(seconds)
    return {window.journey: window for window in world.slis.window(start, world.loop.time())}


@pytest.fixture(scope="module")
def healthy(shop: App) -> tuple[MiniWorld, dict[str, SliWindow]]:
    world = MiniWorld(shop)
    return world, served(world, 90.0)


def test_every_promise_is_kept_with_room_to_spare(
    shop: App, healthy: tuple[MiniWorld, dict[str, SliWindow]]
) -> None:
    _, windows = healthy
    assert set(windows) == set(shop.slos)
    for window in windows.values():
        assert window.met
        assert window.succeeded == window.offered
        assert window.p95_ms is not None
        assert window.p95_ms < 0.65 * window.slo_p95_ms


def test_caches_carry_most_of_the_reading(
    healthy: tuple[MiniWorld, dict[str, SliWindow]],
) -> None:
    world, _ = healthy
    spans = world.store.frame("spans")
    reads = spans[spans["name"].str.startswith("GET catalogue-valkey")]
    filled = spans[spans["name"].str.startswith("SET catalogue-valkey")]
    assert len(filled) < 0.25 * len(reads)


def test_a_purchase_passes_through_everybody_who_has_a_say(
    healthy: tuple[MiniWorld, dict[str, SliWindow]],
) -> None:
    world, _ = healthy
    spans = world.store.frame("spans")
    roots = spans[(spans["name"] == "POST /checkout") & (spans["kind"] == "server")]
    trace = spans[spans["trace_id"] == roots["trace_id"].iloc[-10]]
    asked = {"accounts", "cart", "currency", "shipping", "inventory", "payment", "fraud", "orders"}
    assert asked < set(trace["service"])


@pytest.mark.parametrize(
    ("changes", "broken", "kept"),
    [
        ({"catalogue": {"CACHE_ADDR": "cart-valkey:6380"}}, "browse", None),
        ({"payment": {"FRAUD_TIMEOUT_MS": "10"}}, "checkout", "browse"),
        ({"storefront": {"ADS_ADDR": "nowhere:8080"}}, None, "browse"),
    ],
    ids=["cache out of reach", "deadline below the callee's answer", "optional part is gone"],
)
def test_a_cut_hurts_only_through_its_mechanism(
    shop: App, changes: Mapping[str, Mapping[str, str]], broken: str | None, kept: str | None
) -> None:
    windows = served(MiniWorld(shop, changes=changes), 40.0, 10.0)
    assert broken is None or not windows[broken].met
    assert kept is None or windows[kept].met
