"""Finding agents: by name, folder, class, command line or URL.

``module:Class``, ``file.py:Class``, ``cmd:PROGRAM ...`` and ``webhook:URL`` say what they are. A
name is a built-in or a folder of the content room ``agents``; a folder holds ``agent.yaml``.
Importing an agent runs its code; nothing is imported before it is asked for. Not here: the
contract (``protocol``), what ``agent.yaml`` may say (``spec``).
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from aiopslab.agents import webhook
from aiopslab.agents.builtins import Noop
from aiopslab.agents.command import PREFIX, CommandAgent, CommandLine, preflight
from aiopslab.agents.external import External
from aiopslab.agents.human import Human
from aiopslab.agents.prices import load_prices
from aiopslab.agents.protocol import ActionAgent, Agent
from aiopslab.agents.replay import Replay
from aiopslab.agents.spec import NOTHING, AgentSpec, ArgSpec, ModelSettings, Surroundings
from aiopslab.agents.trivial import TRIVIAL
from aiopslab.agents.upstream import UpstreamAgent
from aiopslab.content import files, load_model, near
from aiopslab.errors import AgentError, AIOpsLabError, PreflightError, UsageError

ORACLE = "oracle"
"""Known by name only: the orchestrator makes it, since it alone knows the plan."""

EXTERNAL = "external"
HUMAN = "human"
"""Plays where the terminal is; a run's trials are played by processes that have none."""

