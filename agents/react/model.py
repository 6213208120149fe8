"""The chat model of ``react``: LangChain's, held to what endpoints send beside what they should.

LangChain takes arguments that are JSON but no object for a reply it cannot read, and the reply is
lost with its tokens. Here they become a call that is not valid, as arguments that are no JSON are.
Imports LangChain, so it is imported where a model is asked. Not here: the conversation (``talk``).
"""

from __future__ import annotations

import json
from typing import Any

import openai
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatResult
from langchain_openai import ChatOpenAI

from aiopslab.agents.chat import counted, legible
from aiopslab.agents.prices import TokenUsage


class Model(ChatOpenAI):
    """A chat model whose replies can be read, and repeated, whatever the model wrote in them."""

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        payload = super()._get_request_payload(input_, stop=stop, **kwargs)
        if "messages" in payload:
            payload["messages"] = legible(payload["messages"])
        return payload

    def _create_chat_result(
        self,
        response: dict[str, Any] | openai.BaseModel,
        generation_info: dict[str, Any] | None = None,
    ) -> ChatResult:
        for choice in getattr(response, "choices", None) or []:
            calls = getattr(choice.message, "tool_calls", None) or []
            for call in calls:
                function = getattr(call, "function", None)
                if function is not None:
                    # Where a reply is cut before its arguments, none would be what nobody meant.
                    cut = choice.finish_reason == "length" and call is calls[-1]
                    function.arguments = _readable(function.arguments, cut=cut)
        return super()._create_chat_result(response, generation_info)


def _readable(arguments: Any, *, cut: bool) -> str:
    """Return arguments that are an object or cannot be read as JSON at all."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""
    if cut and not text:
        return "(nothing)"
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
    return text if isinstance(found, dict) or not found else f"(no object) {text}"


def consumed(reply: AIMessage) -> TokenUsage | None:
    """Return the tokens as the endpoint counted them; None where it did not."""
    told = reply.response_metadata.get("token_usage")
    if told is not None:
        # LangChain's own count has 0 for what is missing, and names cached tokens by service tier.
        return counted(told)
    found = reply.usage_metadata
    if found is None:
        return None
    cached = found.get("input_token_details", {}).get("cache_read") or 0
    return TokenUsage(found["input_tokens"], found["output_tokens"], cached)
