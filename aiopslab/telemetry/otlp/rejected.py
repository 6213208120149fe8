"""What of a request was not kept, and why: the content of OTLP's ``partialSuccess``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

SKEW_S = 600.0
"""Seconds that a time may lie ahead of the cluster's clock (Loki: ``creation_grace_period``)."""
AGE_S = 7 * 86400.0
"""Seconds that it may lie behind (Loki: ``reject_old_samples_max_age``)."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Rejected:
    """The outcome of an ingestion; a message with a count of 0 is a warning."""

    count: int = 0
    """Spans, log records or data points that were not kept."""
    message: str = ""


class Tally:
    """Counts what is refused, by reason."""

    def __init__(self) -> None:
        self._refused: Counter[str] = Counter()
        self._warned: Counter[str] = Counter()

    def refuse(self, reason: str, count: int = 1) -> None:
        """Note that something was not kept."""
        self._refused[reason] += count

    def warn(self, reason: str) -> None:
        """Note that something was kept with a part missing."""
        self._warned[reason] += 1

    def result(self) -> Rejected:
        """Return the sum; the message names the most frequent reasons."""
        said = [f"{n} refused: {reason}" for reason, n in self._refused.most_common(_SHOWN)]
        said += [f"{n} kept in part: {reason}" for reason, n in self._warned.most_common(_SHOWN)]
        return Rejected(self._refused.total(), "; ".join(said))


def untimely(time: float, now: float | None) -> str:
    """Say why a time cannot be the cluster's; empty if it can.

    Args:
        time: Unix seconds.
        now: The cluster's time; None where the sender keeps a clock of its own.
    """
    if time <= 0.0:
        return "no time is given"
    if now is None or now - AGE_S <= time <= now + SKEW_S:
        return ""
    side = "ahead of" if time > now else "behind"
    return f"the time is too far {side} the cluster's clock, which says {now:.0f}"
