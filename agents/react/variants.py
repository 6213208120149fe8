"""The variants of ``react``: what each may use, and what ``cot`` is shown at the start.

After Roy et al., Exploring LLM-based agents for root cause analysis (2024), which compares ReAct
with chain of thought and with retrieval alone. ``cot`` asks for no tools: it reasons once over
first observations that are the same calls in every trial. ``retrieval-only`` reads what people
wrote down and nothing of the system. Both can only submit, so neither repairs anything. Not here:
the conversation (``talk``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiopslab.agents import TrialHandle
from aiopslab.content import near
from aiopslab.errors import UsageError
from aiopslab.models.observation import ToolInfo
from aiopslab.tools.openai import reading

SUBMIT = "submit"
RETRIEVAL = ("runbooks", "docs", "search_incidents")
"""Tools that read what people wrote down; a prompt ``with_NAME.md`` tells how to use each."""
_SURVEY: tuple[tuple[str, dict[str, Any]], ...] = (
    ("alerts", {}),
    ("services", {}),
    ("topology", {}),
    ("changes", {}),
    ("k8s_get", {"kind": "pods"}),
    # Oldest come first, and only the first page is read.
    ("k8s_events", {"warnings_only": True, "start": "now-15m"}),
    ("logs_patterns", {}),
)


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant."""

    name: str
    """Also the name of its system prompt."""
    only: tuple[str, ...] | None = None
    """Tools it may use besides ``submit``; None: all."""
    survey: tuple[tuple[str, dict[str, Any]], ...] = field(default=())
    """Calls made before the model is asked for the first time."""

    def offered(self, tools: Sequence[ToolInfo]) -> list[ToolInfo]:
        """Return those of the trial's tools that this variant may use."""
        if self.only is None:
            return list(tools)
        return [tool for tool in tools if tool.name in (*self.only, SUBMIT)]

    async def look(self, trial: TrialHandle) -> str:
        """Make the first calls, as far as the trial offers them; return what they said.

        A call that fails is shown with its reason like any other.

        Raises:
            LimitExceeded: A budget is used up.
        """
        names = {tool.name for tool in trial.tools}
        seen = []
        for name, arguments in self.survey:
            if name in names:
                said = reading(await trial.call(name, **arguments))
                seen.append(f"{name}: {said}")
        if trial.brief.task == "diagnosis" and self.survey and "cause_kinds" in names:
            seen += await _vocabulary(trial)
        return "\n\n".join(seen)


async def _vocabulary(trial: TrialHandle) -> list[str]:
    """Read all pages of the causes that a diagnosis may name."""
    page = await trial.call("cause_kinds")
    seen = [f"cause_kinds: {reading(page)}"]
    while page.cursor is not None:
        page = await trial.call("cause_kinds", cursor=page.cursor)
        seen.append(f"cause_kinds: {reading(page)}")
    return seen


_VARIANTS = {
    "react": Variant("react"),
    "cot": Variant("cot", only=(), survey=_SURVEY),
    # cause_kinds is the vocabulary of the answer, not a look at the system.
    "retrieval-only": Variant("retrieval-only", only=(*RETRIEVAL, "cause_kinds")),
}


def variant_of(name: str) -> Variant:
    """Return a variant.

    Raises:
        UsageError: There is none of this name.
    """
    if name not in _VARIANTS:
        known = ", ".join(_VARIANTS)
        raise UsageError(
            f"agent 'react' has no variant {name!r}",
            hint=near(name, list(_VARIANTS)) or f"-A variant=NAME; variants: {known}",
        )
    return _VARIANTS[name]
