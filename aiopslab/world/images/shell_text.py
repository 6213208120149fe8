"""Commands on files and text: cat, ls, grep, head, tail, wc, sort, uniq, cut, echo."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from aiopslab.models.kube import ExecResult
from aiopslab.telemetry.regex import compile_bounded, search
from aiopslab.world.container import Container
from aiopslab.world.images.shell_proc import proc_file

Run = Callable[[Container, Sequence[str], str], Awaitable[ExecResult]]
_ROOT = ("bin", "dev", "etc", "home", "lib", "proc", "root", "run", "sys", "tmp", "usr", "var")


def read_file(box: Container, path: str) -> str | None:
    """Return the text of a file; None if there is none."""
    if path in box.files:
        return box.files[path]
    match path:
        case "/etc/hostname":
            return f"{box.pod.name}\n"
        case "/etc/resolv.conf":
            return box.netns.resolver.resolv_conf()
        case "/etc/hosts":
            own = f"127.0.0.1\tlocalhost\n{box.pod.ip}\t{box.pod.name}\n"
            return own + box.netns.resolver.host_lines()
        case "/etc/os-release":
            return 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'
    return proc_file(box, path)


def directory(box: Container, path: str) -> list[str] | None:
    """List a directory; None if there is none."""
    prefix = path.rstrip("/") + "/"
    mounted = [*box.files, *(f"{mount}/." for mount in box.volumes)]
    for mount, volume in box.volumes.items():
        mounted += [f"{mount}/{name}" for name in volume.files()]
    names = {p[len(prefix) :].split("/")[0]: None for p in mounted if p.startswith(prefix)}
    names.pop(".", None)
    if prefix == "/":
        names |= dict.fromkeys(_ROOT)
    elif prefix == "/etc/":
        names |= dict.fromkeys(("hostname", "hosts", "os-release", "resolv.conf"))
    known = names or prefix in ("/tmp/", "/home/", "/root/") or path in box.volumes
    return sorted(names) if known else None


async def _cat(box: Container, args: Sequence[str], stdin: str) -> ExecResult:
    paths = [word for word in args if not word.startswith("-") or word == "-"]
    if not paths:
        return ExecResult(stdin, "", 0)
    out, err = _read(box, "cat", paths, stdin)
    return ExecResult(out, err, 1 if err else 0)


def _read(box: Container, name: str, paths: Iterable[str], stdin: str) -> tuple[str, str]:
    """Return the texts of the files one after another, and the complaints."""
    out, err = "", ""
    for path in paths:
        text = stdin if path == "-" else read_file(box, path)
        if text is not None:
            out += text
        elif directory(box, path) is not None:
            err += f"{name}: {path}: Is a directory\n"
        else:
            err += f"{name}: {path}: No such file or directory\n"
    return out, err


async def _ls(box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    long = any(word.startswith("-") and "l" in word for word in args)
    paths = [word for word in args if not word.startswith("-")] or ["/"]
    out, err = "", ""
    for path in paths:
        text = read_file(box, path)
        names = [path] if text is not None else directory(box, path)
        if names is None:
            err += f"ls: {path}: No such file or directory\n"
            continue
        if len(paths) > 1 and text is None:
            out += f"{path}:\n"
        for name in names:
            out += _entry(box, path, name, text is not None) if long else f"{name}\n"
    return ExecResult(out, err, 1 if err else 0)


def _entry(box: Container, parent: str, name: str, is_file: bool) -> str:
    path = name if is_file else f"{parent.rstrip('/')}/{name}"
    text = read_file(box, path)
    mode, size = ("drwxr-xr-x", 4096) if text is None else ("-rw-r--r--", len(text.encode()))
    return f"{mode}    1 root     root     {size:>9} {name}\n"


async def _echo(_box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    words = list(args)
    newline = words[:1] != ["-n"]
    text = " ".join(words if newline else words[1:])
    return ExecResult(text + ("\n" if newline else ""), "", 0)


async def _printf(_box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    text = (args[0] if args else "").replace("\\n", "\n").replace("\\t", "\t")
    for value in args[1:]:
        before, *rest = re.split(r"%[sd]", text, maxsplit=1)
        text = before + value + rest[0] if rest else text
    return ExecResult(text, "", 0)


async def _grep(box: Container, args: Sequence[str], stdin: str) -> ExecResult:
    flags = "".join(word[1:] for word in args if word.startswith("-") and len(word) > 1)
    words = [word for word in args if not word.startswith("-")]
    if not words:
        return ExecResult("", "Usage: grep [-ivcnoEFq] PATTERN [FILE]...\n", 2)
    source = re.escape(words[0]) if "F" in flags else words[0]
    if "E" not in flags:
        source = source.replace("\\|", "|")
    text, err = _read(box, "grep", words[1:] or ["-"], stdin)
    fold = re.IGNORECASE if "i" in flags else 0
    try:
        pattern = compile_bounded(source, fold)
        lines = [
            (number, line)
            for number, line in enumerate(text.splitlines(), start=1)
            if (search(source, line, fold) is None) == ("v" in flags)
        ]
    except re.error as error:
        return ExecResult("", f"grep: bad regex '{words[0]}': {error}\n", 2)
    code = 2 if err else 0 if lines else 1
    if "q" in flags:
        return ExecResult("", err, code)
    if "c" in flags:
        return ExecResult(f"{len(lines)}\n", err, code)
    if "o" in flags:
        return ExecResult(
            "".join(f"{m.group()}\n" for _, line in lines for m in pattern.finditer(line)),
            err,
            code,
        )
    return ExecResult(
        "".join(f"{n}:{line}\n" if "n" in flags else f"{line}\n" for n, line in lines), err, code
    )


def _count(args: Sequence[str]) -> tuple[int, list[str]] | None:
    """Read ``-n N`` or ``-N`` and the files; None if the number is none."""
    count, files, rest = 10, [], list(args)
    while rest:
        word = rest.pop(0)
        if word == "-n" and rest:
            word = f"-{rest.pop(0).lstrip('-')}"
        if re.fullmatch(r"-n?\d{1,18}", word, re.ASCII):
            count = int(word.lstrip("-n"))
        elif word.startswith("-"):
            return None
        else:
            files.append(word)
    return count, files


def _first(lines: list[str], count: int) -> list[str]:
    return lines[:count]


def _last(lines: list[str], count: int) -> list[str]:
    return lines[-count:] if count else []


def _slice(name: str, choose: Callable[[list[str], int], list[str]]) -> Run:
    async def run(box: Container, args: Sequence[str], stdin: str) -> ExecResult:
        read = _count(args)
        if read is None:
            return ExecResult("", f"{name}: invalid option\n", 1)
        text, err = _read(box, name, read[1] or ["-"], stdin)
        lines = choose(text.splitlines(keepends=True), read[0])
        return ExecResult("".join(lines), err, 1 if err else 0)

    return run


async def _wc(box: Container, args: Sequence[str], stdin: str) -> ExecResult:
    flags = "".join(word[1:] for word in args if word.startswith("-")) or "lwc"
    files = [word for word in args if not word.startswith("-")]
    text, err = _read(box, "wc", files or ["-"], stdin)
    counts = {"l": text.count("\n"), "w": len(text.split()), "c": len(text.encode())}
    shown = " ".join(str(counts[flag]) for flag in "lwc" if flag in flags)
    return ExecResult(f"{shown}\n", err, 1 if err else 0)


async def _sort(box: Container, args: Sequence[str], stdin: str) -> ExecResult:
    flags = "".join(word[1:] for word in args if word.startswith("-"))
    files = [word for word in args if not word.startswith("-")]
    text, err = _read(box, "sort", files or ["-"], stdin)
    lines = text.splitlines()
    if "n" in flags:
        lines.sort(key=lambda line: (_number(line), line), reverse="r" in flags)
    else:
        lines.sort(reverse="r" in flags)
    if "u" in flags:
        lines = list(dict.fromkeys(lines))
    return ExecResult("".join(f"{line}\n" for line in lines), err, 1 if err else 0)


def _number(line: str) -> float:
    match = re.match(r"\s*-?\d+(?:\.\d+)?", line)
    return float(match.group()) if match else 0.0


async def _uniq(box: Container, args: Sequence[str], stdin: str) -> ExecResult:
    runs: list[tuple[str, int]] = []
    for line in stdin.splitlines():
        if runs and runs[-1][0] == line:
            runs[-1] = (line, runs[-1][1] + 1)
        else:
            runs.append((line, 1))
    show = "-c" in args
    out = "".join(f"{n:>7} {line}\n" if show else f"{line}\n" for line, n in runs)
    return ExecResult(out, "", 0)


COMMANDS: Mapping[str, Run] = {
    "cat": _cat,
    "echo": _echo,
    "egrep": lambda box, args, stdin: _grep(box, ["-E", *args], stdin),
    "grep": _grep,
    "head": _slice("head", _first),
    "ls": _ls,
    "printf": _printf,
    "sort": _sort,
    "tail": _slice("tail", _last),
    "uniq": _uniq,
    "wc": _wc,
}
