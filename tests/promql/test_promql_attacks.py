"""Queries that would take the machine's memory or minutes are refused with a clear error."""

from __future__ import annotations

import math
import sys

import pytest
from promql_data import ROUNDS, START, samples, table, time_of

from aiopslab.telemetry.promql import Engine, ParseError, QueryError
from aiopslab.telemetry.samples import SampleTable

END = time_of(ROUNDS - 1)
ALL = '{__name__=~".+"}'


@pytest.fixture(scope="module")
def engine() -> Engine:
    """A few hundred series, so that what is refused is refused for the work, not for memory."""
    loaded = table(samples())
    columns = [loaded.column("wide", (("i", str(i)), ("note", "a" * 60))) for i in range(400)]
    for number in range(8):
        row = loaded.row(END + 5.0 * number)
        row[columns] = [number + i / 7 for i in range(len(columns))]
    return Engine(loaded)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("(" * 1990 + "up" + ")" * 1990, "nested too deeply"),
        ("-" * 2000 + "up", "nested too deeply"),
        ("up" + "+1" * 900, "nested too deeply"),
        ("1+" * 1900 + "rate(up)", "nested too deeply"),
        ("1+" * 1900, "1:3801: parse error: unexpected end of input"),
        ("up or " * 1000 + "up", "longer than 4000 characters"),
        ("9" * 5000, "longer than 4000 characters"),
        ("0x" + "f" * 3000, "parse error"),
        ("avg_over_time(up[1d:1ms])", "11,000 points"),
        ("max_over_time(" * 30 + "vector(1)" + "[1h:1s])" * 30, "11,000 points|too many samples"),
        ("sum_over_time(up[292y:1y])" + " + up" * 3, ""),
        ("up[293y]", "1:4: parse error: duration out of range"),
        ("up\n[584942417y]", "2:2: parse error: duration out of range"),
        ("up[1h:1e30]", "duration out of range"),
        ("up offset 292471208y", "duration out of range"),
        ("up offset - Inf", "duration out of range"),
        ("up offset 0x" + "f" * 400, "duration out of range"),
        (
            "sort_by_label("
            + "label_join(" * 2
            + f'label_replace(up,"a","{"9" * 2000}","","")'
            + ',"a","","a","a")' * 2
            + ',"a")',
            "",
        ),
        ("up @ 1e18", "out of bounds"),
        ("up @ NaN", "out of bounds"),
        ("up @ -1", "out of bounds"),
        ("up offset 99999999999999999999y", "parse error"),
        ("label_join(" * 60 + "up" + ',"a","","a","instance","a")' * 60, "longer than 10000"),
        ('label_replace(up,"a","' + "$1" * 1800 + '","instance","(.*)")', "longer than 10000"),
        ('wide{note=~"' + ".*" * 10 + 'y"}', "too long on these labels"),
        ('label_replace(wide,"b","","note","' + "a?" * 40 + '")', "too long on these labels"),
        ('up{instance=~"(a*)*"}', "malformed"),
        ('up{instance=~"a{1001}"}', "malformed|parse error"),
    ],
)
def test_a_query_that_asks_too_much_is_refused(engine: Engine, query: str, message: str) -> None:
    if not message:
        assert engine.query(query, END) is not None
        return
    with pytest.raises(QueryError, match=message):
        engine.query(query, END)


@pytest.mark.parametrize(
    "query",
    [
        " or ".join([ALL] * 200),
        'count_values("v", http_requests_total * time())',
        f"quantile_over_time(0.5, {ALL}[1h])",
        "label_replace(" * 90
        + "wide"
        + ',"x","$1","i","(.*)")' * 90
        + ' or count_values("v", wide)',
        " + ".join(["histogram_fraction(0, 1, duration_seconds_bucket)"] * 8),
        "max_over_time(wide[30m:1s])",
    ],
)
def test_the_longest_range_of_everything_is_refused(engine: Engine, query: str) -> None:
    with pytest.raises(QueryError, match="too many samples"):
        engine.range(query, START, END, 0.25)


def test_a_query_that_is_refused_leaves_nothing_behind(engine: Engine) -> None:
    before = engine.instant("sum(up)", END)
    with pytest.raises(QueryError):
        engine.range(f"quantile_over_time(0.5, {ALL}[1h])", START, END, 1.0)
    assert engine.instant("sum(up)", END) == before


@pytest.mark.parametrize("moment", [math.nan, math.inf, -math.inf, 1e300])
def test_times_that_no_clock_shows_are_refused(engine: Engine, moment: float) -> None:
    with pytest.raises(QueryError, match="not a valid timestamp"):
        engine.query("up", moment)
    with pytest.raises(QueryError, match="not a valid timestamp"):
        engine.range("up", START, END, moment)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((START, END, 0.0), "zero or negative query resolution step widths"),
        ((START, END, -15.0), "zero or negative query resolution step widths"),
        ((START, END, 1e-9), "zero or negative query resolution step widths"),
        ((END, START, 15.0), "end timestamp must not be before start time"),
        ((START, START + 11_001, 1.0), "exceeded maximum resolution of 11,000 points per"),
    ],
)
def test_impossible_ranges_are_refused_in_prometheus_words(
    engine: Engine, arguments: tuple[float, float, float], message: str
) -> None:
    with pytest.raises(QueryError, match=message):
        engine.range("up", *arguments)


def test_new_selectors_without_end_are_forgotten(engine: Engine) -> None:
    for i in range(400):
        engine.instant(f'up{{instance!="{i}"}}', END)
    known = engine._selectors._known
    assert len(known) <= 256
    assert sys.getsizeof(known) < 100_000


def test_matchers_cannot_pass_for_selectors(engine: Engine) -> None:
    for matcher in ("sum(up)", "up[5m]", "1", '"up"', "up + up"):
        with pytest.raises(QueryError, match="not a series selector"):
            engine.series([matcher])
    with pytest.raises(ParseError, match="parse error"):
        engine.series(["up{"])


def test_an_empty_store_answers_every_question_with_nothing() -> None:
    engine = Engine(SampleTable())
    for query in (
        "up", "rate(up[5m])", "sum(up)", "topk(3, up)", "quantile(0.5, up)", "sort(up)",
        'count_values("v", up)', "histogram_quantile(0.9, up)", "up + up", "up and up",
        "histogram_quantiles(up, 'q', 0.5)", "limitk(1, up)", "limit_ratio(0.5, up)",
        "deriv(up[1m])",
        "max_over_time(up[5m:1m])", "ts_of_max_over_time(up[5m])", "last_over_time(up[5m])",
        "double_exponential_smoothing(up[5m], 0.5, 0.5)", "irate(up[5m])", "timestamp(up)",
        "predict_linear(up[5m], 60)", "sort_by_label(up, 'a')", "changes(up[5m])", "up[5m]",
    ):  # fmt: skip
        assert engine.query(query, END).series == []
        if not query.endswith("]"):
            assert engine.range(query, START, END, 60.0) == []
    assert engine.series(["up"]) == engine.label_names() == engine.label_values("job") == []
