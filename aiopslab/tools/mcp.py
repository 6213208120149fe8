"""The tools over the Model Context Protocol, on the official SDK.

One server a trial, over streamable HTTP without state: the trial is bound to the URL it is called
at, never to a connection, because clients open one for every call. Handshakes of older revisions,
single posts without one, and JSON answers are all served. Not here: tokens and sizes
(``wire.guard``), the standard streams (``cli.mcp_command``), the tools.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from starlette.responses import Response

from aiopslab._version import __version__
from aiopslab.errors import InfraError, LimitExceeded
from aiopslab.models.observation import Brief, Observation, ToolInfo
from aiopslab.tools.catalogue import TOOLS
from aiopslab.tools.openai import reading

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

Call = Callable[..., Awaitable[Observation]]
"""``call(name, **arguments)``: carries a tool call out."""
NAME = "aiopslab"
BRIEF_PROMPT = "brief"
BRIEF_URI = "aiopslab://brief"
_REPEATABLE = ("k8s_apply", "k8s_scale", "k8s_set_env", "k8s_set_image", "k8s_set_resources")
"""Tools that change something, but nothing more when they are called again."""


@asynccontextmanager
async def mcp_door(brief: Brief, tools: Sequence[ToolInfo], call: Call) -> AsyncIterator[ASGIApp]:
    """Serve one trial; yields an ASGI application that answers at every path below its mount.

    At the end of the block calls under way are cancelled.

    Args:
        brief: What the agent is told.
        tools: The tools of the task.
        call: Carries a call out; raises LimitExceeded where a budget is used up.
    """
    manager = StreamableHTTPSessionManager(
        mcp_server(brief, tools, call), json_response=True, stateless=True
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            # Without state there is no stream to listen to and nothing to end.
            answer = Response(status_code=405, headers={"allow": "POST"})
            await answer(scope, receive, send)
            return
        await manager.handle_request(scope, receive, send)

    # The SDK's task group lives in a task of its own: what is raised in the block is the caller's
    # and must not come out of it wrapped in a group.
    ready, done = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with manager.run():
            ready.set()
            await done.wait()

    holding = asyncio.create_task(hold())
    try:
        await ready.wait()
        yield app
    finally:
        done.set()
        await holding


def mcp_server(brief: Brief, tools: Sequence[ToolInfo], call: Call) -> Server[Any]:
    """Return the server of one trial, for any transport."""
    desk = _Desk(brief, tools, call)
    return Server(
        NAME,
        version=__version__,
        instructions=brief.text(),
        on_list_tools=desk.list_tools,
        on_call_tool=desk.call_tool,
        on_list_prompts=desk.list_prompts,
        on_get_prompt=desk.get_prompt,
        on_list_resources=desk.list_resources,
        on_read_resource=desk.read_resource,
    )


class _Desk:
    """The handlers of one trial."""

    def __init__(self, brief: Brief, tools: Sequence[ToolInfo], call: Call) -> None:
        self._brief = brief
        self._tools = [_described(tool, brief) for tool in tools]
        self._call = call

    async def list_tools(self, context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=self._tools)

    async def call_tool(
        self, context: Any, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        """Answer with the observation's text; mistakes are results too, so that models see them."""
        try:
            seen = await self._call(params.name, **(params.arguments or {}))
        except LimitExceeded as error:
            return _said(f"limit: {error}", failed=True)
        except InfraError:
            return _said("the cluster is not available", failed=True)
        copy = seen.model_dump(mode="json", exclude={"arguments"}, exclude_none=True)
        return _said(reading(seen), failed=not seen.ok, structured=copy)

    async def list_prompts(self, context: Any, params: Any) -> types.ListPromptsResult:
        prompt = types.Prompt(name=BRIEF_PROMPT, description="What is asked of you")
        return types.ListPromptsResult(prompts=[prompt])

    async def get_prompt(
        self, context: Any, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        if params.name != BRIEF_PROMPT:
            _unknown("prompt", params.name, BRIEF_PROMPT)
        said = types.TextContent(type="text", text=self._brief.text())
        return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=said)])

    async def list_resources(self, context: Any, params: Any) -> types.ListResourcesResult:
        brief = types.Resource(
            uri=BRIEF_URI,
            name=BRIEF_PROMPT,
            description="What is asked of you, with the schema of the answer",
            mime_type="application/json",
        )
        return types.ListResourcesResult(resources=[brief])

    async def read_resource(
        self, context: Any, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        if str(params.uri) != BRIEF_URI:
            _unknown("resource", str(params.uri), BRIEF_URI)
        text = self._brief.model_dump_json(indent=2)
        content = types.TextResourceContents(uri=BRIEF_URI, mime_type="application/json", text=text)
        return types.ReadResourceResult(contents=[content])


def _unknown(what: str, asked: str, known: str) -> NoReturn:
    raise MCPError(types.INVALID_PARAMS, f"there is no {what} {asked[:100]!r}; known: {known}")


def _said(text: str, *, failed: bool, structured: Any = None) -> types.CallToolResult:
    """Put an answer into one text part, all that many clients read."""
    part = types.TextContent(type="text", text=text)
    return types.CallToolResult(content=[part], structured_content=structured, is_error=failed)


def _described(tool: ToolInfo, brief: Brief) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.parameters,
        annotations=_hints(tool, brief),
    )


def _hints(tool: ToolInfo, brief: Brief) -> types.ToolAnnotations:
    """State honestly what a call may do: a command or a statement may change something.

    Where the task is to look, nothing can be changed, whatever the tool.
    """
    known = TOOLS.get(tool.name)
    may_write = tool.effect == "write" or (known is not None and known.effect_of is not None)
    changes = may_write and brief.task == "mitigation"
    looks = tool.effect != "submit" and not changes
    return types.ToolAnnotations(
        read_only_hint=looks,
        destructive_hint=changes,
        idempotent_hint=looks or tool.name in _REPEATABLE,
        open_world_hint=False,
    )
