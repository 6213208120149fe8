"""Awaiting what must not be broken off in the middle, whoever calls its caller off.

A world that is being driven, a change that is being made. Neighbours: ``bridge`` and
``tools.toolbox``, which await such. Not here: deadlines (``pauses``).
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def unbroken(work: asyncio.Future[T]) -> T:
    """Await something to its end, even if cancelled meanwhile; the cancellation comes after it.

    A failure of the work is worth more than the cancellation.
    """
    cancelled = False
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:
            cancelled = True
    done = work.result()
    if cancelled:
        raise asyncio.CancelledError
    return done
