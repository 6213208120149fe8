"""A stage of the lab that fails says why, however many things it did side by side."""

from __future__ import annotations

import asyncio

import pytest

from aiopslab.errors import InfraError
from aiopslab.orchestrator.lab_stages import await_stage


async def side_by_side(error: Exception) -> None:
    async def failing() -> None:
        raise error

    async def nested() -> None:
        async with asyncio.TaskGroup() as inner:
            inner.create_task(failing())

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(nested())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InfraError("seed", "geo-postgres: no room"), "seed: geo-postgres: no room"),
        (OSError("too many open files"), "deploy: OSError: too many open files"),
    ],
)
def test_an_error_in_a_group_keeps_its_own_words(error: Exception, said: str) -> None:
    with pytest.raises(InfraError) as failed:
        asyncio.run(await_stage("deploy", side_by_side(error)))
    assert str(failed.value) == said
