"""Templates in labels and annotations of alert rules: a small part of Go's templates.

Known: ``{{ $value }}``, ``{{ $labels.name }}``, ``{{ .Labels.name }}``, ``{{ .Value }}``, each
followed by any of ``humanize``, ``humanize1024``, ``humanizePercentage``, ``humanizeDuration`` or
``printf "%.2f"``. Anything else is refused when the rule is loaded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
_LABEL = re.compile(r"(?:\$labels|\.Labels)\.([A-Za-z_]\w*)")
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
    return result if isinstance(result, str) else f"{result:.6g}"


def _filter(name: str, value: str | float, action: str) -> str:
    if match := _PRINTF.fullmatch(name):
        return str(match[1] % (value if match[1][-1] == "s" else float(value)))
    if name in _FILTERS:
        return _FILTERS[name](float(value))
    raise TemplateError(f"{name!r} in {{{{ {action} }}}} is not supported in alert rules")


@lru_cache(maxsize=256)
def _split(action: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in action.split("|"))


def humanize(value: float) -> str:
    """Shorten a number with SI prefixes.

    >>> humanize(12345)
    '12.35k'
    """
    return _prefixed(value, 1000.0, ("", "k", "M", "G", "T", "P"))


def humanize1024(value: float) -> str:
    """Shorten a number with binary prefixes.

    >>> humanize1024(3 * 1024 * 1024)
    '3Mi'
    """
    return _prefixed(value, 1024.0, ("", "ki", "Mi", "Gi", "Ti", "Pi"))


def humanize_duration(value: float) -> str:
    """Write seconds as people do.

    >>> humanize_duration(3725), humanize_duration(0.25)
    ('1h 2m 5s', '250ms')
    """
    if not math.isfinite(value):
        return f"{value:g}"
    if abs(value) < 1.0:
        return f"{value * 1000:.4g}ms"
    if abs(value) < 60.0:
        return f"{value:.4g}s"
    sign, seconds = "-" if value < 0 else "", int(abs(value))
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m")]
    shown = [f"{n}{unit}" for n, unit in [*parts, (seconds % 60, "s")]]
    first = next(i for i, (n, _) in enumerate(parts) if n)
    return sign + " ".join(shown[first:])


def humanize_percentage(value: float) -> str:
    """Write a ratio as a percentage."""
    return f"{value * 100:.4g}%"


def _prefixed(value: float, base: float, prefixes: tuple[str, ...]) -> str:
    if not math.isfinite(value):
        return f"{value:g}"
    place = 0
    while abs(value) >= base and place < len(prefixes) - 1:
        value /= base
        place += 1
    return f"{value:.4g}{prefixes[place]}"


_FILTERS: dict[str, Callable[[float], str]] = {
    "humanize": humanize,
    "humanize1024": humanize1024,
    "humanizePercentage": humanize_percentage,
    "humanizeDuration": humanize_duration,
}
