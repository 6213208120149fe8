"""The tool API: defined once, offered in process, to LangChain and as function schemas."""

from aiopslab.tools.catalogue import TOOLS, describe_tools
from aiopslab.tools.context import ACTOR, AnswerSink, Result, Tool, ToolContext, ToolRefused, tool
from aiopslab.tools.submit import answer_schema
from aiopslab.tools.toolbox import Counts, Toolbox

__all__ = [
    "ACTOR",
    "TOOLS",
    "AnswerSink",
    "Counts",
    "Result",
    "Tool",
    "ToolContext",
    "ToolRefused",
    "Toolbox",
    "answer_schema",
    "describe_tools",
    "tool",
]
