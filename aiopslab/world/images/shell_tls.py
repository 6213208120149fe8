"""``openssl x509``: what a mounted certificate says. No other part of OpenSSL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

from aiopslab.models.kube import ExecResult
from aiopslab.services.certificates import Facts, read
from aiopslab.world.container import Container

Run = Callable[[Container, Sequence[str], str], Awaitable[ExecResult]]

_FIELDS: Mapping[str, Callable[[Facts], list[str]]] = {
    "-subject": lambda c: [f"subject={c.subject}"],
    "-issuer": lambda c: [f"issuer={c.issuer}"],
    "-serial": lambda c: [f"serial={c.serial:X}"],
    "-startdate": lambda c: [f"notBefore={_date(c.not_before)}"],
    "-enddate": lambda c: [f"notAfter={_date(c.not_after)}"],
    "-dates": lambda c: [
        f"notBefore={_date(c.not_before)}",
        f"notAfter={_date(c.not_after)}",
    ],
    "-ext": lambda c: ["X509v3 Subject Alternative Name:", f"    {_names(c)}"],
    "-text": lambda c: [
        "Certificate:",
        f"    Serial Number: {c.serial:x}",
        f"    Issuer: {c.issuer}",
        f"    Not Before: {_date(c.not_before)}",
        f"    Not After : {_date(c.not_after)}",
        f"    Subject: {c.subject}",
        "    X509v3 Subject Alternative Name:",
        f"        {_names(c)}",
        f"    X509v3 Subject Key Identifier: {_colons(c.key_id)}",
        f"    X509v3 Authority Key Identifier: {_colons(c.issuer_key_id)}",
    ],
}


async def _openssl(box: Container, args: Sequence[str], stdin: str) -> ExecResult:
    if not args or args[0] != "x509":
        return ExecResult(
            "", f"Invalid command '{args[0] if args else ''}'; only x509 is here\n", 1
        )
    words, text = list(args[1:]), stdin
    wanted: list[str] = []
    while words:
        word = words.pop(0)
        if word == "-in" and words:
            path = words.pop(0)
            if path not in box.files:
                return ExecResult("", f"Could not open file or uri {path}: No such file\n", 1)
            text = box.files[path]
        elif word in _FIELDS:
            wanted.append(word)
            if word == "-ext" and words:
                words.pop(0)
        elif word not in ("-noout", "-nocert"):
            return ExecResult("", f"x509: Unknown option: {word}\n", 1)
    try:
        found = read(text)[0]
    except ValueError:
        return ExecResult("", "Could not find certificate from <stdin>\n", 1)
    lines = [line for word in wanted for line in _FIELDS[word](found)]
    certificate = [] if {"-noout", "-nocert"} & set(args) else text.splitlines()
    return ExecResult("".join(f"{line}\n" for line in [*lines, *certificate]), "", 0)


def _date(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S} {moment.year} GMT"


def _names(facts: Facts) -> str:
    return ", ".join(f"DNS:{name}" for name in facts.dns_names) or "<none>"


def _colons(digits: str) -> str:
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2)).upper()


COMMANDS: Mapping[str, Run] = {"openssl": _openssl}
