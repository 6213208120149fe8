"""``submit``: the answer of the task, taken once, checked, never guessed.

A malformed answer is explained and may be repaired once; a second malformed one ends the trial
without an answer. Not here: whether the answer is right (``grading``).
"""

from __future__ import annotations

from typing import Any, NoReturn, Self

from pydantic import Field, ValidationError

from aiopslab.content import near
from aiopslab.models.answer import (
    Answer,
    Detection,
    Diagnosis,
    Hypothesis,
    Localization,
    Mitigation,
)
from aiopslab.models.task import Task
from aiopslab.tools.context import Args, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.schema import Schema, explain, parameters, usage, validate
from aiopslab.tools.vocabulary import NOTHING, causes

_ANSWERS: dict[Task, type[Detection | Localization | Diagnosis | Mitigation]] = {
    "detection": Detection,
    "localization": Localization,
    "diagnosis": Diagnosis,
    "mitigation": Mitigation,
}


class SubmitArgs(Args):
    """The raw arguments; which are legal depends on the task."""

    answer: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def read(cls, arguments: dict[str, Any]) -> Self:
        """Take whatever came; the task's answer model checks it."""
        return cls(answer=arguments)


def answer_schema(task: Task) -> Schema:
    """Return the JSON schema of ``submit``'s arguments for a task."""
    return parameters(_ANSWERS[task], without=("task",))


def read_answer(task: Task, arguments: dict[str, Any]) -> Answer | str:
    """Return the answer that the arguments of ``submit`` make; what is wrong if they make none."""
    model = _ANSWERS[task]
    try:
        answer: Answer = validate(model, {"task": task, **arguments})
    except ValidationError as error:
        return explain(error, model)
    return _names(answer) or answer


@tool(SubmitArgs, effect="submit", cost=0.0)
async def submit(context: ToolContext, args: SubmitArgs) -> Result:
    """Submit the final answer of the task and end it.

    State honest probabilities: they are scored.
    """
    answer = read_answer(context.task, args.answer)
    if isinstance(answer, str):
        _malformed(context, answer)
    context.sink.answer = answer
    context.sink.closed = True
    return Result("submitted", data=answer.model_dump(mode="json"))


def _malformed(context: ToolContext, problem: str) -> NoReturn:
    """Explain; the second time close without an answer."""
    sink = context.sink
    sink.violations += 1
    form = usage("submit", answer_schema(context.task))
    if sink.violations > 1:
        sink.closed = True
        raise ToolRefused(f"malformed again, the task ends without an answer: {problem}")
    raise ToolRefused(f"{problem}\nusage: {form}\nnothing was submitted; one repair is possible")


def _names(answer: Answer) -> str:
    """Say which cause kind of a diagnosis does not exist; empty if all do."""
    if not isinstance(answer, Diagnosis):
        return ""
    known = [*causes(), NOTHING]
    unknown = [h for h in answer.hypotheses if h.cause not in known]
    return "\n".join(_unknown(hypothesis, known) for hypothesis in unknown)


def _unknown(hypothesis: Hypothesis, known: list[str]) -> str:
    hint = near(hypothesis.cause, known) or "call cause_kinds for the vocabulary"
    return f"unknown cause {hypothesis.cause!r}; {hint}"


TOOLS = (submit,)
