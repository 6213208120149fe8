"""Bulk transfers on uplinks, and losses between zones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_world_network import Lan
from test_world_ways import seconds

from aiopslab.models.network import Shape
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.uplink import BUFFER, PACKET, Uplink

SPEED = 125e6


def test_a_link_without_transfers_is_neutral() -> None:
    assert Uplink(VirtualLoop(0.0), SPEED).shape == Shape()


def test_a_transfer_that_fits_hardly_delays_and_drops_nothing() -> None:
    loop = VirtualLoop(0.0)
    uplink = Uplink(loop, SPEED)
    uplink.stream("copy", 0.5 * SPEED)
    loop.run_until(10.0)
    assert uplink.shape.loss == 0.0
    assert uplink.shape.delay_s < 0.000_1
    assert uplink.dropped == 0.0
    assert uplink.carried() == {"copy": pytest.approx(5.0 * SPEED)}


def test_a_transfer_beyond_the_speed_fills_the_queue_and_drops() -> None:
    loop = VirtualLoop(0.0)
    uplink = Uplink(loop, SPEED)
    uplink.stream("copy", 1.25 * SPEED)
    loop.run_until(10.0)
    assert uplink.shape.delay_s == BUFFER / SPEED
    assert uplink.shape.loss == pytest.approx(0.2)
    assert uplink.carried() == {"copy": pytest.approx(10.0 * SPEED)}
    assert uplink.dropped == pytest.approx(2.5 * SPEED / PACKET)
    uplink.stream("copy", 0.0)
    assert uplink.shape == Shape()
    assert uplink.carried() == {"copy": pytest.approx(10.0 * SPEED)}


@given(st.lists(st.floats(1.0, 1e9), min_size=1, max_size=5))
def test_what_is_offered_is_carried_or_dropped(rates: list[float]) -> None:
    loop = VirtualLoop(0.0)
    uplink = Uplink(loop, SPEED)
    for n, rate in enumerate(rates):
        uplink.stream(f"s{n}", rate)
    loop.run_until(8.0)
    carried = sum(uplink.carried().values())
    assert carried <= 8.0 * SPEED * (1.0 + 1e-9)
    assert carried + uplink.dropped * PACKET == pytest.approx(8.0 * sum(rates), rel=1e-6)
    assert 0.0 <= uplink.shape.loss < 1.0


@pytest.mark.parametrize(
    ("zones", "added_s"),
    [({"n1": "a", "n2": "b"}, 0.2), ({"n1": "a", "n2": "a"}, 0.0), ({"n1": "b", "n2": "b"}, 0.0)],
)
def test_a_zone_shapes_what_crosses_its_border(zones: dict[str, str], added_s: float) -> None:
    lan = Lan()
    lan.serve()
    plain = seconds(lan)
    lan.network.ways.zones = zones
    lan.network.ways.shape_zone("a", Shape(delay_s=0.1))
    assert seconds(lan) - plain == pytest.approx(added_s, abs=0.002)
