"""What a store has that the holder of a cursor has not yet.

Tables only grow, so counts say what is new; only the last round of samples may still be written to
and is told again when it was. Codes of dictionaries travel as they are: a copy is the store to the
letter, in whatever pieces it was made. Not here: the form of a part (``parts``).
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from aiopslab.telemetry.columns import Array
from aiopslab.telemetry.replication.parts import Cursor, Part
from aiopslab.telemetry.rules import GroupStatus, RuleState
from aiopslab.telemetry.samples import Floats, SampleTable, present
from aiopslab.telemetry.store import Store

MOST = 20_000
"""Spans, and log lines, of one part."""
MOST_CELLS = 2_000_000
"""Rounds times series of one part; but always one round."""
SPAN_COLUMNS = (
    "trace_high", "trace_low", "span", "parent", "service", "pod", "name", "kind", "error",
    "attributes", "start", "end",
)  # fmt: skip
LOG_COLUMNS = (
    "time", "service", "namespace", "pod", "container", "severity", "trace_high", "trace_low",
    "span", "size",
)  # fmt: skip


class StaleCursor(Exception):
    """The cursor is of another store, or of a state that this one never had."""


class Feed:
    """Tells what is new in one store.

    Args:
        store: The store.
        rules: The state of its rules.
        epoch: Names the store; two stores never have the same.
        most: Spans, and log lines, of one part.
    """

    def __init__(self, store: Store, rules: RuleState, epoch: str, *, most: int = MOST) -> None:
        self._store = store
        self._rules = rules
        self._most = most
        self.epoch = epoch

    def since(self, cursor: Cursor) -> Part:
        """Return the part that follows a cursor; it may be empty.

        Raises:
            StaleCursor: The cursor is not of this store.
        """
        if cursor.epoch and cursor.epoch != self.epoch:
            raise StaleCursor(f"the cursor is of {cursor.epoch}, this is {self.epoch}")
        header: dict[str, Any] = {}
        arrays: dict[str, Array] = {}
        held: dict[str, Any] = {"epoch": self.epoch}
        held |= self._spans(cursor, header, arrays)
        held |= self._logs(cursor, header, arrays)
        held |= self._samples(cursor, header, arrays)
        held |= self._records(cursor, header)
        held |= self._evaluated(cursor, header)
        now = Cursor(**held)
        store = self._store
        more = now.spans < len(store.spans.columns()) or now.logs < len(store.logs.columns())
        more = more or now.rounds < len(store.samples.times())
        return Part(cursor, now, more, header, arrays)

    def _spans(
        self, cursor: Cursor, header: dict[str, Any], arrays: dict[str, Array]
    ) -> dict[str, Any]:
        table = self._store.spans
        columns = table.columns()
        end = _end(cursor.spans, len(columns), self._most)
        for name in SPAN_COLUMNS:
            arrays[f"spans.{name}"] = columns[name][cursor.spans : end]
        strings, attributes = table.strings.decoded(), table.attributes.decoded()
        header["span_strings"] = strings[_known(cursor.span_strings, strings) :]
        header["span_attributes"] = attributes[_known(cursor.span_attributes, attributes) :]
        return {"spans": end, "span_strings": len(strings), "span_attributes": len(attributes)}

    def _logs(
        self, cursor: Cursor, header: dict[str, Any], arrays: dict[str, Array]
    ) -> dict[str, Any]:
        table = self._store.logs
        columns = table.columns()
        end = _end(cursor.logs, len(columns), self._most)
        for name in LOG_COLUMNS:
            arrays[f"logs.{name}"] = columns[name][cursor.logs : end]
        strings = table.strings.decoded()
        header["lines"] = table.lines[cursor.logs : end]
        header["log_strings"] = strings[_known(cursor.log_strings, strings) :]
        return {"logs": end, "log_strings": len(strings)}

    def _samples(
        self, cursor: Cursor, header: dict[str, Any], arrays: dict[str, Array]
    ) -> dict[str, Any]:
        table = self._store.samples
        values, times = table.values(), table.times()
        first = cursor.rounds
        _known(cursor.rounds, times)
        header["series"] = table.labels[_known(cursor.series, table.labels) :]
        if first and _rewritten(table, cursor):
            first -= 1
        end = _end(first, len(times), max(1, MOST_CELLS // max(1, len(table.labels))))
        header["first_round"] = first
        arrays["samples.times"] = times[first:end]
        arrays["samples.values"] = differences(values[first:end], before(values, first))
        last = digest(values[end - 1]) if end else ""
        return {"series": len(table.labels), "rounds": end, "last_round": last}

    def _records(self, cursor: Cursor, header: dict[str, Any]) -> dict[str, Any]:
        store = self._store
        alerts = store.alert_transitions()
        new_alerts = alerts[_known(cursor.alerts, alerts) :]
        header["alerts"] = [(time, alert.model_dump(mode="json")) for time, alert in new_alerts]
        held = {"alerts": len(alerts)}
        for name, records in (
            ("events", store.event_records()),
            ("changes", store.change_records()),
            ("posts", store.posts()),
        ):
            new = records[_known(getattr(cursor, name), records) :]
            header[name] = [record.model_dump(mode="json") for record in new]
            held[name] = len(records)
        return held

    def _evaluated(self, cursor: Cursor, header: dict[str, Any]) -> dict[str, Any]:
        groups = self._rules.groups()
        if not cursor.epoch:
            header["groups"] = [_group(group) for group in groups]
        at = next((g.last_evaluation for g in groups if g.last_evaluation is not None), None)
        evaluated = "" if at is None else float(at).hex()
        if evaluated != cursor.evaluated:
            states = [rule for group in groups for rule in group.rules]
            alerts = [[a.model_dump(mode="json") for a in s.alerts] for s in states]
            errors = [s.last_error for s in states]
            header["rules"] = {"at": at, "alerts": alerts, "errors": errors}
        return {"evaluated": evaluated}


def before(values: Floats, first: int) -> Floats | None:
    """Return the round before one, if there is one."""
    return values[first - 1] if first else None


def differences(values: Floats, last: Floats | None) -> Array:
    """Return rounds as what differs from the round before each, bit by bit: mostly zeros."""
    bits = np.ascontiguousarray(values).view(np.uint64)
    changed = bits.copy()
    changed[1:] ^= bits[:-1]
    if last is not None and len(changed):
        changed[0] ^= last.view(np.uint64)
    return changed


def digest(round: Floats) -> str:
    """Return what tells one state of a round from another."""
    return hashlib.blake2b(np.ascontiguousarray(round).tobytes(), digest_size=8).hexdigest()


def _rewritten(table: SampleTable, cursor: Cursor) -> bool:
    """Whether the last round of a cursor has changed since."""
    round = table.values()[cursor.rounds - 1]
    known, later = round[: cursor.series], round[cursor.series :]
    return digest(known) != cursor.last_round or bool(present(np.ascontiguousarray(later)).any())


def _group(group: GroupStatus) -> dict[str, Any]:
    rules = [status.rule.model_dump(mode="json", by_alias=True) for status in group.rules]
    return {
        "name": group.name, "file": group.file, "interval_s": group.interval_s, "rules": rules,
    }  # fmt: skip


def _known(count: int, rows: Any) -> int:
    """Return a count of a cursor.

    Raises:
        StaleCursor: There never were so many.
    """
    if not 0 <= count <= len(rows):
        raise StaleCursor(f"the cursor counts {count} of {len(rows)}")
    return count


def _end(start: int, length: int, most: int) -> int:
    """Return where a slice ends.

    Raises:
        StaleCursor: It would start beyond the end.
    """
    if not 0 <= start <= length:
        raise StaleCursor(f"the cursor counts {start} of {length}")
    return min(length, start + most)
