"""``aiopslab mcp``: the tools of a running trial on standard input and output."""

from __future__ import annotations


def command(*, url: str | None = None, token: str | None = None) -> int:
    """Speak the Model Context Protocol on standard input and output for one running trial.

    For clients that start their servers as commands. A trial's own MCP URL needs no command.

    Args:
        url: The trial's tool API. Default: AIOPSLAB_URL.
        token: Its token. Default: AIOPSLAB_TOKEN, or what the URL carries.
    """
    import asyncio

    asyncio.run(_serve(url, token))
    return 0


async def _serve(url: str | None, token: str | None) -> None:
    from mcp.server.stdio import stdio_server

    from aiopslab.tools.mcp import mcp_server
    from aiopslab.tools.remote import open_trial

    async with open_trial(url, token) as trial:
        server = mcp_server(trial.brief, trial.tools, trial.call)
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
