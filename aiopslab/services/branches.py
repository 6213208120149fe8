"""Steps of a request that run side by side: all must end; the first that fails ends the others.

What ``asyncio.TaskGroup`` does, for the one case of every parallel step: what to run is known at
the start, and a failed request is one error, not a group. Not here: what the steps are (``steps``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from aiopslab.services.exchange import Exchange, RequestFailed

Run = Callable[[Exchange], Coroutine[Any, Any, None]]
"""A compiled step."""


class Branches:
    """The tasks of one parallel step of one request."""

    __slots__ = ("_errors", "_left", "_over", "_tasks")

    def __init__(self) -> None:
        self._errors: list[BaseException] = []
        self._left = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, runs: Sequence[Run], x: Exchange) -> None:
        """Run every step as a task of its own until all have ended.

        Raises:
            RequestFailed: The first failure.
            BaseExceptionGroup: Some error was none of a request, hence a defect of ours.
        """
        loop = asyncio.get_running_loop()
        self._left = len(runs)
        self._over: asyncio.Future[None] = loop.create_future()
        for each in runs:
            task = loop.create_task(each(x))
            self._tasks.append(task)
            task.add_done_callback(self._ended)
        try:
            await self._over
        except asyncio.CancelledError:
            self._end_all()
            await self._rest(loop)
            raise
        if self._errors:
            self._raise()

    async def _rest(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait, whoever cancels again, until what was cancelled has ended."""
        while self._left:
            self._over = loop.create_future()
            try:
                await self._over
            except asyncio.CancelledError:
                continue

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._left -= 1
        if not self._left and not self._over.done():
            self._over.set_result(None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._errors.append(error)
            self._end_all()

    def _end_all(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _raise(self) -> None:
        first = self._errors[0]
        if not all(isinstance(error, RequestFailed) for error in self._errors):
            raise BaseExceptionGroup("steps side by side", self._errors)
        raise first from first.__cause__
