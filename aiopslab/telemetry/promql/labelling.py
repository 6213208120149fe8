"""Functions that change or read labels: ``label_replace``, ``label_join``, ``sort_by_label``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.promql.matching import Regex
from aiopslab.telemetry.promql.values import LabelSets, QueryError, Vector

MAX_LABEL = 10_000
"""Characters of a label value; nested joins would double it again and again."""
_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})", re.ASCII)
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_DIGITS = re.compile(r"(\d+)", re.ASCII)


def label_replace(v: Vector, texts: Sequence[str]) -> Vector:
    """Set a label from a template where a regex matches another: ``(dst, template, src, regex)``.

    Raises:
        QueryError: A name or the regex is malformed, or two series become the same.
    """
    target, template, source, regex = texts
    check_label_name(target, "destination label name in label_replace():")
    try:
        pattern = Regex(regex)
    except re.error as error:
        raise QueryError(
            f"invalid regular expression in label_replace(): {regex}: {error}"
        ) from error

    def change(labels: dict[str, str]) -> None:
        match = pattern.match(labels.get(source, ""))
        if match:
            labels[target] = _expanded(template, match)

    return _relabelled(v, ("label_replace", *texts), change)


def label_join(v: Vector, texts: Sequence[str]) -> Vector:
    """Set a label to others joined: ``(dst, separator, src...)``. Raises QueryError likewise."""
    target, separator, *sources = texts
    check_label_name(target, "destination label name in label_join():")
    for source in sources:
        check_label_name(source, "source label name in label_join():")

    def change(labels: dict[str, str]) -> None:
        labels[target] = separator.join(labels.get(s, "") for s in sources)

    return _relabelled(v, ("label_join", *texts), change)


def check_label_name(name: str, what: str = "label name") -> None:
    """Refuse what cannot be a label name.

    Raises:
        QueryError: In Prometheus' words.
    """
    if not _LABEL_NAME.fullmatch(name):
        raise QueryError(f"invalid {what} {name}")


def _relabelled(
    v: Vector, key: tuple[str, ...], change: Callable[[dict[str, str]], None]
) -> Vector:
    def make() -> LabelSets:
        sets: list[Labels] = []
        for labels in v.labels.sets:
            changed = dict(labels)
            change(changed)
            if any(len(text) > MAX_LABEL for text in changed.values()):
                raise QueryError(f"a label value would be longer than {MAX_LABEL} characters")
            sets.append(tuple(sorted((k, t) for k, t in changed.items() if t)))
        return LabelSets(sets)

    return Vector(v.labels.derive(key, make), v.values, v.present)


def _expanded(template: str, match: re.Match[str]) -> str:
    """Fill ``$1`` and ``${name}`` in, as Go's ``Regexp.Expand``: an unknown group is empty."""
    numbered = [match[0], *match.groups()]
    named = match.groupdict()

    def group(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        if name.isdecimal():
            return (numbered[int(name)] or "") if int(name) < len(numbered) else ""
        return named.get(name) or ""

    return _REFERENCE.sub(group, template)


def order_by_label(v: Vector, names: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the rows in natural order of labels ("a2" before "a10"), ties by all labels."""

    def key(row: int) -> tuple[object, ...]:
        labels = v.labels.sets[row]
        known = dict(labels)
        return (*(_natural(known.get(name, "")) for name in names), labels)

    return np.array(sorted(range(len(v.labels)), key=key), np.int64)


def _natural(text: str) -> tuple[tuple[int, int, str, str], ...]:
    """Return a sorting key; numbers go by length and digits, as Python reads only so long ones."""
    return tuple(
        (0, len(number := part.lstrip("0")), number, part) if part.isdecimal() else (1, 0, "", part)
        for part in _DIGITS.split(text)
        if part
    )
