"""One run of a job: rounds of steps, so many at once, then an exit code.

The pod of a CronJob runs the image of a service with the arguments ``job NAME``; it reads the same
configuration, serves nobody and ends, so it is not scraped; each run is one trace. Not here: when
it runs (``models.job``), what the steps do (``steps``).
"""

from __future__ import annotations

import asyncio

from aiopslab.models.job import Job
from aiopslab.services.branches import Run
from aiopslab.services.config import LANES, Config
from aiopslab.services.exchange import Exchange, RequestFailed
from aiopslab.services.journal import Journal
from aiopslab.services.languages import Dialect, Frame
from aiopslab.services.protocols import Host


class Batch:
    """A run of a job.

    Args:
        name: Of the job.
        job: Its definition.
        config: ``JOB_ROUNDS`` and ``JOB_CONCURRENCY``; raises ConfigError.
        run: The steps of a round, compiled.
    """

    def __init__(
        self, name: str, job: Job, config: Config, run: Run, host: Host, dialect: Dialect,
        journal: Journal,
    ) -> None:  # fmt: skip
        self._name = name
        self._job = job
        self._rounds = config.integer("JOB_ROUNDS", job.rounds, least=1)
        self._lanes = config.integer("JOB_CONCURRENCY", job.concurrency, least=1, most=LANES)
        self._run = run
        self._host = host
        self._journal = journal
        self._frames: list[Frame] = [dialect.frame("jobs", name)]
        self._next = 0
        self._failed = 0

    async def run(self) -> int:
        """Do every round; return the exit code."""
        telemetry, now = self._host.telemetry, self._host.clock.now
        whole = Exchange(telemetry.new_trace_id(), telemetry.new_span_id(), {})
        start = now()
        fields: dict[str, str | int | float] = {"rounds": self._rounds, "concurrency": self._lanes}
        self._journal.write("INFO", f"job {self._name} started", fields, whole)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._lanes, self._rounds)):
                group.create_task(self._lane(whole))
        message = f"{self._failed} of {self._next} rounds failed" if self._failed else ""
        telemetry.span(
            whole.trace_id, whole.span_id, 0, f"job {self._name}", "internal", start, now(),
            message, {"job.name": self._name, "job.rounds": self._next},
        )  # fmt: skip
        stopped = bool(self._failed) and self._job.on_failure == "stop"
        fields = {
            "rounds": self._next,
            "failed": self._failed,
            "duration_ms": round((now() - start) * 1000.0),
        }
        level, outcome = ("ERROR", "failed") if stopped else ("INFO", "completed")
        self._journal.write(level, f"job {self._name} {outcome}", fields, whole)
        return int(stopped)

    async def _lane(self, whole: Exchange) -> None:
        """Do rounds until none is left, or one has failed and that ends the run."""
        telemetry, now = self._host.telemetry, self._host.clock.now
        while self._next < self._rounds:
            if self._failed and self._job.on_failure == "stop":
                return
            self._next += 1
            x = Exchange(whole.trace_id, telemetry.new_span_id(), {"round": str(self._next)})
            start, message = now(), ""
            try:
                await self._run(x)
            except RequestFailed as failed:
                self._failed += 1
                message = failed.problem.message
                text = f"job {self._name}: round {x.params['round']} failed"
                self._journal.failure(
                    "ERROR", text, failed.problem, [*self._frames, *failed.frames], x
                )
            telemetry.span(
                x.trace_id, x.span_id, whole.span_id, "round", "internal", start, now(), message,
                None,
            )  # fmt: skip
