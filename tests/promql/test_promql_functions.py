"""What Prometheus 3 has and the oracle of the differential test, version 2, does not."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.telemetry.promql import Answer, Engine, QueryError, format_value
from aiopslab.telemetry.promql.histogram import bucket_fraction, bucket_quantile
from aiopslab.telemetry.samples import NOT_A_NUMBER, SampleTable

ROUND_S = 10.0
numbers = st.lists(st.integers(-50, 50).map(float), min_size=2, max_size=25)


def engine_of(**series: list[float | None]) -> Engine:
    """Load gauges ``m{s=<name>}``, one sample a round from time 0."""
    table = SampleTable()
    columns = {name: table.column("m", (("s", name),)) for name in series}
    for number in range(max(map(len, series.values()))):
        row = table.row(number * ROUND_S)
        for name, values in series.items():
            if number < len(values) and values[number] is not None:
                value = values[number]
                row[columns[name]] = NOT_A_NUMBER if math.isnan(value) else value
    return Engine(table)


def value_of(engine: Engine, query: str, at: float) -> float:
    [series] = engine.instant(query, at)
    return series.points[0][1]


def values_of(answer: Answer) -> dict[str, float]:
    return {s.labels.get("s", ""): s.points[0][1] for s in answer.series}


@given(values=numbers)
def test_mad_over_time_is_the_median_distance_from_the_median(values: list[float]) -> None:
    median = statistics.median(values)
    expected = statistics.median(abs(v - median) for v in values)
    end = ROUND_S * (len(values) - 1)
    assert value_of(engine_of(a=[*values]), "mad_over_time(m[1h])", end) == pytest.approx(expected)


@given(values=numbers, sf=st.sampled_from([0.1, 0.5, 0.9]), tf=st.sampled_from([0.2, 0.7]))
def test_double_exponential_smoothing_follows_level_and_trend(
    values: list[float], sf: float, tf: float
) -> None:
    previous, level, trend = 0.0, values[0], values[1] - values[0]
    for i, value in enumerate(values[1:]):
        if i:
            trend = tf * (level - previous) + (1 - tf) * trend
        previous, level = level, sf * value + (1 - sf) * (level + trend)
    query = f"double_exponential_smoothing(m[1h], {sf}, {tf})"
    end = ROUND_S * (len(values) - 1)
    assert value_of(engine_of(a=[*values]), query, end) == pytest.approx(level, abs=1e-9)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("double_exponential_smoothing(m[1m], 1, 0.5)", "invalid smoothing factor"),
        ("double_exponential_smoothing(m[1m], 0.5, 0)", "Expected: 0 < tf < 1, got: 0.0"),
        ("limitk(NaN, m)", "Parameter value is NaN"),
        ("limitk(1e30, m)", "Scalar value 1e\\+30 overflows int64"),
        ("limitk(1 - 2 * (time() % 20) * 1e18, m)", "underflows int64"),
        ("limit_ratio(NaN, m)", "Ratio value is NaN"),
        ('histogram_quantiles(m, "a-b", 0.5)', "invalid label name a-b"),
        ("histogram_avg(m)", r"histogram_avg\(\) needs native histograms"),
        ('m{s="a" or s="b"}', "'or' between label matchers is not supported"),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_refused_in_prometheus_words(query: str, message: str) -> None:
    engine = engine_of(a=[1.0] * 8)
    with pytest.raises(QueryError, match=message):
        engine.range(query, 0, 60, 10)


@given(values=numbers)
def test_times_of_extremes_are_those_of_the_last_one(values: list[float]) -> None:
    engine = engine_of(a=[*values])
    end = ROUND_S * (len(values) - 1)
    for query, extreme in (("ts_of_max_over_time", max), ("ts_of_min_over_time", min)):
        last = len(values) - 1 - values[::-1].index(extreme(values))
        assert value_of(engine, f"{query}(m[1h])", end) == ROUND_S * last
    assert value_of(engine, "ts_of_first_over_time(m[15s])", end) == end - ROUND_S
    assert value_of(engine, "ts_of_last_over_time(m[15s] @ 15)", end) == 10.0
    assert value_of(engine, "first_over_time(m[15s])", end) == values[-2]


def test_extremes_pass_over_nan_unless_there_is_nothing_else() -> None:
    engine = engine_of(a=[math.nan, 3.0, math.nan], b=[math.nan, math.nan, None])
    found = values_of(engine.query("max_over_time(m[1m])", 20))
    assert found == pytest.approx({"a": 3.0, "b": math.nan}, nan_ok=True)
    found = values_of(engine.query("ts_of_max_over_time(m[1m])", 20))
    assert found == {"a": 10.0, "b": 10.0}
    found = values_of(engine.query("mad_over_time(m[1m])", 20))
    assert found == pytest.approx({"a": math.nan, "b": math.nan}, nan_ok=True)


def test_a_sample_may_be_nan_and_is_there() -> None:
    engine = engine_of(a=[math.nan, None, math.nan, 1.0])
    assert math.isnan(value_of(engine, "m", 0))
    assert engine.instant("m", 10) == []
    assert value_of(engine, "count_over_time(m[1m])", 30) == 3
    assert value_of(engine, "changes(m[1m])", 30) == 1
    assert value_of(engine, "count_over_time((m * 0)[1m:10s])", 30) == 3


def test_limitk_keeps_so_many_series_of_each_group() -> None:
    engine = engine_of(a=[1.0, 1.0], b=[2.0, 2.0], c=[None, 3.0])
    assert values_of(engine.query("limitk(2, m)", 10)) == {"a": 1.0, "b": 2.0}
    assert len(engine.query("limitk by (s) (1, m)", 10).series) == 3
    assert engine.query("limitk(0, m)", 10).series == []
    assert len(engine.query("limitk(1.9, m)", 10).series) == 1


def test_limit_ratio_and_its_negative_part_the_series() -> None:
    engine = engine_of(**{f"s{i}": [float(i)] for i in range(200)})
    kept = values_of(engine.query("limit_ratio(0.3, m)", 0))
    rest = values_of(engine.query("limit_ratio(-0.7, m)", 0))
    assert kept.keys() & rest.keys() == set()
    assert len(kept) + len(rest) == 200
    assert 35 <= len(kept) <= 85
    assert len(engine.query("limit_ratio(1, m)", 0).series) == 200
    assert engine.query("limit_ratio(0, m)", 0).series == []


def test_sort_by_label_is_natural() -> None:
    names = ["pod-10", "pod-2", "pod-1", "x", "9"]
    engine = engine_of(**{name: [1.0] for name in names})
    found = [s.labels["s"] for s in engine.instant('sort_by_label(m, "s")', 0)]
    assert found == ["9", "pod-1", "pod-2", "pod-10", "x"]
    backwards = [s.labels["s"] for s in engine.instant('sort_by_label_desc(m, "s")', 0)]
    assert backwards == found[::-1]


def test_the_query_knows_its_own_range() -> None:
    engine = engine_of(a=[1.0] * 20)
    for query, expected in (
        ("start()", 30.0),
        ("end()", 130.0),
        ("range()", 100.0),
        ("step()", 25.0),
    ):
        found = engine.range(f"avg_over_time(vector({query})[1m:10s])", 30, 130, 25)
        assert {v for _, v in found[0].points} == {expected}
    assert values_of(engine.query("vector(max_of(1, min_of(5, 3)))", 0)) == {"": 3.0}


@given(
    counts=st.lists(st.integers(0, 30).map(float), min_size=2, max_size=6),
    q=st.floats(0.01, 0.99),
)
def test_histogram_fraction_undoes_histogram_quantile(counts: list[float], q: float) -> None:
    bounds = [*(float(b) for b in range(1, len(counts))), math.inf]
    buckets = list(zip(bounds, itertools.accumulate(counts), strict=True))
    total = buckets[-1][1]
    quantile = bucket_quantile(q, buckets)
    below = bucket_fraction(-math.inf, quantile, buckets)
    if total == 0:
        assert math.isnan(below)
    elif quantile < bounds[-2]:
        assert below == pytest.approx(q, abs=1e-9)
    else:
        assert below <= q + 1e-9


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (0, 1, 0.25), (1, 3, 0.625), (-5, 0.5, 0.125), (3, 100, 0.0), (-math.inf, math.inf, 1.0),
        (2, 1, 0.0), (1, 1, 0.0), (math.nan, 1, math.nan),
    ],
)  # fmt: skip
def test_histogram_fraction_is_linear_inside_buckets(
    lower: float, upper: float, expected: float
) -> None:
    buckets = [(1.0, 2.0), (3.0, 7.0), (math.inf, 8.0)]
    found = bucket_fraction(lower, upper, buckets)
    assert found == pytest.approx(expected, nan_ok=True)


def test_buckets_that_come_and_go_are_computed_one_by_one() -> None:
    table = SampleTable()
    columns = {le: table.column("h_bucket", (("le", le),)) for le in ("1", "1.0", "2", "+Inf")}
    for number, kept in enumerate(
        (("1", "2", "+Inf"), ("1", "+Inf"), ("1", "1.0", "2", "+Inf"), ("2",))
    ):
        row = table.row(number * ROUND_S)
        for le in kept:
            row[columns[le]] = {"1": 4.0, "1.0": 2.0, "2": 8.0, "+Inf": 8.0}[le]
    [series] = Engine(table).range("histogram_quantile(0.75, h_bucket)", 0, 30, 10)
    # With 2 in the last bucket of both spellings, 6 of 8 observations are below 1.
    assert [v for _, v in series.points] == pytest.approx([1.5, 1.0, 1.0, math.nan], nan_ok=True)


# -- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "kind"),
    [("m", "vector"), ("1 + 1", "scalar"), ('"x"', "string"), ("m[1m]", "matrix"),
     ("m[1m:5s]", "matrix"), ("vector(1)", "vector"), ("scalar(m)", "scalar")],
)  # fmt: skip
def test_answers_keep_the_type_of_the_expression(query: str, kind: str) -> None:
    answer = engine_of(a=[1.0, 2.0]).query(query, 10)
    assert answer.kind == kind
    assert answer.text == ("x" if kind == "string" else "")


def test_raw_samples_are_those_of_the_window() -> None:
    [series] = engine_of(a=[1.0, None, 3.0, 4.0]).query("m[25s]", 35).series
    assert series.points == [(20.0, 3.0), (30.0, 4.0)]
    with pytest.raises(QueryError, match='invalid expression type "range vector"'):
        engine_of(a=[1.0]).query_range("m[1m]", 0, 10, 5)
    with pytest.raises(QueryError, match='invalid expression type "string"'):
        engine_of(a=[1.0]).query_range('"x"', 0, 10, 5)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "-0"), (1.0, "1"), (0.1, "0.1"), (1 / 3, "0.3333333333333333"),
        (123456789.125, "123456789.125"), (1e20, "100000000000000000000"), (1e21, "1e+21"),
        (1e-6, "0.000001"), (9.99e-7, "9.99e-07"), (5e-324, "5e-324"), (-1.5e300, "-1.5e+300"),
        (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"),
    ],
)  # fmt: skip
def test_values_are_written_as_prometheus_writes_them(value: float, text: str) -> None:
    assert format_value(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_written_values_read_back_the_same(value: float) -> None:
    assert float(format_value(value)) == value


# -- series and labels ----------------------------------------------------------------------------


def test_series_and_labels_are_those_with_samples_in_the_range() -> None:
    table = SampleTable()
    old, new = (table.column("up", (("pod", p),)) for p in ("old", "new"))
    other = table.column("down", (("node", "n1"),))
    for time, column in ((0.0, old), (10.0, new), (20.0, other)):
        table.row(time)[column] = 1.0
    engine = Engine(table)
    assert engine.series(["up"]) == [
        {"__name__": "up", "pod": "new"}, {"__name__": "up", "pod": "old"},
    ]  # fmt: skip
    assert engine.series(["up", '{node=~"n.*"}'], 5, 15) == [{"__name__": "up", "pod": "new"}]
    assert engine.series(["up"], 10, 10) == [{"__name__": "up", "pod": "new"}]
    assert engine.label_names() == ["__name__", "node", "pod"]
    assert engine.label_names(["down"]) == ["__name__", "node"]
    assert engine.label_values("pod") == ["new", "old"]
    assert engine.label_values("__name__", start=15) == ["down"]
    assert engine.label_values("pod", ['up{pod!="old"}', "down"]) == ["new"]
    assert engine.label_values("nosuch") == engine.series(["nosuch"]) == []
