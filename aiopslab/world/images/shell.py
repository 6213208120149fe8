"""Commands inside a container: what ``kubectl exec`` finds in a minimal image.

A real look at the world from inside: environment, mounted files, processes, disk, and requests
over the network. No package manager, no compiler; writing to the file system is not possible. Not
here: the language of ``sh -c`` (``shell_parse``), clients of databases (their images).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiopslab.models.kube import ExecResult
from aiopslab.world.container import NOT_FOUND, Container
from aiopslab.world.images import shell_network, shell_system, shell_text, shell_tls
from aiopslab.world.images.shell_input import SHELLS
from aiopslab.world.images.shell_parse import Command, SyntaxProblem, parse

Run = Callable[[Container, Sequence[str], str], Awaitable[ExecResult]]


async def shell(box: Container, argv: Sequence[str], stdin: str = "") -> ExecResult:
    """Run a command; an unknown one ends with 127, as the container runtime says it."""
    name = argv[0].rpartition("/")[2] if argv else ""
    if name in SHELLS:
        return await _script(box, argv, stdin)
    run = COMMANDS.get(name)
    if run is None:
        return ExecResult(
            "",
            f'exec: "{argv[0] if argv else ""}": executable file not found in $PATH\n',
            NOT_FOUND,
        )
    return await run(box, argv[1:], stdin)


async def _script(box: Container, argv: Sequence[str], stdin: str) -> ExecResult:
    """Run ``sh -c SCRIPT``, or a script from standard input."""
    name = argv[0].rpartition("/")[2]
    flags = [word for word in argv[1:] if word.startswith("-")]
    words = [word for word in argv[1:] if not word.startswith("-")]
    if not any("c" in flag for flag in flags):
        if words:
            return ExecResult("", f"{name}: can't open '{words[0]}': No such file\n", 2)
        script, stdin = stdin, ""  # read to its end: nothing is left for the commands
    elif not words:
        return ExecResult("", f"{name}: -c requires an argument\n", 2)
    else:
        script = words[0]
    try:
        pipelines = parse(script, box.env)
    except SyntaxProblem as problem:
        return ExecResult("", f"{name}: {problem}\n", 2)
    out, err, code = "", "", 0
    for pipeline in pipelines:
        skip = (pipeline.after == "&&" and code != 0) or (pipeline.after == "||" and code == 0)
        if skip:
            continue
        result = await _pipe(box, pipeline.commands, stdin)
        out, err, code = out + result.stdout, err + result.stderr, result.code
        if pipeline.commands[0].argv[0] == "exit":
            break
    return ExecResult(out, err, code)


async def _pipe(box: Container, commands: Sequence[Command], stdin: str) -> ExecResult:
    text, err, code = stdin, "", 0
    for command in commands:
        result = await _simple(box, command, text)
        code = result.code
        text = "" if command.drop_out else result.stdout
        problem = "" if command.drop_err else result.stderr
        if command.merge and not command.drop_out:
            text += problem
        elif not command.merge:
            err += problem
    return ExecResult(text, err, code)


async def _simple(box: Container, command: Command, stdin: str) -> ExecResult:
    name = command.argv[0]
    if name == "exit":
        text = command.argv[1] if len(command.argv) > 1 else "0"
        return ExecResult("", "", int(text) & 255 if re.fullmatch(r"[0-9]{1,18}", text) else 2)
    if name in ("cd", "set", "export", "ulimit"):
        return ExecResult("", "", 0)
    if name.rpartition("/")[2] in (*COMMANDS, *SHELLS):
        return await shell(box, command.argv, stdin)
    # The image's own clients (psql, valkey-cli) are the program's business.
    result = await box.exec(command.argv, stdin)
    if result.code == NOT_FOUND:
        return ExecResult("", f"sh: {name}: not found\n", NOT_FOUND)
    return result


async def _which(_box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    known = [word for word in args if word in COMMANDS or word in SHELLS]
    code = 0 if len(known) == len(args) else 1
    return ExecResult("".join(f"/bin/{word}\n" for word in known), "", code)


COMMANDS: Mapping[str, Run] = {
    **shell_system.COMMANDS,
    **shell_text.COMMANDS,
    **shell_network.COMMANDS,
    **shell_tls.COMMANDS,
    "which": _which,
}
