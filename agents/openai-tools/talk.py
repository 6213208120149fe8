"""The conversation of ``openai-tools``: messages, calls carried out, reminders, the answer as text.

Failures of a tool are shown to the model with their reason. Not here: asking (``completions``).
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto
from pathlib import Path
from typing import Any

from aiopslab.agents import TrialHandle
from aiopslab.agents.chat import NO_TEXT, Prompts, distinct, in_words, json_object
from aiopslab.agents.extracts import digest, entities
from aiopslab.tools.openai import functions, reading

from .completions import Call, Reply

SUBMIT = "submit"
Message = dict[str, Any]
_prompt = Prompts(Path(__file__).parent / "prompts")


class Ending(Enum):
    """What a message of the model led to."""

    OPEN = auto()
    """Nothing final."""
    ANSWERED = auto()
    SILENT = auto()
    """It called no tool for the second time in a row, though it was reminded."""
    DECLINED = auto()
    """It declined for the second time."""


class Talk:
    """One trial's conversation.

    Args:
        trial: The trial.
        strict: Hold the arguments of ``submit`` to their schema.
        steps: How many turns the model is told it has.
    """

    def __init__(self, trial: TrialHandle, *, strict: bool, steps: int) -> None:
        self._trial = trial
        brief = _prompt(
            "brief", brief=trial.brief.text(), steps=str(steps), budget=in_words(trial.budget)
        )
        self.messages: list[Message] = [
            {"role": "system", "content": _prompt("system")},
            {"role": "user", "content": brief},
        ]
        self._functions = functions(trial.tools, strict_for=(SUBMIT,) if strict else ())
        self._terms = entities(trial.brief.alert or "")
        self._asked: dict[str, frozenset[str]] = {}
        """Names in the arguments of each call."""
        self._warned = self._reminded = self._has_declined = False

    def request(self, *, closing: bool) -> dict[str, Any]:
        """Return the fields of the next request; nothing but ``submit`` when it has to close."""
        if not closing:
            return {"messages": self.messages, "tools": self._functions}
        # Not every endpoint can be told which function to call; this one is all there is.
        only = [f for f in self._functions if f["function"]["name"] == SUBMIT]
        return {"messages": self.messages, "tools": only}

    def last(self, left: str, *, closing: bool) -> None:
        """Tell the model that it is time to answer: once, and again on its last turn."""
        if closing or not self._warned:
            self._say(_prompt("last", left=left))
            self._warned = True

    async def answer(self, reply: Reply) -> Ending:
        """Act on a message of the model.

        Raises:
            LimitExceeded: A budget is used up.
        """
        self._hear(reply)
        if reply.calls:
            self._reminded = False
            return await self._act(reply)
        if why := reply.declined:
            return self._declined(why)
        if self._reminded:
            return Ending.SILENT
        await self._trial.call("malformed", text=reply.text[:500])
        self._reminded = True
        self._say(_prompt("repair") + _cut(reply))
        return Ending.OPEN

    def ask_for_answer(self) -> None:
        """Ask for the answer as JSON text."""
        self._say(_prompt("answer"))

    async def take_answer(self, reply: Reply) -> bool:
        """Submit the answer that a message holds as text; True where it was taken.

        Raises:
            LimitExceeded: A budget is used up.
        """
        # None was offered, and one that is heard has to be answered; but submit's are the answer.
        asked = [call.arguments for call in reply.calls if call.name == SUBMIT]
        reply = replace(reply, text=asked[0] if asked else reply.text, calls=[])
        self._hear(reply)
        if reply.declined:
            self._trial.note(f"the model declines: {reply.declined}")
            self._say(_prompt("answer_declined"))
            return False
        answer, wrong = json_object(reply.text)
        if answer is None:
            said = f"the answer is no JSON object: {wrong}{_cut(reply)}"
            await self._trial.call("malformed", text=f"{said}: {reply.text}"[:500])
            self._say(said)
            return False
        seen = await self._trial.call(SUBMIT, **answer)
        self._say(reading(seen))
        return seen.ok

    async def _act(self, reply: Reply) -> Ending:
        """Carry calls out in order, until an answer is taken."""
        for call in reply.calls:
            # Where a reply is cut before its arguments, none would be what nobody meant.
            lost = not call.arguments and reply.finish == "length" and call is reply.calls[-1]
            arguments, wrong = json_object("" if lost else call.arguments or "{}")
            if arguments is None:
                said = f"the arguments of {call.name} are no JSON object: {wrong}{_cut(reply)}"
                seen = await self._trial.call("malformed", text=f"{said}: {call.arguments}"[:500])
                text = f"[{seen.id} failed]\n{said}"
            else:
                named = (v for v in arguments.values() if isinstance(v, str))
                self._asked[call.id] = entities(*named)
                seen = await self._trial.call(call.name, **arguments)
                text = reading(seen)
            self.messages.append({"role": "tool", "tool_call_id": call.id, "content": text})
            if arguments is not None and call.name == SUBMIT and seen.ok:
                return Ending.ANSWERED
        return Ending.OPEN

    def _declined(self, why: str) -> Ending:
        self._trial.note(f"the model declines: {why}")
        if self._has_declined:
            return Ending.DECLINED
        self._has_declined = True
        self._say(_prompt("declined"))
        return Ending.OPEN

    def _hear(self, reply: Reply) -> None:
        """Add a message of the model to the conversation."""
        if reply.text:
            self._trial.note(reply.text)
        said: Message = {"role": "assistant", "content": reply.text or reply.refusal or NO_TEXT}
        ids = distinct([call.id for call in reply.calls], len(self.messages))
        for call, id in zip(reply.calls, ids, strict=True):
            call.id = id
        if reply.calls:
            said |= {"content": reply.text or None, "tool_calls": list(map(_called, reply.calls))}
        self.messages.append(said)

    def _say(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})

    def shorten(self, keep: int, limit: int) -> None:
        """Leave an extract of observations that are not among the latest."""
        told = [m for m in self.messages if m["role"] == "tool"]
        for old in told[: max(0, len(told) - keep)]:
            terms = self._terms | self._asked.get(old["tool_call_id"], frozenset())
            old["content"] = digest(old["content"], limit, terms)


def _called(call: Call) -> Message:
    """Repeat a call to the endpoint; arguments that are no JSON object become an empty one.

    Some endpoints parse the arguments of the past and fail where they cannot.
    """
    arguments = call.arguments if json_object(call.arguments)[0] is not None else "{}"
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _cut(reply: Reply) -> str:
    """Say that a reply was cut off, if it was: the model cannot know."""
    return "\n" + _prompt("cut") if reply.finish == "length" else ""
