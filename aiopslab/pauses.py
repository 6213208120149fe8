"""Pauses and deadlines on a loop that the caller knows, in virtual or real time.

``asyncio.sleep`` and ``asyncio.timeout`` ask for the running loop, and with that the operating
system for the process's id: in a world where time costs nothing, that is what they cost. These do
the same otherwise. Not here: sleeps that somebody else may end (``services.protocols.Alarm``).
"""

from __future__ import annotations

import asyncio
from types import TracebackType


async def pause(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """Let seconds pass on the loop this runs on; as ``asyncio.sleep`` does, 0 gives way once."""
    if seconds <= 0.0:
        await asyncio.sleep(0)
        return
    over = loop.create_future()
    timer = loop.call_later(seconds, _end, over)
    try:
        await over
    finally:
        timer.cancel()


def _end(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)


class Deadline:
    """``with Deadline(loop, seconds)``: what is awaited in the block must be done by then.

    Raises:
        TimeoutError: It was not, and has been cancelled.
    """

    __slots__ = ("_cancelling", "_loop", "_missed", "_seconds", "_task", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._missed = False

    def __enter__(self) -> None:
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a deadline needs a task that it can cancel")
        self._task: asyncio.Task[object] = task
        self._cancelling = task.cancelling()
        if self._seconds <= 0.0:
            self._timer: asyncio.Handle = self._loop.call_soon(self._miss)
        else:
            self._timer = self._loop.call_later(self._seconds, self._miss)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if (
            self._missed
            and self._task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from error

    def _miss(self) -> None:
        self._missed = True
        self._task.cancel()
