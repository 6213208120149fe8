"""What a query answers, and numbers as Prometheus writes them.

An ``Answer`` keeps the type of the expression, which the HTTP API shows as ``resultType``. Not
here: how it is computed (``evaluation``), the JSON around it (``wire``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.rows import Series

Kind = Literal["vector", "matrix", "scalar", "string"]
_EXPONENT_BELOW, _EXPONENT_FROM = 1e-6, 1e21


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a query."""

    kind: Kind
    """``vector`` has one point a series; ``scalar`` is one series without labels and one point."""
    series: Sequence[Series]
    """A matrix is sorted by labels; a vector is in the order that ``sort`` or ``topk`` gave it."""
    text: str = ""
    """The value of a ``string``; it has no series."""


def format_value(value: float) -> str:
    """Write a sample value as Prometheus' HTTP API does (``util/jsonutil``): shortest, exact.

    >>> [format_value(v) for v in (1.0, 0.1, 1e21, 1e-7, float("inf"), float("nan"))]
    ['1', '0.1', '1e+21', '1e-07', '+Inf', 'NaN']
    """
    if value and math.isfinite(value) and not _EXPONENT_BELOW <= abs(value) < _EXPONENT_FROM:
        mantissa, _, exponent = repr(value).partition("e")
        return f"{mantissa.removesuffix('.0')}e{exponent}"
    return format_plain(value)


def format_plain(value: float) -> str:
    """Write a number without exponent, as ``count_values`` and ``quantile`` labels have it.

    >>> format_plain(1e22), format_plain(-0.0)
    ('10000000000000000000000', '-0')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def format_labels(labels: Labels) -> str:
    """Write a label set as Prometheus does in messages.

    >>> format_labels((("__name__", "up"), ("job", "a")))
    '{__name__="up", job="a"}'
    """
    pairs = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels)
    return f"{{{', '.join(pairs)}}}"