_BUILTIN: dict[str, tuple[AgentSpec, Callable[..., Any] | None]] = {
    "noop": (AgentSpec(name="noop", version="1", summary="Submits the laziest answer."), Noop),
    ORACLE: (
        AgentSpec(name=ORACLE, version="1", summary="Plays the reference fix and the truth."),
        None,
    ),
    EXTERNAL: (
        AgentSpec(
            name=EXTERNAL, version="1", summary="Whoever comes through the doors and submits."
        ),
        External,
    ),
    HUMAN: (
        AgentSpec(name=HUMAN, version="1", summary="You, at a terminal: aiopslab play."), Human
    ),
    "replay": (
        AgentSpec(
            name="replay", version="1", summary="Issues the calls of a recorded trial again.",
            args={"steps": ArgSpec(help="steps.jsonl or the directory of a trial")},
            rehearsed=True,
        ),
        Replay,
    ),
    **{
        name: (AgentSpec(name=name, version="1", summary=inspect.getdoc(made) or ""), made)
        for name, made in TRIVIAL.items()
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AgentLoader:
    """A found agent; ``build`` makes a fresh one for each trial."""

    spec: AgentSpec
    folder: Path | None
    """Folder of its content; None for built-ins and modules."""
    factory: Callable[[], Callable[..., Any]]
    line: CommandLine | None = None
    """The command line where the agent is a program; ``factory`` is not asked then."""

    def preflight(
        self,
        arguments: dict[str, str],
        model: ModelSettings | None = None,
        surroundings: Surroundings = NOTHING,
        *,
        cost_limit: float | None = None,
    ) -> None:
        """Refuse, before anything boots, what cannot be built or started.

        Raises:
            UsageError: An argument is unknown, malformed or missing; its module cannot be imported,
                or its class does not keep the contract.
            PreflightError: A model, key, program, variable or container engine is missing, or the
                price that a cost limit needs.
        """
        keywords = self.spec.arguments(arguments)
        self._fits(model, surroundings)
        if self.line is None:
            made = self.factory()
            _check_contract(made)
            if self.spec.rehearsed:
                made(**keywords, **self._model(model))
        if self.line is not None:
            preflight(self.line, surroundings)
        elif self.spec.needs_model and model is not None:
            model.key()
        if self.spec.books_cost:
            prices = load_prices(str(keywords.get("prices", "")))
            if cost_limit is not None and model is not None:
                prices.require(model.name)

    def build(
        self,
        arguments: dict[str, str] | None = None,
        model: ModelSettings | None = None,
        surroundings: Surroundings = NOTHING,
    ) -> Agent:
        """Make the agent.

        Args:
            arguments: As given by ``-A name=value``.
            model: The model to talk to; required where the agent needs one.
            surroundings: What a program is given.

        Raises:
            UsageError: An argument is unknown, malformed or missing.
            PreflightError: A model, key or package is missing.
            AgentError: The agent does not keep the contract.
        """
        keywords = self.spec.arguments(arguments or {})
        self._fits(model, surroundings)
        if self.line is not None:
            return CommandAgent(self.line, values=keywords, surroundings=surroundings, model=model)
        return as_agent(self.factory()(**keywords, **self._model(model)))

    @property
    def modelless(self) -> bool:
        """Whether a model's name would be false of it; of a program it may say what that uses."""
        takes = self.spec.needs_model or self.spec.takes_model or self.line is not None
        return not (takes or self.spec.name == EXTERNAL or self.spec.name.startswith("webhook:"))

    def _model(self, model: ModelSettings | None) -> dict[str, ModelSettings | None]:
        """Return the keyword of an agent that takes a model."""
        return {"model": model} if self.spec.needs_model or self.spec.takes_model else {}

    def _fits(self, model: ModelSettings | None, surroundings: Surroundings) -> None:
        """Check that what was given is what the agent takes."""
        if self.spec.needs_model and model is None:
            raise PreflightError(
                f"agent {self.spec.name!r} needs a model", hint="--model NAME, such as -m gpt-5"
            )
        if self.line is None and surroundings != NOTHING:
            raise UsageError(
                f"agent {self.spec.name!r} is no program",
                hint="--sandbox and --agent-env are for cmd: agents",
            )


def as_agent(made: object) -> Agent:
    """Accept an object with ``run`` or, in the style of AIOpsLab, with ``get_action``.

    Raises:
        AgentError: It has neither as a coroutine function.
    """
    if isinstance(made, Agent) and inspect.iscoroutinefunction(made.run):
        return made
    if isinstance(made, ActionAgent) and inspect.iscoroutinefunction(made.get_action):
        return UpstreamAgent(made)
    raise AgentError(_NEITHER.format(type(made).__name__))


_NEITHER = (
    "{} has neither 'async def run(self, trial)' nor 'async def get_action(self, observation)'"
)


def _check_contract(made: Callable[..., Any]) -> None:
    """Refuse a class whose objects ``as_agent`` would refuse; a function may make anything.

    Raises:
        UsageError: It has neither method as a coroutine function.
    """
    methods = (getattr(made, name, None) for name in ("run", "get_action"))
    if inspect.isclass(made) and not any(map(inspect.iscoroutinefunction, methods)):
        raise UsageError(_NEITHER.format(made.__name__), hint="docs/agents.md has the contract")


def load(reference: str) -> AgentLoader:
    """Find an agent.

    Args:
        reference: A name, the path of a folder, ``module:Class``, ``file.py:Class``, ``cmd:`` and a
            command line, or ``webhook:`` and a URL.

    Raises:
        UsageError: There is none; suggests near names.
        ContentError: Its ``agent.yaml`` is malformed.
    """
    if reference in _BUILTIN:
        spec, factory = _BUILTIN[reference]
        return AgentLoader(spec, None, lambda: _made_elsewhere(reference, factory))
    if reference.startswith(PREFIX):
        return _from_command(reference)
    if reference.startswith(webhook.PREFIX):
        return _from_webhook(reference)
    for path in files("agents", "*/agent.yaml"):
        if path.parent.name == reference:
            return _from_folder(path.parent)
    path = Path(reference)
    if (path / "agent.yaml").is_file():
        return _from_folder(path)
    if ":" in reference:
        return _from_reference(reference)
    raise _unknown(reference)


def _unknown(reference: str) -> UsageError:
    """Say what is not there: what it looks like tells what was meant."""
    if Path(reference).is_dir():
        return UsageError(
            f"{reference!r} holds no agent.yaml", hint="write one, or give file.py:Class"
        )
    if reference.endswith(".py"):
        return UsageError(
            f"{reference!r} names no class", hint=f"add the name of the class: {reference}:Class"
        )
    if "/" in reference:
        return UsageError(f"there is no folder {reference!r}", hint="give a folder with agent.yaml")
    names = [spec.name for spec in known()]
    return UsageError(
        f"there is no agent {reference!r}",
        hint=near(reference, names)
        or f"agents: {', '.join(names)}; a folder, module:Class, cmd:...",
    )


def known() -> list[AgentSpec]:
    """List built-in agents and those of the content room, sorted by name.

    Raises:
        ContentError: An ``agent.yaml`` is malformed.
    """
    specs = {name: spec for name, (spec, _) in _BUILTIN.items()}
    for path in files("agents", "*/agent.yaml"):
        specs.setdefault(path.parent.name, load_model(path, AgentSpec))
    return [specs[name] for name in sorted(specs)]


def _made_elsewhere(name: str, factory: Callable[..., Any] | None) -> Callable[..., Any]:
    if factory is None:
        raise UsageError(f"agent {name!r} is made by a run; use: aiopslab run TARGET -a {name}")
    return factory


def _from_folder(folder: Path) -> AgentLoader:
    spec = load_model(folder / "agent.yaml", AgentSpec)
    if spec.entry.startswith(PREFIX):
        line = CommandLine(
            spec.entry.removeprefix(PREFIX), folder=folder.absolute(), arguments=spec.args
        )
        return AgentLoader(spec, folder, lambda: CommandAgent, line)
    file, _, name = spec.entry.partition(":")
    source = str(folder / file)

    def factory() -> Callable[..., Any]:
        with _importing(source):
            module = _folder_module(folder, Path(file).stem)
        return _class(module, name, source)

    return AgentLoader(spec, folder, factory)


def _from_command(reference: str) -> AgentLoader:
    """Make an agent of a command line."""
    line = CommandLine(reference.removeprefix(PREFIX))
    spec = AgentSpec(name=reference, summary="A program.", needs_model="model" in line.names)
    return AgentLoader(spec, None, lambda: CommandAgent, line)


def _from_webhook(reference: str) -> AgentLoader:
    """Make an agent of the URL of somebody's assistant."""
    url = webhook.checked(reference.removeprefix(webhook.PREFIX))
    spec = AgentSpec(
        name=reference, summary="An assistant at a URL.", args=webhook.ARGUMENTS, rehearsed=True
    )
    return AgentLoader(spec, None, lambda: partial(webhook.Webhook, url))


def _from_reference(reference: str) -> AgentLoader:
    """Load ``module:Class`` or ``file.py:Class``; its arguments are the class's parameters."""
    source, _, name = reference.rpartition(":")
    if source.endswith(".py"):
        path = Path(source)
        if not path.is_file():
            raise UsageError(f"there is no file {source!r}", hint="give file.py:Class")
        with _importing(source):
            module = _file_module(path)
    else:
        with _importing(source):
            module = importlib.import_module(source)
    made = _class(module, name, source)
    return AgentLoader(_spec_of(made, reference), None, lambda: made)


def _spec_of(made: Callable[..., Any], reference: str) -> AgentSpec:
    """Derive a spec from a class: every parameter is an argument, ``model`` is the model."""
    kinds = {int: "integer", float: "number", bool: "boolean"}
    args, needs_model = {}, False
    for parameter in inspect.signature(made).parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.name == "model":
            needs_model = True
            continue
        default, must = parameter.default, parameter.default is parameter.empty
        plain = isinstance(default, str | int | float | bool)
        args[parameter.name] = ArgSpec.model_validate(
            {
                "type": kinds.get(type(default), "string"),
                "default": default if plain else None,
                "optional": not must and not plain,
            }
        )
    summary = (inspect.getdoc(made) or "").split("\n", 1)[0]
    return AgentSpec(name=reference, summary=summary, needs_model=needs_model, args=args)


def _class(module: ModuleType, name: str, source: str) -> Callable[..., Any]:
    made = getattr(module, name, None)
    if not callable(made):
        public = [n for n, v in vars(module).items() if inspect.isclass(v) and n[0] != "_"]
        hint = near(name, public) or f"classes: {', '.join(public) or 'none'}"
        raise UsageError(f"{source!r} has no class {name!r}", hint=hint)
    return made  # type: ignore[no-any-return]  # callable() leaves Any


@contextmanager
def _importing(source: str) -> Iterator[None]:
    """Say in one line why the module of an agent cannot be imported, and where it failed."""
    try:
        yield
    except AIOpsLabError:
        raise
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{source}.".startswith(f"{missing}."):
            file = Path(f"{source.replace('.', '/')}.py")
            here = f"the file is {file}:Class; a module is looked for on PYTHONPATH"
            raise UsageError(
                f"there is no module {missing!r}",
                hint=here if file.is_file() else "give module:Class or file.py:Class",
            ) from error
        said = error.msg if isinstance(error, SyntaxError) else error
        raise UsageError(
            f"{source!r} cannot be imported: {type(error).__name__}: {said}",
            hint=f"{_where(error)}; --debug shows the traceback",
        ) from error


def _where(error: BaseException) -> str:
    """Return file and line of what failed at import, beneath Python's own machinery."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    last = [f for f in frames if not f.filename.startswith("<frozen importlib")][-1]
    return f"{last.filename}:{last.lineno}"


def _folder_module(folder: Path, stem: str) -> ModuleType:
    """Import a module of an agent's folder as part of a package, so that siblings import."""
    home = str(folder.resolve())
    package = f"_aiopslab_agent_{Path(home).name.replace('-', '_')}"
    loaded = sys.modules.get(package)
    if loaded is None or list(loaded.__path__) != [home]:
        # Another folder of this name may have been loaded before; its modules are not ours.
        for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
            del sys.modules[name]
        parent = ModuleType(package)
        parent.__path__ = [home]
        sys.modules[package] = parent
        importlib.invalidate_caches()
    return importlib.import_module(f"{package}.{stem}")


def _file_module(path: Path) -> ModuleType:
    """Import a file that is no part of a package."""
    name = f"_aiopslab_agent_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{str(path)!r} cannot be imported", hint="give a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
