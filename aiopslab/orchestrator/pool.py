"""Hand jobs to host processes and listen to what they report.

Each host serves one warm world at a time, so jobs are grouped by world; a host that has nothing
left of its world is replaced by a fresh one for another. A host that dies costs its trials, which
become failures of the lab, and nothing else. Not here: what a host does (``host``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from aiopslab.errors import InfraError
from aiopslab.models.run import RunConfig
from aiopslab.orchestrator import documents, spans, tracing
from aiopslab.orchestrator.bench import Job
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.trial import Assignment, failed_trial
from aiopslab.orchestrator.wallclock import Stopwatch

OnEvent = Callable[[dict[str, Any]], None]
LEAVE_S = 5.0
"""Wall seconds a host has to end once its standard input is closed."""
_LINE_BYTES = 2**20


class Pool:
    """Host processes for one run.

    Args:
        run: Where records go.
        config: What was asked.
        on_event: Receives every event of every host.
        fork: False makes hosts work from cold.
    """

    def __init__(
        self, run: RunDirectory, config: RunConfig, on_event: OnEvent, *, fork: bool = True
    ) -> None:
        self._run = run
        self._config = config
        self._on_event = on_event
        self._fork = fork
        self._groups: dict[Hashable, deque[Job]] = {}
        self._serving: dict[Hashable, int] = {}

    async def work(self, jobs: Sequence[tuple[Hashable, Job]], hosts: int) -> None:
        """Carry out jobs, given with the key of their world, on so many hosts at once."""
        self._groups, self._serving = {}, {}
        for key, job in jobs:
            self._groups.setdefault(key, deque()).append(job)
            self._serving.setdefault(key, 0)
        async with asyncio.TaskGroup() as group:
            for seat in range(min(hosts, len(jobs))):
                group.create_task(self._serve(seat))

    async def _serve(self, seat: int) -> None:
        """One host after another on a seat, each for one world, until no job is left."""
        while (key := self._next_world()) is not None:
            self._serving[key] += 1
            try:
                await self._serve_world(self._groups[key], seat)
            finally:
                self._serving[key] -= 1

    def _next_world(self) -> Hashable | None:
        """Choose the world with the most jobs left for each host that would serve it."""
        waiting = [
            (len(jobs) / (1 + self._serving[key]), key) for key, jobs in self._groups.items()
        ]
        best = max(waiting, key=lambda pair: pair[0], default=(0.0, None))
        return best[1] if best[0] > 0 else None

    async def _serve_world(self, jobs: deque[Job], seat: int) -> None:
        host: Host | None = None
        try:
            while jobs:
                job = jobs.popleft()
                host = host or await Host.start(self._run, self._config, seat, fork=self._fork)
                try:
                    await host.carry_out(job, self._on_event)
                except InfraError as failure:
                    await host.leave()
                    host = None
                    self._lost(job, failure)
        finally:
            if host is not None:
                await host.leave()

    def _lost(self, job: Job, failure: InfraError) -> None:
        """Record the trials of a host that died."""
        for plan in job.trials:
            directory = self._run.trial(plan)
            if directory.complete:
                continue
            directory.path.mkdir(parents=True, exist_ok=True)
            assignment = Assignment(plan, self._config, directory)
            trial = failed_trial(assignment, failure, watch=Stopwatch())
            directory.finish(trial)
            tracing.lost(plan, self._config, trial)
            finished = {"event": "trial_finished", "trial": plan.directory}
            self._on_event({**finished, "outcome": "infra_error", "error": str(failure)})


class Host:
    """One host process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, run: RunDirectory, config: RunConfig, seat: int, *, fork: bool) -> Host:
        """Start a host in a session of its own, so that Ctrl-C reaches only this process."""
        with (run.path / "hosts.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "aiopslab.orchestrator.host",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(),
                limit=_LINE_BYTES,
                start_new_session=True,
            )
        host = cls(process)
        opening = {"config": config.model_dump(mode="json", by_alias=True)}
        trace = None if (place := spans.present()) is None else place.model_dump()
        run_path = str(run.path.resolve())
        await host._tell({**opening, "run": run_path, "seat": seat, "fork": fork, "trace": trace})
        return host

    async def carry_out(self, job: Job, on_event: OnEvent) -> None:
        """Assign a job and listen until it is done.

        Raises:
            InfraError: The host died.
        """
        try:
            await self._tell(job.model_dump(mode="json"))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise InfraError("host", await self._epitaph()) from error
        stdout = self._process.stdout
        if stdout is None:
            raise InfraError("host", "it has no output to listen to")
        # A host that is killed may leave half a line.
        while (line := await stdout.readline()).endswith(b"\n"):
            message = json.loads(line)
            if message["event"] == "job_done":
                return
            on_event(message)
        raise InfraError("host", await self._epitaph())

    async def leave(self) -> None:
        """Close its standard input, at which it and all its copies end; kill what does not."""
        stdin = self._process.stdin
        if stdin is not None:
            stdin.close()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await stdin.wait_closed()
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._process.communicate()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    async def _tell(self, message: dict[str, Any]) -> None:
        stdin = self._process.stdin
        if stdin is None:
            raise InfraError("host", "it has no input to write to")
        stdin.write((documents.encode(message, indent=None) + "\n").encode())
        await stdin.drain()

    async def _epitaph(self) -> str:
        code = await self._process.wait()
        return f"the host process ended with status {code}; see hosts.log of the run"


def _environment() -> dict[str, str]:
    """Return the environment of hosts: they import what this process can import.

    Numeric libraries get one thread each: a host has one core, and a process with threads cannot
    be forked safely.
    """
    paths = [os.path.abspath(p) for p in sys.path]  # noqa: PTH100 - entries may be archives
    single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **single, "PYTHONPATH": os.pathsep.join(paths)}
