"""A run from its configuration to its results: start, resume, record, report.

Not here: how trials are carried out (``pool``, ``bench``, ``trial``), how they are worth
(``grading``), how results look (``report``).
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiopslab._version import __version__
from aiopslab.agents.protocol import Agent
from aiopslab.errors import InfraError, UsageError
from aiopslab.models.run import PlannedTrial, Results, RunConfig, RunRecord, RunStatus
from aiopslab.orchestrator import cold, lock, spans, tracing, wallclock
from aiopslab.orchestrator.bench import COURSE_LOST, DISCARDED, MEASURED, Bench
from aiopslab.orchestrator.lab import Lab, find_lab
from aiopslab.orchestrator.plan import plan_jobs, plan_trials, spread
from aiopslab.orchestrator.players import of_object, preflight
from aiopslab.orchestrator.pool import Pool
from aiopslab.orchestrator.progress import OnProgress, Progress
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.results import summarise

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class RunReport:
    """A finished run."""

    directory: Path
    record: RunRecord
    results: Results

    def to_frame(self) -> pd.DataFrame:
        """Return one row a trial: problem, task, attempt, outcome, seed, usage and scores."""
        import pandas  # noqa: PLC0415 - seconds to import; only those who ask for a frame pay

        return pandas.DataFrame(list(self._rows()))

    def _rows(self) -> list[dict[str, Any]]:
        run = RunDirectory(self.directory)
        rows = []
        for plan in self.record.trials:
            directory = run.trial(plan)
            if not directory.complete:
                continue
            trial, grade = directory.trial(), directory.grade()
            row = trial.model_dump(include={"problem", "task", "attempt", "seed", "outcome"})
            rows.append({**row, **trial.usage.model_dump(), **(grade.scores if grade else {})})
        return rows


async def run(
    config: RunConfig,
    *,
    trials: Sequence[PlannedTrial] | None = None,
    agent: Agent | None = None,
    progress: OnProgress | None = None,
) -> RunReport:
    """Run everything that was asked and return the report.

    Args:
        config: What to run.
        trials: The trials to make, by whoever each names; None: what follows from ``config``.
        agent: An agent object of this process in place of ``config.agent``, which then is only its
            name in the records. Its trials run one after another, each from cold.
        progress: Receives what happens.

    Raises:
        UsageError: Something asked for is unknown, a cluster must not be used, or the directory
            exists.
        PreflightError: The agent lacks something, or the clusters do.
    """
    lab = find_lab(config.environment)
    label, asked = plan_trials(lab, config)
    trials = asked if trials is None else list(trials)
    if agent is None:
        preflight(config, config.agents_of(trials))
    lab.clusters()  # one that must not be used is refused before anything is made
    directory = RunDirectory(Path(config.runs_dir) / (config.name or _name(config, label)))
    if (directory.path / "run.json").exists():
        hint = f"aiopslab resume {directory.path}"
        raise UsageError(f"run {str(directory.path)!r} exists", hint=hint)
    pinned = lock.take(lab, config, trials)
    directory.open()
    record = _begun(label, config, trials)
    with directory.held():
        directory.write(pinned)
        directory.write(record)
        return await _Course(directory, lab, record, agent, progress).follow(trials)


def _begun(label: str, config: RunConfig, trials: list[PlannedTrial]) -> RunRecord:
    return RunRecord(
        label=label,
        status="started",
        config=config,
        trials=trials,
        versions={"aiopslab": __version__, "python": platform.python_version()},
        wall={"started": wallclock.timestamp(), "platform": platform.platform()},
    )


async def resume(
    path: Path,
    *,
    force: bool = False,
    agent: Agent | None = None,
    progress: OnProgress | None = None,
) -> RunReport:
    """Finish a run: trials without a record, and those whose lab failed, are run (again).

    Args:
        path: The run's directory.
        force: Go on although the lock differs; the run then mixes versions.
        agent: As for ``run``.
        progress: As for ``run``.

    Raises:
        UsageError: There is no such run, it is under way, its agent is unknown, a cluster of it
            must not be used, or the lock differs; the message lists how.
        PreflightError: The agent lacks something.
    """
    directory = RunDirectory.find(path)
    with directory.held():
        return await _resumed(directory, force, agent, progress)


async def _resumed(
    directory: RunDirectory, force: bool, agent: Agent | None, progress: OnProgress | None
) -> RunReport:
    record = directory.record()
    lab = find_lab(record.config.environment)
    lab.clusters()
    now = lock.take(lab, record.config, record.trials)
    differences = directory.lock().differences(now)
    if differences and not force:
        raise UsageError(
            "what the run depends on has changed since: " + "; ".join(differences),
            hint="run it anew, or pass --force to mix versions",
        )
    left = [p for p in record.trials if not _is_done(directory, p)]
    if agent is None:
        preflight(record.config, record.config.agents_of(left))
    if differences:
        directory.event("resumed_with_other_lock", differences=differences)
    return await _Course(directory, lab, record, agent, progress).follow(left)


def run_sync(
    config: RunConfig, *, agent: Agent | None = None, progress: OnProgress | None = None
) -> RunReport:
    """Do what ``run`` does, for callers without an event loop."""
    return asyncio.run(run(config, agent=agent, progress=progress))


class _Course:
    """A run on its way: carries out trials, repeats those whose lab failed, closes the record."""

    def __init__(
        self,
        directory: RunDirectory,
        lab: Lab,
        record: RunRecord,
        agent: Agent | None,
        progress: OnProgress | None,
    ) -> None:
        self._directory = directory
        self._lab = lab
        self._lab.run = directory.token
        self._record = record
        self._agent = agent
        self._progress = progress
        self._export: spans.Emit | None = None
        self._done = {p.directory for p in record.trials if _is_done(directory, p)}

    async def follow(self, trials: Sequence[PlannedTrial]) -> RunReport:
        record = self._record
        with (
            tracing.exporting(os.environ) as self._export,
            tracing.root(record.label, record.config, self._export) as span,
        ):
            report = await self._follow(trials)
            if span is not None:
                span.set(
                    {"aiopslab.trials": len(trials), "aiopslab.run": self._directory.path.name}
                )
            return report

    async def _follow(self, trials: Sequence[PlannedTrial]) -> RunReport:
        directory = self._directory
        directory.event("run_started", trials=len(trials))
        self._tell("run_started")
        status: RunStatus = "error"
        error: str | None = None
        try:
            await self._carry_out(trials)
            for _ in range(self._record.config.retry_infra):
                failed = [p for p in trials if _has_failed(directory, p)]
                if failed:
                    await self._carry_out(failed)
            status = "success"
        except asyncio.CancelledError:
            status = "cancelled"
            raise
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            raise
        finally:
            try:
                await self._swept()
            finally:
                record, results = self._close(status, error)
        return RunReport(directory.path, record, results)

    async def _swept(self) -> None:
        """Have the lab remove what it made for the run, and no other run's.

        Raises:
            InfraError: Something is still there; it says what, and what to type.
        """
        try:
            await self._lab.sweep()
        except InfraError as error:
            remedy = f"aiopslab clean --run {shlex.quote(str(self._directory.path))} removes it"
            raise InfraError(error.stage, f"{error.message}; {remedy}") from error

    async def _carry_out(self, trials: Sequence[PlannedTrial]) -> None:
        config = self._record.config
        jobs = plan_jobs(self._lab, config, trials)
        if self._agent is None:
            hosts = config.concurrency or _hosts(self._lab)
            pool = Pool(self._directory, config, self._heard)
            await pool.work(spread(jobs, hosts), hosts)
            return
        source, trace = of_object(self._agent), spans.present()
        bench = Bench(self._lab, config, self._directory, source, trace=trace)
        for _, job in jobs:
            await cold.work(bench, job, self._heard)

    def _close(self, status: RunStatus, error: str | None) -> tuple[RunRecord, Results]:
        wall = {**self._record.wall, "finished": wallclock.timestamp()}
        record = self._record.model_copy(update={"status": status, "error": error, "wall": wall})
        results = summarise(self._directory, record)
        self._directory.write(results)
        self._directory.write(record)
        self._directory.event("run_finished", status=status)
        self._tell("run_finished", outcome=status, error=error)
        return record, results

    def _heard(self, message: dict[str, Any]) -> None:
        if message["event"] == spans.EVENT:
            if self._export is not None:
                self._export(message)
            return
        kind = message.pop("event")
        if kind != "step":
            self._directory.event(kind, **message)
        if kind in (DISCARDED, MEASURED, COURSE_LOST):
            return
        if kind == "trial_finished":
            self._done.add(message["trial"])
        self._tell(kind, **message)

    def _tell(self, kind: Any, **fields: Any) -> None:
        if self._progress is not None:
            path, planned = self._directory.path, len(self._record.trials)
            self._progress(Progress(kind, path, planned, len(self._done), **fields))


def _is_done(directory: RunDirectory, plan: PlannedTrial) -> bool:
    return directory.trial(plan).complete and not _has_failed(directory, plan)


def _has_failed(directory: RunDirectory, plan: PlannedTrial) -> bool:
    trial = directory.trial(plan)
    return trial.complete and trial.trial().outcome == "infra_error"


_NAME_LENGTH = 60
"""Characters of an agent's reference that a directory's name takes; a command line may be long."""


def _name(config: RunConfig, label: str) -> str:
    """Compose ``<time>_<suite>_<agent>_<model>`` of characters that any file system takes."""
    agent = Path(config.agent.rpartition(":")[2] or config.agent).name[:_NAME_LENGTH]
    parts = [label, agent, *([config.model.rpartition("/")[2]] if config.model else [])]
    safe = [re.sub(r"[^A-Za-z0-9.@-]+", "-", part).strip("-") for part in parts]
    return "_".join([wallclock.directory_stamp(), *safe])


def _hosts(lab: Lab) -> int:
    """Return how many processes a run has at work that names no number."""
    return _cores() if lab.forkable else max(len(lab.clusters()), 1)


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
