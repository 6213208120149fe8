"""The same samples and the same questions to us and to a real Prometheus.

Skipped where no ``prometheus`` is on PATH. The oracle is version 2; where we follow version 3 is in
``promql_known``, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import promql_expressions as written
import pytest
from hypothesis import given, settings
from promql_compare import INSTANTS, RANGE, Comparison, same
from promql_data import remote_write, samples, table
from promql_grammar import expressions
from promql_known import KNOWN, LAST, Known
from promql_oracle import OracleError, prometheus

from aiopslab.telemetry.promql import Engine, QueryError

GENERATED = 250
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparison]:
    made = samples()
    with prometheus(tmp_path_factory.mktemp("prometheus"), remote_write(made)) as oracle:
        yield Comparison(oracle, Engine(table(made)))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(table(samples()))


def test_every_written_expression_is_answered_as_prometheus_does(
    comparison: Comparison, record_property: Record
) -> None:
    found = {
        expression: comparison.differences(expression, ordered=expression in written.ORDERED)
        for expression in written.ANSWERED
    }
    assert {e: difference for e, difference in found.items() if difference} == {}
    assert len(found) >= 150
    record_property("written expressions", len(found))


def test_raw_samples_and_strings_are_answered_as_prometheus_does(comparison: Comparison) -> None:
    found = {e: comparison.differences(e, span=False) for e in written.INSTANT_ONLY}
    assert {e: difference for e, difference in found.items() if difference} == {}


def test_generated_expressions_are_answered_as_prometheus_does(
    comparison: Comparison, record_property: Record
) -> None:
    drawn: set[str] = set()

    @settings(max_examples=GENERATED)
    @given(expression=expressions)
    def check(expression: str) -> None:
        assert comparison.differences(expression) == "", expression
        drawn.add(expression)

    check()
    assert len(drawn) >= 100
    record_property("generated expressions", len(drawn))


@pytest.mark.parametrize("expression", written.lines(written.REFUSED))
def test_what_prometheus_refuses_is_refused(comparison: Comparison, expression: str) -> None:
    theirs, ours = comparison.errors(expression)
    assert theirs
    assert ours


def test_malformed_queries_are_refused_in_the_same_words(comparison: Comparison) -> None:
    found = {e: comparison.errors(e) for e in written.lines(written.MALFORMED)}
    prefix = 'invalid parameter "query": '
    assert {e: ours for e, (_, ours) in found.items()} == {
        e: theirs.removeprefix(prefix) for e, (theirs, _) in found.items()
    }


def test_double_exponential_smoothing_is_what_holt_winters_was(comparison: Comparison) -> None:
    old, new = "holt_winters", "double_exponential_smoothing"
    for arguments in (
        "temperature[5m], 0.5, 0.5",
        "flaky[6m], 0.1, 0.9",
        "memory_bytes[4m], 0.9, 0.3",
    ):
        data = comparison.oracle.get(
            "query_range", query=f"{old}({arguments})", start=f"{RANGE[0]:.3f}",
            end=f"{RANGE[1]:.3f}", step=f"{RANGE[2]:g}",
        )  # fmt: skip
        ours = comparison.engine.range(f"{new}({arguments})", *RANGE)
        assert [s.labels for s in ours] == [s["metric"] for s in data["result"]]
        for mine, theirs in zip(ours, data["result"], strict=True):
            for (_, value), (_, text) in zip(mine.points, theirs["values"], strict=True):
                assert same(value, float(text))


def test_predictions_from_a_fixed_window_are_made_at_every_step(comparison: Comparison) -> None:
    # 2.42 forgets the window after the first step of a range query; 3.x does not. At an instant:
    query = "predict_linear(memory_bytes[5m] @ 1700001333.6, 60)"
    assert comparison.differences(query, span=False) == ""
    start, end, step = RANGE
    one_by_one = [comparison.engine.instant(query, at) for at in (start, start + step, end)]
    for series in comparison.engine.range(query, *RANGE):
        assert len(series.points) == 1 + (end - start) / step
        for found in one_by_one:
            [(at, value)] = next(s.points for s in found if s.labels == series.labels)
            assert dict(series.points)[at] == value


def test_series_live_for_the_lookback_and_no_longer(comparison: Comparison) -> None:
    for age, there in ((299.9, True), (300.1, False)):
        at = LAST + age
        theirs = comparison.oracle.get("query", query="memory_bytes", time=f"{at:.3f}")
        assert (
            bool(theirs["result"]) == bool(comparison.engine.instant("memory_bytes", at)) == there
        )


def test_series_and_labels_are_found_as_prometheus_does(comparison: Comparison) -> None:
    oracle, engine = comparison.oracle, comparison.engine
    start, end = INSTANTS[0], INSTANTS[1]
    span = {"start": f"{start:.3f}", "end": f"{end:.3f}"}
    for match in ("http_requests_total", '{service=~"c.*"}', 'pod_info{version="v2"}', "nosuch"):
        theirs = oracle.get("series", **span, **{"match[]": match})
        assert sorted(theirs, key=str) == sorted(engine.series([match], start, end), key=str)
        assert oracle.get("labels", **span, **{"match[]": match}) == engine.label_names(
            [match], start, end
        )
    assert oracle.get("labels") == engine.label_names()


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_known_differences_are_answered_as_pinned(engine: Engine, known: Known) -> None:
    if isinstance(known.ours, str):
        with pytest.raises(QueryError) as refused:
            engine.query(known.expression, known.at)
        assert known.ours in str(refused.value)
        return
    found = {
        " ".join(v for k, v in sorted(s.labels.items()) if k != "__name__" or len(s.labels) == 1):
            s.points[0][1]
        for s in engine.query(known.expression, known.at).series
    }  # fmt: skip
    assert found == pytest.approx(known.ours, 1e-9, nan_ok=True)
    if "sort" in known.expression:
        assert list(found) == list(known.ours)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_known_differences_are_differences(comparison: Comparison, known: Known) -> None:
    at = f"{known.at:.3f}"
    if isinstance(known.theirs, str):
        with pytest.raises(OracleError) as refused:
            comparison.oracle.get("query", query=known.expression, time=at)
        assert known.theirs in str(refused.value)
        return
    data = comparison.oracle.get("query", query=known.expression, time=at)
    found = {
        " ".join(v for k, v in sorted(s["metric"].items())): float(s["value"][1])
        for s in data["result"]
    }
    assert found == pytest.approx(known.theirs, 1e-9)
    assert found != known.ours
