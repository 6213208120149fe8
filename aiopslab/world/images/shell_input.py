"""Whether a command waits for its standard input, or does not care about it.

A client that offers input (``kubectl exec -i``) may never end it; a command that reads none must
run at once all the same. Not here: running commands (``shell``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiopslab.world.images.shell_parse import SyntaxProblem, parse

SHELLS = ("sh", "bash", "ash")

_FILTERS = {
    "cat": (0, ""), "head": (0, "nc"), "tail": (0, "nc"), "wc": (0, ""), "sort": (0, "kt"),
    "uniq": (0, ""), "cut": (0, "dfc"), "grep": (1, "emABC"), "egrep": (1, "emABC"),
    "tee": (9, ""),
}  # fmt: skip
"""Commands that read their input when no file is named: operands before files, and the options
that take a value."""
_CLIENT_VALUES = {"psql": "Udhpv", "valkey-cli": "hpanu", "redis-cli": "hpanu"}


def is_plain_shell(argv: Sequence[str]) -> bool:
    """Whether this is a shell that takes its commands from standard input."""
    flags = [word.lstrip("-") for word in argv[1:]]
    named = bool(argv) and argv[0].rpartition("/")[2] in SHELLS
    return named and all(w.startswith("-") for w in argv[1:]) and not any("c" in f for f in flags)


def waits_for_input(argv: Sequence[str]) -> bool:
    """Whether a command reads its standard input to the end before it is done."""
    name = argv[0].rpartition("/")[2] if argv else ""
    if name in SHELLS:
        if is_plain_shell(argv):
            return True
        try:
            pipelines = parse(next((w for w in argv[1:] if not w.startswith("-")), ""), {})
        except SyntaxProblem:
            return False
        return any(waits_for_input(p.commands[0].argv) for p in pipelines)
    if name == "psql":
        ends = ("-c", "-f", "-l", "-V", "--command", "--file", "--list", "--version", "--help")
        return not any(word.startswith(ends) for word in argv[1:])
    if name in _CLIENT_VALUES:
        return not _operands(argv[1:], _CLIENT_VALUES[name])
    if name not in _FILTERS:
        return False
    needed, valued = _FILTERS[name]
    if name.endswith("grep") and "-e" in argv:
        needed = 0
    operands = _operands(argv[1:], valued)
    return len(operands) <= needed or "-" in operands


def _operands(words: Iterable[str], valued: str) -> list[str]:
    """Return the words that are neither options nor their values."""
    found, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-") and word != "-":
            skip = len(word) == 2 and word[1] in valued
        else:
            found.append(word)
    return found
