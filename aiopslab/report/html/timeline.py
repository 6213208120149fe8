"""The picture of one trial: what the app's entry saw, and what the agent did, on one time axis.

Curves come from ``report.curves``; marks from the trial's record. Time zero is the hand-over. Not
here: the words beside it (``trial``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiopslab.models.trial import Step
from aiopslab.report.curves import Curves, Point
from aiopslab.report.html.drawing import (
    Scale,
    chart,
    label,
    line,
    percent_axis,
    polyline,
    rect,
    steps,
)
from aiopslab.report.html.elements import Element, Node, element
from aiopslab.report.text import amount, clock

_WIDTH = 1000.0
_LEFT, _RIGHT = 64.0, 988.0
_STAGES = (22.0, 38.0)
_SHARE = (64.0, 164.0)
_LATENCY = (194.0, 294.0)
_VOLUME = (324.0, 364.0)
_GAP = 3.0
"""Buckets without a request after which a line is broken."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Moments of a trial, seconds from hand-over; None: there was none, or it is not known."""

    begin: float
    """Where the axis begins."""
    incident: float
    """Begin of the incident's schedule."""
    onset: float | None
    """The first fault was injected."""
    symptom: float | None
    agent_end: float
    """End of the agent's part."""
    end: float
    """End of the record."""
    alerts: tuple[tuple[float, str], ...] = ()
    """When alerts began to fire, and their names."""
    windows: tuple[tuple[float, float], ...] = ()
    """(begin, end) of the windows in which users' SLIs were measured."""


def timeline(
    curves: Curves | None,
    marks: Marks,
    handover_at: float,
    steps: Sequence[Step],
    *,
    lean: bool = False,
) -> Element:
    """Return the picture; without curves it has the stages and the marks only.

    Args:
        curves: What the entry saw.
        marks: Moments of the trial.
        handover_at: Unix seconds of the world.
        steps: The agent's calls; each mark carries ``data-step`` with the observation's id.
        lean: Draw reads as ticks without names, to save room; writes are marks all the same.
    """
    end = max(marks.end, marks.agent_end, 1.0)
    x = Scale(marks.begin, end, _LEFT, _RIGHT)
    top = _VOLUME[1] + 24 if curves is not None else _STAGES[1] + 20
    bottom = top + 58
    parts: list[Node] = [*_windows(x, marks, bottom), *_stages(x, marks, end)]
    if curves is not None:
        parts += [*_success(x, curves), *_latency(x, curves), *_volume(x, curves)]
    parts += [*_lanes(x, marks, handover_at, steps, top, lean=lean), *_time_axis(x, bottom + 16)]
    parts += _moments(x, marks, bottom)
    return chart(_WIDTH, bottom + 26, "Timeline of the trial", parts)


def _stages(x: Scale, marks: Marks, end: float) -> list[Node]:
    found: list[Node] = []
    bounds = (
        ("before", marks.begin, marks.incident),
        ("incident", marks.incident, 0.0),
        ("agent", 0.0, marks.agent_end),
        ("settle", marks.agent_end, end),
    )
    y, below = _STAGES
    for name, start, stop in bounds:
        width = x(stop) - x(start)
        if width < 1:
            continue
        found.append(rect(x(start), y, width, below - y, f"stage {name}"))
        if width > 8 * len(name):
            middle = (x(start) + x(stop)) / 2
            found.append(label(middle, below - 4, name, class_="stage", text_anchor="middle"))
    return found


def _windows(x: Scale, marks: Marks, bottom: float) -> list[Node]:
    top = _STAGES[1]
    return [rect(x(a), top, x(b) - x(a), bottom - top, "window") for a, b in marks.windows]


def _moments(x: Scale, marks: Marks, bottom: float) -> list[Node]:
    moments = [("hand-over", 0.0, "handover"), ("answer", marks.agent_end, "answer")]
    if marks.onset is not None:
        moments.insert(0, ("fault", marks.onset, "onset"))
    if marks.symptom is not None:
        moments.insert(1, ("symptom", marks.symptom, "symptom"))
    found: list[Node] = []
    taken = -1e9
    for name, at, style in sorted(moments, key=lambda m: m[1]):
        words = 6.8 * len(name)
        # Of two names that would overlap the later goes to the right of its line.
        left = x(at) - words / 2
        start = max(left, taken + 9)
        taken = start + words
        title = element("title", f"{name} at {clock(at)}")
        found.append(line(x(at), 18, x(at), bottom, f"moment {style}", title))
        found.append(label(start, 13, name, class_=f"moment {style}"))
    return found


def _panel(title: str, top: float) -> Element:
    return label(_LEFT, top - 9, title, class_="panel")


