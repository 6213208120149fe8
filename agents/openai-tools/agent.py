"""``openai-tools``: function calling with the OpenAI SDK, on any endpoint for chat completions.

The model calls as many tools at once as it likes; the calls are carried out in their order.
``submit`` is a strict function, so that its arguments keep to the schema. A model that stops
calling tools is reminded, then asked for its answer as structured output. Neighbours: ``talk`` is
the conversation, ``completions`` the requests. Not here: which tools there are (the trial says).
"""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import TYPE_CHECKING, Any

from aiopslab.agents import ModelSettings, TrialHandle
from aiopslab.agents.chat import RETRIES, ModelLine, nearly_over
from aiopslab.agents.prices import load_prices
from aiopslab.errors import PreflightError
from aiopslab.tools.openai import response_format

from .completions import Completions
from .talk import Ending, Talk

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_STRUCTURED = 2
"""Requests for a structured answer: one, and one to repair what was refused."""


class OpenAITools:
    """The agent.

    Args:
        model: The model and its endpoint.
        steps: Turns of the model; a structured answer may take two more.
        temperature: Sampling temperature; a negative one leaves it to the endpoint.
        stream: Receive replies in parts.
        strict: Hold the arguments of ``submit`` to their schema.
        keep: How many of the latest observations the model sees in full.
        extract: Characters of the extract of an older observation.
        timeout_s: Seconds to wait for one answer, or for the next part of a stream.
        retries: How often a failed request is made again.
        prices: A file of prices that goes before the others; empty: none.

    Raises:
        PreflightError: A package or the key is missing; the hint says what to type.
        ContentError: The file of prices is missing or malformed.
    """

    def __init__(
        self,
        model: ModelSettings,
        steps: int = 20,
        temperature: float = 0.0,
        stream: bool = False,
        strict: bool = True,
        keep: int = 12,
        extract: int = 800,
        timeout_s: float = 120.0,
        retries: int = RETRIES,
        prices: str = "",
    ) -> None:
        if importlib.util.find_spec("openai") is None:
            raise PreflightError(
                "agent 'openai-tools' needs the OpenAI SDK", hint="pip install 'aiopslab[openai]'"
            )
        self._settings = model
        self._steps = max(1, steps)
        self._options = {} if temperature < 0 else {"temperature": temperature}
        self._stream = stream
        self._strict = strict
        self._keep = keep
        self._extract = max(200, extract)
        self._client: dict[str, Any] = {
            "api_key": model.key(),
            "base_url": model.base_url,
            "timeout": timeout_s,
            "max_retries": max(0, retries),
        }
        self._prices = load_prices(prices)

    async def run(self, trial: TrialHandle) -> None:
        """Converse with the model until the answer is in, or it has none.

        Raises:
            PreflightError: The endpoint does not answer as it should, or a limit of cost cannot
                hold.
            AgentError: The endpoint refuses what the conversation has become.
        """
        line = ModelLine(trial, self._settings, self._prices)
        async with self._opened() as client:
            asked = Completions(client, self._settings.name, self._options, stream=self._stream)
            talk = Talk(trial, strict=self._strict, steps=self._steps)
            ending = await self._converse(trial, line, asked, talk)
            if ending is Ending.SILENT and not trial.ended:
                await _structured(trial, line, asked, talk)

    async def _converse(
        self, trial: TrialHandle, line: ModelLine, asked: Completions, talk: Talk
    ) -> Ending:
        """Turn by turn; ``SILENT`` where an answer in another form may still come."""
        for turn in range(1, self._steps + 1):
            final = turn == self._steps
            # An answer is all that is taken once the calls are used up.
            closing = final or trial.budget.steps == 0
            left = f"this is turn {turn} of {self._steps}" if final else nearly_over(trial)
            if left:
                talk.last(left, closing=closing)
            reply = await line.reply(partial(asked.ask, **talk.request(closing=closing)))
            ending = await talk.answer(reply)
            if ending is not Ending.OPEN or trial.ended:
                return ending
            talk.shorten(self._keep, self._extract)
        return Ending.SILENT

    def _opened(self) -> AsyncOpenAI:
        import openai

        return openai.AsyncOpenAI(**self._client)


async def _structured(trial: TrialHandle, line: ModelLine, asked: Completions, talk: Talk) -> None:
    """Ask for the answer as text of the answer's schema; once more where it was refused."""
    form = response_format(trial.brief.answer_schema)
    talk.ask_for_answer()
    for _ in range(_STRUCTURED):
        reply = await line.reply(partial(asked.ask, messages=talk.messages, response_format=form))
        if await talk.take_answer(reply) or trial.ended:
            return
