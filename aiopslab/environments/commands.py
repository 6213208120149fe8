"""Whether a command or a statement only looks.

Asked by whoever passes text on to a shell, a database, a cache or a queue for an agent (tools,
``kubectl exec`` over the wire), because only mitigation may change anything. Whatever is not known
to only look counts as a write. Not here: running it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from aiopslab.models.observation import Effect

_SHELLS = ("sh", "bash", "ash")
_LOOKERS = frozenset(
    {
        "cat", "date", "df", "dig", "du", "echo", "env", "free", "getent", "grep", "head", "host",
        "hostname", "id", "ls", "nc", "nslookup", "openssl", "pg_isready", "printenv", "ps", "pwd",
        "sleep", "sort", "stat", "tail", "test", "top", "true", "uname", "uptime", "wc", "which",
        "whoami",
    }
)  # fmt: skip
_OPERATORS = ";|&<>\n"
_SILENT = ("/dev/null",)
_CURL_FLAGS = frozenset(
    {
        *"sSvkifLgI46", "silent", "show-error", "verbose", "insecure", "include", "fail",
        "location", "globoff", "head", "compressed", "http1.1", "no-progress-meter",
    }
)  # fmt: skip
_CURL_VALUES = (
    *"mHwAXo", "max-time", "connect-timeout", "header", "write-out", "user-agent", "request",
    "output", "url", "retry", "resolve",
)  # fmt: skip
_PSQL_VALUES = (*"cdfFhLopPRTUv", "command", "file", "output", "log-file")
_SQL_READS = frozenset({"SELECT", "SHOW", "EXPLAIN", "TABLE", "VALUES"})
_SQL_OPAQUE = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?\*/)|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"
    r"|(?<!\w)[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"",
    re.DOTALL,
)
"""What no keyword can stand in; found in one pass, because each may hold the signs of others."""
_PSQL_LOOKS = re.compile(r"\\(?:d\S*|l\+?|z|x|conninfo|timing|pset|echo|\?)(?:[ \t][^\n\\]*)?")
_SQL_ACTS = re.compile(
    r"\b(pg_terminate_backend|pg_cancel_backend|pg_reload_conf|set_config|into|for\s+update"
    r"|delete\s+from|insert|update|analyze)\b"
    r"|\b(nextval|setval|lo_\w+|dblink\w*|query_to_xml\w*|pg_stat_\w*reset\w*|pg_\w*advisory\w*"
    r"|pg_(create|drop|copy|file|logical|replication|backup)_\w+|pg_wal_replay_(pause|resume)"
    r"|pg_(switch_wal|rotate_logfile|promote|notify))\s*\("
    r"|''\s*\(",
    re.IGNORECASE,
)
"""Words that act, functions that do, and a function whose name is in quotation marks."""
_CACHE_READS = frozenset(
    {
        "PING", "GET", "MGET", "STRLEN", "EXISTS", "TTL", "PTTL", "TYPE", "DBSIZE", "INFO", "SCAN",
        "KEYS", "TIME", "LASTSAVE",
    }
)  # fmt: skip
_CACHE_SUBREADS = {
    "CONFIG": {"GET"}, "CLIENT": {"LIST", "INFO", "ID"}, "MEMORY": {"USAGE", "STATS"},
    "SLOWLOG": {"GET", "LEN"}, "ACL": {"WHOAMI", "LIST", "USERS"}, "COMMAND": {"COUNT"},
}  # fmt: skip
_QUEUE_LISTS = {"ls", "list", "report", "info", "state"}
_QUEUE_READS = {
    **dict.fromkeys(("stream", "str", "s"), _QUEUE_LISTS | {"subjects", "get", "view"}),
    **dict.fromkeys(("consumer", "con", "c"), _QUEUE_LISTS),
    "account": {"info"},
}


def command_effect(argv: Sequence[str], stdin: str = "") -> Effect:
    """Say whether a command given as words only looks; what it is fed counts where it is obeyed."""
    words = list(argv)
    name = words[0].rpartition("/")[2] if words else ""
    if name in _SHELLS and len(words) == 1:
        return shell_effect(stdin)
    if name in _SHELLS and words[1] == "-c" and len(words) == 3:
        return shell_effect(words[2]) if not stdin else _fed(words[2], stdin)
    if name == "psql":
        return "write" if "write" in (_psql_effect(words), sql_effect(stdin)) else "read"
    if name in ("valkey-cli", "redis-cli") and stdin:
        effects = [cache_effect(line) for line in stdin.splitlines()]
        return "write" if "write" in effects else shell_effect(shlex.join(words))
    return "read" if not words or _looks([name, *words[1:]]) else "write"


def _fed(script: str, stdin: str) -> Effect:
    """Judge a script that is given input: who of it obeys the input is not worth finding out."""
    fed = (shell_effect(stdin), sql_effect(stdin), shell_effect(script))
    return "write" if "write" in fed else "read"


def shell_effect(command: str) -> Effect:
    """Say whether a command line only looks; every part of a pipe or list must."""
    try:
        parts = _parts(command)
    except ValueError:
        # A shell may still make something of it: what follows a ``#`` needs no closed quotation.
        return "write"
    if len(parts) == 1 and parts[0].words[:2] in (["sh", "-c"], ["bash", "-c"]):
        words = parts[0].words
        return shell_effect(words[2]) if len(words) == 3 and not parts[0].stores else "write"
    if "`" in command or "$(" in command:
        return "write"
    return "read" if all(_part_looks(part) for part in parts) else "write"


@dataclass(slots=True)
class _Part:
    """A simple command of a command line."""

    words: list[str] = field(default_factory=list)
    fed: str | None = None
    """What it reads from a pipe or a file, as far as that is known; None: it is given nothing."""
    stores: bool = False
    """Whether its output goes to a file."""


_UNKNOWN = "\0"
"""Stands for input that nobody can tell."""


def _parts(command: str) -> list[_Part]:
    """Take a command line apart, quotations respected.

    An operator in quotation marks is taken for one: the parts then are shorter, and what is in
    none of them is in the next.

    Raises:
        ValueError: A quotation is not closed.
    """
    lexer = shlex.shlex(command, posix=True, punctuation_chars=_OPERATORS)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    tokens, parts = list(lexer), [_Part()]
    while tokens:
        token = tokens.pop(0)
        if not token or token.strip(_OPERATORS):
            parts[-1].words.append(token)
        elif ">" in token or "<" in token:
            target = tokens.pop(0) if tokens else ""
            if ">" not in token:
                parts[-1].fed = _UNKNOWN
            elif parts[-1].words and parts[-1].words[-1] in ("1", "2"):
                parts[-1].words.pop()
            same = token.endswith(">&") and target in ("1", "2")
            parts[-1].stores |= ">" in token and not same and target not in _SILENT
        else:
            piped = token.startswith("|") and not token.startswith("||")
            parts.append(_Part(fed=_said(parts[-1].words) if piped else None))
    return [part for part in parts if part.words or part.stores]


def _said(words: list[str]) -> str:
    """Return what a command puts into a pipe, where that can be told: of a plain ``echo``."""
    text = " ".join(words[1:])
    return text if words[:1] == ["echo"] and not set(text) & {"\\", "$"} else _UNKNOWN


def _part_looks(part: _Part) -> bool:
    """Say whether a simple command only looks, with what it is fed."""
    if part.stores or not _looks(part.words):
        return False
    if part.fed is None:
        return True
    match part.words[0].rpartition("/")[2]:
        case "psql":
            return part.fed != _UNKNOWN and sql_effect(part.fed) == "read"
        case "valkey-cli" | "redis-cli" | "nc":
            return part.fed != _UNKNOWN and cache_effect(part.fed) == "read"
        case _:
            return True


def sql_effect(sql: str) -> Effect:
    """Say whether every statement (or ``psql`` command) only looks."""
    opaque = list(_SQL_OPAQUE.finditer(sql))
    if any(m["comment"] and "/*" in m["comment"][2:] for m in opaque):
        # PostgreSQL nests comments; where this one ends is not worth finding out.
        return "write"
    for statement in _SQL_OPAQUE.sub(lambda m: " " if m["comment"] else "''", sql).split(";"):
        words = statement.split()
        if not words or _PSQL_LOOKS.fullmatch(statement.strip()):
            continue
        if words[0].upper() not in _SQL_READS or _SQL_ACTS.search(statement):
            return "write"
    return "read"


def cache_effect(command: str) -> Effect:
    """Say whether a Valkey command only looks."""
    words = command.upper().split()
    if not words:
        return "read"
    if words[0] in _CACHE_READS:
        return "read"
    return "read" if len(words) > 1 and words[1] in _CACHE_SUBREADS.get(words[0], ()) else "write"


def queue_effect(command: str) -> Effect:
    """Say whether a command of ``nats`` (its words without the name) only looks.

    Subject and verb must come first: an option before them could take one of them for its value.
    """
    words = command.split()
    looks = not words or (len(words) > 1 and words[1] in _QUEUE_READS.get(words[0], ()))
    return "read" if looks else "write"


_ACTING_OPTIONS = {
    "date": ("-s", "--s"),
    "find": ("-delete", "-exec", "-ok", "-fprint", "-fls"),
    "openssl": ("-out", "-writerand"),
    "sort": ("-o", "--output"),
    "wget": ("--post", "--method", "--body"),
}
"""Programs that only look, but with an option that begins so."""


def _looks(words: list[str]) -> bool:
    """Say whether one simple command only looks."""
    name = words[0].rpartition("/")[2]
    if name in _ACTING_OPTIONS:
        return not any(word.startswith(_ACTING_OPTIONS[name]) for word in words[1:])
    match name:
        case "curl":
            return all(
                _curl_looks(name, value) for name, value in _options(words[1:], _CURL_VALUES)
            )
        case "psql":
            return _psql_effect(words) == "read"
        case "valkey-cli" | "redis-cli":
            return cache_effect(" ".join(_after_options(words))) == "read"
        case "nats":
            return queue_effect(shlex.join(words[1:])) == "read"
        case "llmctl":
            return words[1:2] in ([], ["status"], ["get"])
        case "env":
            # With a word that sets nothing it runs a program.
            return all(_env_looks(word) for word in words[1:])
        case "sysctl":
            return not any("=" in word or word.startswith("-w") for word in words[1:])
        case "nc":
            return not any(word[:1] == "-" and set(word) & {"e", "c"} for word in words[1:])
        case _:
            return name in _LOOKERS


def _env_looks(word: str) -> bool:
    """Say whether a word of ``env`` runs nothing: what sets nothing does, and so does ``-S``."""
    if word.startswith("-"):
        return "S" not in word and not word.startswith("--s")
    return "=" in word


def _options(
    words: list[str], values: Sequence[str], *, shortened: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of every option; short ones may be joined (``-sSo /dev/null``).

    Args:
        words: What follows the program's name.
        values: Names of the options that take a value.
        shortened: Whether the beginning of such a name is enough.
    """
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if shortened and len(name) > 1:
                name = next((full for full in values if full.startswith(name)), name)
            if name in values and not equals:
                value = rest.pop(0) if rest else ""
            yield name, value
            continue
        joined = word[1:] if word.startswith("-") else ""
        while joined:
            name, joined = joined[0], joined[1:]
            value = ""
            if name in values:
                value, joined = joined or (rest.pop(0) if rest else ""), ""
            yield name, value


def _curl_looks(name: str, value: str) -> bool:
    """Say whether an option of curl leaves the request a look; unknown ones do not."""
    if name in ("X", "request"):
        return value.upper() in ("GET", "HEAD", "OPTIONS")
    if name in ("o", "output"):
        return value in ("/dev/null", "-")
    return name in _CURL_FLAGS or name in _CURL_VALUES


def _psql_effect(words: list[str]) -> Effect:
    """Judge the statements given with ``-c``; without any there is nothing to run."""
    for name, value in _options(words[1:], _PSQL_VALUES, shortened=True):
        if name in ("f", "o", "L", "file", "output", "log-file"):
            return "write"
        if name in ("c", "command") and sql_effect(value) == "write":
            return "write"
    return "read"


def _after_options(words: list[str]) -> list[str]:
    """Drop ``valkey-cli`` and its options; what remains is the command."""
    rest = words[1:]
    while rest and rest[0].startswith("-"):
        rest = (
            rest[2:] if rest[0] in ("-h", "-p", "-a", "-u", "-n", "--user", "--pass") else rest[1:]
        )
    return rest
