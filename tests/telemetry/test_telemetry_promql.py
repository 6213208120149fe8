"""PromQL: against a brute-force reference, and example by example."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import promql_reference as reference
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.telemetry.promql import Engine, QueryError, parse
from aiopslab.telemetry.promql.histogram import bucket_quantile
from aiopslab.telemetry.samples import SampleTable

STEP = 5.0


def table_of(series: Mapping[str, list[float | None]], *, step: float = STEP) -> SampleTable:
    """Build a table from ``name{a="b"}`` to samples, one a round from time 0; None is no sample."""
    table = SampleTable()
    columns = {}
    for text in series:
        selector = parse(text)
        labels = tuple(sorted((m.name, m.value) for m in selector.matchers.matchers))
        columns[text] = table.column(selector.name, labels)
    for index in range(max(map(len, series.values()))):
        row = table.row(index * step)
        for text, values in series.items():
            if index < len(values) and values[index] is not None:
                row[columns[text]] = values[index]
    return table


def instant(table: SampleTable, query: str, at: float) -> dict[tuple[str, ...], float]:
    """Evaluate and key by ``label=value`` strings."""
    return {
        tuple(f"{k}={v}" for k, v in sorted(s.labels.items())): s.points[0][1]
        for s in Engine(table).instant(query, at)
    }


samples = st.lists(st.one_of(st.none(), st.integers(0, 50).map(float)), min_size=1, max_size=40)


def points_of(values: list[float | None]) -> list[tuple[float, float]]:
    return [(i * STEP, v) for i, v in enumerate(values) if v is not None]


def assert_same(found: dict[tuple[str, ...], float], expected: float | None) -> None:
    assert list(found.values()) == ([] if expected is None else [pytest.approx(expected, 1e-9)])


@pytest.mark.parametrize("name", ["rate", "increase", "delta"])
@settings(max_examples=60, deadline=None)
@given(values=samples, at=st.integers(0, 220), window=st.sampled_from([7, 15, 30, 60, 120]))
def test_rates_agree_with_the_reference(
    name: str, values: list[float | None], at: int, window: int
) -> None:
    expected = reference.extrapolated(
        points_of(values), at, window, counter=name != "delta", per_second=name == "rate"
    )
    assert_same(instant(table_of({"m": values}), f"{name}(m[{window}s])", at), expected)


@settings(max_examples=60, deadline=None)
@given(values=samples, at=st.integers(0, 220))
def test_irate_agrees_with_the_reference(values: list[float | None], at: int) -> None:
    expected = reference.irate(points_of(values), at, 45)
    assert_same(instant(table_of({"m": values}), "irate(m[45s])", at), expected)


@pytest.mark.parametrize(
    "name",
    ["avg", "sum", "min", "max", "count", "last", "present", "stddev", "changes", "resets"],
)
@settings(max_examples=25, deadline=None)
@given(values=samples, at=st.integers(0, 220))
def test_functions_over_time_agree_with_the_reference(
    name: str, values: list[float | None], at: int
) -> None:
    function = name if name in ("changes", "resets") else f"{name}_over_time"
    expected = reference.over_time(name, points_of(values), at, 33)
    assert_same(instant(table_of({"m": values}), f"{function}(m[33s])", at), expected)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(0, 9).map(float), min_size=1, max_size=9),
    q=st.floats(0, 1, allow_nan=False),
)
def test_quantiles_agree_with_the_reference(values: list[float], q: float) -> None:
    table = table_of({f'm{{i="{i}"}}': [v] for i, v in enumerate(values)})
    expected = reference.quantile(q, values)
    found = instant(table, f"quantile({q:.12f}, m)", 0)
    assert list(found.values()) == [pytest.approx(expected, abs=1e-9)]
    table = table_of({"m": list(values)})
    end = STEP * (len(values) - 1)
    found = instant(table, f"quantile_over_time({q:.12f}, m[200s])", end)
    assert list(found.values()) == [pytest.approx(expected, abs=1e-9)]


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(0, 30).map(float), min_size=2, max_size=8),
    q=st.floats(0.01, 1, allow_nan=False),
)
def test_bucket_quantiles_agree_with_the_reference(counts: list[float], q: float) -> None:
    bounds = [0.1 * 2**i for i in range(len(counts) - 1)]
    texts = [*(f"{b:g}" for b in bounds), "+Inf"]
    table = table_of({f'h_bucket{{le="{le}"}}': [c] for le, c in zip(texts, counts, strict=True)})
    pairs = list(zip([*map(float, texts[:-1]), math.inf], counts, strict=True))
    expected = reference.bucket_quantile(q, pairs)
    [found] = instant(table, f"histogram_quantile({q:.15f}, h_bucket)", 0).values()
    assert found == pytest.approx(expected, 1e-6, nan_ok=True)
    assert bucket_quantile(q, pairs) == pytest.approx(expected, 1e-9, nan_ok=True)


@settings(max_examples=12, deadline=None)
@given(values=samples, step=st.sampled_from([1, 5, 7, 20]))
def test_a_range_query_is_a_row_of_instant_queries(values: list[float | None], step: int) -> None:
    engine = Engine(table_of({"m": values}))
    for query in ("m", "rate(m[30s])", "max_over_time(m[30s])", "m > 20", "sum(m) or vector(1)"):
        by_range = {}
        for series in engine.range(query, 0, 200, step):
            for time, value in series.points:
                by_range[tuple(series.labels.items()), time] = value
        one_by_one = {}
        for time in range(0, 201, step):
            for series in engine.instant(query, time):
                one_by_one[tuple(series.labels.items()), float(time)] = series.points[0][1]
        assert by_range == pytest.approx(one_by_one, nan_ok=True)


# -- selectors ------------------------------------------------------------------------------------

PODS = {
    'm{pod="a-1",service="a"}': [1.0],
    'm{pod="a-2",service="a"}': [2.0],
    'm{pod="b-1",service="b"}': [4.0],
    'other{pod="a-1",service="a"}': [8.0],
}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("m", 7.0),
        ('m{service="a"}', 3.0),
        ('m{service!="a"}', 4.0),
        ('m{pod=~"a-."}', 3.0),
        ('m{pod=~"a"}', None),
        ('m{pod!~"a-.*"}', 4.0),
        ('m{nosuch=""}', 7.0),
        ('m{nosuch!=""}', None),
        ('{__name__="m"}', 7.0),
        ('{__name__=~"m|other"}', 15.0),
        ('{__name__!="m",service="a"}', 8.0),
        ('m{service="a",pod!="a-1"}', 2.0),
    ],
)
def test_selectors_match_as_prometheus_does(selector: str, expected: float | None) -> None:
    found = list(instant(table_of(PODS), f"sum({selector})", 0).values())
    assert found == ([] if expected is None else [expected])


def test_a_series_is_visible_for_the_lookback_and_no_longer() -> None:
    engine = Engine(table_of({"m": [1.0]}))
    assert len(engine.instant("m", 299.9)) == 1
    assert engine.instant("m", 300.0) == []
    assert engine.instant("m", -0.1) == []


def test_a_series_missing_in_the_newest_round_is_stale_at_once() -> None:
    table = table_of({"m": [1.0, 1.0], "n": [1.0, None]})
    assert instant(table, "n", 7) == {}
    assert len(instant(table, "m", 7)) == 1


def test_series_that_appear_later_are_found_by_a_query_asked_before() -> None:
    table = table_of({'m{a="1"}': [1.0]})
    engine = Engine(table)
    assert len(engine.instant("m", 0)) == 1
    table.row(5.0)[:] = 1.0
    column = table.column("m", (("a", "2"),))
    table.row(5.0)[column] = 1.0
    assert len(engine.instant("m", 5)) == 2


def test_windows_are_open_on_the_left() -> None:
    table = table_of({"m": [1.0, 1.0, 1.0]})
    assert list(instant(table, "count_over_time(m[10s])", 10).values()) == [2.0]


def test_offset_at_and_subqueries_shift_time() -> None:
    table = table_of({"m": [float(i) for i in range(40)]})
    cases = {
        "m offset 50s": 20.0, "m offset -10s": 32.0, "m @ 30": 6.0, "m @ 30 offset 10s": 4.0,
        "sum_over_time(m[15s] offset 100s)": 10.0 + 9.0 + 8.0, "max_over_time(m[60s:10s])": 30.0,
        "avg_over_time(rate(m[20s])[60s:5s])": 0.2,
    }  # fmt: skip
    for query, expected in cases.items():
        assert list(instant(table, query, 150).values()) == [pytest.approx(expected)], query


# -- operators ------------------------------------------------------------------------------------

TWO = {
    'hits{pod="a",zone="x"}': [3.0], 'hits{pod="b",zone="x"}': [1.0],
    'hits{pod="c",zone="y"}': [5.0],
    'all{pod="a"}': [6.0], 'all{pod="b"}': [4.0], 'zone_cap{zone="x",tier="gold"}': [10.0],
}  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sum(hits)", {(): 9.0}),
        ("sum by (zone) (hits)", {("zone=x",): 4.0, ("zone=y",): 5.0}),
        ("sum without (pod) (hits)", {("zone=x",): 4.0, ("zone=y",): 5.0}),
        ("avg(hits)", {(): 3.0}),
        ("min(hits)", {(): 1.0}),
        ("max by (zone) (hits)", {("zone=x",): 3.0, ("zone=y",): 5.0}),
        ("count(hits > 2)", {(): 2.0}),
        ("group(hits)", {(): 1.0}),
        ("stdvar(hits)", {(): pytest.approx(8 / 3)}),
        ('count_values("n", hits)', {("n=3",): 1.0, ("n=1",): 1.0, ("n=5",): 1.0}),
        ("hits / on (pod) all", {("pod=a",): 0.5, ("pod=b",): 0.25}),
        ("hits / ignoring (zone) all", {("pod=a",): 0.5, ("pod=b",): 0.25}),
        (
            "hits / on (zone) group_left (tier) zone_cap",
            {("pod=a", "tier=gold", "zone=x"): 0.3, ("pod=b", "tier=gold", "zone=x"): 0.1},
        ),
        (
            "zone_cap / on (zone) group_right hits",
            {("pod=a", "zone=x"): pytest.approx(10 / 3), ("pod=b", "zone=x"): 10.0},
        ),
        ("sum(hits and on (pod) all)", {(): 4.0}),
        ("sum(hits unless on (pod) all)", {(): 5.0}),
        ("sum(all or on (pod) hits)", {(): 15.0}),
        ("hits > 4", {("__name__=hits", "pod=c", "zone=y"): 5.0}),
        ("2 < hits < 4", {("__name__=hits", "pod=a", "zone=x"): 3.0}),
        ("sum(hits > bool 2)", {(): 2.0}),
        ("sum(hits == on (pod) all / 2)", {(): 3.0}),
        ("-sum(hits) + 2 ^ 3 % 5", {(): -6.0}),
        ("1 + 2 * 3", {(): 7.0}),
        ("sum(hits) / 0", {(): math.inf}),
        ("scalar(zone_cap) + 1", {(): 11.0}),
        ("vector(4)", {(): 4.0}),
        ("absent(nosuch)", {(): 1.0}),
        ("absent(hits)", {}),
        ("sum(clamp(hits, 2, 4))", {(): 9.0}),
        ("sum(clamp_min(hits, 2)) + sum(clamp_max(hits, 2))", {(): 15.0}),
        ("sum(round(hits / 2))", {(): 6.0}),
        ("sum(abs(-hits)) + sum(sqrt(hits ^ 2))", {(): 18.0}),
        ("time() - sum(timestamp(zone_cap))", {(): 2.0}),
        (
            'sum by (p) (label_replace(hits, "p", "pod-$1", "pod", "([ab])"))',
            {("p=pod-a",): 3.0, ("p=pod-b",): 1.0, (): 5.0},
        ),
        (
            'sum by (j) (label_join(hits, "j", "/", "zone", "pod"))',
            {("j=x/a",): 3.0, ("j=x/b",): 1.0, ("j=y/c",): 5.0},
        ),
    ],
)  # fmt: skip
def test_operators_and_functions(query: str, expected: dict[tuple[str, ...], float]) -> None:
    assert instant(table_of(TWO), query, 2) == expected


def test_topk_and_sort_give_an_order() -> None:
    engine = Engine(table_of(TWO))
    for query, pods in {
        "topk(2, hits)": "ca", "bottomk(2, hits)": "ba", "sort(hits)": "bac",
        "sort_desc(hits)": "cab", "topk by (zone) (1, hits)": "ac", "topk(0, hits)": "",
    }.items():  # fmt: skip
        assert "".join(s.labels["pod"] for s in engine.instant(query, 0)) == pods, query


def test_topk_of_a_range_chooses_at_every_step() -> None:
    table = table_of({'m{p="a"}': [1.0, 9.0], 'm{p="b"}': [5.0, 5.0]})
    found = Engine(table).range("topk(1, m)", 0, 5, 5)
    assert [(s.labels["p"], list(s.points)) for s in found] == [
        ("a", [(5.0, 9.0)]), ("b", [(0.0, 5.0)]),
    ]  # fmt: skip


def test_linear_functions_find_the_line() -> None:
    table = table_of({"m": [3.0 + 2.0 * STEP * i for i in range(20)]})
    assert list(instant(table, "deriv(m[60s])", 90).values()) == [pytest.approx(2.0)]
    assert list(instant(table, "predict_linear(m[60s], 10)", 90).values()) == [
        pytest.approx(3.0 + 2.0 * 100)
    ]


def test_matching_works_when_a_pod_of_the_same_key_is_gone() -> None:
    table = table_of(
        {'m{s="a",pod="1"}': [1.0, None], 'm{s="a",pod="2"}': [None, 2.0], 'c{s="a"}': [4.0, 4.0]}
    )
    found = Engine(table).range("m / on (s) c", 0, 5, 5)
    assert [(s.labels, list(s.points)) for s in found] == [({"s": "a"}, [(0.0, 0.25), (5.0, 0.5)])]


def test_labels_are_copied_from_the_series_that_is_there_at_each_step() -> None:
    table = table_of(
        {
            'm{pod="1"}': [1.0, 2.0],
            'info{pod="1",ip=""}': [1.0, None],
            'info{pod="1",ip="198.19.0.2"}': [None, 1.0],
        }
    )
    engine = Engine(table)
    query = "m * on (pod) group_left (ip) info"
    assert [dict(s.labels) for s in engine.instant(query, 5)] == [{"pod": "1", "ip": "198.19.0.2"}]
    found = [(s.labels.get("ip"), list(s.points)) for s in engine.range(query, 0, 5, 5)]
    assert found == [("198.19.0.2", [(5.0, 2.0)]), (None, [(0.0, 1.0)])]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("m +", "1:4: parse error: unexpected end of input"),
        ("1 +\n nosuch(m)", '2:2: parse error: unknown function with name "nosuch"'),
        ("rate(m)", "1:6: parse error: expected type range vector"),
        ("info(m)", r"info\(\) is not supported"),
        ("histogram_sum(m)", "native histograms"),
        ("m + fill(0) m", "fill modifiers are not supported"),
        ("start_timestamp(m)", r"start_timestamp\(\) is not supported"),
        ('m{a=~"("}', "1:3: parse error: error parsing regexp"),
        ("m[5m]", "apply a function"),
        ("hits * on (zone) hits", "many-to-many"),
        ("hits * on (zone) zone_cap", "group_left"),
        ('"text"', "must be Scalar or instant Vector"),
        ("avg_over_time(m[1d:1ms])", "11,000 points"),
        ("m @ 1e300", "out of bounds for @"),
        ("-" * 1000 + "m", "too deeply"),
        ("(" * 3000 + "m" + ")" * 3000, "longer than"),
        ('m{a=~"(x+)+"}', "malformed"),
        ('label_replace(m, "x", "$1", "a", "(x*)*")', "invalid regular expression"),
    ],
)
def test_what_cannot_be_answered_says_so(query: str, message: str) -> None:
    engine = Engine(table_of(TWO))
    with pytest.raises(QueryError, match=message):
        engine.instant(query, 0)


def test_unknown_groups_of_label_replace_are_empty() -> None:
    engine = Engine(table_of({'m{a="left-right"}': [1.0]}))
    query = 'label_replace(m, "b", "$2/${1}/$9$name\\\\1", "a", "(.*)-(.*)")'
    assert engine.instant(query, 0)[0].labels["b"] == "right/left/\\1"


def test_duplicate_label_sets_in_a_result_are_refused() -> None:
    table = table_of({'m{a="1"}': [1.0], 'n{a="1"}': [2.0]})
    with pytest.raises(QueryError, match="same labelset"):
        Engine(table).instant('{__name__=~"m|n"} + 1', 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 10, 0), "positive"), ((10, 0, 1), "before start"), ((0, 1e6, 1), "11,000")],
)
def test_a_bad_range_is_refused(arguments: tuple[float, float, float], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        Engine(table_of(TWO)).range("m", *arguments)


def test_asking_twice_gives_the_same_answer_from_what_was_remembered() -> None:
    engine = Engine(table_of(TWO))
    query = "sum by (zone) (hits / on (zone) group_left (tier) zone_cap) > 0"
    first = engine.instant(query, 0)
    assert engine.instant(query, 0) == first


def test_histogram_quantile_per_service_over_rates() -> None:
    rounds = np.arange(20)
    series: dict[str, list[float | None]] = {}
    for service, fast in (("a", 0.9), ("b", 0.1)):
        for le, share in (("0.1", fast), ("1", 1.0), ("+Inf", 1.0)):
            series[f'h_bucket{{service="{service}",le="{le}"}}'] = list(rounds * 10 * share)
    query = "histogram_quantile(0.5, sum by (le, service) (rate(h_bucket[1m])))"
    found = instant(table_of(series), query, 95)
    assert found["service=a",] == pytest.approx(0.1 * 0.5 / 0.9)
    assert found["service=b",] == pytest.approx(0.1 + 0.9 * (0.4 / 0.9))
