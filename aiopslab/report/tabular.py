"""A run as rows, one for each trial: ``--format csv``, and the trials of ``--format json``.

CSV is RFC 4180 in UTF-8 with CRLF; an empty cell is unknown. Text that a spreadsheet would take for
a formula gets an apostrophe in front. Not here: what telemetry looks like as CSV
(``telemetry.export``).
"""

from __future__ import annotations

import csv
import io
from typing import Any

from aiopslab.report.entries import Entry, Reading
from aiopslab.report.task_figures import wall
from aiopslab.report.text import one_line

COLUMNS = (
    "trial", "problem", "incident", "task", "attempt", "agent", "model", "seed", "environment",
    "outcome", "termination", "passed", "confidence", "failed_checks", "steps", "reads", "writes",
    "tool_errors", "repeated_calls", "format_violations", "tokens_in", "tokens_out", "cost_usd",
    "virtual_s", "wall_s", "error",
)  # fmt: skip
"""Columns of every run; named scores follow, ``score.<name>`` each."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rows(reading: Reading) -> list[dict[str, Any]]:
    """Return one mapping a trial, all with the same keys; None is unknown."""
    graded = [e.grade for e in reading.entries if e.grade is not None]
    scores = sorted({name for grade in graded for name in grade.scores})
    return [_row(entry, reading, scores) for entry in reading.entries]


def as_csv(reading: Reading) -> str:
    """Return the trials as CSV with a heading."""
    found = rows(reading)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(found[0]) if found else list(COLUMNS))
    writer.writeheader()
    writer.writerows({k: _cell(v) for k, v in row.items()} for row in found)
    return out.getvalue()


def as_document(reading: Reading) -> dict[str, Any]:
    """Return the aggregates and the trials as plain data, for an envelope.

    Beside another run ``against`` holds the comparison with it.
    """
    results = reading.results.model_dump(mode="json", by_alias=True)
    took = wall([e.trial for e in reading.entries if e.trial is not None])
    wall_s = {task: spread.model_dump() for task, spread in took.items()}
    found: dict[str, Any] = {"results": results, "wall_s": wall_s, "trials": rows(reading)}
    if reading.against is not None:
        found["against"] = reading.against.model_dump(mode="json", by_alias=True)
    return found


def _row(entry: Entry, reading: Reading, scores: list[str]) -> dict[str, Any]:
    plan, trial, grade, config = entry.plan, entry.trial, entry.grade, reading.record.config
    used = trial.usage.model_dump() if trial is not None else {}
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {
        "trial": entry.name,
        "problem": plan.problem,
        "incident": plan.incident,
        "task": plan.task,
        "attempt": plan.attempt,
        "agent": entry.agent,
        "model": config.model,
        "seed": config.trial_seed(plan.attempt),
        "environment": config.environment.kind,
        "outcome": entry.outcome,
    }
    if trial is not None:
        row |= {"termination": trial.termination, "error": trial.error}
        row |= {key: used[key] for key in COLUMNS if key in used}
        row |= {"wall_s": trial.wall.get("agent")}
    if grade is not None:
        failed = " ".join(c.id for c in entry.failures)
        row |= {"passed": entry.outcome == "passed", "confidence": grade.confidence}
        row |= {"failed_checks": failed}
    found = grade.scores if grade is not None else {}
    return row | {f"score.{name}": found.get(name) for name in scores}


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return "" if value is None else str(value).lower() if isinstance(value, bool) else value
    text = one_line(str(value))
    return f"'{text}" if text.startswith(_FORMULA) else text
