"""The command line of ``psql``."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiopslab.services.protocols import SSL_MODES, SslMode

_FLAGS = {"c": "command", "f": "file", "h": "host", "p": "port", "U": "user", "d": "database",
          "v": "variable", "F": "separator", "P": "pset"}  # fmt: skip


@dataclass(slots=True)
class Options:
    """What the command line said."""

    commands: list[str] = field(default_factory=list)
    host: str = ""
    port: int = 0
    user: str = ""
    database: str = ""
    password: str = ""
    sslmode: SslMode = "prefer"
    tuples_only: bool = False
    aligned: bool = True
    expanded: bool = False
    csv: bool = False
    separator: str = "|"
    error: str = ""


def parse_options(words: Sequence[str], env: dict[str, str]) -> Options:
    """Read the command line; ``PG*`` variables are the defaults."""
    options = Options(
        host=env.get("PGHOST", ""), user=env.get("PGUSER", ""),
        password=env.get("PGPASSWORD", ""), database=env.get("PGDATABASE", ""),
    )  # fmt: skip
    _set(options, "port", env.get("PGPORT", "0"))
    _set(options, "sslmode", env.get("PGSSLMODE", "prefer"))
    rest = list(words)
    while rest and not options.error:
        word = rest.pop(0)
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            name = {"dbname": "database", "username": "user", "field-separator": "separator"}.get(
                name, name
            )
            if name in _FLAGS.values():
                _set(options, name, value if "=" in word else rest.pop(0) if rest else "")
            else:
                _switch(options, {"tuples-only": "t", "no-align": "A", "expanded": "x",
                                  "csv": "csv", "no-password": "w", "quiet": "q",
                                  "no-psqlrc": "X"}.get(name, word), word)  # fmt: skip
        elif word.startswith("-") and len(word) > 1:
            _short(options, word, rest)
        elif "://" in word or "=" in word:
            _conninfo(options, word)
        elif not options.database:
            options.database = word
        else:
            options.user = word
    return options


def _short(options: Options, word: str, rest: list[str]) -> None:
    for index, letter in enumerate(word[1:], start=1):
        if letter in _FLAGS:
            value = word[index + 1 :] or (rest.pop(0) if rest else "")
            if not value:
                options.error = f"option requires an argument -- '{letter}'"
            else:
                _set(options, _FLAGS[letter], value)
            return
        _switch(options, letter, word)


def _switch(options: Options, letter: str, word: str) -> None:
    match letter:
        case "t":
            options.tuples_only = True
        case "A":
            options.aligned = False
        case "x":
            options.expanded = True
        case "csv":
            options.csv = True
        case "q" | "X" | "w" | "W" | "a" | "e" | "1":
            pass
        case "l":
            options.commands.append("\\l")
        case _:
            options.error = f"unrecognized option '{word}'"


def _set(options: Options, name: str, value: str) -> None:
    match name:
        case "command":
            options.commands.append(value)
        case "port":
            if value.isdecimal():
                options.port = int(value)
            else:
                options.error = f'invalid port number: "{value}"'
        case "file":
            options.error = f"{value}: No such file or directory"
        case "host" | "user" | "separator":
            setattr(options, name, value)
        case "sslmode":
            chosen = next((mode for mode in SSL_MODES if mode == value), None)
            if chosen is None:
                options.error = f'invalid sslmode value: "{value}"'
            else:
                options.sslmode = chosen
        case "database" if "://" in value or "=" in value:
            _conninfo(options, value)
        case "database":
            options.database = value


def _conninfo(options: Options, text: str) -> None:
    if "://" in text:
        try:
            url = urllib.parse.urlsplit(text)
            options.port = url.port or options.port
        except ValueError:
            options.error = f'invalid connection URI: "{text}"'
            return
        options.host = url.hostname or options.host
        options.user = urllib.parse.unquote(url.username or "") or options.user
        options.password = urllib.parse.unquote(url.password or "") or options.password
        options.database = url.path.lstrip("/") or options.database
        return
    for name, value in re.findall(r"(\w+)\s*=\s*'?([^\s']*)'?", text):
        if name == "password":
            options.password = value
        else:
            _set(options, {"dbname": "database"}.get(name, name), value)
