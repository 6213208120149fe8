"""The command line of ``kubectl`` as data: flags of a verb, words, and what follows ``--``.

Reads words the way kubectl's flag library does (``-n hotel``, ``-nhotel``, ``--tail=5``, ``-it``)
and refuses what the verb does not know in its words. Not here: what verbs do (``kubectl.*``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from aiopslab.tools.context import ToolRefused

Takes = Literal["value", "switch", "list"]


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of a verb."""

    name: str
    short: str = ""
    takes: Takes = "value"
    default: str = ""
    """What a flag stands for that may be given without a value: ``--dry-run``."""


def flags(text: str) -> tuple[Flag, ...]:
    """Declare flags: ``"selector/l all/?" `` is ``--selector``, ``-l`` and a switch ``--all``.

    ``name/x`` takes a value, ``?`` marks a switch, ``*`` one that may be repeated, ``=v`` gives
    what it means without a value.
    """
    found = []
    for word in text.split():
        declared, _, default = word.partition("=")
        name, _, rest = declared.partition("/")
        takes: Takes = "switch" if "?" in rest else "list" if "*" in rest else "value"
        found.append(Flag(name, rest.strip("?*"), takes, default))
    return tuple(found)


@dataclass(slots=True)
class Line:
    """A command line that was read."""

    verb: str
    words: list[str] = field(default_factory=list)
    """What is no flag, in order, without the verb."""
    command: list[str] | None = None
    """What follows ``--``; None without it."""
    given: dict[str, list[str]] = field(default_factory=dict)
    """Values by flag."""

    def get(self, name: str, default: str = "") -> str:
        """Return the last value of a flag."""
        values = self.given.get(name)
        return values[-1] if values else default

    def on(self, name: str) -> bool:
        """Whether a switch is set."""
        return self.get(name, "false") == "true"

    def all(self, name: str) -> list[str]:
        """Return every value of a flag that may be repeated; commas separate values too."""
        return [part for value in self.given.get(name, ()) for part in value.split(",")]

    def number(self, name: str) -> int | None:
        """Return a whole number.

        Raises:
            ToolRefused: It is none.
        """
        text = self.get(name)
        if not text:
            return None
        if not re.fullmatch(r"[+-]?\d{1,15}", text, re.ASCII):
            raise ToolRefused(
                f'error: invalid argument "{text}" for "--{name}" flag: '
                f'strconv.ParseInt: parsing "{text}": invalid syntax'
            )
        return int(text)

    def seconds(self, name: str) -> float | None:
        """Return a duration such as ``5m`` or ``1h30m`` in seconds.

        Raises:
            ToolRefused: It is none.
        """
        text = self.get(name)
        if not text or text == "0":
            return None
        units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
        parts = re.findall(r"(\d{1,12}(?:\.\d{1,9})?)(ms|[smh])", text, re.ASCII)
        if "".join(n + unit for n, unit in parts) != text:
            raise ToolRefused(
                f'error: invalid argument "{text}" for "--{name}" flag: '
                f'time: invalid duration "{text}"'
            )
        return sum(float(n) * units[unit] for n, unit in parts)


def read(verb: str, words: Sequence[str], known: Iterable[Flag]) -> Line:
    """Read the words after a verb.

    Raises:
        ToolRefused: A flag the verb does not know, or one without its value.
    """
    table = list(known)
    long = {flag.name: flag for flag in table}
    short = {flag.short: flag for flag in table if flag.short}
    line, rest = Line(verb), list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            line.command = rest
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            flag = long.get(name)
            if flag is None:
                raise _unknown(verb, f"unknown flag: --{name}")
            _take(line, flag, value if equals else None, rest, word)
        elif word.startswith("-") and len(word) > 1:
            _joined(line, short, word, rest)
        else:
            line.words.append(word)
    return line


def _joined(line: Line, short: Mapping[str, Flag], word: str, rest: list[str]) -> None:
    """Read ``-it`` or ``-nhotel``: switches until one takes what is left."""
    left = word[1:]
    while left:
        flag = short.get(left[0])
        if flag is None:
            raise _unknown(line.verb, f"unknown shorthand flag: '{left[0]}' in {word}")
        left = left[1:]
        if flag.takes == "switch" and not left.startswith("="):
            _take(line, flag, None, rest, word)
            continue
        _take(line, flag, left.removeprefix("=") if left else None, rest, word)
        return


def _take(line: Line, flag: Flag, value: str | None, rest: list[str], word: str) -> None:
    if flag.takes == "switch":
        if value not in (None, "true", "false"):
            raise _unknown(line.verb, f'invalid argument "{value}" for "--{flag.name}" flag')
        value = value or "true"
    elif value is None:
        if flag.default:
            value = flag.default
        elif rest:
            value = rest.pop(0)
        else:
            raise _unknown(line.verb, f"flag needs an argument: {word}")
    line.given.setdefault(flag.name, []).append(value)


def _unknown(verb: str, problem: str) -> ToolRefused:
    return ToolRefused(f"Error: {problem}\nSee 'kubectl {verb} --help' for usage.")
