"""When users arrive."""

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.load.arrivals import Arrivals
from aiopslab.models.journey import Load


def instants(load: Load, rate: float, horizon: float, *, seed: int = 1) -> list[float]:
    arrivals = Arrivals(rate, load, random.Random(seed))
    found, now = [], arrivals.after(0.0, 1.0)
    while now < horizon:
        found.append(now)
        now = arrivals.after(now, 1.0)
    return found


def test_constant_arrivals_are_evenly_spaced() -> None:
    assert instants(Load(shape="constant"), 4.0, 1.1) == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_poisson_gaps_have_mean_and_deviation_of_one_over_the_rate() -> None:
    times = instants(Load(shape="poisson"), 20.0, 1000.0)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert statistics.fmean(gaps) == pytest.approx(0.05, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(0.05, rel=0.05)


def test_diurnal_arrivals_follow_the_rate_of_the_hour() -> None:
    load = Load(shape="diurnal", amplitude=0.5, peak_hour=14.0)
    times = instants(load, 1.0, 86400.0)
    peak = sum(13 * 3600 <= t < 15 * 3600 for t in times)
    trough = sum(1 * 3600 <= t < 3 * 3600 for t in times)
    assert peak / 7200 == pytest.approx(1.5, rel=0.05)
    assert trough / 7200 == pytest.approx(0.5, rel=0.05)
    assert len(times) / 86400 == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("shape", ["constant", "poisson", "diurnal"])
def test_factor_zero_means_nobody_comes(shape: str) -> None:
    arrivals = Arrivals(5.0, Load.model_validate({"shape": shape}), random.Random(1))
    assert math.isinf(arrivals.after(0.0, 0.0))


@given(
    shape=st.sampled_from(["constant", "poisson", "diurnal"]),
    rate=st.floats(0.1, 50),
    amplitude=st.floats(0, 1),
    factor=st.floats(0.1, 10),
    start=st.floats(0, 1e9),
)
@settings(max_examples=60, deadline=None)
def test_the_next_arrival_is_later_and_the_rate_never_negative(
    shape: str, rate: float, amplitude: float, factor: float, start: float
) -> None:
    load = Load.model_validate({"shape": shape, "amplitude": amplitude})
    arrivals = Arrivals(rate, load, random.Random(3))
    assert arrivals.after(start, factor) > start
    assert 0 <= arrivals.rate(start, factor) <= rate * factor * (1 + amplitude) + 1e-9


def test_a_trace_is_followed_linearly_and_repeats() -> None:
    load = Load(shape="trace", trace=[(0, 0.0), (100, 2.0), (200, 0.0)])
    arrivals = Arrivals(3.0, load, random.Random(1))
    assert [arrivals.rate(t) for t in (0.0, 50.0, 100.0, 150.0, 250.0)] == [0, 3, 6, 3, 3]
    times = instants(load, 10.0, 4000.0)
    assert len(times) == pytest.approx(40000.0, rel=0.02)
    busy = sum(50.0 <= t % 200.0 < 150.0 for t in times)
    assert busy / len(times) == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": "trace"},
        {"shape": "poisson", "trace": [(0, 1.0), (1, 1.0)]},
        {"shape": "trace", "trace": [(1, 1.0), (0, 1.0)]},
        {"shape": "trace", "trace": [(0, 1.0), (1, -1.0)]},
    ],
)
def test_a_trace_that_cannot_be_followed_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="trace"):
        Load.model_validate(wrong)
