"""Requests to an endpoint for chat completions, whole or in parts, and what came back.

Not here: the conversation (``talk``), asking again after a failure (``aiopslab.agents.chat``, and
the SDK itself).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiopslab.agents.chat import BrokenReply, counted, legible, text_of
from aiopslab.agents.prices import TokenUsage

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessage


@dataclass(slots=True)
class Call:
    """One call of a function, as the model wrote it."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    """JSON text, or what was meant to be."""


@dataclass(slots=True)
class Reply:
    """One message of the model."""

    text: str = ""
    refusal: str = ""
    """Why the model declines; empty where it does not."""
    calls: list[Call] = field(default_factory=list)
    finish: str = ""
    """Why it ended: ``stop``, ``tool_calls``, ``length``, ``content_filter``."""

    @property
    def declined(self) -> str:
        """Why the model, or a filter before it, declines; empty where neither does."""
        return self.refusal or ("content filter" if self.finish == "content_filter" else "")


class Completions:
    """Asks one model.

    Args:
        client: The SDK's client; closed by whoever opened it.
        model: Name of the model at the endpoint.
        options: Further fields of every request.
        stream: Receive replies in parts.
    """

    def __init__(
        self, client: AsyncOpenAI, model: str, options: Mapping[str, Any], *, stream: bool
    ) -> None:
        self._client = client
        self._fields = {"model": model, **options}
        self._stream = stream

    async def ask(self, **fields: Any) -> tuple[Reply, TokenUsage | None]:
        """Make one request.

        Raises:
            BrokenReply: What came is not whole.
            openai.OpenAIError: It did not come.
        """
        if self._stream:
            options = {"stream": True, "stream_options": {"include_usage": True}}
            return await _assembled(await self._create(**fields, **options))
        whole = await self._create(**fields)
        if not getattr(whole, "choices", None):
            raise BrokenReply("the reply holds no choice")
        choice = whole.choices[0]
        if choice.message is None:
            raise BrokenReply("the reply holds no message")
        return _reply(choice.message, choice.finish_reason or ""), counted(whole.usage)

    async def _create(self, **fields: Any) -> Any:
        """Send a request; without the temperature, now and later, where the model takes none."""
        import openai

        create: Any = self._client.chat.completions.create
        fields = {**fields, "messages": legible(fields["messages"])}
        try:
            return await create(**self._fields, **fields)
        except openai.BadRequestError as error:
            if error.param != "temperature" or "temperature" not in self._fields:
                raise
            del self._fields["temperature"]
            return await create(**self._fields, **fields)


def _reply(message: ChatCompletionMessage, finish: str) -> Reply:
    # The SDK checks nothing of what an endpoint sends: types are left out, arguments are objects.
    functions = ((call.id, getattr(call, "function", None)) for call in message.tool_calls or [])
    calls = [
        Call(id or "", function.name or "", _arguments(function.arguments))
        for id, function in functions
        if function is not None
    ]
    return Reply(text_of(message.content), message.refusal or "", calls, finish)


def _arguments(given: object) -> str:
    """Return arguments as the text that they should have come as."""
    return given if isinstance(given, str) else json.dumps(given) if given else ""


async def _assembled(parts: AsyncStream[ChatCompletionChunk]) -> tuple[Reply, TokenUsage | None]:
    """Put the parts of a reply together.

    Raises:
        BrokenReply: They ended before the reason why they end.
    """
    import openai

    reply, usage = Reply(), None
    latest: dict[int, Call] = {}
    try:
        async with parts:
            async for part in parts:
                usage = part.usage or usage
                if part.choices:
                    _add(reply, latest, part.choices[0])
    except openai.APIConnectionError as error:
        # The SDK asks again for what never began, not for what broke off.
        raise BrokenReply(f"the stream broke off: {error}") from error
    if not reply.finish:
        raise BrokenReply("the stream ended in the middle of the reply")
    return reply, counted(usage)


def _add(reply: Reply, latest: dict[int, Call], choice: Any) -> None:
    """Add one part to a reply.

    Args:
        reply: What there is of it.
        latest: Its calls by index; added to.
        choice: The part.
    """
    reply.finish = choice.finish_reason or reply.finish
    if (delta := choice.delta) is None:
        return
    reply.text += text_of(delta.content)
    reply.refusal += delta.refusal or ""
    for piece in delta.tool_calls or []:
        call = latest.get(piece.index)
        # Some endpoints number all calls 0 (ollama/ollama#15457): another id is another call.
        if call is None or (piece.id and call.id and piece.id != call.id):
            call = latest[piece.index] = Call()
            reply.calls.append(call)
        call.id = piece.id or call.id
        if piece.function is not None:
            call.name += piece.function.name or ""
            call.arguments += _arguments(piece.function.arguments)
