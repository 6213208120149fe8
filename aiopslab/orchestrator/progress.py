"""What long work says while it goes on: one event at a time, with how much of it is done.

A run, a check, the baselines and the margins all tell it in this form. Not here: how it is shown
(``cli.progress``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Progress:
    """Something happened in a run; what a live display is fed with."""

    kind: Literal[
        "run_started", "trial_started", "stage", "trial_served", "step", "trial_finished",
        "run_finished",
    ]  # fmt: skip
    directory: Path
    planned: int
    done: int
    trial: str = ""
    """``<problem>__<attempt>``; empty for events of the run."""
    n: int = 0
    """Number of the step."""
    tool: str = ""
    stage: str = ""
    """What the lab does before it hands a trial over, and after; told where that takes minutes."""
    outcome: str = ""
    cluster: str = ""
    """Where a trial's world is; empty if that is on no cluster."""
    error: str | None = None


OnProgress = Callable[[Progress], None]


class Teller:
    """Turns what hosts say of trials into progress.

    Args:
        path: What ``Progress.directory`` shows.
        progress: Receives it; None where nobody listens.
    """

    def __init__(self, path: Path, progress: OnProgress | None) -> None:
        self.planned = 0
        """Trials in all; set once they are."""
        self._path = path
        self._done = 0
        self._progress = progress

    def hear(self, message: dict[str, Any]) -> None:
        """Pass on an event of a trial; others are not for people.

        Passed and failed are both told as ``done``: of a proof or a trivial agent, failing is what
        must happen as often as not.
        """
        kind = message.get("event")
        self._done += kind == "trial_finished"
        if self._progress is None or kind not in ("trial_started", "step", "trial_finished"):
            return
        fields = {k: v for k, v in message.items() if k != "event"}
        event = Progress(kind, self._path, self.planned, self._done, **fields)
        self._progress(without_verdict(event))


def without_verdict(event: Progress) -> Progress:
    """Tell passed and failed both as ``done``, where one says as little as the other."""
    return replace(event, outcome="done") if event.outcome in ("passed", "failed") else event
