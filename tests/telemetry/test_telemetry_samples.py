"""Instruments, the sample table and targets."""

import numpy as np
import pytest

from aiopslab.telemetry.instruments import Registry
from aiopslab.telemetry.samples import NAME, SampleTable, Target


def value(table: SampleTable, name: str, row: int = -1, **labels: str) -> float:
    for column in table.columns_named(name):
        pairs = dict(table.labels[column])
        if all(pairs.get(k) == v for k, v in labels.items()):
            return float(table.values()[row, column])
    raise KeyError(name)


def test_a_histogram_counts_cumulatively_with_inclusive_upper_bounds() -> None:
    registry = Registry()
    histogram = registry.histogram("h_seconds", (0.1, 1.0), route="/a")
    for seconds in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(seconds)
    found = {
        (name, dict(labels).get("le", "")): v
        for (name, labels), v in zip(registry.series(), registry.collect(), strict=True)
    }
    assert found == {
        ("h_seconds_bucket", "0.1"): 2, ("h_seconds_bucket", "1"): 3,
        ("h_seconds_bucket", "+Inf"): 4, ("h_seconds_sum", ""): pytest.approx(7.65),
        ("h_seconds_count", ""): 4,
    }  # fmt: skip


def test_an_instrument_is_the_same_whenever_it_is_asked_for() -> None:
    registry = Registry()
    first = registry.counter("c_total", a="1", b="2")
    assert registry.counter("c_total", b="2", a="1") is first
    assert registry.version == 1
    with pytest.raises(TypeError, match="another kind"):
        registry.histogram("c_total", a="1", b="2")


def test_a_gauge_is_read_when_collected_and_registered_once() -> None:
    registry = Registry()
    level = [1.0]
    registry.gauge("g", lambda: level[0])
    level[0] = 5.0
    assert registry.collect() == [5.0]
    with pytest.raises(ValueError, match="registered already"):
        registry.gauge("g", lambda: 0.0)


def test_the_version_of_a_registry_changes_when_series_are_added() -> None:
    registry = Registry()
    before = registry.version
    registry.counter("c_total")
    assert registry.version != before


def test_targets_of_one_round_share_a_row() -> None:
    table = SampleTable()
    one, two = Target(table, {"job": "a"}), Target(table, {"job": "b"})
    registry = Registry()
    registry.counter("c_total").add(3)
    one.append(10.0, registry)
    two.append(10.0, registry)
    assert table.times().tolist() == [10.0]
    assert value(table, "c_total", job="a") == value(table, "c_total", job="b") == 3.0
    assert value(table, "up", job="a") == 1.0


def test_labels_of_a_series_win_over_those_of_its_target() -> None:
    table = SampleTable()
    Target(table, {"job": "a", "pod": "x"}).column("m", (("pod", "y"),))
    assert (("__name__", "m"), ("job", "a"), ("pod", "y")) in table.labels


def test_a_failed_scrape_leaves_up_zero_and_nothing_else() -> None:
    table = SampleTable()
    target, registry = Target(table, {"job": "a"}), Registry()
    registry.counter("c_total").add()
    target.append(5.0, registry)
    target.fail(10.0)
    assert value(table, "up") == 0.0
    assert np.isnan(value(table, "c_total"))


def test_a_closed_target_is_stale_at_once_and_cannot_be_written() -> None:
    table = SampleTable()
    target, registry = Target(table, {"job": "a"}), Registry()
    registry.counter("c_total").add()
    target.append(5.0, registry)
    target.close(5.0)
    assert np.isnan(table.values()).all()
    with pytest.raises(ValueError, match="closed"):
        target.append(10.0, registry)


def test_a_restarted_process_continues_the_series_of_its_target() -> None:
    table = SampleTable()
    target = Target(table, {"job": "a"})
    for time, count in ((5.0, 9.0), (10.0, 1.0)):
        registry = Registry()
        registry.counter("c_total").add(count)
        target.append(time, registry)
    column = table.columns_named("c_total")
    assert len(column) == 1
    assert table.values()[:, column[0]].tolist() == [9.0, 1.0]


def test_the_table_grows_in_both_directions_without_losing_samples() -> None:
    table = SampleTable()
    target, registry = Target(table, {"job": "a"}), Registry()
    for n in range(600):
        registry.counter("c_total", n=str(n)).add(n)
        if n % 3 == 0:
            target.append(float(n), registry)
    assert table.values().shape == (200, 599)
    assert value(table, "c_total", n="17") == 17.0
    assert np.isnan(value(table, "c_total", row=0, n="17"))


def test_rounds_never_go_back_in_time() -> None:
    table = SampleTable()
    table.row(10.0)
    with pytest.raises(ValueError, match="after the round"):
        table.row(9.0)


def test_standing_values_are_in_every_round_until_replaced() -> None:
    table = SampleTable()
    a, b = table.column("a", ()), table.column("b", ())
    table.row(1.0)
    table.stand({a: 1.0})
    table.row(2.0)
    table.stand({b: 1.0})
    assert table.values()[:, a].tolist()[0] == 1.0
    assert np.isnan(table.values()[1, a])
    assert table.values()[1, b] == 1.0


def test_metric_names_are_sorted_and_columns_in_order_of_appearance() -> None:
    table = SampleTable()
    columns = [table.column(n, (("x", x),)) for n, x in (("b", "1"), ("a", "1"), ("b", "2"))]
    assert table.names() == ["a", "b"]
    assert table.columns_named("b") == [columns[0], columns[2]]
    assert dict(table.labels[columns[0]])[NAME] == "b"
