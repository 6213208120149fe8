"""The tools as LangChain tools, for agents built on LangChain.

LangChain is imported when asked for, not before. Not here: an agent (``agents/react``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from aiopslab.errors import PreflightError
from aiopslab.models.observation import Observation, ToolInfo
from aiopslab.tools.openai import reading

if TYPE_CHECKING:
    from langchain_core.tools import StructuredTool

Call = Callable[[str, dict[str, Any]], Awaitable[Observation]]


def structured_tools(tools: Sequence[ToolInfo], call: Call) -> list[StructuredTool]:
    """Wrap each tool; the text of the observation is what the model reads.

    Args:
        tools: As ``TrialHandle.tools`` lists them.
        call: Carries a call out: name and arguments to observation.

    Raises:
        PreflightError: LangChain is not installed.
    """
    try:
        from langchain_core.tools import StructuredTool  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise PreflightError(
            "LangChain is not installed", hint="pip install 'aiopslab[react]'"
        ) from error

    def wrapped(info: ToolInfo) -> StructuredTool:
        async def run(**arguments: Any) -> tuple[str, Observation]:
            observation = await call(info.name, arguments)
            return reading(observation), observation

        return StructuredTool(
            name=info.name,
            description=info.description,
            args_schema=info.parameters,
            coroutine=run,
            response_format="content_and_artifact",
        )

    return [wrapped(info) for info in tools]
