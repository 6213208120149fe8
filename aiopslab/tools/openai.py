"""The tools as function schemas of the chat completions protocol.

Data only: no client library is imported. Not here: LangChain (``langchain``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiopslab.models.observation import ToolInfo


def functions(tools: Sequence[ToolInfo]) -> list[dict[str, Any]]:
    """Return the value of the ``tools`` field of a chat completions request."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            },
        }
        for tool in tools
    ]
