"""The calls of a trial as compact data, which a script of the page shows on demand.

Texts of a trial share a room: short ones stay whole, long ones are cut at one common length, and
what was left out is counted, so that a reader knows to open the record. Where that would leave only
shreds, the arguments are shown and nothing else. Not here: how a call looks
(``report.js``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aiopslab.models.trial import Step
from aiopslab.report.text import clock, common_limit, readable, shortened
from aiopslab.world.kube.difference import SERVER_SET, difference

MOST_STEPS = 500
"""Calls that are shown; of more, the first ones."""
_MOST_LINES = 40
_LEAST = 60
"""Characters below which a cut text says nothing."""
_FRAME = 85
"""Characters of a call without its texts, about."""


def transcript(steps: Sequence[Step], handover_at: float, room: int) -> dict[str, Any]:
    """Return the calls: ``{"steps": [...], "left_out": n}``.

    Args:
        steps: As recorded.
        handover_at: Unix seconds; times are given from there.
        room: Characters that the calls together may take, about.
    """
    shown = steps[:MOST_STEPS]
    texts = [_texts(step) for step in shown]
    left = max(0, room - _FRAME * len(shown))
    lengths = [len(t) for four in texts for t in four]
    limit = common_limit(lengths, left)
    shreds = limit < _LEAST and max(lengths, default=0) > limit
    limits = (0, _LEAST, 0, 0) if shreds else (limit,) * 4
    calls = [_call(s, four, handover_at, limits) for s, four in zip(shown, texts, strict=True)]
    return {"steps": calls, "left_out": len(steps) - len(shown)}


def _texts(step: Step) -> tuple[str, str, str, str]:
    """Return thought, arguments, observation and, of a write, what it changed."""
    arguments = json.dumps(step.arguments, ensure_ascii=False, indent=1) if step.arguments else ""
    return step.thought, arguments, step.text, "\n".join(changed(step))


def changed(step: Step) -> list[str]:
    """Return what a write changed, a line each; nothing for other calls."""
    if step.effect != "write" or step.before == step.after:
        return []
    lines = difference(step.before, step.after, skip=SERVER_SET)
    more = len(lines) - _MOST_LINES
    return lines if more <= 0 else [*lines[:_MOST_LINES], f"and {more} more"]


def _call(
    step: Step, texts: Sequence[str], handover_at: float, limits: Sequence[int]
) -> list[str | int | list[str | int]]:
    """Return ``[id, tool, effect, ok, time, seconds, thought, arguments, observation, changes]``.

    A text that was cut is ``[text, characters left out]``.
    """
    fields: list[str | int | list[str | int]] = [
        readable(step.id),
        readable(step.tool),
        step.effect,
        int(step.ok),
        clock(step.start - handover_at),
        f"{step.end - step.start:.3g} s",
    ]
    for text, limit in zip(texts, limits, strict=True):
        kept, left_out = shortened(text, limit)
        fields.append([readable(kept), left_out] if left_out else readable(kept))
    return fields
