"""Stages of the lab: whatever fails in one is the lab's failure and carries the stage's name.

Not here: what the stages do (``bench``, ``staging``), how a failure is recorded (``trial``).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from aiopslab.errors import InfraError, first_of
from aiopslab.orchestrator import spans

T = TypeVar("T")


def run_stage(name: str, work: Callable[[], T]) -> T:
    """Run a stage.

    Raises:
        InfraError: It failed, in whatever way.
    """
    with _charged(name):
        return work()


async def await_stage(name: str, work: Coroutine[Any, Any, T]) -> T:
    """Await a stage; raises as ``run_stage``."""
    with _charged(name):
        return await work


@contextmanager
def _charged(name: str) -> Iterator[None]:
    try:
        with spans.span(name):
            yield
    except InfraError:
        raise
    except Exception as error:
        traceback.print_exc()
        # What ran side by side fails as a group, whose own words say nothing.
        cause = first_of(error)
        if isinstance(cause, InfraError):
            raise InfraError(cause.stage, cause.message) from error
        raise InfraError(name, f"{type(cause).__name__}: {cause}") from error
