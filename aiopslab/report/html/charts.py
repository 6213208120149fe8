"""The charts of the overview: reliability, risk and coverage, pass^k, cost against score.

Each has its figures beside it.

Not here: the charts of one trial (``timeline``), the page they stand on (``overview``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiopslab.models.calibration import Bin
from aiopslab.models.run import Estimate
from aiopslab.report.html.drawing import (
    Scale,
    chart,
    label,
    line,
    percent_axis,
    polyline,
    steps,
    value_axis,
)
from aiopslab.report.html.elements import Element, Node, element
from aiopslab.report.text import amount

_WIDTH, _HEIGHT = 420.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 404.0, 16.0, 252.0
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_DOT = 10.0
_MOST_DOTS = 20
"""Points of a line beyond which it has no dots."""
SERIES = 6
"""Colours of lines there are (classes ``s0`` to ``s5``)."""


def _shares() -> Scale:
    return Scale(0.0, 1.0, _BOTTOM, _TOP)


def reliability(bins: Sequence[Bin]) -> Element:
    """Return the reliability diagram: share right over stated confidence, with its null band.

    The band is where 95 % of perfectly calibrated agents lie: a bin's mean confidence, drawn as
    often as the bin has answers. Areas of points are proportional to answers.
    """
    x, y = Scale(0.0, 1.0, _LEFT, _RIGHT), _shares()
    most = max((b.n for b in bins), default=1)
    bounds = [null_range(b.n, b.confidence) for b in bins]
    upper = [(x(b.confidence), y(high)) for b, (_, high) in zip(bins, bounds, strict=True)]
    lower = [(x(b.confidence), y(low)) for b, (low, _) in zip(bins, bounds, strict=True)]
    parts: list[Node] = [*percent_axis(y, _LEFT, _RIGHT, _QUARTERS)]
    if len(bins) > 1:
        parts.append(element("path", d=polyline([*upper, *lower[::-1]]) + "Z", class_="band"))
    parts += [
        line(cx, high, cx, low, "whisker")
        for (cx, high), (_, low) in zip(upper, lower, strict=True)
    ]
    parts.append(line(x(0), y(0), x(1), y(1), "ideal"))
    for b in bins:
        said = f"confidence {b.confidence:.2f}, right {b.right:.2f}, {b.n} answers"
        radius = 3 + 6 * math.sqrt(b.n / most)
        title = element("title", said)
        parts.append(
            element("circle", title, cx=x(b.confidence), cy=y(b.right), r=radius, class_="dot s0")
        )
    parts += _percent_labels(x)
    parts.append(_axis_name("stated confidence"))
    return chart(_WIDTH, _HEIGHT, "Reliability: share right over stated confidence", parts)


def risk_coverage(points: Sequence[tuple[float, float]]) -> Element:
    """Return the share wrong over coverage: of the most confident answers, so many acted on.

    The dashed line is the share wrong of all answers: a confidence that tells nothing stays on it.
    """
    x, y = Scale(0.0, 1.0, _LEFT, _RIGHT), _shares()
    parts: list[Node] = [*percent_axis(y, _LEFT, _RIGHT, _QUARTERS)]
    if points:
        overall = y(points[-1][1])
        parts.append(line(_LEFT, overall, _RIGHT, overall, "ideal"))
        d = polyline((x(coverage), y(risk)) for coverage, risk in points)
        parts.append(element("path", d=d, class_="line s0"))
    for coverage, risk in points if len(points) <= _MOST_DOTS else ():
        title = element("title", f"{coverage:.0%} acted on, {risk:.0%} of them wrong")
        parts.append(element("circle", title, cx=x(coverage), cy=y(risk), r=3, class_="dot s0"))
    parts += _percent_labels(x)
    parts.append(_axis_name("share of answers acted on, most confident first"))
    return chart(_WIDTH, _HEIGHT, "Risk and coverage: share wrong over share acted on", parts)


def null_range(n: int, p: float) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % quantiles of the share right of n answers, each right with p.

    Quantiles of the binomial distribution, from its exact probabilities.

    >>> null_range(10, 0.5)
    (0.2, 0.8)
    """
    if n == 0 or p <= 0.0 or p >= 1.0:
        return min(1.0, max(0.0, p)), min(1.0, max(0.0, p))
    log_p, log_q, log_n = math.log(p), math.log1p(-p), math.lgamma(n + 1)
    low, high, total = None, n, 0.0
    for k in range(n + 1):
        ways = log_n - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        total += math.exp(ways + k * log_p + (n - k) * log_q)
        if low is None and total >= 0.025:
            low = k
        if total >= 0.975:
            high = k
            break
    return (low or 0) / n, high / n


