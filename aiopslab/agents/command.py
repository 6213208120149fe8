"""``cmd:PROGRAM ...``: an agent that is a program of its own, in any language.

It gets a private directory, the trial's addresses in its environment and a command line in which
placeholders are filled; never a shell. It answers by the tool ``submit`` through any door, by
``aiopslab submit``, or by leaving ``answer.json``. Ending without an answer is its failure. Neither
here: what it finds (``workplace``), how it is run and bounded (``process``, ``sandbox``).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiopslab.agents.process import Ended, Program, run_leashed
from aiopslab.agents.protocol import TrialHandle
from aiopslab.agents.spec import ModelSettings, Surroundings
from aiopslab.agents.workplace import PLACEHOLDERS, Workplace
from aiopslab.content import near
from aiopslab.errors import AgentError, PreflightError, UsageError

PREFIX = "cmd:"
MODEL_PLACEHOLDERS = ("model", "base_url")
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Quarters:
    """Where a program runs: a workplace and what runs it there."""

    place: Workplace
    environment: Mapping[str, str]
    """What this place adds to the environment."""
    run: Callable[[Program], Awaitable[Ended]]
    folder: str | None
    """Where the program sees the agent's own folder; None without one."""


class CommandLine:
    """A command line with placeholders.

    Args:
        text: What follows ``cmd:``.
        folder: Folder of the agent's ``agent.yaml``, named ``{folder}``; None without one.
        arguments: Names of the agent's own arguments, placeholders too.

    Raises:
        UsageError: It is empty, cannot be split, or names an unknown placeholder.
    """

    def __init__(
        self, text: str, *, folder: Path | None = None, arguments: Collection[str] = ()
    ) -> None:
        self.text = text
        self.folder = folder
        try:
            self._words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"{text!r} is no command line: {error}") from error
        if not self._words:
            raise UsageError("cmd: names no program", hint='-a "cmd:my-agent --mcp {mcp_config}"')
        known = [*PLACEHOLDERS, *MODEL_PLACEHOLDERS, *arguments, *(["folder"] if folder else [])]
        for name in self.names:
            if name not in known:
                hint = near(name, known) or f"placeholders: {', '.join(known)}"
                raise UsageError(f"{text!r}: unknown placeholder {{{name}}}", hint=hint)

    @property
    def names(self) -> list[str]:
        """The placeholders it uses."""
        return [name for word in self._words for name in _PLACEHOLDER.findall(word)]

    @property
    def program(self) -> str:
        """The program's name or path on this machine, as far as it is known before the trial."""
        return from_here(self._words[0].replace("{folder}", str(self.folder)))

    def filled(self, values: Mapping[str, str]) -> list[str]:
        """Return the arguments with every placeholder replaced; a value stays one argument."""
        return [_PLACEHOLDER.sub(lambda m: values[m[1]], word) for word in self._words]


class CommandAgent:
    """Runs a program once for a trial.

    Args:
        line: Its command line.
        values: Fill placeholders of their names.
        surroundings: Variables it gets beside its own, and where it runs.
        model: Fills ``{model}`` and ``{base_url}``.
    """

    needs_doors = True

    def __init__(
        self,
        line: CommandLine,
        *,
        values: Mapping[str, object] | None = None,
        surroundings: Surroundings | None = None,
        model: ModelSettings | None = None,
    ) -> None:
        self._line = line
        self._surroundings = surroundings or Surroundings()
        self._values = {name: _text(value) for name, value in (values or {}).items()}
        if model is not None:
            self._values |= {"model": model.model, "base_url": model.base_url or ""}

    async def run(self, trial: TrialHandle) -> None:
        """Run the program; submit what it left, if it submitted nothing itself.

        Raises:
            AgentError: It ended without an answer, or with one that is refused.
        """
        given = self._surroundings.variables()
        async with self._quarters(trial) as quarters:
            place = quarters.place
            place.furnish(trial.brief)
            program = Program(
                self._argv(quarters),
                place.root,
                {**quarters.environment, **place.defaults(), **given, **place.environment()},
            )
            secrets = [place.doors.token, *self._surroundings.secrets()]
            try:
                ended = await quarters.run(program)
            finally:
                trial.keep("stdout.txt", program.out.content(secrets))
                trial.keep("stderr.txt", program.err.content(secrets))
            if not trial.ended:
                await _submit(trial, place, ended, program.err.last_line(secrets))

    def _argv(self, quarters: Quarters) -> list[str]:
        values = {**self._values, **quarters.place.placeholders()}
        argv = self._line.filled({**values, "folder": quarters.folder or ""})
        return argv if self._sandboxed else [from_here(argv[0]), *argv[1:]]

    @property
    def _sandboxed(self) -> bool:
        return self._surroundings.sandbox == "docker"

    def _quarters(self, trial: TrialHandle) -> AbstractAsyncContextManager[Quarters]:
        folder = self._line.folder
        if self._sandboxed:
            # The Docker SDK is loaded where a container is asked for.
            from aiopslab.agents.sandbox import in_container  # noqa: PLC0415

            return in_container(trial, self._surroundings.image or "", folder)
        return _on_this_machine(trial, folder)


def from_here(program: str) -> str:
    """Return a program's path in full, for it is started from another directory than this.

    Links stay: an environment's interpreter is one.
    """
    return str(Path(program).absolute()) if "/" in program else program


def preflight(line: CommandLine, surroundings: Surroundings) -> None:
    """Refuse what cannot start.

    Raises:
        PreflightError: The program, a variable, or what the sandbox needs is not there.
    """
    surroundings.variables()
    if surroundings.sandbox == "docker":
        from aiopslab.agents.sandbox import preflight as ready  # noqa: PLC0415

        ready(surroundings.image)
    elif not _PLACEHOLDER.search(line.program) and shutil.which(line.program) is None:
        raise PreflightError(
            f"there is no program {line.program!r}", hint="install it, or give its path"
        )


@asynccontextmanager
async def _on_this_machine(trial: TrialHandle, folder: Path | None) -> AsyncIterator[Quarters]:
    if trial.doors is None:
        raise PreflightError("a cmd: agent works on a trial that is served", hint="--serve")
    with private_directory() as root:
        yield Quarters(
            Workplace(root, str(root), trial.doors),
            {"PATH": _path()},
            run_leashed,
            str(folder) if folder else None,
        )


@contextmanager
def private_directory() -> Iterator[Path]:
    """Make a directory that only its owner can enter; it goes, whatever was left in it."""
    path = Path(tempfile.mkdtemp(prefix="agent-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _path() -> str:
    """Return the search path; ``aiopslab submit`` is found on it however this was started."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])


async def _submit(trial: TrialHandle, place: Workplace, ended: Ended, last_words: str) -> None:
    """Submit what the program left, or say how it ended without."""
    answer = place.answer()
    if answer is None:
        said = f"; its last words: {last_words}" if last_words else ""
        raise AgentError(f"the program ended without an answer: {ended}{said}")
    seen = await trial.call("submit", **answer)
    if not seen.ok:
        raise AgentError(f"the answer it left was refused: {seen.text}")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
