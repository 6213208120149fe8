"""Several errands on a cluster at a time: all results, or the first error by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from aiopslab.errors import first_of

K = TypeVar("K")
T = TypeVar("T")


async def together(errands: Mapping[K, Coroutine[Any, Any, T]]) -> dict[K, T]:
    """Run errands side by side; when one fails, the others are cancelled.

    Returns:
        The results by the keys of the errands.

    Raises:
        Exception: What the first errand that failed raised, not a group of it.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {key: group.create_task(errand) for key, errand in errands.items()}
    except BaseExceptionGroup as errors:
        raise first_of(errors) from errors
    return {key: task.result() for key, task in tasks.items()}
