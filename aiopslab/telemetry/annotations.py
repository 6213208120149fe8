"""Templates in labels and annotations of alert rules: a small part of Go's templates.

Known: ``{{ $value }}``, ``{{ $labels.name }}``, ``{{ .Labels.name }}``, ``{{ .Value }}``, each
followed by any of ``humanize``, ``humanize1024``, ``humanizePercentage``, ``humanizeDuration`` or
``printf "%.2f"``. Anything else is refused when the rule is loaded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache

from aiopslab.telemetry.promql import format_value

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
_LABEL = re.compile(r"(?:\$labels|\.Labels)\.([A-Za-z_]\w*)")
_EXPONENT_FROM = 6
"""Go writes 1e+06 for a million, but 999999."""
_PRINTF = re.compile(r'printf "(%[-+ 0]?\d*(?:\.\d+)?[efgs])"')


class TemplateError(ValueError):
    """The template uses what is not known here."""


def check(text: str) -> None:
    """Refuse a template that could not be rendered.

    Raises:
        TemplateError: Names the action.
    """
    render(text, {}, 0.0)


def render(text: str, labels: Mapping[str, str], value: float) -> str:
    """Fill in a template.

    Raises:
        TemplateError: An action is not known.

    >>> render("{{ $labels.pod }}: {{ $value | humanizePercentage }}", {"pod": "a"}, 0.123)
    'a: 12.3%'
    """
    return _ACTION.sub(lambda m: _action(m[1], labels, value), text)


def _action(action: str, labels: Mapping[str, str], value: float) -> str:
    subject, *filters = _split(action)
    result: str | float
    if subject in ("$value", ".Value"):
        result = value
    elif match := _LABEL.fullmatch(subject):
        result = labels.get(match[1], "")
    else:
        raise TemplateError(f"{{{{ {action} }}}} is not supported in alert rules")
    for name in filters:
        result = _filter(name, result, action)
    return result if isinstance(result, str) else _shortest(result)


def _filter(name: str, value: str | float, action: str) -> str:
    if match := _PRINTF.fullmatch(name):
        if match[1] == "%g":
            return _shortest(float(value))
        return str(match[1] % (value if match[1][-1] == "s" else float(value)))
    if name in _FILTERS:
        return _FILTERS[name](float(value))
    raise TemplateError(f"{name!r} in {{{{ {action} }}}} is not supported in alert rules")


@lru_cache(maxsize=256)
def _split(action: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in action.split("|"))


def humanize(value: float) -> str:
    """Shorten a number with SI prefixes.

    >>> humanize(12345), humanize(0.00025)
    ('12.35k', '250u')
    """
    if 0 < abs(value) < 1:
        return _small(value)
    return _large(value, 1000.0, ("", "k", "M", "G", "T", "P", "E", "Z", "Y"))


def humanize1024(value: float) -> str:
    """Shorten a number with binary prefixes.

    >>> humanize1024(3 * 1024 * 1024)
    '3Mi'
    """
    return _large(value, 1024.0, ("", "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"))


def humanize_duration(value: float) -> str:
    """Write seconds as people do.

    >>> humanize_duration(3725), humanize_duration(0.25)
    ('1h 2m 5s', '250ms')
    """
    if 0 < abs(value) < 1:
        return f"{_small(value)}s"
    if not abs(value) >= 60 or math.isinf(value):
        return _digits(value) + ("s" if math.isfinite(value) else "")
    sign, seconds = "-" if value < 0 else "", int(abs(value))
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m")]
    shown = [f"{n}{unit}" for n, unit in [*parts, (seconds % 60, "s")]]
    first = next(i for i, (n, _) in enumerate(parts) if n)
    return sign + " ".join(shown[first:])


def humanize_percentage(value: float) -> str:
    """Write a ratio as a percentage."""
    return f"{_digits(value * 100)}%"


def _small(value: float) -> str:
    prefixes = ("m", "u", "n", "p", "f", "a", "z", "y")
    place = -1
    while abs(value) < 1 and place < len(prefixes) - 1:
        value *= 1000.0
        place += 1
    return _digits(value) + prefixes[place]


def _large(value: float, base: float, prefixes: tuple[str, ...]) -> str:
    place = 0
    while math.isfinite(value) and abs(value) >= base and place < len(prefixes) - 1:
        value /= base
        place += 1
    return _digits(value) + prefixes[place]


def _digits(value: float) -> str:
    """Write four significant digits."""
    return f"{value:.4g}" if math.isfinite(value) else format_value(value)


def _shortest(value: float) -> str:
    """Write a number as Go's ``%v`` and ``%g``: all digits, an exponent from a million on."""
    if not math.isfinite(value):
        return format_value(value)
    exact = Decimal(repr(value))
    exponent = exact.adjusted()
    if value == 0 or -5 < exponent < _EXPONENT_FROM:
        return format_value(value)
    mantissa = format(exact.scaleb(-exponent).normalize(), "f")
    return f"{mantissa}e{exponent:+03d}"


_FILTERS: dict[str, Callable[[float], str]] = {
    "humanize": humanize,
    "humanize1024": humanize1024,
    "humanizePercentage": humanize_percentage,
    "humanizeDuration": humanize_duration,
}