def pass_hat(series: Mapping[str, Mapping[str, float | None]]) -> Element:
    """Return pass^k over k, a line for each task.

    Args:
        series: Name to pass^k by k as text; unknown values are left out.
    """
    ks = sorted({int(k) for values in series.values() for k in values})
    x = Scale(min(ks), max(ks), _LEFT + 8, _RIGHT - 8)
    y = _shares()
    parts: list[Node] = [*percent_axis(y, _LEFT, _RIGHT, _QUARTERS)]
    for n, values in enumerate(series.values()):
        known = sorted((int(k), v) for k, v in values.items() if v is not None)
        style = f"s{n % SERIES}"
        points = [(x(k), y(v)) for k, v in known]
        parts.append(element("path", d=polyline(points), class_=f"line {style}"))
        for (k, v), (cx, cy) in zip(known, points, strict=True) if len(ks) <= _MOST_DOTS else ():
            title = element("title", f"pass^{k} {v:.2f}")
            parts.append(element("circle", title, cx=cx, cy=cy, r=3, class_=f"dot {style}"))
    parts += value_axis(x, _BOTTOM + 18, ks if len(ks) <= 10 else steps(ks[0], ks[-1], 6))
    parts.append(_axis_name("k: tries that must all pass"))
    return chart(_WIDTH, _HEIGHT, "pass^k over k", parts)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a group of trials cost on average, and what it scored."""

    name: str
    cost: float
    """Mean of a completed trial, in the unit of the chart."""
    score: Estimate


def cost(groups: Sequence[Spent], unit: str) -> Element:
    """Return score over mean cost, a point with its interval for each group."""
    most = max(g.cost for g in groups)
    x = Scale(0.0, most * 1.1 or 1.0, _LEFT, _RIGHT)
    y = _shares()
    parts: list[Node] = [*percent_axis(y, _LEFT, _RIGHT, _QUARTERS)]
    taken: list[tuple[float, float]] = []
    for n, group in enumerate(groups):
        value, low, high = group.score.value, group.score.low, group.score.high
        if value is None:
            continue
        at, style = _beside(x(group.cost), y(value), taken), f"s{n % SERIES}"
        if low is not None and high is not None:
            parts.append(line(at, y(low), at, y(high), f"stem {style}"))
        title = element("title", f"{group.name}: {value:.2f} at {amount(group.cost)} {unit}")
        parts.append(element("circle", title, cx=at, cy=y(value), r=5, class_=f"dot {style}"))
    parts += value_axis(x, _BOTTOM + 18, steps(0.0, most * 1.1 or 1.0, 5))
    parts.append(_axis_name(f"{unit} a trial, mean"))
    return chart(_WIDTH, _HEIGHT, f"Share passed over {unit} a trial", parts)


def _beside(x: float, y: float, taken: list[tuple[float, float]]) -> float:
    """Return where a point is seen that would lie on another: moved aside by its width."""
    while any(abs(x - a) < _DOT and abs(y - b) < _DOT for a, b in taken):
        x += _DOT
    taken.append((x, y))
    return x


def legend(names: Sequence[str]) -> Element:
    """Return the names of lines with their colours."""
    items = (
        element("li", element("span", class_=f"key s{n % SERIES}"), name)
        for n, name in enumerate(names)
    )
    return element("ul", *items, class_="legend")


def _percent_labels(x: Scale) -> list[Node]:
    return [
        label(x(t), _BOTTOM + 18, f"{t * 100:.0f} %", class_="tick", text_anchor="middle")
        for t in _QUARTERS
    ]


def _axis_name(text: str) -> Element:
    middle = (_LEFT + _RIGHT) / 2
    return label(middle, _HEIGHT - 8, text, class_="axis", text_anchor="middle")
