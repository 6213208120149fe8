"""What agents share that talk to a chat completions endpoint, whatever client they use.

A ``ModelLine`` asks, asks again where the reply was broken off, books tokens and dollars, and says
whose failure it is when there is no reply. Beside it: what a reply holds, in whichever form it
comes; prompts from files; budgets in words. Not here: the conversation itself (``agents/react``,
``agents/openai-tools``), prices (``prices``), shortening observations (``extracts``).

A reply that fails by status or connection is asked for again by the client itself (the OpenAI SDK:
408, 409, 429, 5xx, with ``Retry-After`` honoured up to two minutes); one that arrives broken is
asked for again here, at once. What a broken reply consumed nobody says, and nobody books.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aiopslab.agents.prices import PriceList, Prices, TokenUsage
from aiopslab.agents.protocol import TrialHandle
from aiopslab.agents.spec import ModelSettings
from aiopslab.errors import AgentError, LimitExceeded, PreflightError
from aiopslab.models.observation import Budget

if TYPE_CHECKING:
    from openai.types import CompletionUsage

R = TypeVar("R")
RETRIES = 5
"""How often a client asks again after a failed request, unless told otherwise."""
_BROKEN = 3
"""Replies in a row that may arrive broken."""
_REFUSED_CONVERSATION = (400, 413, 422)
"""Statuses that blame the request: once the model has answered, the agent has made it so."""
_NO_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_NAME = 64
"""Longest name of a function."""
NO_TEXT = "(no text)"
"""Stands for a message without text and calls: some endpoints refuse one that holds nothing."""
_LAST_STEPS = 3
_LAST_SHARE = 0.1


class BrokenReply(Exception):
    """A reply arrived, but not all of it, or nothing that can be read."""


class ModelLine:
    """One trial's line to its model.

    Args:
        trial: Where tokens and dollars are booked.
        model: The model and its endpoint, for messages and prices.
        prices: What its tokens cost.

    Raises:
        PreflightError: The trial has a budget of dollars, and the model's price is unknown.
    """

    def __init__(self, trial: TrialHandle, model: ModelSettings, prices: Prices) -> None:
        self._trial = trial
        self._model = model
        self._list = prices.list_of(model.name)
        if trial.brief.budget.cost_usd is not None:
            prices.require(model.name)
        self._replies = 0
        self._priced = False

    async def reply(self, ask: Callable[[], Awaitable[tuple[R, TokenUsage | None]]]) -> R:
        """Ask until a whole reply is there; book what it consumed; return it.

        Args:
            ask: Makes one request; returns the reply and what the endpoint counted. Raises
                ``BrokenReply`` where the reply is not whole, and what the OpenAI SDK raises.

        Raises:
            LimitExceeded: The tokens or dollars of the trial are used up; nobody is asked.
            PreflightError: The endpoint does not answer as it should, or counts no tokens where a
                budget needs them. Nothing the agent can help: the trial is not graded.
            AgentError: The endpoint refuses what the conversation has become (too long, malformed).
        """
        import openai  # noqa: PLC0415 - only agents that talk to an endpoint pay for the SDK

        self._afford()
        broken: list[str] = []
        while True:
            try:
                reply, usage = await ask()
            except openai.APIStatusError as error:
                if error.status_code in _REFUSED_CONVERSATION and self._replies:
                    raise AgentError(f"{self._who} refuses the conversation: {error}") from error
                raise self._silent(str(error)) from error
            except openai.APIConnectionError as error:
                raise self._silent(str(error)) from error
            except (openai.OpenAIError, BrokenReply, ValueError) as error:
                # ValueError: the body ended in the middle of its JSON.
                broken.append(f"{type(error).__name__}: {error}")
                if len(broken) == _BROKEN:
                    raise self._silent(f"broken replies: {'; '.join(broken)}") from error
                continue
            self._replies += 1
            self._book(usage)
            return reply

    def _afford(self) -> None:
        """Refuse to ask at the end of a budget: only tool calls are refused by the trial itself."""
        left = self._trial.budget
        for name, value in (("tokens", left.tokens), ("cost", left.cost_usd)):
            if value == 0:
                raise LimitExceeded(name, f"the budget of {name} is used up")

    @property
    def _who(self) -> str:
        where = self._model.base_url or "the default endpoint"
        return f"model {self._model.model!r} at {where}"

    def _silent(self, why: str) -> PreflightError:
        return PreflightError(
            f"{self._who} does not answer: {why}",
            hint="check --model, --base-url, OPENAI_API_KEY and the endpoint's rate limits",
        )

    def _book(self, usage: TokenUsage | None) -> None:
        """Book tokens as the endpoint counted them, and dollars where the price is known."""
        if usage is not None:
            cost = None
            if self._list is not None:
                cost = self._list.models[self._model.name].cost_usd(usage)
                self._keep(self._list)
            self._trial.usage(usage.tokens_in, usage.tokens_out, cost)
            return
        budget = self._trial.brief.budget
        if budget.tokens is not None or budget.cost_usd is not None:
            raise PreflightError(
                f"{self._who} reports no token usage, so a limit of tokens or cost cannot hold",
                hint="leave out --token-limit and --cost-limit; --max-steps bounds a trial too",
            )

    def _keep(self, prices: PriceList) -> None:
        """Put the price beside the record, once: it says what the dollars of the record mean."""
        if not self._priced:
            self._priced = True
            name = self._model.name
            used = prices.model_copy(update={"models": {name: prices.models[name]}})
            self._trial.keep("prices.json", used.model_dump_json(by_alias=True).encode())


def counted(usage: CompletionUsage | Mapping[str, Any] | None) -> TokenUsage | None:
    """Return the tokens as the endpoint counted them; None where it did not, or not both kinds."""
    if usage is None:
        return None
    told = usage if isinstance(usage, Mapping) else usage.model_dump(warnings=False)
    tokens_in, tokens_out = told.get("prompt_tokens"), told.get("completion_tokens")
    # The SDK checks nothing of what an endpoint sends.
    if not isinstance(tokens_in, int) or not isinstance(tokens_out, int):
        return None
    cached = (told.get("prompt_tokens_details") or {}).get("cached_tokens")
    return TokenUsage(tokens_in, tokens_out, cached if isinstance(cached, int) else 0)


def text_of(content: object) -> str:
    """Return the text of a message's content: text, a list of parts of which some are, or nothing.

    Parts of another kind, hidden reasoning among them, are no text.
    """
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    dicts = (p if isinstance(p, Mapping) else {"type": "text", "text": p} for p in parts)
    texts = (p.get("text") for p in dicts if p.get("type") == "text")
    return "".join(text for text in texts if isinstance(text, str))


def distinct(ids: Sequence[str | None], turn: int) -> list[str]:
    """Return ids by which the calls of one message can be answered, each by its own.

    Some endpoints name none, or several calls alike; every answer has to name its call.

    Args:
        ids: As the endpoint named the calls.
        turn: Number of the message in its conversation.
    """
    return [id if id and id not in ids[:n] else f"call-{turn}-{n}" for n, id in enumerate(ids)]


def legible(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages of a request as endpoints take them, whatever the model wrote in them.

    Halves of characters become ``?``, for a request that holds one cannot be sent. Names of
    functions that are none keep to the alphabet of names: ``multi_tool_use.parallel`` is one that
    models make up, and a strict endpoint refuses a conversation that it is in.
    """
    text = json.dumps(list(messages), ensure_ascii=False)
    plain: list[dict[str, Any]] = json.loads(text.encode("utf-8", "replace"))
    for message in plain:
        for call in message.get("tool_calls") or []:
            function = call["function"]
            function["name"] = _NO_NAME.sub("_", function["name"] or "_")[:_NAME]
    return plain


