"""The tools as function schemas of the chat completions protocol, and observations as messages.

Data only: no client library is imported. Not here: LangChain (``langchain``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from aiopslab.models.observation import Observation, ToolInfo

_STRICT_KEYS = (
    "type", "description", "enum", "minimum", "maximum", "minItems", "maxItems",
)  # fmt: skip
"""What a strict schema may say of a value, besides what it consists of."""


def functions(
    tools: Sequence[ToolInfo], *, strict_for: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Return the value of the ``tools`` field of a chat completions request.

    Args:
        tools: As ``TrialHandle.tools`` lists them.
        strict_for: Names of tools whose arguments the endpoint is to hold to the schema.
    """
    return [_function(tool, strictly=tool.name in strict_for) for tool in tools]


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema as structured outputs take it: every property required, none other.

    Defaults and lengths of text are left out, which strict schemas may not state.
    """
    kept: dict[str, Any] = {key: schema[key] for key in _STRICT_KEYS if key in schema}
    if "properties" in schema:
        kept["properties"] = {name: strict(prop) for name, prop in schema["properties"].items()}
        kept["required"] = list(schema["properties"])
        kept["additionalProperties"] = False
    if "items" in schema:
        kept["items"] = strict(schema["items"])
    return kept


def response_format(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the value of ``response_format`` that asks for an answer of this schema as text."""
    answer = {"name": "answer", "strict": True, "schema": strict(schema)}
    return {"type": "json_schema", "json_schema": answer}


def reading(observation: Observation) -> str:
    """Return what a model reads of an observation: its id, whether it failed, the text."""
    failed = "" if observation.ok else " failed"
    return f"[{observation.id}{failed}]\n{observation.text}"


def _function(tool: ToolInfo, *, strictly: bool) -> dict[str, Any]:
    described: dict[str, Any] = {"name": tool.name, "description": tool.description}
    if strictly:
        described |= {"parameters": strict(tool.parameters), "strict": True}
    else:
        described["parameters"] = tool.parameters
    return {"type": "function", "function": described}
