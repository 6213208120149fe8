"""Signals as pandas DataFrames and as Parquet files.

Strings stay dictionary-encoded (pandas categories, Parquet dictionaries), so a trial's million
samples take a fraction of a second. Files hold ids as the same hex text as frames, but DuckDB
formats those of spans: a Python string for each would cost more than all the rest. pandas and
DuckDB are imported on first use: the command line must start without them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aiopslab.models.signal import Alert, Change, Event
from aiopslab.telemetry.logs import SEVERITIES
from aiopslab.telemetry.samples import NAME, present

if TYPE_CHECKING:
    import pandas as pd

    from aiopslab.telemetry.columns import Array
    from aiopslab.telemetry.store import Store

_MIX = np.uint64(0x9E3779B97F4A7C15)
"""Odd multiplier (2^64 over the golden ratio) that spreads one half of a trace id."""
_SPAN_IDS = ("span_id", "parent_id")
_AS_HEX = ", ".join(
    f"CASE {name} WHEN 0 THEN '' ELSE format('{{:016x}}', {name}) END AS {name}"
    for name in _SPAN_IDS
)
SIGNALS = ("spans", "logs", "samples", "events", "changes", "alerts")


def frame(store: Store, signal: str) -> pd.DataFrame:
    """Build the DataFrame of a signal, rows in the order of recording.

    Raises:
        ValueError: Unknown signal.
    """
    builders = {
        "spans": _hex_spans, "logs": _logs, "samples": _samples,
        "events": _events, "changes": _changes, "alerts": _alerts,
    }  # fmt: skip
    if signal not in builders:
        raise ValueError(f"signal {signal!r} is unknown; one of {', '.join(SIGNALS)}")
    return builders[signal](store)


def preload() -> None:
    """Import now what writing takes to import, so that forked copies of this process need not."""
    import duckdb  # noqa: F401, PLC0415 - slow to import, needed at the end of a trial only
    import pandas  # noqa: F401, PLC0415 - slow to import, needed for frames only


def write_parquet(store: Store, directory: Path) -> list[Path]:
    """Write ``<signal>.parquet`` for every signal into a directory, made if needed.

    The files depend on the content alone: one thread, fixed row groups and compression, no times.
    """
    import duckdb  # noqa: PLC0415 - slow to import, needed at the end of a trial only

    written = []
    directory.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        for signal in SIGNALS:
            path = directory / f"{signal}.parquet"
            spans = signal == "spans"
            connection.register("signal", _spans(store) if spans else frame(store, signal))
            columns = f"* REPLACE ({_AS_HEX})" if spans else "*"
            connection.execute(
                f"COPY (SELECT {columns} FROM signal) TO $path"
                " (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 122880)",
                {"path": str(path)},
            )
            connection.unregister("signal")
            written.append(path)
    return written


def _hex_spans(store: Store) -> pd.DataFrame:
    spans = _spans(store)
    return spans.assign(**{name: _hex(spans[name].to_numpy()) for name in _SPAN_IDS})


def _spans(store: Store) -> pd.DataFrame:
    """Build the frame of spans, span ids still numbers."""
    table = store.spans
    c, names = table.columns(), table.strings.decoded()
    attributes = [json.dumps(dict(a), sort_keys=True) for a in table.attributes.decoded()]
    coded = {n: _category(c[n], names) for n in ("service", "pod", "name", "kind", "error")}
    # One text a trace, not one a span. Ids are random: so are their mixtures.
    mixed = c["trace_high"] * _MIX + c["trace_low"]
    _, first, trace = np.unique(mixed, return_index=True, return_inverse=True)
    ids = _hex(c["trace_high"][first], c["trace_low"][first]).tolist()
    return _frame(
        {
            "trace_id": _category(trace, ids),
            "span_id": c["span"].copy(),
            "parent_id": c["parent"].copy(),
            **coded,
            "start": c["start"].copy(),
            "duration_ms": (c["end"] - c["start"]) * 1000.0,
            "attributes": _category(c["attributes"], attributes),
        }
    )


def _logs(store: Store) -> pd.DataFrame:
    table = store.logs
    c, names = table.columns(), table.strings.decoded()
    return _frame(
        {
            "time": c["time"].copy(),
            **{n: _category(c[n], names) for n in ("service", "namespace", "pod", "container")},
            "severity": _category(c["severity"], SEVERITIES),
            "line": _texts(table.lines),
            "trace_id": _hex(c["trace_high"], c["trace_low"]),
            "span_id": _hex(c["span"]),
        }
    )


def _samples(store: Store) -> pd.DataFrame:
    table = store.samples
    values = table.values()
    series, rows = np.nonzero(present(values).T)
    metrics = [dict(pairs)[NAME] for pairs in table.labels]
    names = sorted(set(metrics))
    place = {name: i for i, name in enumerate(names)}
    metric_codes = np.array([place[m] for m in metrics], np.int32)
    labels = [json.dumps({k: v for k, v in pairs if k != NAME}) for pairs in table.labels]
    return _frame(
        {
            "metric": _category(metric_codes[series], names),
            "labels": _category(series.astype(np.int32), labels),
            "time": table.times()[rows],
            "value": values[rows, series],
        }
    )


def _events(store: Store) -> pd.DataFrame:
    return _records(list(Event.model_fields), [e.model_dump() for e in store.event_records()])


def _changes(store: Store) -> pd.DataFrame:
    return _records(list(Change.model_fields), [c.model_dump() for c in store.changes()])


def _alerts(store: Store) -> pd.DataFrame:
    rows = []
    for time, alert in store.alert_transitions():
        row = alert.model_dump()
        row["labels"] = json.dumps(row["labels"], sort_keys=True)
        row["annotations"] = json.dumps(row["annotations"], sort_keys=True)
        rows.append({"time": time, **row})
    return _records(["time", *Alert.model_fields], rows)


def _records(names: list[str], rows: list[dict[str, Any]]) -> pd.DataFrame:
    numbers = ("time", "active_at", "fired_at", "resolved_at", "value")
    columns: dict[str, Any] = {}
    for name in names:
        values = [row[name] for row in rows]
        if name in numbers:
            columns[name] = np.array([np.nan if v is None else v for v in values], np.float64)
        elif name == "count":
            columns[name] = np.array(values, np.int64)
        else:
            columns[name] = _texts(values)
    return _frame(columns)


def _frame(columns: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - slow to import, needed for frames only

    return pd.DataFrame(columns)


def _category(codes: Array, values: Sequence[str]) -> Any:
    import pandas as pd  # noqa: PLC0415 - slow to import, needed for frames only

    distinct = {value: i for i, value in enumerate(dict.fromkeys(values))}
    if len(distinct) != len(values):
        codes = np.array([distinct[v] for v in values], np.int32)[codes]
    categories = pd.Index(_texts(list(distinct)), dtype="str")
    return pd.Categorical.from_codes(codes.astype(np.int32), dtype=pd.CategoricalDtype(categories))


def _texts(values: Sequence[str]) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _hex(*words: Array) -> Array:
    """Format 64-bit words as lower-case hex, the most significant first; '' where all are 0."""
    stacked = np.stack(words, axis=1)
    text = stacked.astype(">u8").tobytes().hex()
    # One text, seen as an array of fixed width: no Python work per row.
    width = np.dtype(f"<U{16 * len(words)}")
    array = np.frombuffer(text.encode("utf-32-le"), width).astype(object)
    array[~stacked.any(axis=1)] = ""
    return array
