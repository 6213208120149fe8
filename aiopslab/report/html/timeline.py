"""The picture of one trial: what users got, and what the agent did, on one time axis.

Curves come from ``report.experience``: beside what happened, in panels of the same scale, what
would have happened without the agent. Marks are from the trial's record. Time zero is the
hand-over. Not here: the words beside it (``trial``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aiopslab.models.sli_series import BUCKET_S
from aiopslab.models.trial import Step
from aiopslab.report.experience import Experience, Sample
from aiopslab.report.html.charts import SERIES
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
_FIRST_PANEL = 34.0
_ABOVE = 30.0
"""Between a panel and the one above it: its title, and room for the highest label."""
_ALONE, _BESIDE, _VOLUME = 100.0, 64.0, 40.0
"""Heights of panels: of what happened alone, of several courses, of the volume."""
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
    curves: Experience | None,
    marks: Marks,
    handover_at: float,
    steps: Sequence[Step],
    *,
    lean: bool = False,
) -> Element:
    """Return the picture; without curves it has the stages and the marks only.

    Args:
        curves: What users got.
        marks: Moments of the trial.
        handover_at: Unix seconds of the world.
        steps: The agent's calls; each mark carries ``data-step`` with the observation's id.
        lean: Draw reads as ticks without names, to save room; writes are marks all the same.
    """
    end = max(marks.end, marks.agent_end, 1.0)
    x = Scale(marks.begin, end, _LEFT, _RIGHT)
    drawn, below = _panels(x, curves) if curves is not None else ([], _STAGES[1] - 4)
    top = below + 24
    bottom = top + 58
    parts: list[Node] = [*_windows(x, marks, bottom), *_stages(x, marks, end), *drawn]
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


def _panels(x: Scale, curves: Experience) -> tuple[list[Node], float]:
    """Return the panels, one below the other, and where the last of them ends."""
    happened = (curves.lines, curves.bucket_s)
    courses = {"": happened} | {
        f", {words}": (lines, BUCKET_S) for words, lines in curves.courses.items()
    }
    height = _ALONE if len(courses) == 1 else _BESIDE
    found: list[Node] = []
    bottom = _FIRST_PANEL
    of_whom = "users served" if curves.of_users else "answered without error"
    for words, (lines, bucket_s) in courses.items():
        top, bottom = bottom + _ABOVE, bottom + _ABOVE + height
        y = Scale(0.0, 1.0, bottom, top)
        promised = {name: p.success for name, p in curves.promises.items()}
        found += [_panel(f"{of_whom}{words}", top), *percent_axis(y, _LEFT, _RIGHT, (0, 0.5, 1))]
        found += _promises(y, curves, promised)
        found += _lines(x, y, curves, lines, bucket_s, lambda sample: sample.share)
    highest = _highest(curves)
    for words, (lines, bucket_s) in courses.items():
        top, bottom = bottom + _ABOVE, bottom + _ABOVE + height
        y = Scale(0.0, highest, bottom, top)
        promised = {name: p.p95_ms for name, p in curves.promises.items()}
        found += [_panel(f"p95 latency, ms{words}", top), *_amounts(y, 4 if height > 80 else 3)]
        found += _promises(y, curves, promised)
        found += _lines(x, y, curves, lines, bucket_s, lambda sample: sample.p95_ms)
    top, bottom = bottom + _ABOVE, bottom + _ABOVE + _VOLUME
    return [*found, *_volume(x, curves, top, bottom)], bottom


def _highest(curves: Experience) -> float:
    """Return the upper end of the axis of latencies, one for all courses."""
    lines = [*curves.lines.values(), *(v for c in curves.courses.values() for v in c.values())]
    known = [s.p95_ms for samples in lines for s in samples if s.p95_ms is not None]
    return max([*known, *(p.p95_ms for p in curves.promises.values())], default=1.0) * 1.05


def _panel(title: str, top: float) -> Element:
    return label(_LEFT, top - 9, title, class_="panel")


def _promises(y: Scale, curves: Experience, promised: Mapping[str, float]) -> list[Node]:
    """Return the SLO of each journey as a line in its colour."""
    return [
        line(_LEFT, y(promised[name]), _RIGHT, y(promised[name]), f"line promise s{n % SERIES}",
             element("title", f"{name}: promised {amount(promised[name])}"))
        for n, name in enumerate(curves.lines)
        if name in promised
    ]  # fmt: skip


def _volume(x: Scale, curves: Experience, top: float, bottom: float) -> list[Node]:
    rates = [(at, n / curves.bucket_s) for at, n in curves.volume]
    y = Scale(0.0, max((r for _, r in rates), default=1.0) * 1.05, bottom, top)
    half = curves.bucket_s / 2
    d = polyline((x(at + half), y(rate)) for at, rate in rates)
    drawn = [element("path", d=d, class_="line volume")] if rates else []
    return [_panel("requests a second, all together", top), *_amounts(y, 2), *drawn]


def _amounts(y: Scale, most: int) -> list[Element]:
    found = []
    for tick in steps(y.low, y.high, most):
        found.append(line(_LEFT, y(tick), _RIGHT, y(tick), "grid"))
        found.append(label(_LEFT - 6, y(tick) + 4, amount(tick), class_="tick", text_anchor="end"))
    return found


def _lines(
    x: Scale,
    y: Scale,
    curves: Experience,
    lines: Mapping[str, Sequence[Sample]],
    bucket_s: float,
    value: Callable[[Sample], float | None],
) -> list[Node]:
    """Return each line in its colour; it is broken where nothing is known for a while."""
    found: list[Node] = []
    half, gap = bucket_s / 2, _GAP * bucket_s
    for n, name in enumerate(curves.lines):
        known = [(s.at, v) for s in lines.get(name, ()) if (v := value(s)) is not None]
        pieces: list[list[tuple[float, float]]] = []
        last = None
        for at, v in known:
            if last is None or at - last > gap:
                pieces.append([])
            pieces[-1].append((x(at + half), y(v)))
            last = at
        # A piece of one point would have no length; a dot is drawn by its round end.
        drawn = "".join(polyline(p if len(p) > 1 else p * 2) for p in pieces)
        style = f"line s{n % SERIES}"
        found.append(element("path", element("title", name), d=drawn, class_=style))
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
