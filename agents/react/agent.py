"""``react``: thought, tool call, observation, again, until ``submit`` (Yao et al., ReAct, 2023).

A LangChain chat model with bound tools, on any endpoint that speaks OpenAI's chat completions.
The prompts are the files beside this one. Not here: which tools there are (the trial says), what
an answer is worth.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiopslab.agents import ModelSettings, TrialHandle
from aiopslab.errors import PreflightError
from aiopslab.models.observation import Budget
from aiopslab.tools.langchain import structured_tools

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.tools import StructuredTool

_PROMPTS = Path(__file__).parent / "prompts"
_SHORTENED = 300
"""Characters that remain of an old observation."""
_LAST_STEPS = 3
_LAST_SHARE = 0.1


class React:
    """The agent.

    Args:
        model: The model and its endpoint.
        temperature: Sampling temperature.
        keep: How many of the latest observations the model sees in full.
        timeout_s: Seconds to wait for one answer.

    Raises:
        PreflightError: A package or the key is missing; the hint says what to type.
    """

    def __init__(
        self,
        model: ModelSettings,
        temperature: float = 0.0,
        keep: int = 12,
        timeout_s: float = 120.0,
    ) -> None:
        if importlib.util.find_spec("langchain_openai") is None:
            raise PreflightError(
                "agent 'react' needs LangChain", hint="pip install 'aiopslab[react]'"
            )
        self._settings = model
        self._key = model.key()
        self._temperature = temperature
        self._keep = keep
        self._timeout_s = timeout_s

    async def run(self, trial: TrialHandle) -> None:
        """Converse with the model until the answer is in.

        Raises:
            PreflightError: The endpoint does not answer as it should.
        """
        from langchain_core.messages import HumanMessage, SystemMessage

        tools = {t.name: t for t in structured_tools(trial.tools, _caller(trial))}
        messages: list[BaseMessage] = [
            SystemMessage(_prompt("system")),
            HumanMessage(_brief(trial)),
        ]
        reminded = warned = False
        while True:
            if not warned and (left := _nearly_over(trial)):
                messages.append(HumanMessage(_prompt("last").format(left=left)))
                warned = True
            reply = await self._ask(messages, list(tools.values()))
            messages.append(reply)
            _book(trial, reply)
            if not reply.tool_calls and not reply.invalid_tool_calls:
                if reminded:
                    return
                await trial.call("malformed", text=reply.text[:500])
                messages.append(HumanMessage(_prompt("repair")))
                reminded = True
                continue
            reminded = False
            trial.note(reply.text)
            if await _act(trial, tools, reply, messages):
                return
            _shorten(messages, self._keep)

    async def _ask(self, messages: list[BaseMessage], tools: list[StructuredTool]) -> AIMessage:
        """Get the model's next message.

        Raises:
            PreflightError: The endpoint refuses or cannot be reached.
        """
        import openai
        from langchain_openai import ChatOpenAI

        settings = self._settings
        llm = ChatOpenAI(
            model=settings.name,
            base_url=settings.base_url,
            api_key=self._key,
            temperature=self._temperature,
            timeout=self._timeout_s,
        )
        try:
            reply: AIMessage = await llm.bind_tools(tools).ainvoke(messages)
        except openai.OpenAIError as error:
            where = settings.base_url or "the default endpoint"
            raise PreflightError(
                f"model {settings.model!r} at {where} does not answer: {error}",
                hint="check --model, --base-url and OPENAI_API_KEY",
            ) from error
        return reply


async def _act(
    trial: TrialHandle,
    tools: dict[str, StructuredTool],
    reply: AIMessage,
    messages: list[BaseMessage],
) -> bool:
    """Carry the calls of a message out in order; True when the answer is in."""
    from langchain_core.messages import ToolMessage

    for call in reply.tool_calls:
        tool = tools.get(call["name"])
        if tool is None:
            seen = await trial.call(call["name"], **call["args"])
            messages.append(ToolMessage(seen.text, tool_call_id=call["id"]))
            continue
        answer: ToolMessage = await tool.ainvoke({**call, "type": "tool_call"})
        messages.append(answer)
        if call["name"] == "submit" and answer.artifact.ok:
            return True
    for broken in reply.invalid_tool_calls:
        text = f"the arguments of {broken['name']} are not valid JSON: {broken['error']}"
        await trial.call("malformed", text=text[:500])
        messages.append(ToolMessage(text, tool_call_id=broken["id"] or ""))
    return False


def _caller(trial: TrialHandle) -> Any:
    """Adapt the trial's ``call`` to what the LangChain tools want."""

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        return await trial.call(name, **arguments)

    return call


def _book(trial: TrialHandle, reply: AIMessage) -> None:
    """Report the tokens as the endpoint counted them."""
    if reply.usage_metadata is not None:
        trial.usage(
            tokens_in=reply.usage_metadata["input_tokens"],
            tokens_out=reply.usage_metadata["output_tokens"],
        )


def _shorten(messages: list[BaseMessage], keep: int) -> None:
    """Cut observations that are not among the latest, so that the context stays bounded."""
    from langchain_core.messages import ToolMessage

    answers = [i for i, m in enumerate(messages) if isinstance(m, ToolMessage)]
    for index in answers[: max(0, len(answers) - keep)]:
        old = messages[index]
        if isinstance(old, ToolMessage) and len(old.text) > _SHORTENED + 20:
            text = f"{old.text[:_SHORTENED]}\n... (shortened)"
            messages[index] = ToolMessage(text, tool_call_id=old.tool_call_id)


def _brief(trial: TrialHandle) -> str:
    brief = trial.brief
    told = _prompt("brief").format(
        app=brief.app, namespace=brief.namespace, app_summary=brief.app_summary, now=brief.now,
        alert=f"Page: {brief.alert}" if brief.alert else "", task=brief.task,
        instructions=brief.instructions, budget=_words(trial.budget),
    )  # fmt: skip
    return f"{told}\n\nContext:\n{brief.context}" if brief.context else told


def _nearly_over(trial: TrialHandle) -> str:
    """Return what is left in words if a budget is nearly used up, else an empty string."""
    now, start = trial.budget, trial.brief.budget
    few = now.steps is not None and now.steps <= _LAST_STEPS
    for left, all_of_it in (
        (now.virtual_s, start.virtual_s),
        (now.tokens, start.tokens),
        (now.cost_usd, start.cost_usd),
    ):
        if left is not None and all_of_it is not None:
            few = few or left < _LAST_SHARE * all_of_it
    return _words(now) if few else ""


def _words(budget: Budget) -> str:
    left = budget.model_dump(exclude_none=True)
    return ", ".join(f"{name} {value:g}" for name, value in left.items()) or "unlimited"


def _prompt(name: str) -> str:
    return (_PROMPTS / f"{name}.md").read_text(encoding="utf-8")
