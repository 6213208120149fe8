"""``react``: thought, tool call, observation, again, until ``submit`` (Yao et al., ReAct, 2023).

A LangChain chat model with bound tools, on any endpoint that speaks OpenAI's chat completions.
The prompts are the files beside this one. Neighbours: ``variants`` says which tools and which first
observations a variant has, ``talk`` is the conversation, ``model`` reads replies. Not here: which
tools there are (the trial says), what an answer is worth.
"""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import TYPE_CHECKING, Any

from aiopslab.agents import ModelSettings, TrialHandle
from aiopslab.agents.chat import RETRIES, BrokenReply, ModelLine, nearly_over
from aiopslab.agents.prices import TokenUsage, load_prices
from aiopslab.errors import PreflightError

from .talk import Ending, Talk
from .variants import variant_of

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage


class React:
    """The agent.

    Args:
        model: The model and its endpoint.
        variant: ``react``, ``cot`` or ``retrieval-only``.
        steps: Turns of the model; one more where a refused answer may still be repaired.
        temperature: Sampling temperature; a negative one leaves it to the endpoint.
        keep: How many of the latest observations the model sees in full.
        extract: Characters of the extract of an older observation.
        timeout_s: Seconds to wait for one answer.
        retries: How often a failed request is made again.
        prices: A file of prices that goes before the others; empty: none.

    Raises:
        PreflightError: A package or the key is missing; the hint says what to type.
        UsageError: There is no such variant.
        ContentError: The file of prices is missing or malformed.
    """

    def __init__(
        self,
        model: ModelSettings,
        variant: str = "react",
        steps: int = 20,
        temperature: float = 0.0,
        keep: int = 12,
        extract: int = 800,
        timeout_s: float = 120.0,
        retries: int = RETRIES,
        prices: str = "",
    ) -> None:
        if importlib.util.find_spec("langchain_openai") is None:
            raise PreflightError(
                "agent 'react' needs LangChain", hint="pip install 'aiopslab[react]'"
            )
        self._settings = model
        self._key = model.key()
        self._variant = variant_of(variant)
        self._steps = max(1, steps)
        self._temperature = None if temperature < 0 else temperature
        self._keep = keep
        self._extract = max(200, extract)
        self._timeout_s = timeout_s
        self._retries = max(0, retries)
        self._prices = load_prices(prices)

    async def run(self, trial: TrialHandle) -> None:
        """Converse with the model until the answer is in or its turns are used up.

        Raises:
            PreflightError: The endpoint does not answer as it should, or a limit of cost cannot
                hold.
            AgentError: The endpoint refuses what the conversation has become.
        """
        line = ModelLine(trial, self._settings, self._prices)
        talk = Talk(trial, self._variant, steps=self._steps)
        await talk.begin()
        turn, owed = 0, 0
        while turn < self._steps + owed:
            turn += 1
            spent = trial.budget.steps == 0
            if turn == self._steps:
                talk.last(f"this is turn {turn} of {self._steps}", closing=True)
            elif left := nearly_over(trial):
                talk.last(left, closing=spent)
            # An answer is all that is taken once the calls are used up.
            tools = talk.tools(closing=spent or turn >= self._steps)
            reply = await line.reply(partial(self._ask, talk.messages, tools))
            ending = await talk.answer(reply)
            if ending in (Ending.ANSWERED, Ending.GIVEN_UP) or trial.ended:
                return
            # An answer that was refused may be repaired, on the last turn too.
            owed = int(ending is Ending.REFUSED)
            talk.shorten(self._keep, self._extract)

    async def _ask(
        self, messages: list[BaseMessage], tools: list[dict[str, Any]]
    ) -> tuple[AIMessage, TokenUsage | None]:
        """Make one request.

        Raises:
            BrokenReply: What came holds no message.
            openai.OpenAIError: Nothing came.
        """
        import openai

        from .model import Model, consumed

        settings: dict[str, Any] = {} if self._temperature is None else {
            "temperature": self._temperature
        }  # fmt: skip
        llm = Model(
            model=self._settings.name,
            base_url=self._settings.base_url,
            api_key=self._key,
            timeout=self._timeout_s,
            max_retries=self._retries,
            # By the names of some models LangChain chooses an API that only OpenAI's endpoint has.
            use_responses_api=None if self._settings.base_url is None else False,
            **settings,
        )
        try:
            reply: AIMessage = await llm.bind_tools(tools).ainvoke(messages)
        except openai.BadRequestError as error:
            if error.param != "temperature" or self._temperature is None:
                raise
            self._temperature = None
            return await self._ask(messages, tools)
        except (TypeError, KeyError, IndexError, AttributeError) as error:
            # What LangChain raises where the endpoint's reply holds no message.
            raise BrokenReply(f"{type(error).__name__}: {error}") from error
        return reply, consumed(reply)
