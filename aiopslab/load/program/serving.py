"""The load generator as a process: serves ``control`` on a port until it is told to end."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from aiohttp import web

from aiopslab.errors import UsageError
from aiopslab.load.plan import LoadPlan
from aiopslab.load.program.control import Control
from aiopslab.load.real import WallLoop


def run(plan: Path, bind: str, port: int, token: str = "") -> None:
    """Serve until SIGTERM or Ctrl-C, to who knows the token.

    Raises:
        UsageError: The plan cannot be read, or is none.
    """
    try:
        found = LoadPlan.model_validate_json(plan.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{plan} is no plan of a load: {error}") from error
    now = time.time()  # noqa: TID251 - the process's own clock
    with asyncio.Runner(loop_factory=lambda: WallLoop(now)) as runner:
        runner.run(_serve(found, bind, port, token))


async def _serve(plan: LoadPlan, bind: str, port: int, token: str) -> None:
    end, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    async with Control(plan, token) as control:
        runner = web.AppRunner(control.app(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, bind, port).start()
            await end.wait()
        finally:
            await runner.cleanup()
