"""Progress of a run on standard error: live on a terminal, plain lines elsewhere.

``auto`` is live if standard error is a terminal. ``json`` writes one JSON object a line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from aiopslab.orchestrator.progress import Progress

Display = Literal["auto", "live", "plain", "json", "none"]
_WORTH_A_LINE = ("run_started", "stage", "trial_served", "trial_finished")
_MARKS = {"passed": "pass", "failed": "fail"}


def display(kind: Display, *, quiet: bool = False) -> AbstractContextManager[Callable[..., None]]:
    """Return a context manager that gives the callback for progress events."""
    if quiet or kind == "none":
        return _Silent()
    if kind == "json":
        return _Json()
    if kind == "live" or (kind == "auto" and sys.stderr.isatty()):
        return _Live()
    return _Plain()


class _Silent(AbstractContextManager[Callable[..., None]]):
    def __enter__(self) -> Callable[..., None]:
        return self.show

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def show(self, event: Progress) -> None:
        """Take one event."""

    def close(self) -> None:
        """End the display."""


class _Json(_Silent):
    def show(self, event: Progress) -> None:
        line = {**asdict(event), "directory": str(event.directory)}
        print(json.dumps(line, sort_keys=True), file=sys.stderr, flush=True)


class _Plain(_Silent):
    def show(self, event: Progress) -> None:
        if event.kind not in _WORTH_A_LINE:
            return
        if event.kind == "run_started":
            text = f"{event.planned} trials, {event.done} done already, {event.directory}"
        elif event.kind == "stage":
            text = f"{event.stage:<11} {event.trial}{_where(event)}"
        elif event.kind == "trial_served":
            text = _served(event)
        else:
            text = f"[{event.done}/{event.planned}] {_verdict(event)}"
        print(text, file=sys.stderr, flush=True)


class _Live(_Silent):
    """A bar, and one line for each trial that is under way."""

    def __enter__(self) -> Callable[..., None]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        self._console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[now]}"),
            console=self._console,
            transient=True,
        )
        self._bars.start()
        self._task = self._bars.add_task("trials", total=None, now="preparing the application")
        self._steps: dict[str, str] = {}
        return self.show

    def show(self, event: Progress) -> None:
        match event.kind:
            case "step":
                self._steps[event.trial] = f"{event.trial} step {event.n} {event.tool}"
            case "trial_started":
                self._steps[event.trial] = event.trial
            case "stage":
                self._steps[event.trial] = f"{event.trial} {event.stage}"
            case "trial_served":
                self._bars.console.print(_served(event), highlight=False, markup=False)
            case "trial_finished":
                self._steps.pop(event.trial, None)
                self._bars.console.print(_verdict(event), highlight=False, markup=False)
            case _:
                pass
        now = next(iter(self._steps.values()), "")
        self._bars.update(self._task, total=event.planned, completed=event.done, now=now)

    def close(self) -> None:
        self._bars.stop()


def _served(event: Progress) -> str:
    """Say where a trial's addresses are while it runs."""
    return f"{'served':<11} {event.directory}/trials/{event.trial}/doors.json"


def _verdict(event: Progress) -> str:
    mark = _MARKS.get(event.outcome, event.outcome)
    return f"{mark:<11} {event.trial}{_where(event)}" + (f": {event.error}" if event.error else "")


def _where(event: Progress) -> str:
    return f" on {event.cluster}" if event.cluster else ""
