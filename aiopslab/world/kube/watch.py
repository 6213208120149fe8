"""Watching a kind: an asynchronous iterator over its changes, on whatever loop it is used.

For those who wait (``wait``, ``rollout status``); controllers use ``ApiServer.subscribe``, which
is synchronous. Not here: starting from an old revision, which nothing in-process needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiopslab.world.kube.objects import Object, namespace_of


class Watch:
    """Iterates over (event, object); events since its creation are never lost.

    Args:
        subscribe: Starts delivery to a callback and returns what ends it.
        namespace: Only this namespace; None for all.
    """

    def __init__(
        self,
        subscribe: Callable[[Callable[[str, Object, Object | None], None]], Callable[[], None]],
        namespace: str | None,
    ) -> None:
        self._queue: asyncio.Queue[tuple[str, Object]] = asyncio.Queue()
        self._namespace = namespace
        self._unsubscribe = subscribe(self._deliver)

    def _deliver(self, event: str, obj: Object, _old: Object | None) -> None:
        if self._namespace is None or namespace_of(obj) in ("", self._namespace):
            self._queue.put_nowait((event, obj))

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> tuple[str, Object]:
        return await self._queue.get()

    def close(self) -> None:
        """Stop the delivery; a second call does nothing."""
        self._unsubscribe()
