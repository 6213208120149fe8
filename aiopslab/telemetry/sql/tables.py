"""The signal tables of SQL: columns in OpenTelemetry's names over the columns of the store.

Every table is a view over raw columns that DuckDB reads where they lie; texts are made from codes
only where a statement asks for them. Raw columns are kept until the store has grown. Not here: the
frames of files and of Python (``telemetry.frames``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aiopslab.models.signal import Alert
from aiopslab.telemetry.logs import SEVERITIES
from aiopslab.telemetry.samples import NAME, present

if TYPE_CHECKING:
    import pandas as pd

    from aiopslab.telemetry.store import Store

_MAP = "MAP(VARCHAR, VARCHAR)"


def _at(column: str, name: str = "timestamp") -> str:
    """Select unix seconds as a timestamp; what is not finite is NULL."""
    stamp = f"make_timestamp(CAST({column} * 1000000 AS BIGINT))"
    return f"CASE WHEN isfinite({column}) THEN {stamp} END AS {name}"


def _hex(column: str, name: str) -> str:
    return f"CASE {column} WHEN 0 THEN '' ELSE format('{{:016x}}', {column}) END AS {name}"


def _texts_of(**columns: str) -> str:
    """Select columns as text under other names; empty frames have no types of their own."""
    return ", ".join(f"CAST({source} AS VARCHAR) AS {name}" for name, source in columns.items())


def _map(text: str, name: str) -> str:
    json_text = f"CAST({text} AS VARCHAR)"
    return f"""CAST(from_json({json_text}, '"{_MAP}"') AS {_MAP}) AS {name}"""


VIEWS: Mapping[str, str] = {
    "spans": f"""
        SELECT {_at("s.start")}, {_texts_of(trace_id="t.trace_id")}, {_hex("s.span", "span_id")},
          {_hex("s.parent", "parent_span_id")},
          {_texts_of(service_name="s.service", k8s_pod_name="s.pod", span_name="s.name")},
          {_texts_of(span_kind="s.kind")}, s.duration_ms,
          CASE WHEN s.error = '' THEN 'Unset' ELSE 'Error' END AS status_code,
          {_texts_of(status_message="s.error")}, a.attributes
        FROM raw_spans s JOIN span_attributes a USING (code) JOIN raw_traces t USING (trace)""",
    "logs": f"""
        SELECT {_at("time")}, {_texts_of(service_name="service", k8s_namespace_name="namespace")},
          {_texts_of(k8s_pod_name="pod", k8s_container_name="container")},
          {_texts_of(severity_text="severity", body="body", trace_id="trace_id")},
          {_texts_of(span_id="span_id")}
        FROM raw_logs""",
    "samples": f"""
        SELECT {_at("s.time")}, m.metric_name, m.attributes, s.value
        FROM raw_samples s JOIN metric_series m USING (code)""",
    "events": f"""
        SELECT {_at("time")}, {_texts_of(type="type", reason="reason")},
          {_texts_of(k8s_namespace_name="namespace", object_kind="kind", object_name="name")},
          {_texts_of(message="message", reporting_component="component")}, count
        FROM raw_events""",
    "alerts": f"""
        SELECT {_at("time")}, {_texts_of(alert_name="name", state="state", severity="severity")},
          {_map("labels", "labels")}, {_map("annotations", "annotations")},
          {_at("active_at", "active_at")}, {_at("fired_at", "fired_at")},
          {_at("resolved_at", "resolved_at")}, value
        FROM raw_alerts""",
    "changes": f"""
        SELECT {_at("time")}, {_texts_of(actor="actor", kind="kind", component="component")},
          {_texts_of(summary="summary", diff="diff")}
        FROM raw_changes""",
}
"""The tables; ``attributes``, ``labels`` and ``annotations`` are maps of text. Times are UTC."""
SETUP: Mapping[str, str] = {
    "spans": f"""
        CREATE TABLE span_attributes AS
        SELECT code, {_map("text", "attributes")} FROM raw_span_attributes""",
    "samples": f"""
        CREATE TABLE metric_series AS
        SELECT code, {_texts_of(metric_name="metric")}, {_map("text", "attributes")}
        FROM raw_series""",
}
"""Small tables of distinct values that views join."""


class Tables:
    """Raw columns of a store as frames, kept until the store has grown.

    Args:
        store: The telemetry.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, tuple[tuple[float, ...], dict[str, pd.DataFrame]]] = {}
        self._trace_ids: list[str] = []
        self._series: list[tuple[str, str]] = []

    def raw(self, table: str, now: float) -> dict[str, pd.DataFrame]:
        """Return the raw frames that a table's view reads, by name."""
        make, revision = self._sources(now)[table]
        kept = self._kept.get(table)
        if kept is None or kept[0] != revision:
            kept = self._kept[table] = (revision, make())
        return kept[1]

    def _sources(
        self, now: float
    ) -> dict[str, tuple[Callable[[], dict[str, pd.DataFrame]], tuple[float, ...]]]:
        store = self._store
        return {
            "spans": (self._spans, (len(store.spans.columns()),)),
            "logs": (self._logs, (len(store.logs.columns()),)),
            # Rules change values of the newest round after it began.
            "samples": (self._samples, (now, len(store.samples.times()))),
            "events": (self._events, (len(store.event_records()),)),
            "alerts": (self._alerts, (len(store.alert_transitions()),)),
            "changes": (self._changes, (len(store.changes(since=-np.inf)),)),
        }

    def _spans(self) -> dict[str, pd.DataFrame]:
        table = self._store.spans
        c, names = table.columns(), table.strings.decoded()
        known = table.traces.decoded()
        self._trace_ids += [f"{id:032x}" for id in known[len(self._trace_ids) :]]
        attributes = [
            json.dumps({k: _text(v) for k, v in pairs}) for pairs in table.attributes.decoded()
        ]
        coded = {n: _category(c[n], names) for n in ("service", "pod", "name", "kind", "error")}
        spans = _frame(
            {
                "trace": c["trace"],
                "span": c["span"],
                "parent": c["parent"],
                **coded,
                "code": c["attributes"],
                "start": c["start"],
                "duration_ms": (c["end"] - c["start"]) * 1000.0,
            }
        )
        traces = _frame(
            {
                "trace": np.arange(len(self._trace_ids), dtype=np.int32),
                "trace_id": _texts(self._trace_ids),
            }
        )
        return {
            "raw_spans": spans,
            "raw_span_attributes": _coded(attributes),
            "raw_traces": traces,
        }

    def _logs(self) -> dict[str, pd.DataFrame]:
        table = self._store.logs
        c, names = table.columns(), table.strings.decoded()
        trace = zip(c["trace_high"].tolist(), c["trace_low"].tolist(), strict=True)
        logs = _frame(
            {
                "time": c["time"],
                **{n: _category(c[n], names) for n in ("service", "namespace", "pod", "container")},
                "severity": _category(c["severity"], SEVERITIES),
                "body": _texts(table.lines),
                "trace_id": _texts([f"{h:016x}{w:016x}" if h or w else "" for h, w in trace]),
                "span_id": _texts([f"{s:016x}" if s else "" for s in c["span"].tolist()]),
            }
        )
        return {"raw_logs": logs}

    def _samples(self) -> dict[str, pd.DataFrame]:
        table = self._store.samples
        values = table.values()
        series, rows = np.nonzero(present(values.T))
        for pairs in table.labels[len(self._series) :]:
            labels = dict(pairs)
            self._series.append((labels.pop(NAME), json.dumps(labels)))
        names, texts = [name for name, _ in self._series], [text for _, text in self._series]
        samples = {
            "code": series.astype(np.int32),
            "time": table.times()[rows],
            "value": values[rows, series],
        }
        return {"raw_samples": _frame(samples), "raw_series": _coded(texts, metric=_texts(names))}

    def _events(self) -> dict[str, pd.DataFrame]:
        fields = ("type", "reason", "namespace", "kind", "name", "message", "component")
        return {"raw_events": _records(self._store.event_records(), fields, counts=("count",))}

    def _changes(self) -> dict[str, pd.DataFrame]:
        fields = ("actor", "kind", "component", "summary", "diff")
        return {"raw_changes": _records(self._store.changes(since=-np.inf), fields)}

    def _alerts(self) -> dict[str, pd.DataFrame]:
        moments = self._store.alert_transitions()
        alerts: list[Alert] = [alert for _, alert in moments]
        numbers = ("active_at", "fired_at", "resolved_at", "value")
        columns: dict[str, Any] = {
            "time": np.array([time for time, _ in moments], np.float64),
            **{n: _texts([str(getattr(a, n)) for a in alerts]) for n in ("name", "state")},
            "severity": _texts([a.severity for a in alerts]),
            "labels": _texts([json.dumps(a.labels, sort_keys=True) for a in alerts]),
            "annotations": _texts([json.dumps(a.annotations, sort_keys=True) for a in alerts]),
        }
        for name in numbers:
            values = [getattr(a, name) for a in alerts]
            columns[name] = np.array([np.nan if v is None else v for v in values], np.float64)
        return {"raw_alerts": _frame(columns)}


def _records(
    rows: Sequence[Any], texts: Iterable[str], *, counts: Iterable[str] = ()
) -> pd.DataFrame:
    """Make a frame of models that have a time."""
    columns: dict[str, Any] = {"time": np.array([row.time for row in rows], np.float64)}
    columns.update({name: _texts([str(getattr(r, name)) for r in rows]) for name in texts})
    columns.update({name: np.array([getattr(r, name) for r in rows], np.int64) for name in counts})
    return _frame(columns)


def _coded(texts: Sequence[str], **others: Any) -> pd.DataFrame:
    codes = np.arange(len(texts), dtype=np.int32)
    return _frame({"code": codes, **others, "text": _texts(texts)})


def _frame(columns: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - slow to import, needed for SQL only

    return pd.DataFrame(columns)


def _category(codes: np.ndarray[Any, np.dtype[Any]], values: Sequence[str]) -> Any:
    import pandas as pd  # noqa: PLC0415 - slow to import, needed for SQL only

    categories = pd.Index(_texts(values), dtype="str")
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(categories))


def _texts(values: Sequence[str]) -> np.ndarray[Any, np.dtype[Any]]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
