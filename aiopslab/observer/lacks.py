"""What the observer lacks: sources that do not answer, things that did not fit.

A lack is said once in the observer's own log when it begins and once when it ends; all are counted.
Its log and its figures are for the lab: nothing of them is in the store.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TextIO

from aiopslab.models.timestamps import rfc3339_ms


class Lacks:
    """Keeps what is missing, by what it is.

    Args:
        now: Unix seconds, for the log.
        log: Where lines go.
    """

    def __init__(self, now: Callable[[], float], log: TextIO | None = None) -> None:
        self._now = now
        self._log = log or sys.stderr
        self.now: dict[str, str] = {}
        """What is missing at present, and why."""
        self.counts: Counter[str] = Counter()
        """How often something happened, by what: failures, rows that were dropped."""

    def say(self, line: str) -> None:
        """Write a line to the log."""
        self._log.write(f"{rfc3339_ms(self._now())} {line}\n")
        self._log.flush()

    def lack(self, what: str, why: str) -> None:
        """Note that something is missing."""
        self.counts[what] += 1
        if self.now.get(what) != why:
            self.say(f"lacking {what}: {why}")
        self.now[what] = why

    def have(self, what: str) -> None:
        """Note that something is there (again)."""
        if self.now.pop(what, None) is not None:
            self.say(f"have {what} again")

    def forget(self, prefix: str) -> None:
        """Forget lacks that begin with a prefix: what they were about is gone."""
        for what in [w for w in self.now if w.startswith(prefix)]:
            del self.now[what]

    def lines(self) -> Iterator[str]:
        """Iterate over the figures in Prometheus' text format."""
        yield "# TYPE observer_lacking gauge"
        for what in sorted(self.now):
            yield f'observer_lacking{{what="{_escaped(what)}"}} 1'
        yield "# TYPE observer_failures_total counter"
        for what, count in sorted(self.counts.items()):
            yield f'observer_failures_total{{what="{_escaped(what)}"}} {count}'


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
