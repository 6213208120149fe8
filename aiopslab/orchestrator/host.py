"""A host process: ``python -m aiopslab.orchestrator.host``, started by ``pool``, never by people.

Reads JSON lines on standard input (first the run, then one job at a time), answers with events.
Standard input is also the lifeline: at its end of file the process and all its copies end. What
agents print goes to standard error. Not here: what a job is (``bench``).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

from aiopslab.models.base import Model
from aiopslab.models.run import RunConfig
from aiopslab.orchestrator import cold, margins, proofs, sightings
from aiopslab.orchestrator.bench import Bench, Job
from aiopslab.orchestrator.fork import Channel, can_fork
from aiopslab.orchestrator.lab import find_lab
from aiopslab.orchestrator.players import agent_source
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.spans import TraceContext
from aiopslab.orchestrator.trial import AgentSource


class Opening(Model):
    """The first line: the run this host works for."""

    config: RunConfig
    run: str
    seat: int = 0
    """Which of the run's hosts this is, or takes the place of."""
    fork: bool = True
    """False: from cold even where the platform forks."""
    trace: TraceContext | None = None
    """The run's span; None where nobody traces."""


def main() -> None:
    """Serve jobs until the end of standard input."""
    # Agents and what they start must neither read jobs nor write events: both pipes move to
    # private descriptors, which are not inherited by programs that are executed.
    lifeline, voice = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    channel = Channel(voice)
    lines = _lines(lifeline)
    opening = Opening.model_validate_json(next(lines))
    config = opening.config
    run = RunDirectory(Path(opening.run))
    lab = find_lab(config.environment)
    lab.run, lab.seat = run.token, opening.seat
    bench = Bench(lab, config, run, _source(config), trace=opening.trace)
    for line in lines:
        job = Job.model_validate_json(line)
        if opening.fork and lab.forkable and can_fork():
            _MEASURED.get(config.agent, Bench.work)(bench, job, channel, lifeline)
        else:
            try:
                asyncio.run(watched(cold.work(bench, job, channel.send), lifeline))
            except asyncio.CancelledError:
                break
        channel.send({"event": "job_done"})
    asyncio.run(lab.aclose())


_MEASURED = {margins.AGENT: margins.work, sightings.AGENT: sightings.work}
"""What is carried out in place of trials, by the name under which a run asks for it."""


async def watched(work: Coroutine[Any, Any, None], lifeline: int) -> None:
    """Await a job, or cancel it when its run has ended: nothing is told to a host at work.

    Cancelled once: what the job made is taken down on its way out, which takes awaiting too.
    """
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def ended() -> None:
        # An end of file stays readable: the reader would be called again and again.
        loop.remove_reader(lifeline)
        task.cancel()

    loop.add_reader(lifeline, ended)
    await task


def _source(config: RunConfig) -> AgentSource:
    if config.agent in _MEASURED:
        return margins.nobody
    return proofs.player if config.agent == proofs.AGENT else agent_source(config)


def _lines(fd: int) -> Iterator[bytes]:
    """Yield lines of a descriptor without reading ahead into the next message."""
    buffer = b""
    while True:
        while b"\n" not in buffer:
            data = os.read(fd, 65536)
            if not data:
                return
            buffer += data
        line, _, buffer = buffer.partition(b"\n")
        yield line


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    # As its copies end. Taking down a heap that was frozen for them takes time and makes DuckDB's
    # binding write a page about leaks to where agents print.
    os._exit(0)
