"""What a tool is and what it is given: context, result, refusal, the ``tool`` decorator.

A tool is an async function ``(context, arguments) -> Result`` with a typed argument model. It is
defined once, in a module beside this one, and offered through ``Toolbox`` and the adapters. Not
here: argument errors and paging (``toolbox``), JSON schemas (``schema``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NoReturn, Self, TypeVar

from pydantic import ConfigDict

from aiopslab.environments.protocol import Environment
from aiopslab.models.answer import Answer
from aiopslab.models.base import Model
from aiopslab.models.context_profile import ContextChoice
from aiopslab.models.observation import Effect
from aiopslab.models.task import Task
from aiopslab.tools.memory import IncidentMemory
from aiopslab.tools.schema import validate

ACTOR = "oncall"
"""Who the audit trail and the change log name for an agent's writes."""


class Args(Model):
    """Arguments of a tool: flat, typed, each field documented, numbers accepted as text."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    @classmethod
    def read(cls, arguments: dict[str, Any]) -> Self:
        """Build the arguments from what an agent sent.

        Raises:
            ValidationError: They do not fit; ``schema.explain`` words it.
        """
        return validate(cls, arguments)


class Paged(Args):
    """Arguments of a tool whose answer may be long."""

    cursor: str = ""
    """The cursor of a truncated answer: returns its next page; other arguments are ignored."""


class ToolRefused(Exception):
    """The call cannot be served; the text tells the agent what to do next."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool found or did. ``before`` and ``after`` are the objects of a write."""

    text: str
    data: Any = None
    total: int | None = None
    truncated: bool = False
    before: Any = None
    after: Any = None


@dataclass(slots=True)
class AnswerSink:
    """Where ``submit`` leaves the answer.

    ``closed`` without ``answer`` means: malformed twice, nothing was guessed.
    """

    answer: Answer | None = None
    closed: bool = False
    violations: int = 0
    """Malformed attempts so far; the first is repaired for free, the second closes."""


@dataclass(slots=True)
class ToolContext:
    """The surroundings of a call: the environment, the task, and what the agent may do."""

    env: Environment
    task: Task
    choice: ContextChoice = field(default_factory=ContextChoice)
    """Which context the run offers."""
    actor: str = ACTOR
    sink: AnswerSink = field(default_factory=AnswerSink)
    memory: IncidentMemory | None = None
    """Past incidents of the app, once somebody asked for them."""

    @property
    def namespace(self) -> str:
        """The app's namespace: default of reads, limit of writes."""
        return self.env.namespace

    @property
    def may_write(self) -> bool:
        """Only mitigation changes the system; the other tasks look."""
        return self.task == "mitigation"

    def forbid(self, what: str) -> NoReturn:
        """Refuse a write in the words of an API server."""
        raise ToolRefused(f'Error from server (Forbidden): user "{self.actor}" cannot {what}')


A = TypeVar("A", bound=Args)
Body = Callable[[ToolContext, A], Awaitable[Result]]
Cost = float | Literal["seconds"]
"""Virtual seconds a call takes, or the name of the argument that says so."""


@dataclass(frozen=True, slots=True)
class Tool(Generic[A]):
    """One tool: its function, arguments, effect and cost."""

    name: str
    description: str
    effect: Effect
    args: type[A]
    cost: Cost
    body: Body[A]
    effect_of: Callable[[A], Effect] | None = None
    """For tools whose arguments decide (a command, a statement)."""
    cost_of: Callable[[A], float] | None = None
    """For tools whose arguments decide what a call costs."""

    def effect_for(self, arguments: A) -> Effect:
        """Say what this very call does."""
        return self.effect if self.effect_of is None else self.effect_of(arguments)

    def cost_s(self, arguments: A) -> float:
        """Return the virtual seconds this very call takes."""
        if self.cost_of is not None:
            return self.cost_of(arguments)
        return float(getattr(arguments, self.cost)) if isinstance(self.cost, str) else self.cost


def tool(
    args: type[A],
    *,
    effect: Effect = "read",
    cost: Cost = 2.0,
    effect_of: Callable[[A], Effect] | None = None,
    cost_of: Callable[[A], float] | None = None,
) -> Callable[[Body[A]], Tool[A]]:
    """Make a tool of a function: its name is the tool's, its docstring the description."""

    def made(body: Body[A]) -> Tool[A]:
        lines = [line.strip() for line in (body.__doc__ or "").strip().splitlines()]
        name: str = getattr(body, "__name__", "")
        description = " ".join(filter(None, lines))
        return Tool(name, description, effect, args, cost, body, effect_of, cost_of)

    return made
