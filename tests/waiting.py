"""Waiting for what can only be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

PATIENCE_S = 120.0


async def until(
    holds: Callable[[], object | Awaitable[object]], within_s: float = PATIENCE_S
) -> None:
    """Wait for a condition of something outside."""
    async with asyncio.timeout(within_s):
        while True:
            found = holds()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.01)
