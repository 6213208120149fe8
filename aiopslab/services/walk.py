"""Walking the steps of an endpoint at any depth. What steps mean is known by ``steps``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aiopslab.models.step import CacheStep, CallStep, ParallelStep, Step, WhenStep


def walk(steps: Iterable[Step]) -> Iterator[Step]:
    """Yield steps in order, each before the steps inside it."""
    for step in steps:
        yield step
        match step:
            case CallStep(fallback=inner):
                yield from walk(inner)
            case ParallelStep(parallel=inner):
                yield from walk(inner)
            case WhenStep(then=then, otherwise=otherwise):
                yield from walk([*then, *otherwise])
            case CacheStep(cache=access):
                yield from walk(access.fill)
            case _:
                pass
