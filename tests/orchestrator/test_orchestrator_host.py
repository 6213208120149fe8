"""A host whose run has ended: the job is called off, and takes down what it made."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest

from aiopslab.errors import InfraError
from aiopslab.models.run import PlannedTrial
from aiopslab.orchestrator.bench import Job
from aiopslab.orchestrator.host import watched
from aiopslab.orchestrator.pool import Host


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


def test_a_host_that_is_killed_in_the_middle_of_a_line_is_lost_and_the_run_goes_on() -> None:
    heard: list[dict[str, Any]] = []

    async def go() -> None:
        said = '{"event": "step"}\n{"event": "tri'
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", f"input(); print({said!r}, end='')",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        plan = PlannedTrial(problem="p", incident="i", task="detection", attempt=1)
        job = Job(incident="i", attempt=1, trials=[plan])
        with pytest.raises(InfraError, match="the host process ended with status 0"):
            await Host(process).carry_out(job, heard.append)
        await Host(process).leave()

    asyncio.run(go())
    assert heard == [{"event": "step"}]
