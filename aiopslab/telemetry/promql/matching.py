"""Regular expressions on label values, as Prometheus 3 reads them and with an end in sight.

Prometheus has RE2, which takes linear time. ``telemetry.regex`` refuses what could take exponential
time; what is left is polynomial, and here its sum over all distinct values is bounded, too.
"""

from __future__ import annotations

import re

from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.regex import attempts, compile_bounded

MAX_ATTEMPTS = 2e8
"""Steps of matching all values at worst: some seconds."""
_FLAGS = re.DOTALL | re.ASCII
"""Prometheus 3 lets ``.`` match a newline; RE2's classes such as ``\\d`` are ASCII."""


class Regex:
    """A pattern that whole label values are matched with; outcomes are remembered.

    Raises:
        re.error: The pattern is malformed or refused.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._pattern = compile_bounded(text, _FLAGS)
        self._known: dict[str, re.Match[str] | None] = {}
        self._left = MAX_ATTEMPTS

    def renew(self) -> None:
        """Allow the work of another round of values."""
        self._left = MAX_ATTEMPTS

    def match(self, value: str) -> re.Match[str] | None:
        """Match a whole value.

        Raises:
            QueryError: All values together may take too long.
        """
        if value not in self._known:
            self._left -= attempts(self._text, len(value))
            if self._left < 0:
                raise QueryError(
                    f"regex {self._text!r} may take too long on these labels; use fewer repeats"
                )
            self._known[value] = self._pattern.fullmatch(value)
        return self._known[value]