def _success(x: Scale, curves: Curves) -> list[Node]:
    top, bottom = _SHARE
    y = Scale(0.0, 1.0, bottom, top)

    def share(point: Point) -> float:
        return 1.0 - point.failed / point.n

    lines = _lines(x, y, curves, share)
    return [_panel("answered without error", top), *percent_axis(y, _LEFT, _RIGHT, (0, 0.5, 1)),
            *lines]  # fmt: skip


def _latency(x: Scale, curves: Curves) -> list[Node]:
    top, bottom = _LATENCY
    known = [p.p95_ms for points in curves.routes.values() for p in points if p.p95_ms is not None]
    y = Scale(0.0, max(known, default=1.0) * 1.05, bottom, top)
    lines = _lines(x, y, curves, lambda point: point.p95_ms)
    return [_panel("p95 latency, ms", top), *_amounts(y, 4), *lines]


def _volume(x: Scale, curves: Curves) -> list[Node]:
    top, bottom = _VOLUME
    rates = [(at, n / curves.bucket_s) for at, n in curves.volume]
    y = Scale(0.0, max((r for _, r in rates), default=1.0) * 1.05, bottom, top)
    half = curves.bucket_s / 2
    d = polyline((x(at + half), y(rate)) for at, rate in rates)
    drawn = [element("path", d=d, class_="line volume")] if rates else []
    return [_panel("requests a second, all routes", top), *_amounts(y, 2), *drawn]


def _amounts(y: Scale, most: int) -> list[Element]:
    found = []
    for tick in steps(y.low, y.high, most):
        found.append(line(_LEFT, y(tick), _RIGHT, y(tick), "grid"))
        found.append(label(_LEFT - 6, y(tick) + 4, amount(tick), class_="tick", text_anchor="end"))
    return found


def _lines(
    x: Scale, y: Scale, curves: Curves, value: Callable[[Point], float | None]
) -> list[Node]:
    """Return a line for each route; it is broken where nothing is known for a while."""
    found: list[Node] = []
    half, gap = curves.bucket_s / 2, _GAP * curves.bucket_s
    for n, (route, points) in enumerate(curves.routes.items()):
        known = [(p.at, v) for p in points if (v := value(p)) is not None]
        pieces: list[list[tuple[float, float]]] = []
        last = None
        for at, v in known:
            if last is None or at - last > gap:
                pieces.append([])
            pieces[-1].append((x(at + half), y(v)))
            last = at
        # A piece of one point would have no length; a dot is drawn by its round end.
        drawn = "".join(polyline(p if len(p) > 1 else p * 2) for p in pieces)
        found.append(element("path", element("title", route), d=drawn, class_=f"line s{n}"))
    return found


def _lanes(
    x: Scale,
    marks: Marks,
    handover_at: float,
    steps: Sequence[Step],
    top: float,
    *,
    lean: bool,
) -> list[Node]:
    alerts, reads, writes = top, top + 20, top + 40
    found: list[Node] = [
        label(_LEFT - 6, y + 11, name, class_="tick", text_anchor="end")
        for name, y in (("alerts", alerts), ("reads", reads), ("writes", writes))
    ]
    found += [line(_LEFT, y + 16, _RIGHT, y + 16, "grid") for y in (alerts, reads, writes)]
    for at, name in marks.alerts:
        found.append(_diamond(x(at), alerts + 8, f"{name} fires at {clock(at)}"))
    if lean:
        # One path for all of them takes a twentieth of as many marks.
        places = (x(s.start - handover_at) for s in steps if s.effect == "read")
        ticks = "".join(f"M{at:.0f} {reads + 2:.0f}v13" for at in places)
        found.append(element("path", d=ticks, class_="reads"))
    for step in steps:
        if step.effect == "read":
            if not lean:
                found.append(_mark(step, x, reads, handover_at))
        else:
            found.append(_mark(step, x, writes, handover_at))
    return found


def _mark(step: Step, x: Scale, lane: float, handover_at: float) -> Element:
    at = step.start - handover_at
    said = f"{step.id} {step.tool} at {clock(at)}{'' if step.ok else ', refused'}"
    shape: dict[str, str | float] = {
        "x": x(at) - 1,
        "y": lane + 2,
        "width": 2.5 if step.effect == "read" else 4.0,
        "height": 13,
        "class_": f"call {step.effect}{'' if step.ok else ' refused'}",
    }
    return element("rect", element("title", said), data_step=step.id, **shape)


def _diamond(x: float, y: float, said: str) -> Element:
    d = polyline([(x, y - 6), (x + 5, y), (x, y + 6), (x - 5, y)]) + "Z"
    return element("path", element("title", said), d=d, class_="alert")


def _time_axis(x: Scale, y: float) -> list[Node]:
    ticks = steps(x.low / 60, x.high / 60, 12)
    return [
        label(x(60 * t), y, "0" if t == 0 else f"{t:+.3g} min", class_="tick", text_anchor="middle")
        for t in ticks
    ]
