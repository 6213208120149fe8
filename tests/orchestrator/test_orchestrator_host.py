"""A host whose run has ended: the job is called off, and takes down what it made."""

from __future__ import annotations

import asyncio
import os

import pytest

from aiopslab.orchestrator.host import watched


def test_a_job_that_is_called_off_takes_down_what_it_made() -> None:
    listening, run = os.pipe()
    told: list[str] = []

    async def work() -> None:
        os.close(run)
        try:
            await asyncio.Event().wait()
        finally:
            for step in ("asked", "waited", "gone"):
                await asyncio.sleep(0.0)
                told.append(step)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watched(work(), listening))
    os.close(listening)
    assert told == ["asked", "waited", "gone"]


def test_a_job_that_ends_by_itself_is_left_alone() -> None:
    listening, run = os.pipe()
    told: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0.0)
        told.append("done")

    asyncio.run(watched(work(), listening))
    os.close(run)
    os.close(listening)
    assert told == ["done"]
