"""The grammar of LogQL: what is read, what is refused, in which words and where."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.telemetry.logql.expressions import parse, parse_selector
from aiopslab.telemetry.logql.parser import MAX_DEPTH, MAX_LENGTH
from aiopslab.telemetry.logql.tokens import parse_bytes, parse_duration, parse_number
from aiopslab.telemetry.logql.tree import (
    Binary,
    By,
    Extract,
    LabelLogic,
    LabelNumber,
    LabelText,
    LineFilter,
    LogQuery,
    Matcher,
    Number,
    RangeAggregation,
    Select,
    Unwrap,
    VectorAggregation,
)
from aiopslab.telemetry.promql.values import QueryError

GEO = LogQuery((Matcher("app", "=", "geo"),))
FIVE = RangeAggregation("rate", GEO, 300.0)


def test_selectors_have_four_operators() -> None:
    found = parse('{a="1", b!="2", c=~"3.*", d!~`4|5`,}')
    assert isinstance(found, LogQuery)
    assert found.matchers == (
        Matcher("a", "=", "1"), Matcher("b", "!=", "2"), Matcher("c", "=~", "3.*"),
        Matcher("d", "!~", "4|5"),
    )  # fmt: skip


def test_line_filters_are_chained_and_have_alternatives() -> None:
    found = parse('{app="geo"} |= "a" or "b" != `c` |~ "d+" !~ "e"')
    assert isinstance(found, LogQuery)
    assert found.stages == (
        LineFilter("|=", ("a", "b")), LineFilter("!=", ("c",)), LineFilter("|~", ("d+",)),
        LineFilter("!~", ("e",)),
    )  # fmt: skip


def test_and_binds_tighter_than_or_in_label_filters_and_a_comma_is_and() -> None:
    found = parse('{app="geo"} | a="1" or b>2 and c<=10ms, d!=5KB')
    assert isinstance(found, LogQuery)
    [filters] = found.stages
    assert filters == LabelLogic(
        "or",
        LabelText(Matcher("a", "=", "1")),
        LabelLogic(
            "and",
            LabelLogic(
                "and",
                LabelNumber("b", ">", 2.0, "number"),
                LabelNumber("c", "<=", 0.01, "duration"),
            ),
            LabelNumber("d", "!=", 5000.0, "bytes"),
        ),
    )


def test_parsers_take_parameters_and_flags() -> None:
    found = parse('{app="geo"} | json a="b.c[0]", d | logfmt --strict --keep-empty x')
    assert isinstance(found, LogQuery)
    assert found.stages == (
        Extract("json", (("a", "b.c[0]"), ("d", "d"))),
        Extract("logfmt", (("x", "x"),), strict=True, keep_empty=True),
    )


def test_a_label_may_be_called_like_a_stage() -> None:
    found = parse('{app="geo"} | json="x" | drop="y" | drop drop, keep="z"')
    assert isinstance(found, LogQuery)
    assert [type(s) for s in found.stages] == [LabelText, LabelText, Select]


@pytest.mark.parametrize(
    "query",
    [
        'rate({app="geo"}[5m])', 'rate(({app="geo"})[5m])', 'rate({app="geo"}[5m] )',
        'rate(({app="geo"}[5m]))', ' rate (\n{app="geo"} # a comment\n[300s]) ',
    ],
)  # fmt: skip
def test_one_range_query_is_written_in_many_ways(query: str) -> None:
    assert parse(query) == FIVE


def test_ranges_stand_before_or_after_stages_and_have_offsets() -> None:
    after = parse('rate({app="geo"} |= "x" [1h30m] offset -5m)')
    before = parse('rate({app="geo"} [90m] offset -5m |= "x")')
    assert after == before
    assert isinstance(after, RangeAggregation)
    assert (after.window, after.offset) == (5400.0, -300.0)


def test_unwrap_converts_and_is_filtered() -> None:
    found = parse(
        'quantile_over_time(0.9, {app="geo"} | json | unwrap duration(took) | __error__="" [1m])'
        " by (pod)"
    )
    assert isinstance(found, RangeAggregation)
    assert found.unwrap == Unwrap("took", "duration", (LabelText(Matcher("__error__", "=", "")),))
    assert (found.parameter, found.grouping) == (0.9, By(by=True, names=("pod",)))


@pytest.mark.parametrize("query", ["sum by (a) (X)", "sum(X) by (a)", "sum by(a)((X))"])
def test_groupings_stand_before_or_after(query: str) -> None:
    found = parse(query.replace("X", 'rate({app="geo"}[5m])'))
    assert found == VectorAggregation("sum", FIVE, By(by=True, names=("a",)))


def test_operators_bind_as_in_promql() -> None:
    found = parse("1 + 2 * 3 ^ 2 ^ 1 > bool 4 - 1")
    assert found == Binary(
        ">",
        Binary(
            "+", Number(1.0),
            Binary(
                "*", Number(2.0),
                Binary("^", Number(3.0), Binary("^", Number(2.0), Number(1.0))),
            ),
        ),
        Binary("-", Number(4.0), Number(1.0)),
        as_bool=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "line 1, col 1: syntax error: unexpected $end"),
        ('{app="geo"', "line 1, col 11: syntax error: unexpected $end, expecting ,"),
        (f"topk({'1' * 4500}, vector(1))", "line 1, col 6: invalid parameter topk("),
        ('rate({app="geo"}[293y])', "line 1, col 18: duration out of range"),
        ('rate({app="geo"}[1m] offset -293y)', "duration out of range"),
        ('{app="geo"}\n|= 5', "line 2, col 4: syntax error: unexpected NUMBER, expecting STRING"),
        ("{app=geo}", "unexpected IDENTIFIER, expecting STRING"),
        ('{app="geo}', "literal not terminated"),
        ('{app="geo"} }', "unexpected }"),
        ("{}", "at least one regexp or equality matcher"),
        ('{app=~".*"}', "at least one regexp or equality matcher"),
        ('{app!="x"}', "at least one regexp or equality matcher"),
        ('{app=~"("}', "error parsing regexp"),
        ('{app=~"(a+)+b"}', "error parsing regexp"),
        ('rate({app="geo"})', "unexpected ), expecting ["),
        ('rate({app="geo"}[5x])', "unexpected character"),
        ('rate({app="geo"}[5])', "unexpected NUMBER, expecting DURATION"),
        ('rate({app="geo"}[0s])', "the range must be positive"),
        ('{app="geo"}[5m]', "unexpected ["),
        ('sum({app="geo"})', "a log query stands where a metric query must"),
        ('{app="geo"} | unpack', "'unpack' is not supported"),
        ('{app="geo"} |> "<_>"', "pattern line filters (|>) are not supported"),
        ('{app="geo"} |= ip("10.0.0.0/8")', "ip() filters are not supported"),
        ('{app="geo"} | addr = ip("10.0.0.0/8")', "ip() filters are not supported"),
        ('{app="geo"} | regexp "x"', "at least one named capture must be supplied"),
        ('{app="geo"} | logfmt --loose', "unknown flag"),
        ('{app="geo"} | label_format a=b, a=c', "multiple label name 'a' not allowed"),
        ('approx_topk(3, rate({app="geo"}[5m]))', "approx_topk is not supported"),
        ('rate_counter({app="geo"} | unwrap x [5m])', "rate_counter is not supported"),
        ('irate({app="geo"}[5m])', "unknown function 'irate'"),
        ('sum_over_time({app="geo"}[5m])', "invalid aggregation sum_over_time without unwrap"),
        ('count_over_time({app="geo"} | unwrap x [5m])', "invalid aggregation"),
        ('rate({app="geo"}[5m]) by (a)', "grouping not allowed for rate aggregation"),
        ('topk(0, rate({app="geo"}[5m]))', "invalid parameter topk(0,"),
        ('rate({app="geo"}[5m] @ 5)', "the @ modifier is not part of LogQL"),
        ("1 and 2", "unexpected literal for left leg"),
        ("1 + bool 2", "bool modifier can only be used on comparison operators"),
        ('{app="\\ud800"}', "unknown escape sequence"),
        ('{app="\ud800"}', "invalid UTF-8"),
        ("(" * (MAX_DEPTH + 5) + "1" + ")" * (MAX_DEPTH + 5), "nested expressions"),
        ('{app="' + "x" * MAX_LENGTH + '"}', "input size too long"),
    ],
)  # fmt: skip
def test_mistakes_are_named_and_placed(query: str, message: str) -> None:
    with pytest.raises(QueryError) as refusal:
        parse(query)
    assert message in str(refusal.value)


def test_a_selector_alone_is_wanted_where_streams_are_looked_up() -> None:
    assert parse_selector('{app="geo"}') == GEO
    with pytest.raises(QueryError, match="only label matchers are supported"):
        parse_selector('{app="geo"} |= "x"')


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h30m", 5400.0), ("250ms", 0.25), ("-5s", -5.0), ("1.5s", 1.5), ("3us", 3e-6), ("0", 0.0),
     ("5", None), ("", None), ("5 s", None), ("s", None)],
)  # fmt: skip
def test_durations_are_read_as_in_go(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "size"),
    [("5KB", 5e3), ("1.5KiB", 1536.0), ("2 MB", 2e6), ("7", 7.0), ("3b", 3.0), ("x", None)],
)
def test_sizes_are_read_as_in_go(text: str, size: float | None) -> None:
    assert parse_bytes(text) == size


def test_a_number_that_no_float_can_hold_is_infinite() -> None:
    assert parse(f"vector(0x{'f' * 400})") == parse("vector(1e400)")


def test_numbers_are_read_as_in_go() -> None:
    assert [parse_number(t) for t in ("1e3", "-2.5", "1_0", " 1", "x")] == [
        1000.0, -2.5, None, None, None,
    ]  # fmt: skip


words = st.sampled_from(
    ["{", "}", "(", ")", "[5m]", ",", "|", "|=", "!=", "=~", "=", "app", '"geo"', "`x`", "json",
     "logfmt", "unwrap", "sum", "by", "rate", "topk", "5", "10ms", "5KB", "and", "or", "offset",
     "line_format", "label_format", "drop", "keep", "regexp", "pattern", "bool", "on", "-", "+"]
)  # fmt: skip


@given(st.lists(words, max_size=25).map(" ".join))
def test_no_sequence_of_words_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(QueryError):
        parse(text)


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(QueryError):
        parse(text)


names = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True).filter(
    lambda name: name not in ("by", "or", "and", "on", "bool", "json", "drop", "keep", "ip")
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="`"), max_size=12)
filters = st.one_of(
    st.builds(lambda n, t: (f'{n} = `{t}`', LabelText(Matcher(n, "=", t))), names, texts),
    st.builds(
        lambda n, v: (f"{n} >= {v}", LabelNumber(n, ">=", float(v), "number")),
        names, st.integers(0, 10**9),
    ),
    st.builds(
        lambda n, v: (f"{n} < {v}ms", LabelNumber(n, "<", v * 1e-3, "duration")),
        names, st.integers(0, 10**6),
    ),
)  # fmt: skip
stages = st.one_of(
    st.builds(lambda t: (f"|= `{t}`", LineFilter("|=", (t,))), texts),
    st.just(("| json", Extract("json"))),
    st.just(("| logfmt --strict", Extract("logfmt", strict=True))),
    st.builds(lambda n: (f"| drop {n}", Select(False, (n,), ())), names),
    filters.map(lambda f: (f"| {f[0]}", f[1])),
)


@given(st.lists(stages, max_size=6))
def test_a_pipeline_is_read_as_it_was_written(parts: list[tuple[str, object]]) -> None:
    query = " ".join(['{app="geo"}', *(text for text, _ in parts)])
    found = parse(query)
    assert isinstance(found, LogQuery)
    assert list(found.stages) == [stage for _, stage in parts]
