"""A trial in memory: answers from a table, records of calls. Models: ``agents_server``."""

from __future__ import annotations

from typing import Any

from aiopslab.errors import LimitExceeded
from aiopslab.models.observation import Brief, Budget, Observation, ToolInfo
from aiopslab.models.task import Task
from aiopslab.tools import answer_schema, describe_tools

Answer = tuple[bool, str, Any]


class FakeTrial:
    """Keeps what an agent calls, notes and books.

    Args:
        task: The task.
        answers: Tool to (ok, text, data), or a list of them, one a call, the last for good.
        steps: Calls until the budget is used up.
        tokens: Budget of tokens; None is unlimited.
        cost_usd: Budget of dollars; None is unlimited.
    """

    ended = False

    def __init__(
        self,
        task: Task,
        answers: dict[str, Answer | list[Answer]] | None = None,
        steps: int = 100,
        *,
        tokens: int | None = None,
        cost_usd: float | None = None,
    ) -> None:
        self.brief = Brief(
            trial="t-1", task=task, instructions="Find it.", app="Shop", namespace="shop",
            app_summary="A shop.", now="2026-03-10T09:00:00Z", alert="HighErrorRatio web",
            budget=Budget(steps=steps, tokens=tokens, cost_usd=cost_usd),
            answer_schema=answer_schema(task),
        )  # fmt: skip
        self.tools: list[ToolInfo] = describe_tools(task)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.notes: list[str] = []
        self.tokens = [0, 0]
        self.costs: list[float | None] = []
        self.cursors: dict[str, str] = {}
        """Of a tool: where its next answer is continued."""
        self.kept: dict[str, bytes] = {}
        self._answers = answers or {}

    @property
    def budget(self) -> Budget:
        given = self.brief.budget
        assert given.steps is not None
        spent = sum(cost or 0.0 for cost in self.costs)
        return Budget(
            steps=given.steps - len(self.calls),
            tokens=None if given.tokens is None else max(0, given.tokens - sum(self.tokens)),
            cost_usd=None if given.cost_usd is None else max(0.0, given.cost_usd - spent),
        )

    async def call(self, name: str, /, **arguments: Any) -> Observation:
        for limit, left in self.budget.model_dump().items():
            if left == 0:
                raise LimitExceeded(limit, f"the budget of {limit} is used up")
        self.calls.append((name, arguments))
        given = self._answers.get(name, (True, f"{name} answers", None))
        if isinstance(given, list):
            given = given.pop(0) if len(given) > 1 else given[0]
        ok, text, data = given
        return Observation(
            id=f"obs-{len(self.calls)}", tool=name, arguments=arguments, ok=ok, text=text,
            data=data, time="2026-03-10T09:00:00Z", cursor=self.cursors.pop(name, None),
        )  # fmt: skip

    def keep(self, name: str, content: bytes) -> None:
        self.kept[name] = content

    def note(self, thought: str) -> None:
        self.notes.append(thought)

    def usage(self, tokens_in: int = 0, tokens_out: int = 0, cost_usd: float | None = None) -> None:
        self.tokens[0] += tokens_in
        self.tokens[1] += tokens_out
        self.costs.append(cost_usd)

    @property
    def submitted(self) -> dict[str, Any]:
        """The arguments of the last submit."""
        return next(a for name, a in reversed(self.calls) if name == "submit")


class LastWordTrial(FakeTrial):
    """Counts every call but ``submit`` as a step, as a real trial does."""

    @property
    def budget(self) -> Budget:
        submits = sum(name == "submit" for name, _ in self.calls)
        left = super().budget
        assert left.steps is not None
        return left.model_copy(update={"steps": left.steps + submits})

    async def call(self, name: str, /, **arguments: Any) -> Observation:
        if name == "submit":
            self.calls.append((name, arguments))
            return Observation(
                id="obs-9", tool=name, arguments=arguments, ok=True, text="submitted",
                time="2026-03-10T09:00:00Z",
            )  # fmt: skip
        return await super().call(name, **arguments)
