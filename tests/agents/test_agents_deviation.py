"""Scores of series against their past, the change point, and traces of a window."""

from __future__ import annotations

import asyncio
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from method_fakes import MadeTrial, request, span

from aiopslab.agents.changepoint import change_point
from aiopslab.agents.deviation import quartiles, robust_score
from aiopslab.agents.sampling import component_of, filled, windows
from aiopslab.agents.violations import Usual, anomaly

VALUES = st.lists(st.floats(0.01, 1e4), min_size=4, max_size=30)


@given(VALUES, VALUES, st.floats(1e-3, 1e3), st.floats(0.0, 1.0))
def test_a_robust_score_does_not_depend_on_the_unit(
    before: list[float], after: list[float], unit: float, floor: float
) -> None:
    score = robust_score(before, after, floor)
    scaled = robust_score([v * unit for v in before], [v * unit for v in after], floor * unit)
    assert scaled == pytest.approx(score, rel=1e-6, abs=1e-6)


@given(VALUES)
def test_what_never_changed_has_no_score(values: list[float]) -> None:
    assert robust_score([values[0]] * 9, [values[0]] * 4) == 0.0


@given(VALUES)
def test_quartiles_are_those_of_numpy(values: list[float]) -> None:
    assert quartiles(values) == pytest.approx(list(np.percentile(values, [25.0, 50.0, 75.0])))


def test_a_robust_score_is_signed() -> None:
    before = [10.0, 11.0, 9.0, 10.0, 10.5, 9.5]
    assert robust_score(before, [30.0, 31.0]) > 10.0
    assert robust_score(before, [1.0, 2.0]) < -5.0


def test_one_outlier_in_the_past_does_not_hide_a_rise() -> None:
    before = [10.0, 11.0, 9.0, 10.0, 500.0, 9.5, 10.5, 9.8]
    assert robust_score(before, [30.0]) > 10.0


def test_what_was_zero_is_measured_by_its_floor() -> None:
    assert robust_score([0.0] * 9, [2.0], floor=0.1) == 20.0
    assert robust_score([0.0] * 9, [2.0]) == math.inf


@given(st.integers(10, 35), st.integers(0, 10_000))
def test_a_leap_of_several_columns_is_found_where_it_is(place: int, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0.0, 0.5, size=(40, 5))
    noise[place:, :3] += 8.0
    found, sure = change_point(noise)
    assert abs(found - place) <= 1
    assert sure > 0.9


def test_steady_series_have_no_change() -> None:
    found, sure = change_point(np.random.default_rng(3).normal(0.0, 0.5, size=(40, 5)))
    assert found == 0
    assert sure < 0.5


def test_too_few_samples_say_nothing() -> None:
    assert change_point(np.ones((3, 2))) == (0, 0.0)
    assert change_point(np.ones((30, 0))) == (0, 0.0)


def test_labels_name_components_and_pods_their_owner() -> None:
    known = ["cart", "cart-db", "node-a"]
    assert component_of({"service": "cart"}, known) == "cart"
    assert component_of({"server_address": "cart-db:5432"}, known) == "cart-db"
    assert component_of({"pod": "cart-db-0"}, known) == "cart-db"
    assert component_of({"persistentvolumeclaim": "data-cart-db-0"}, known) == "cart-db"
    assert component_of({"instance": "node-a:9100"}, known) == "node-a"
    assert component_of({"pod": "other-1"}, known) == ""


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)), max_size=20))
def test_a_filled_series_has_no_gaps(values: list[float]) -> None:
    assert all(map(math.isfinite, filled(values)))


def test_both_windows_are_sampled_and_whole() -> None:
    healthy = [request(n) for n in range(30)]
    trial = MadeTrial("localization", healthy=healthy, recent=healthy[:9])
    seen = asyncio.run(windows(trial))
    assert (len(seen.healthy), len(seen.recent)) == (30, 9)
    assert [s.id for s in seen.healthy[0]] == [s.id for s in healthy[0]]
    assert seen.healthy[0][0].duration == pytest.approx(healthy[0][0].duration, abs=1e-6)


def test_one_kind_of_request_that_suffers_is_not_lost_among_the_others() -> None:
    drawn = random.Random(1)
    healthy = [request(drawn.randrange(9999)) for _ in range(200)]
    usual = Usual(healthy)
    rare = [(span(f"p{n}", name="POST /", failed=True),) for n in range(12)]
    recent = [*healthy[:150], *rare]
    assert usual.worst_share(healthy) < 0.1
    assert usual.worst_share(recent) > 0.6
    assert usual.suffering(recent) == {"web POST /"}
    assert anomaly(usual.worst_share(recent)) > 0.9
    assert anomaly(usual.worst_share(healthy)) < 0.5
