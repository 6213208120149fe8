"""The conversation of ``react``: messages, calls carried out, reminders, shortened observations.

Failures of a tool are shown to the model with their reason. Not here: asking the model (``agent``).
"""

from __future__ import annotations

from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiopslab.agents import TrialHandle
from aiopslab.agents.chat import NO_TEXT, Prompts, distinct, in_words
from aiopslab.agents.extracts import digest, entities
from aiopslab.tools.openai import functions, reading

from .variants import RETRIEVAL, SUBMIT, Variant

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.messages.tool import InvalidToolCall

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
        self._tools = {
            t.name: function for t, function in zip(offered, functions(offered), strict=True)
        }
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

    def tools(self, *, closing: bool) -> list[dict[str, Any]]:
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
        self._hear(reply)
        if reply.text:
            self._trial.note(reply.text)
        if reply.tool_calls or reply.invalid_tool_calls:
            self._reminded = False
            return await self._act(reply)
        return await self._remind(reply)

    def _hear(self, reply: AIMessage) -> None:
        """Add a message of the model to the conversation."""
        from langchain_core.messages import AIMessage

        calls = [*reply.tool_calls, *reply.invalid_tool_calls]
        ids = distinct([call["id"] for call in calls], len(self.messages))
        for call, id in zip(calls, ids, strict=True):
            call["id"] = id
        if calls or reply.text:
            self.messages.append(reply)
        else:
            self.messages.append(AIMessage(_refusal(reply) or NO_TEXT))

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
        told = _prompt("declined") if declined else _prompt("repair") + _cut(reply)
        self.messages.append(HumanMessage(told))
        return Ending.OPEN

    async def _act(self, reply: AIMessage) -> Ending:
        """Carry the calls of a message out in order."""
        from langchain_core.messages import ToolMessage

        ending = Ending.OPEN
        for call in reply.tool_calls:
            name, id, arguments = call["name"], call["id"] or "", call["args"]
            self._asked[id] = entities(*(v for v in arguments.values() if isinstance(v, str)))
            if name in self._elsewhere:
                said = await self._not_given(name)
            else:
                # Not by LangChain's tools: to them an argument called self or config is their own.
                seen = await self._trial.call(name, **arguments)
                said = reading(seen)
                if name == SUBMIT:
                    ending = Ending.ANSWERED if seen.ok else Ending.REFUSED
            self.messages.append(ToolMessage(said, tool_call_id=id))
            if ending is Ending.ANSWERED:
                return ending
        for broken in reply.invalid_tool_calls:
            said = await self._unread(broken, _cut(reply))
            if broken["name"] == SUBMIT:
                ending = Ending.REFUSED
            self.messages.append(ToolMessage(said, tool_call_id=broken["id"] or ""))
        return ending

    async def _unread(self, call: InvalidToolCall, cut: str) -> str:
        """Answer a call whose arguments are no JSON object."""
        said = f"the arguments of {call['name']} are not valid JSON for an object{cut}"
        seen = await self._trial.call("malformed", text=f"{said}: {call['args']}"[:500])
        # Some endpoints parse the arguments of the past and fail where they cannot.
        call["args"] = "{}"
        return f"[{seen.id} failed]\n{said}"

    async def _not_given(self, name: str) -> str:
        """Answer a call of a tool that the trial has and this variant was not given."""
        text = f"there is no tool {name!r} here; tools: {', '.join(self._tools)}"
        seen = await self._trial.call("malformed", text=text)
        return f"[{seen.id} failed]\n{text}"

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
    filtered = reply.response_metadata.get("finish_reason") == "content_filter"
    return _refusal(reply) or ("content filter" if filtered else "")


def _refusal(reply: AIMessage) -> str:
    """Return the model's own words where it declines: beside its text, or a part of it."""
    parts = [part for part in reply.content if isinstance(part, dict)]
    told = [part.get("refusal") for part in parts if part.get("type") == "refusal"]
    return str(reply.additional_kwargs.get("refusal") or "".join(map(str, told)))


def _cut(reply: AIMessage) -> str:
    """Say that a reply was cut off, if it was: the model cannot know."""
    cut = reply.response_metadata.get("finish_reason") == "length"
    return "\n" + _prompt("cut") if cut else ""
