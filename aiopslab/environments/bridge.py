"""The way into a simulated world, from its own loop or from anybody else's.

A world runs only while somebody drives it. Staging runs *on* the world's loop: there a coroutine
is simply awaited. An agent lives on an ordinary event loop: there the world runs in one worker
thread until the coroutine is done, one caller at a time, and stands still otherwise. The thread
exists only once it is needed, so a world that nobody entered from outside can be forked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from aiopslab.environments.unbroken import unbroken
from aiopslab.world.clock import VirtualLoop

T = TypeVar("T")

LIMIT_S = 86400.0
"""Virtual seconds after which a coroutine of the lab counts as hung."""


class Bridge:
    """Runs coroutines of one world.

    Args:
        loop: The world's clock.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._thread: ThreadPoolExecutor | None = None
        self._outer: asyncio.AbstractEventLoop | None = None
        self._turn: asyncio.Lock | None = None

    def run(self, coro: Coroutine[Any, Any, T]) -> T:
        """Drive the world until a coroutine on its loop is done; no thread, no other loop."""
        return self._loop.run_until_complete(coro, limit_s=LIMIT_S)

    async def enter(self, coro: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine of the world from whatever loop this is called on."""
        if asyncio.get_running_loop() is self._loop:
            return await coro
        try:
            return await self._outside(lambda: self.run(coro))
        finally:
            # Does something only where the caller was cancelled before its turn came.
            coro.close()

    async def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        if asyncio.get_running_loop() is self._loop:
            await asyncio.sleep(seconds)
            return
        await self._outside(lambda: self._loop.run_until(self._loop.time() + seconds))

    async def _outside(self, drive: Callable[[], T]) -> T:
        running = asyncio.get_running_loop()
        if self._turn is None or self._outer is not running:
            # A lock serves one loop; a caller may come from another one than the last.
            self._outer, self._turn = running, asyncio.Lock()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="world")
        async with self._turn:
            # A cancelled caller must find the world standing still: what looks at it next would
            # otherwise see it move.
            return await unbroken(running.run_in_executor(self._thread, drive))

    def close(self) -> None:
        """End the thread, if there is one."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
            self._thread = None
