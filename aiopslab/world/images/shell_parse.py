"""The little language of ``sh -c``: words, pipes, lists, redirections, variables.

Understood: quotes, ``$VAR`` and ``${VAR:-default}``, ``|``, ``&&``, ``||``, ``;``, ``2>&1``,
``>/dev/null`` and ``2>/dev/null``. Not here: commands (``shell_*``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Operator = Literal["", "&&", "||", ";"]
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+)|(\?))")
_REDIRECT = re.compile(r"([12&]?)>(>?)(&[12])?")


class SyntaxProblem(Exception):
    """The script cannot be read; the message is the shell's."""


@dataclass(slots=True)
class Command:
    """A simple command."""

    argv: list[str] = field(default_factory=list)
    merge: bool = False
    """``2>&1``"""
    drop_out: bool = False
    drop_err: bool = False


@dataclass(slots=True)
class Pipeline:
    """Commands joined by pipes; ``after`` says when it runs."""

    after: Operator
    commands: list[Command]


def parse(script: str, env: Mapping[str, str]) -> list[Pipeline]:
    """Read a script.

    Raises:
        SyntaxProblem: Unbalanced quotes, a stray operator, or something not understood.
    """
    pipelines = [Pipeline("", [Command()])]
    for token in _tokens(script):
        commands = pipelines[-1].commands
        if token in (";", "\n", "&&", "||", "|"):
            if not commands[-1].argv:
                if token in (";", "\n") and len(commands) == 1:
                    continue
                raise SyntaxProblem(f"syntax error: unexpected {token!r}".replace("'", '"'))
            if token == "|":
                commands.append(Command())
            else:
                operator: Operator = "&&" if token == "&&" else "||" if token == "||" else ";"
                pipelines.append(Pipeline(operator, [Command()]))
        elif token == "&":
            raise SyntaxProblem("background jobs are not supported in a non-interactive shell")
        elif match := _REDIRECT.match(token):
            _redirect(commands[-1], match, token[match.end() :])
        else:
            commands[-1].argv += _expand(token, env)
    if not pipelines[-1].commands[-1].argv:
        if len(pipelines[-1].commands) > 1 or pipelines[-1].after in ("&&", "||"):
            raise SyntaxProblem("syntax error: unexpected end of file")
        pipelines.pop()
    return pipelines


def _tokens(script: str) -> list[str]:
    """Split into words with their quotes, and operators."""
    pattern = re.compile(
        r"""(?P<space>[ \t]+|\#[^\n]*)
        |(?P<redirect>[12&]?>>?(?:&[12]|[ \t]*[^\s|&;<>]+))
        |(?P<op>\n|&&|\|\||[|;&])
        |(?P<word>(?:[^\s|&;<>'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+)""",
        re.VERBOSE | re.DOTALL,
    )
    found, at = [], 0
    while at < len(script):
        match = pattern.match(script, at)
        if match is None:
            rest = script[at]
            if rest in "'\"":
                raise SyntaxProblem("syntax error: unterminated quoted string")
            raise SyntaxProblem(f'syntax error: unexpected "{rest}"')
        if match.lastgroup != "space":
            found.append(match.group())
        at = match.end()
    return found


def _redirect(command: Command, match: re.Match[str], target: str) -> None:
    stream, _, duplicate = match.groups()
    if duplicate:
        command.merge |= duplicate == "&1" and stream == "2"
        return
    if target.strip() != "/dev/null":
        raise SyntaxProblem(f"can't create {target.strip()}: Read-only file system")
    command.drop_err |= stream in ("2", "&")
    command.drop_out |= stream in ("", "1", "&")


def _expand(word: str, env: Mapping[str, str]) -> list[str]:
    """Replace variables outside of single quotes, then remove quotes."""

    def value(match: re.Match[str]) -> str:
        braced, default, plain, status = match.groups()
        if status:
            return "0"
        return env.get(braced or plain, "") or (default or "")

    pieces = re.findall(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"|(?:[^'\"\\]|\\.)+", word)
    out, quoted = "", False
    for piece in pieces:
        if piece[0] == "'":
            out, quoted = out + piece[1:-1], True
        elif piece[0] == '"':
            inner = _VARIABLE.sub(value, piece[1:-1])
            out, quoted = out + re.sub(r"\\([\"\\$`])", r"\1", inner), True
        else:
            out += re.sub(r"\\(.)", r"\1", _VARIABLE.sub(value, piece))
    return [out] if out or quoted else []
