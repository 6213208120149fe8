"""What users experienced, in windows and buckets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.load.slis import Slis
from aiopslab.models.journey import Slo

SLO = {"search": Slo(success=0.9, p95_ms=100.0)}


def filled(rows: list[tuple[float, float, bool]]) -> Slis:
    slis = Slis(SLO)
    for start, latency, ok in rows:
        slis.record("search", start, latency, ok=ok)
    return slis


def test_a_window_counts_by_intended_start_and_excludes_its_end() -> None:
    slis = filled([(0.0, 9.0, True), (5.0, 0.1, False), (10.0, 0.1, True)])
    (window,) = slis.window(0.0, 10.0)
    assert (window.offered, window.succeeded) == (2, 1)


def test_an_empty_window_is_not_met() -> None:
    (window,) = filled([]).window(0.0, 10.0)
    assert (window.offered, window.met, window.p95_ms) == (0, False, None)


def test_percentiles_are_of_successful_requests_only() -> None:
    slis = filled([(1.0, 0.05, True)] * 19 + [(1.0, 3.0, False)])
    (window,) = slis.window(0.0, 10.0)
    assert window.p99_ms == pytest.approx(50.0)
    assert window.met


@pytest.mark.parametrize(("latency", "ok"), [(0.5, True), (0.01, False)])
def test_slow_answers_and_failures_both_break_the_promise(latency: float, ok: bool) -> None:
    (window,) = filled([(1.0, latency, ok)] * 10).window(0.0, 10.0)
    assert not window.met


def test_a_journey_without_promise_is_not_reported() -> None:
    slis = Slis(SLO)
    slis.record("probe", 1.0, 0.1, ok=False)
    assert len(slis) == 0


def test_a_series_leaves_out_what_began_before_and_after_it() -> None:
    slis = filled([(-0.1, 0.1, True), (0.0, 0.1, True), (19.9, 0.1, False), (20.0, 0.1, True)])
    (journey,) = slis.series(0.0, 10.0, 2).journeys
    assert (journey.offered, journey.succeeded) == ([1, 1], [1, 0])
    assert journey.p95_ms == [100.0, None]


@given(st.lists(st.tuples(st.floats(0.0, 49.0), st.floats(0.0, 5.0), st.booleans()), max_size=80))
@settings(max_examples=60, deadline=None)
def test_each_bucket_of_a_series_is_the_window_of_its_bounds(
    rows: list[tuple[float, float, bool]],
) -> None:
    slis = filled(rows)
    (journey,) = slis.series(0.0, 10.0, 5).journeys
    for i in range(5):
        (window,) = slis.window(10.0 * i, 10.0 * (i + 1))
        assert (journey.offered[i], journey.succeeded[i]) == (window.offered, window.succeeded)
        if window.p95_ms is None:
            assert journey.p95_ms[i] is None
        else:
            assert journey.p95_ms[i] == pytest.approx(window.p95_ms, abs=0.06)


latencies = st.lists(st.floats(0.0, 5.0), min_size=1, max_size=80)


@given(latencies)
@settings(max_examples=60, deadline=None)
def test_percentiles_agree_with_order_statistics(values: list[float]) -> None:
    (window,) = filled([(1.0, value, True) for value in values]).window(0.0, 2.0)
    ordered = sorted(values)
    for q, seen in ((0.5, window.p50_ms), (0.95, window.p95_ms), (0.99, window.p99_ms)):
        rank = q * (len(ordered) - 1)
        low = int(rank)
        high = min(low + 1, len(ordered) - 1)
        expected = ordered[low] + (ordered[high] - ordered[low]) * (rank - low)
        assert seen == pytest.approx(expected * 1000.0, rel=1e-9, abs=1e-9)


rows = st.lists(st.tuples(st.floats(0, 99.9), st.floats(0, 0.3), st.booleans()), max_size=60)


def test_first_parts_and_pauses_of_streamed_answers_are_promised_too() -> None:
    slo = Slo(success=0.9, p95_ms=9000.0, ttft_p95_ms=500.0, tbt_p99_ms=100.0)
    slis = Slis({"chat": slo})
    for i in range(100):
        slis.record("chat", float(i), 4.0, ok=True)
        slis.streamed(0.2 if i % 10 else 0.4, [(0.03, 98), (0.08, 2)])
    (window,) = slis.window(0.0, 100.0)
    assert (window.ttft_p95_ms, window.tbt_p99_ms) == (400.0, 80.0)
    assert window.met
    slis.record("chat", 100.0, 4.0, ok=True)
    slis.streamed(0.2, [(0.5, 5000)])
    (window,) = slis.window(50.0, 101.0)
    assert window.tbt_p99_ms == 500.0
    assert not window.met


def test_a_stream_without_a_recorded_journey_is_ignored() -> None:
    slis = Slis({})
    slis.record("chat", 0.0, 1.0, ok=True)
    slis.streamed(0.1, [(0.03, 5)])
    assert len(slis) == 0
