"""A terminal's line discipline: bytes of somebody who types become lines, and what is echoed.

With a terminal, the client sends each key as it is pressed and expects the echo; without one,
lines arrive whole. Not here: running lines (``exec``).
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

_ESCAPE = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z]|[^\[O])")
"""Arrow keys and their like: there is no history to walk through."""
_BEGUN = re.compile(r"\x1b(?:\[[0-9;]{0,16}|O)?\Z")
"""A key whose bytes came in several pieces."""
LIMIT = 2**20
"""Bytes of input that one stream may bring."""
_INTERRUPT, _END, _KILL_LINE, _ERASE = "\x03", "\x04", "\x15", "\x08\x7f"


@dataclass(frozen=True, slots=True)
class Typed:
    """What came of a piece of input."""

    lines: tuple[str, ...] = ()
    """Complete lines; an interrupted one is empty."""
    echo: str = ""
    ended: bool = False
    """Ctrl-D on an empty line."""


class InputTooLong(Exception):
    """More came than is kept."""


class Lines:
    """Collects input into lines, within bounds.

    Args:
        tty: Somebody types at a terminal.
    """

    def __init__(self, *, tty: bool) -> None:
        self._tty = tty
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._pending = ""
        self._begun = ""
        self._taken = 0

    def feed(self, data: bytes) -> Typed:
        """Take input.

        Raises:
            InputTooLong: More than ``LIMIT`` bytes in all.
        """
        self._taken += len(data)
        if self._taken > LIMIT:
            raise InputTooLong(f"more than {LIMIT} bytes of input")
        text = self._decode(data)
        if self._tty:
            text = _ESCAPE.sub("", self._begun + text)
            begun = _BEGUN.search(text)
            self._begun = begun.group() if begun else ""
            return self._type(text[: len(text) - len(self._begun)])
        *lines, self._pending = (self._pending + text).split("\n")
        return Typed(tuple(lines))

    def rest(self) -> str:
        """Return what came after the last line break, at the end of the input."""
        rest, self._pending = self._pending, ""
        return rest

    def _type(self, text: str) -> Typed:
        lines: list[str] = []
        echo = ""
        for key in text:
            if key in "\r\n":
                lines.append(self.rest())
                echo += "\r\n"
            elif key in _ERASE:
                echo += "\b \b" if self._pending else ""
                self._pending = self._pending[:-1]
            elif key == _KILL_LINE:
                echo += "\b \b" * len(self._pending)
                self._pending = ""
            elif key == _INTERRUPT:
                self._pending = ""
                lines.append("")
                echo += "^C\r\n"
            elif key == _END:
                if not self._pending:
                    return Typed(tuple(lines), echo, True)
            elif key.isprintable():
                self._pending += key
                echo += key
        return Typed(tuple(lines), echo)
