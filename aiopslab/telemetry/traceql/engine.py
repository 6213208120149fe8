"""Trace search over a span table: by fields, by TraceQL, and the tags that can be searched for.

A subset of TraceQL 2.6: what is outside is refused by name (``parser``). Traces come newest first,
ties in the order of recording. Not here: one trace as a tree (``traces``).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aiopslab.telemetry.answers import TagValue, TraceMatch
from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.rows import Series, TraceSummary
from aiopslab.telemetry.spans import Mask, SpanTable
from aiopslab.telemetry.traceql.fields import INTRINSICS, KINDS, RESOURCE, STATUSES, Fields, Scalar
from aiopslab.telemetry.traceql.masks import mask, tagged
from aiopslab.telemetry.traceql.metrics import Grid, evaluate, split
from aiopslab.telemetry.traceql.parser import field_of, parse
from aiopslab.telemetry.traceql.tree import Search, SpanSet

MAX_VALUES = 1_000
"""Values of a tag that are listed."""


class TraceEngine:
    """Searches a span table.

    Args:
        table: The spans.
    """

    def __init__(self, table: SpanTable) -> None:
        self._table = table

    def search(
        self, *, service: str | None = None, operation: str = "", exact: bool = False,
        tags: Mapping[str, str] | None = None, min_ms: float | None = None,
        max_ms: float | None = None, errors_only: bool = False, start: float, end: float,
        limit: int,
    ) -> tuple[list[TraceSummary], int]:  # fmt: skip
        """Find traces with a span that meets every condition, newest first, and their total.

        A span meets them if it started in ``[start, end]``, is of the service, has ``operation``
        in its name (with ``exact``: as its name), has the tags, its duration lies within the
        bounds and, if asked, it failed. Where neither service nor operation nor tags are given,
        durations are those of root spans.
        """
        fields = Fields(self._table)
        c, strings = fields.columns, self._table.strings
        hit: Mask = (c["start"] >= start) & (c["start"] <= end)
        if service is not None:
            hit &= c["service"] == strings.get(service, -1)
        if operation and exact:
            hit &= c["name"] == strings.get(operation, -1)
        elif operation:
            hit &= np.array([operation in text for text in strings.decoded()], bool)[c["name"]]
        for name, text in sorted((tags or {}).items()):
            hit &= tagged(fields, name, text)
        if min_ms is not None or max_ms is not None:
            duration = (c["end"] - c["start"]) * 1000.0
            hit &= (duration >= (min_ms or 0.0)) & (
                duration <= (np.inf if max_ms is None else max_ms)
            )
            if service is None and not operation and not tags:
                hit &= c["parent"] == 0
        if errors_only:
            hit &= c["error"] != strings.get("", -1)
        return self._table.newest(hit, limit)

    def query(
        self, query: str, start: float, end: float, *, limit: int = 20, spans: int = 3
    ) -> tuple[list[TraceMatch], int]:
        """Find traces by TraceQL among spans that started in ``[start, end]``, and their total.

        Raises:
            QueryError: Malformed or not supported.
        """
        search = _search(query)
        fields = Fields(self._table)
        started = fields.columns["start"]
        window: Mask = (started >= start) & (started <= end)
        hit = self._spans(fields, search, window)
        summaries, total = self._table.newest(hit, limit)
        codes = [self._table.traces[int(s.trace_id, 16)] for s in summaries]
        members = self._table.members(np.array(sorted(codes), np.int64)) if codes else {}
        found = []
        for summary, code in zip(summaries, codes, strict=True):
            matching = members[code][hit[members[code]]]
            shown = matching[np.argsort(started[matching], kind="stable")[: max(spans, 0)]]
            found.append(TraceMatch(summary, self._table.rows(shown), len(matching)))
        return found, total

    def metrics(
        self, query: str, start: float, end: float, *, step: float | None = None
    ) -> list[Series]:
        """Evaluate ``{ ... } | rate() by (...)`` over intervals of a step, or over all as one.

        Points carry the end of their interval; series are sorted by labels.

        Raises:
            QueryError: Malformed or not supported, or too many points or series.
        """
        stage = split(query)
        grid = Grid.over(start, end, end - start if step is None else step)
        fields = Fields(self._table)
        started = fields.columns["start"]
        window: Mask = (started >= start) & (started <= end)
        rows = np.flatnonzero(self._spans(fields, _search(stage.search), window))
        return evaluate(stage, fields, rows, grid)

    def _spans(self, fields: Fields, search: Search, window: Mask) -> Mask:
        """Return the spans of the traces that a search finds."""
        if isinstance(search, SpanSet):
            return mask(fields, search.condition) & window
        left = self._spans(fields, search.left, window)
        right = self._spans(fields, search.right, window)
        if search.op == "||":
            return left | right
        trace = fields.columns["trace"]
        has_left, has_right = (np.zeros(len(self._table.traces), bool) for _ in range(2))
        has_left[trace[left]] = True
        has_right[trace[right]] = True
        hit: Mask = (left | right) & (has_left & has_right)[trace]
        return hit

    # -- what there is ----------------------------------------------------------------------------

    def services(self) -> list[str]:
        """Return the services that recorded spans, sorted."""
        names = self._table.strings.decoded()
        return sorted(names[i] for i in np.unique(self._table.columns()["service"]).tolist())

    def operations(self, service: str | None = None) -> list[tuple[str, str]]:
        """Return (span name, kind) of a service or of all, sorted."""
        c, names = self._table.columns(), self._table.strings.decoded()
        pairs = c["name"].astype(np.int64) << 32 | c["kind"]
        if service is not None:
            pairs = pairs[c["service"] == self._table.strings.get(service, -1)]
        found = np.unique(pairs).tolist()
        return sorted((names[p >> 32], names[p & 0xFFFFFFFF]) for p in found)

    def tags(self) -> dict[str, list[str]]:
        """Return tag names by scope."""
        return {
            "resource": sorted(RESOURCE),
            "span": Fields(self._table).attribute_names(),
            "intrinsic": sorted(INTRINSICS),
        }

    def tag_values(self, tag: str) -> list[TagValue]:
        """Return the values of a tag, sorted; empty for one that is unknown or a measure."""
        scope, name = field_of(tag) or ("any", tag)
        if (scope, name) == ("intrinsic", "status"):
            return [TagValue("keyword", s) for s in STATUSES]
        if (scope, name) == ("intrinsic", "kind"):
            return [TagValue("keyword", k) for k in KINDS]
        field = Fields(self._table).find(scope, name)
        if field is None:
            return []
        used = [field.values[i] for i in np.unique(field.codes).tolist()]
        found = {_typed(value) for value in used if value not in (None, "")}
        return sorted(found, key=lambda v: (v.type, v.value))[:MAX_VALUES]


def _search(query: str) -> Search:
    try:
        return parse(query)
    except RecursionError as error:
        raise QueryError("the query is nested too deeply") from error


def _typed(value: Scalar) -> TagValue:
    match value:
        case bool():
            return TagValue("bool", str(value).lower())
        case int():
            return TagValue("int", str(value))
        case float():
            return TagValue("float", repr(value))
        case _:
            return TagValue("string", str(value))
