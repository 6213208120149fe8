"""The conversation of ``react``: messages, calls carried out, reminders, shortened observations.

Failures of a tool are shown to the model with their reason. Not here: asking the model (``agent``).
"""

from __future__ import annotations

from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiopslab.agents import TrialHandle
from aiopslab.agents.chat import Prompts, in_words
from aiopslab.agents.extracts import digest, entities
from aiopslab.tools.langchain import structured_tools
from aiopslab.tools.openai import reading

from .variants import RETRIEVAL, SUBMIT, Variant

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.tools import StructuredTool

_prompt = Prompts(Path(__file__).parent / "prompts")


class Ending(Enum):
    """What a message of the model led to."""

    OPEN = auto()
    """Nothing final."""
    ANSWERED = auto()
    REFUSED = auto()
    """It submitted, and the answer was not taken; one repair is possible."""
    GIVEN_UP = auto()
    """It did not act for the second time in a row, though it was reminded."""


class Talk:
    """One trial's conversation.

    Args:
        trial: The trial.
        variant: What the model may use, and what it is shown at the start.
        steps: How many turns the model is told it has.
    """

    def __init__(self, trial: TrialHandle, variant: Variant, *, steps: int) -> None:
        self.messages: list[BaseMessage] = []
        self._trial = trial
        self._variant = variant
        self._steps = steps
        offered = variant.offered(trial.tools)
        self._tools = {t.name: t for t in structured_tools(offered, self._call)}
        self._elsewhere = {t.name for t in trial.tools} - set(self._tools)
        self._terms = entities(trial.brief.alert or "")
        self._asked: dict[str, frozenset[str]] = {}
        """Names in the arguments of each call."""
        self._warned = self._reminded = False

    async def begin(self) -> None:
        """Compose the first messages; make the variant's first calls.

        Raises:
            LimitExceeded: A budget is used up.
        """
        from langchain_core.messages import HumanMessage, SystemMessage

        hints = [_prompt(f"with_{name}") for name in RETRIEVAL if name in self._tools]
        system = "\n\n".join([_prompt(self._variant.name), *hints])
        brief = self._trial.brief
        asked = _prompt(
            "brief",
            brief=brief.text(),
            steps=str(self._steps),
            budget=in_words(self._trial.budget),
        )
        seen = await self._variant.look(self._trial)
        self.messages += [
            SystemMessage(system),
            HumanMessage("\n\n".join(filter(None, [asked, seen]))),
        ]

    def tools(self, *, closing: bool) -> list[StructuredTool]:
        """Return what the model may call; only ``submit`` when it has to close."""
        return [t for name, t in self._tools.items() if not closing or name == SUBMIT]

    def last(self, left: str, *, closing: bool) -> None:
        """Tell the model that it is time to answer: once, and again on its last turn."""
        from langchain_core.messages import HumanMessage

        if closing or not self._warned:
            self.messages.append(HumanMessage(_prompt("last", left=left)))
            self._warned = True

    async def answer(self, reply: AIMessage) -> Ending:
        """Act on a message of the model.

        Raises:
            LimitExceeded: A budget is used up.
        """
        self.messages.append(reply)
        if reply.text:
            self._trial.note(reply.text)
        if reply.tool_calls or reply.invalid_tool_calls:
            self._reminded = False
            return await self._act(reply)
        return await self._remind(reply)

    async def _remind(self, reply: AIMessage) -> Ending:
        """A message without a call: declined, or said in text only. One reminder."""
        from langchain_core.messages import HumanMessage

        declined = _declined(reply)
        if declined:
            self._trial.note(f"the model declines: {declined}")
        elif not self._reminded:
            await self._trial.call("malformed", text=reply.text[:500])
        if self._reminded:
            return Ending.GIVEN_UP
        self._reminded = True
        self.messages.append(HumanMessage(_prompt("declined" if declined else "repair")))
        return Ending.OPEN

    async def _act(self, reply: AIMessage) -> Ending:
        """Carry the calls of a message out in order."""
        from langchain_core.messages import ToolMessage

        ending = Ending.OPEN
        for call in reply.tool_calls:
            name, id, arguments = call["name"], call["id"] or "", call["args"]
            self._asked[id] = entities(*(v for v in arguments.values() if isinstance(v, str)))
            tool = self._tools.get(name)
            if tool is None:
                said = await self._without_tool(name, arguments)
                self.messages.append(ToolMessage(said, tool_call_id=id))
                continue
            told: ToolMessage = await tool.ainvoke({**call, "type": "tool_call"})
            self.messages.append(told)
            if name == SUBMIT:
                ending = Ending.ANSWERED if told.artifact.ok else Ending.REFUSED
            if ending is Ending.ANSWERED:
                return ending
        for broken in reply.invalid_tool_calls:
            text = f"the arguments of {broken['name']} are not valid JSON: {broken['error']}"
            await self._trial.call("malformed", text=text[:500])
            self.messages.append(ToolMessage(text, tool_call_id=broken["id"] or ""))
        return ending

    async def _without_tool(self, name: str, arguments: dict[str, Any]) -> str:
        """Answer a call of a tool that the model was not given."""
        if name in self._elsewhere:
            text = f"there is no tool {name!r} here; tools: {', '.join(self._tools)}"
            seen = await self._trial.call("malformed", text=text)
            return f"[{seen.id} failed]\n{text}"
        return reading(await self._trial.call(name, **arguments))

    async def _call(self, name: str, arguments: dict[str, Any]) -> Any:
        return await self._trial.call(name, **arguments)

    def shorten(self, keep: int, limit: int) -> None:
        """Leave an extract of observations that are not among the latest."""
        from langchain_core.messages import ToolMessage

        told = [i for i, m in enumerate(self.messages) if isinstance(m, ToolMessage)]
        for index in told[: max(0, len(told) - keep)]:
            old = self.messages[index]
            if isinstance(old, ToolMessage) and len(old.text) > limit:
                terms = self._terms | self._asked.get(old.tool_call_id, frozenset())
                text = digest(old.text, limit, terms)
                self.messages[index] = ToolMessage(text, tool_call_id=old.tool_call_id)


def _declined(reply: AIMessage) -> str:
    """Return why the model or a filter before it declines; empty where neither does."""
    refusal = reply.additional_kwargs.get("refusal")
    filtered = reply.response_metadata.get("finish_reason") == "content_filter"
    return str(refusal) if refusal else "content filter" if filtered else ""
