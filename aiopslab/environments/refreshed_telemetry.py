"""Telemetry from a copy that is brought up to date before each answer.

Not here: where the copy comes from (``cluster.telemetry``, ``byo.telemetry``), the answers
(``store_telemetry``).
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiopslab.environments.store_telemetry import StoreTelemetry

C = TypeVar("C", bound=StoreTelemetry)


def _after_refresh(answer: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(answer)
    async def answered(self: RefreshedTelemetry, *args: Any, **kwargs: Any) -> Any:
        await self.refresh()
        return await answer(self, *args, **kwargs)

    return answered


def _refreshing(cls: type[C]) -> type[C]:
    """Let every answer that a class inherits be one of now."""
    for name, answer in vars(StoreTelemetry).items():
        if inspect.iscoroutinefunction(answer):
            setattr(cls, name, _after_refresh(answer))
    return cls


@_refreshing
class RefreshedTelemetry(StoreTelemetry, ABC):
    """Answers from a store that somebody else fills; ``refresh`` takes in what is new."""

    @abstractmethod
    async def refresh(self, *, anyway: bool = False) -> None:
        """Take in what is new.

        Args:
            anyway: Even if the copy is new enough to answer from.

        Raises:
            InfraError: Whoever knows does not answer.
        """