def json_object(text: str) -> tuple[dict[str, Any] | None, str]:
    """Read a JSON object; None and what is wrong where it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        return None, str(error)
    if not isinstance(found, dict):
        return None, f"it is {type(found).__name__}"
    return found, ""


class Prompts:
    """Texts beside an agent: ``NAME.md`` of a folder, with places to fill in braces."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, **values: str) -> str:
        """Return a text, filled in; without values it is returned as it stands."""
        text = (self._folder / f"{name}.md").read_text(encoding="utf-8").strip()
        return text.format(**values) if values else text


def in_words(budget: Budget) -> str:
    """Return what is left of every budget that is limited."""
    left = budget.model_dump(exclude_none=True)
    return ", ".join(f"{name} {value:g}" for name, value in left.items()) or "unlimited"


def nearly_over(trial: TrialHandle) -> str:
    """Return what is left in words if a budget is nearly used up, else an empty string.

    Nearly: three calls, or a tenth of what there was of virtual time, tokens or dollars.
    """
    now, start = trial.budget, trial.brief.budget
    few = now.steps is not None and now.steps <= _LAST_STEPS
    for left, all_of_it in (
        (now.virtual_s, start.virtual_s),
        (now.tokens, start.tokens),
        (now.cost_usd, start.cost_usd),
    ):
        if left is not None and all_of_it is not None:
            few = few or left < _LAST_SHARE * all_of_it
    return in_words(now) if few else ""
