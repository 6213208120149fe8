"""The busybox image: runs the command it is given, for jobs and the like.

``command`` and ``args`` of the container are a command line of ``shell``; its output becomes the
container's log, its exit code the container's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiopslab.models.kube import ExecResult
from aiopslab.world.container import Container
from aiopslab.world.images.shell import COMMANDS, shell
from aiopslab.world.images.shell_input import SHELLS


class Busybox:
    """The program of a busybox container."""

    def accepts(self, command: Sequence[str]) -> bool:
        """Tell whether the image has the executable of a ``command`` override."""
        name = command[0].rpartition("/")[2]
        return name in COMMANDS or name in SHELLS

    async def run(self, box: Container) -> int:
        """Run the command; SIGTERM ends it with 143."""
        argv = [*box.command, *box.args]
        if not argv:
            return 0  # an interactive shell without terminal ends at once
        job = box.spawn(shell(box, argv))
        term = box.spawn(box.terminating.wait())
        ends: list[asyncio.Future[Any]] = [job, term]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            job.cancel()
            return 143
        term.cancel()
        result = job.result()
        for line in result.stdout.splitlines():
            box.log(line)
        for line in result.stderr.splitlines():
            box.log(line, severity="ERROR")
        return result.code

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None:
        """Leave every command to the shell."""
        return None
