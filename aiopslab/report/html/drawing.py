"""What charts share: a scale, round steps of an axis, and the axes of a small chart.

Coordinates are SVG user units, y downwards. Not here: any chart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aiopslab.report.html.elements import Element, Node, element
from aiopslab.report.text import amount


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values to coordinates; ``low`` lies at ``start``, ``high`` at ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value; what is beyond an end is drawn at it."""
        if self.high == self.low:
            return (self.start + self.end) / 2
        share = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return self.start + share * (self.end - self.start)


def steps(low: float, high: float, most: int) -> list[float]:
    """Return round values (1, 2 or 5 times a power of ten apart) within bounds, at most so many.

    >>> steps(0, 45, 5)
    [0.0, 10.0, 20.0, 30.0, 40.0]
    """
    if not high > low:
        return [low]
    raw = (high - low) / most
    base = 10.0 ** math.floor(math.log10(raw))
    for factor in (1.0, 2.0, 5.0, 10.0, 20.0):
        step = base * factor
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [n * step for n in range(first, last + 1)]


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Return the path of a line through points, for an attribute ``d``."""
    return "".join(f"{'L' if i else 'M'}{x:.0f} {y:.0f}" for i, (x, y) in enumerate(points))


def label(x: float, y: float, text: str, **attributes: str | float) -> Element:
    """Return text at a point."""
    return element("text", text, x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, class_: str, *inside: Node) -> Element:
    """Return a straight line."""
    return element("line", *inside, x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rect(x: float, y: float, width: float, height: float, class_: str, *inside: Node) -> Element:
    """Return a rectangle, at least half a unit wide so that it is seen."""
    return element("rect", *inside, x=x, y=y, width=max(0.5, width), height=height, class_=class_)


def percent_axis(y: Scale, left: float, right: float, ticks: Sequence[float]) -> list[Element]:
    """Return grid lines and labels of an axis of shares."""
    grid = [line(left, y(t), right, y(t), "grid") for t in ticks]
    words = [
        label(left - 6, y(t) + 4, f"{t * 100:.0f} %", class_="tick", text_anchor="end")
        for t in ticks
    ]
    return [*grid, *words]


def value_axis(x: Scale, y: float, ticks: Sequence[float]) -> list[Element]:
    """Return the labels of a horizontal axis of amounts."""
    return [label(x(t), y, amount(t), class_="tick", text_anchor="middle") for t in ticks]


def chart(width: float, height: float, title: str, children: Sequence[Node]) -> Element:
    """Return an SVG image with a name; it scales with the page."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        role="img",
        aria_label=title,
    )


def interval_bar(value: float | None, low: float | None, high: float | None) -> Element:
    """Return a bar from 0 to 1 with a share and its interval; a bare track where none is known."""
    parts: list[Node] = [rect(0, 7, 100, 2, "track")]
    if low is not None and high is not None:
        parts.append(rect(100 * low, 5, 100 * (high - low), 6, "range"))
    if value is not None:
        parts.append(rect(min(98.0, max(0.0, 100 * value - 1)), 2, 2, 12, "value"))
    return element(
        "svg",
        *parts,
        viewBox="0 0 100 16",
        preserveAspectRatio="none",
        class_="bar",
        aria_hidden="true",
    )
