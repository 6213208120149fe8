"""DataFrames and Parquet files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import duckdb
import pytest

from aiopslab.models.signal import Alert, Change, Event
from aiopslab.telemetry.frames import SIGNALS
from aiopslab.telemetry.instruments import Registry
from aiopslab.telemetry.samples import NOT_A_NUMBER
from aiopslab.telemetry.store import Store


def filled() -> Store:
    store = Store()
    for n in range(1, 50):
        store.span(
            n << 64 | 5, n, n - 1, "rate", "rate-1", "GET /rates", "server", n, n + 0.5,
            "timeout" if n % 7 == 0 else "", {"http.route": "/rates", "n": n % 3},
        )  # fmt: skip
        store.log(n, "rate", "hotel", "rate-1", "app", "INFO", f"served {n}", n, 0)
    registry = Registry()
    registry.histogram("h_seconds", (0.1, 1.0)).observe(0.5)
    target = store.target({"job": "rate"})
    for time in (5.0, 10.0):
        target.append(time, registry)
    target.fail(15.0)
    store.event(
        Event(
            time=3.0, type="Normal", reason="Pulled", namespace="hotel", kind="Pod", name="rate-1",
            message="m", component="kubelet",
        )
    )  # fmt: skip
    store.change(Change(time=1.0, actor="ci", kind="rollout", component="rate", summary="s"))
    store.alert(
        9.0, Alert(name="A", state="pending", severity="warning", labels={"b": "1"}, active_at=9.0)
    )
    return store


def test_frames_have_a_row_for_everything_recorded() -> None:
    store = filled()
    assert {s: len(store.frame(s)) for s in SIGNALS} == {
        "spans": 49, "logs": 49, "samples": 2 * 6 + 1, "events": 1, "changes": 1, "alerts": 1,
    }  # fmt: skip


def test_a_span_frame_reads_as_it_was_recorded() -> None:
    row = filled().frame("spans").iloc[6]
    assert row["trace_id"] == f"{7:016x}{5:016x}"
    assert (row["service"], row["error"], row["duration_ms"]) == ("rate", "timeout", 500.0)
    assert json.loads(row["attributes"]) == {"http.route": "/rates", "n": 1}


def test_ids_that_are_not_there_are_empty() -> None:
    store = filled()
    assert store.frame("spans").iloc[0]["parent_id"] == ""
    assert store.frame("logs").iloc[0]["span_id"] == ""


def test_an_unknown_signal_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="spans, logs, samples"):
        Store().frame("profiles")


def test_parquet_files_of_equal_content_are_equal_byte_by_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        filled().write_parquet(tmp_path / name)
    for signal in SIGNALS:
        one, two = (tmp_path / d / f"{signal}.parquet" for d in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_parquet_files_can_be_queried(tmp_path: Path) -> None:
    filled().write_parquet(tmp_path)
    with duckdb.connect(":memory:") as connection:
        samples = connection.execute(
            "SELECT metric, labels::VARCHAR, time, value FROM read_parquet($path)"
            " WHERE metric = 'up' ORDER BY time",
            {"path": str(tmp_path / "samples.parquet")},
        ).fetchall()
        slow = connection.execute(
            "SELECT count(*) FROM read_parquet($path) WHERE service = 'rate'",
            {"path": str(tmp_path / "spans.parquet")},
        ).fetchall()
    assert samples == [("up", '{"job": "rate"}', t, v) for t, v in ((5, 1), (10, 1), (15, 0))]
    assert slow == [(49,)]


def test_a_sample_that_is_nan_is_a_row_and_a_missing_one_is_not(tmp_path: Path) -> None:
    store = Store()
    for time, value in ((5.0, 1.0), (10.0, NOT_A_NUMBER), (15.0, None)):
        row = store.samples.row(time)
        if value is not None:
            row[store.samples.column("ratio", ())] = value
    frame = store.frame("samples")
    assert frame["time"].tolist() == [5.0, 10.0]
    assert frame["value"].isna().tolist() == [False, True]
    store.write_parquet(tmp_path)
    with duckdb.connect(":memory:") as connection:
        path = {"path": str(tmp_path / "samples.parquet")}
        found = connection.execute("SELECT time FROM read_parquet($path)", path).fetchall()
    assert found == [(5.0,), (10.0,)]


def test_an_empty_store_can_be_written(tmp_path: Path) -> None:
    assert [p.name for p in Store().write_parquet(tmp_path)] == [f"{s}.parquet" for s in SIGNALS]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_reads_and_extends_the_store_on_its_own(tmp_path: Path) -> None:
    store = filled()
    store.frame("spans")
    child = os.fork()
    if child == 0:
        found = 0
        try:
            store.log(99.0, "rate", "hotel", "rate-1", "app", "INFO", "in the child", 0, 0)
            store.write_parquet(tmp_path)
            found = store.logs.search(contains="child", start=0, end=100, limit=5)[1]
        finally:
            os._exit(0 if found == 1 else 1)  # never back into the test runner
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tmp_path / "logs.parquet").is_file()
    assert store.logs.search(contains="child", start=0, end=100, limit=5)[1] == 0
