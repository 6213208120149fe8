"""What the observations of a trial hold: which kinds of signals, what alarms, whom it names.

Reads the texts that an agent reads, and the points of series where a tool gave them. Knows how
signals look in general and nothing of any incident. Not here: what it is worth (``scripted``).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from aiopslab.models.observation import Observation

KINDS = ("alerts", "logs", "traces", "metrics", "events", "changes")
"""Kinds of evidence."""
ALARMING = ("alerts", "logs", "traces", "metrics", "events")
"""Those in which something can look wrong; a change is only a suspect."""
_FAMILIES = (
    ("alerts", "alerts"), ("logs", "logs"), ("traces", "traces"), ("metrics", "metrics"),
    ("k8s_events", "events"), ("k8s_describe", "events"), ("k8s_logs", "logs"),
    ("changes", "changes"),
)  # fmt: skip
_ALARM = re.compile(
    r"firing|pending|error|fail|refus|time.?out|timed out|denied|unavailable|oom|kill|crash"
    r"|back.?off|unhealthy|exceeded|exhaust|reset by peer|no such host|expired|\b5\d\d\b"
)
_TOKEN = re.compile(r"[a-z0-9][a-z0-9-]*")
_POD = re.compile(r"-(?:[a-z0-9]{6,10}-[a-z0-9]{5}|\d{1,3})$")
_BAD_WHEN_UP = re.compile(r"error|5\.\.|duration|throttl|pending|restart|evict")
_SHIFT = 6.0
"""Robust z-scores from which a series has left what it was."""


@dataclass(slots=True)
class Evidence:
    """What was seen, sorted."""

    kinds: set[str] = field(default_factory=set)
    """Kinds that were looked at and answered."""
    alarming: dict[str, Counter[str]] = field(default_factory=dict)
    """Kind to how many alarming lines or series name each component; empty ones left out."""
    changed: set[str] = field(default_factory=set)
    """Components that the change log names."""
    lines: dict[str, list[str]] = field(default_factory=dict)
    """Component to what alarms about it or changed it, in small letters."""
    firing: int = 0
    pending: int = 0
    """Alerts when they were looked at last."""
    asked_for_alerts: bool = False
    deviating: int = 0
    """Series of errors, latency and the like that rose."""

    def prominence(self, component: str) -> float:
        """Return how much of what alarms is about a component, against the loudest, 0 to 1."""
        counts = [c for c in self.alarming.values() if c]
        if not counts:
            return 0.0
        return fmean(c[component] / max(c.values()) for c in counts)

    def loudest(self, but: str = "") -> float:
        """Return the largest prominence of any component other than one."""
        names = {name for c in self.alarming.values() for name in c} - {but}
        return max((self.prominence(name) for name in names), default=0.0)

    def concentration(self) -> float:
        """Return how far the loudest component stands out from the next, 0 to 1."""
        names = {name for c in self.alarming.values() for name in c}
        ranked = sorted((self.prominence(name) for name in names), reverse=True)
        return ranked[0] - (ranked[1] if len(ranked) > 1 else 0.0) if ranked else 0.0

    def alarm(self) -> float:
        """Return how much speaks for something being wrong, 0 to 1."""
        return 1.0 - math.exp(
            -(1.2 * self.firing + 0.6 * self.pending + 0.4 * min(3, self.deviating))
        )


def collect(seen: Sequence[Observation], known: Iterable[str]) -> Evidence:
    """Sort what the observations hold.

    Args:
        seen: In order.
        known: Names of components beside those that the observations list.
    """
    names = {n.casefold() for n in known if n} | set(_components(seen))
    found = Evidence()
    for one in seen:
        kind = next((k for prefix, k in _FAMILIES if one.tool.startswith(prefix)), None)
        if kind is None or not one.ok:
            continue
        found.kinds.add(kind)
        if one.tool == "alerts":
            _look_at_alerts(found, one.text)
        if kind == "metrics":
            _look_at_series(found, one, names)
        else:
            _look_at_lines(found, kind, one.text, names)
    return found


def component_in(token: str, names: set[str]) -> str | None:
    """Return the component that a word of a text names: itself, or one of its pods."""
    if token in names:
        return token
    bare = _POD.sub("", token)
    return bare if bare in names else None


def _components(seen: Sequence[Observation]) -> Iterator[str]:
    for one in seen:
        for row in one.data if isinstance(one.data, list) else []:
            if not isinstance(row, dict):
                continue
            for key in ("component", "caller", "callee", "service"):
                if isinstance(row.get(key), str):
                    yield row[key].casefold()


def _look_at_alerts(found: Evidence, text: str) -> None:
    found.asked_for_alerts = True
    found.firing = len(re.findall(r"^FIRING", text, re.MULTILINE))
    found.pending = len(re.findall(r"^PENDING", text, re.MULTILINE))


def _look_at_lines(found: Evidence, kind: str, text: str, names: set[str]) -> None:
    for line in text.casefold().splitlines():
        about = {c for token in _TOKEN.findall(line) if (c := component_in(token, names))}
        if kind == "changes":
            found.changed |= about
        elif _ALARM.search(line) or kind == "alerts":
            found.alarming.setdefault(kind, Counter()).update(about)
        else:
            continue
        for component in about:
            found.lines.setdefault(component, []).append(line)


def _look_at_series(found: Evidence, one: Observation, names: set[str]) -> None:
    query = str(one.arguments.get("query", "")).casefold()
    for row in one.data if isinstance(one.data, list) else []:
        if not isinstance(row, dict) or abs(shift := _shift(row.get("points"))) < _SHIFT:
            continue
        told = {str(v).casefold().partition(":")[0] for v in row.get("labels", {}).values()}
        about = {c for value in told if (c := component_in(value, names))}
        found.alarming.setdefault("metrics", Counter()).update(about)
        if shift > 0 and _BAD_WHEN_UP.search(query):
            found.deviating += 1
        for component in about:
            found.lines.setdefault(component, []).append(query)


def _shift(points: Any) -> float:
    """Return how far the last points of a series are from its first half, as a robust z-score."""
    values = [float(v) for _, v in points or [] if isinstance(v, int | float) and math.isfinite(v)]
    if len(values) < 8:
        return 0.0
    first, last = values[: min(10, len(values) // 2)], values[-4:]
    before = median(first)
    spread = max(1.48 * median(abs(v - before) for v in first), 0.05 * abs(before), 1e-6)
    return (fmean(last) - before) / spread
