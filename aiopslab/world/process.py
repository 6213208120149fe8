"""A process: tasks that live and die together.

What the kernel does when a process ends, for coroutines: every task of it is cancelled, and an
error that escapes one of them is reported to whoever owns the process. Not here: what a process
runs (``container``), its sockets (``network``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aiopslab.world.clock import VirtualLoop

T = TypeVar("T")


class Process:
    """A group of tasks.

    Args:
        loop: The world's clock.
        on_error: Told the exception that ended a task; by default it is a defect of ours and
            stops the world.
    """

    __slots__ = ("_on_error", "_tasks", "awake", "ended", "loop")

    def __init__(
        self, loop: VirtualLoop, on_error: Callable[[BaseException], None] | None = None
    ) -> None:
        self.loop = loop
        self.ended = False
        self.awake: asyncio.Event | None = None
        """Set again when a process that is suspended now goes on; None while it runs."""
        self._on_error = on_error or loop.fail
        self._tasks: dict[object, asyncio.Task[Any]] = {}

    def spawn(self, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine as a task of this process; of an ended one, it is cancelled at once."""
        task = self.loop.create_task(coro)
        self._tasks[task] = task
        task.add_done_callback(self._forget)
        if self.ended:
            task.cancel()
        return task

    def start(self, key: object, coro: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine that says itself, by ``done``, that it is: cheaper than ``spawn``."""
        if self.ended:
            coro.close()
        else:
            self._tasks[key] = self.loop.create_task(coro)

    def done(self, key: object) -> None:
        """What was started under a key is done."""
        self._tasks.pop(key, None)

    def failed(self, error: Exception) -> None:
        """An error escaped from what was started; its owner is told next."""
        self.loop.call_soon(self._on_error, error)

    def end(self) -> None:
        """Cancel every task, also the one that calls."""
        self.ended = True
        for task in list(self._tasks.values()):
            task.cancel()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                self._on_error(error)
