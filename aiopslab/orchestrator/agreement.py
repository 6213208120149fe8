"""Run incidents in the simulated world and on a real cluster, and see whether both show the same.

Ordinary trials, one run each: an agent diagnoses, the oracle mitigates. What is compared is read
from their records, incident by incident as they end; where such trials were played on a cluster
before, from theirs. Not here: what a trial is (``trial``), which alerts fired (``looks``), how many
agree (``report.fidelity``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aiopslab.agents.loading import ORACLE
from aiopslab.errors import UsageError
from aiopslab.models.agreement import Agreement, Showing
from aiopslab.models.answer import Diagnosis
from aiopslab.models.run import (
    SEVERAL,
    SIMULATED,
    EnvironmentChoice,
    PlannedTrial,
    RunConfig,
    RunRecord,
)
from aiopslab.models.task import Task
from aiopslab.orchestrator import lock
from aiopslab.orchestrator.lab import find_lab
from aiopslab.orchestrator.looks import longest_look
from aiopslab.orchestrator.plan import plan_trials
from aiopslab.orchestrator.progress import OnProgress, Progress
from aiopslab.orchestrator.records import RunDirectory, TrialDirectory
from aiopslab.orchestrator.rows import Rows
from aiopslab.orchestrator.run import RunReport, run
from aiopslab.orchestrator.soundness import Target, asked
from aiopslab.problems.playable import playable

_TASKS: list[Task] = ["diagnosis", "mitigation"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is compared, and where."""

    targets: Sequence[str]
    environment: EnvironmentChoice
    agent: str = "statistical"
    seed: int = 0
    runs_dir: str = "runs"
    concurrency: int | None = None


async def agree(
    question: Question, *, out: Path | None = None, progress: OnProgress | None = None
) -> list[Agreement]:
    """Play incidents on both and compare.

    Args:
        question: Which incidents, which cluster, whose answers.
        out: A journal, JSON lines; a row of the same incident and seed is replaced. Rows are kept
            as soon as their incident has ended on the cluster.
        progress: Receives what happens.

    Returns:
        One row for each incident that exists on a cluster. Of several the first is compared.

    Raises:
        UsageError: A target or an option is unknown, nothing can be played on a cluster, or it
            must not be used.
        PreflightError: There is nothing to find the cluster by.
    """
    targets = [t for t in asked(question.targets) if playable(t.spec, "kind")]
    names = [t.asked for t in targets] or list(question.targets)
    question = replace(question, environment=_one_cluster(question.environment))
    _refuse(question.environment, names)
    simulated = await _play(question, names, EnvironmentChoice(), progress)
    rows = _rows(out)
    work = _Comparing(question, targets, RunDirectory(simulated.directory), rows)

    def hear(event: Progress) -> None:
        work.heard(event)
        if progress is not None:
            progress(event)

    try:
        await _play(question, names, question.environment, hear)
    finally:
        rows.tidy()
    return work.found()


async def agree_with(
    played: Path,
    question: Question,
    *,
    out: Path | None = None,
    progress: OnProgress | None = None,
) -> list[Agreement]:
    """Play incidents in the simulated world and compare with what a run on a cluster recorded.

    Args:
        played: The run's directory; of its trials those of the agent on diagnosis and of the oracle
            on mitigation count.
        question: Which incidents, none for all of that run, and whose answers; its environment is
            that of the run.
        out: As for ``agree``.
        progress: As for ``agree``.

    Returns:
        One row for each incident whose trials are all there.

    Raises:
        UsageError: There is no such run, it was on no cluster, or has none of these trials.
    """
    real = RunDirectory.find(played)
    config = real.record().config
    if config.environment.kind == SIMULATED:
        hint = "name a run on a cluster, as baselines -e kind keeps one"
        raise UsageError(f"{str(played)!r} was played in the simulated world", hint=hint)
    question = replace(question, environment=config.environment)
    targets = _played(real, question)
    names = [t.asked for t in targets]
    simulated = await _play(question, names, EnvironmentChoice(), progress)
    work = _Comparing(question, targets, RunDirectory(simulated.directory), _rows(out))
    for name in names:
        work.compare(name, real)
    work.rows.tidy()
    return work.found()


def _played(real: RunDirectory, question: Question) -> list[Target]:
    """Return the incidents that were asked for and whose trials a run has."""
    wanted = asked(question.targets or sorted({p.incident for p in real.record().trials}))
    targets = [t for t in wanted if _complete(_trials(t.asked, real, question))]
    if not targets:
        raise UsageError(
            f"{str(real.path)!r} has no incident of which, with seed {question.seed}, both "
            f"{question.agent} ended a diagnosis and the oracle a mitigation",
            hint="aiopslab baselines ... -e kind -a oracle -a statistical",
        )
    return targets


def _rows(out: Path | None) -> Rows[Agreement]:
    return Rows(out, Agreement, lambda row: (row.incident, row.seed))


class _Comparing:
    """Makes a row of an incident once its last trial on the cluster has ended."""

    def __init__(
        self,
        question: Question,
        targets: Sequence[Target],
        simulated: RunDirectory,
        rows: Rows[Agreement],
    ) -> None:
        self._question = question
        self._specs = {target.asked: target.spec for target in targets}
        self._simulated = simulated
        self.rows = rows

    def heard(self, event: Progress) -> None:
        """Hear what happens on the cluster."""
        if event.kind != "trial_finished":
            return
        real = RunDirectory(event.directory)
        plans = real.record().trials
        incident = next(p.incident for p in plans if p.directory == event.trial)
        if _complete(_trials(incident, real, self._question)):
            self.compare(incident, real)

    def compare(self, incident: str, real: RunDirectory) -> None:
        """Make the row of an incident whose trials have ended."""
        question, spec = self._question, self._specs[incident]
        row = Agreement(
            incident=spec.name, seed=question.seed, digest=lock.of_incident(spec),
            environment=question.environment.kind, agent=question.agent,
            simulated=_shown(incident, self._simulated, question),
            real=_shown(incident, real, question),
        )  # fmt: skip
        self.rows.add(row)

    def found(self) -> list[Agreement]:
        """Return the rows that were asked for."""
        seed = self._question.seed
        found = [self.rows.get(spec.name, seed) for spec in self._specs.values()]
        return [row for row in found if row is not None]


def _refuse(cluster: EnvironmentChoice, names: Sequence[str]) -> None:
    """Raise what running there would raise, before the simulated half takes its time."""
    lab = find_lab(cluster)
    lab.expand(names, _TASKS)
    lab.clusters()


def _one_cluster(choice: EnvironmentChoice) -> EnvironmentChoice:
    """Return a choice of several clusters as that of the first."""
    named = ("name", "context")
    options = {k: v.partition(",")[0] if k in named else v for k, v in choice.options.items()}
    return choice.model_copy(update={"options": options})


async def _play(
    question: Question,
    names: Sequence[str],
    choice: EnvironmentChoice,
    progress: OnProgress | None,
) -> RunReport:
    config = RunConfig.model_validate({
        "targets": list(names), "tasks": _TASKS, "seed": question.seed,
        "agent": SEVERAL,
        "environment": choice, "runs_dir": question.runs_dir,
        "concurrency": question.concurrency if choice.kind != SIMULATED else None,
    })  # fmt: skip
    _, plans = plan_trials(find_lab(choice), config)
    agents = {"diagnosis": question.agent, "mitigation": ORACLE}
    trials = [plan.model_copy(update={"agent": agents[plan.task]}) for plan in plans]
    return await run(config, trials=trials, progress=progress)


def _trials(incident: str, run: RunDirectory, question: Question) -> dict[Task, TrialDirectory]:
    """Find what is compared of an incident among the trials of a run."""
    record = run.record()

    def counts(plan: PlannedTrial) -> bool:
        wanted = ORACLE if plan.task == "mitigation" else question.agent
        return plan.task in _TASKS and record.config.agent_of(plan) == wanted

    return {p.task: run.trial(p) for p in _drawn(incident, record, question.seed) if counts(p)}


def _drawn(incident: str, record: RunRecord, seed: int) -> list[PlannedTrial]:
    """Find the trials of one draw, of whatever agent and task."""
    wanted, config = (incident, seed), record.config
    return [p for p in record.trials if (p.incident, config.trial_seed(p.attempt)) == wanted]


def _complete(trials: Mapping[Task, TrialDirectory]) -> bool:
    return "diagnosis" in trials and all(trial.complete for trial in trials.values())


def _shown(incident: str, run: RunDirectory, question: Question) -> Showing:
    trials = _trials(incident, run, question)
    looking, mended = trials["diagnosis"], trials.get("mitigation")
    looked = looking.trial()
    if looked.outcome == "infra_error":
        return Showing(error=looked.error or "the lab failed")
    tried = None if mended is None else mended.trial().outcome
    truth, answer = looking.truth(), looking.answer()
    begun = truth.injected_at
    drawn = map(run.trial, _drawn(incident, run.record(), question.seed))
    look = longest_look(trial for trial in drawn if trial.complete)
    return Showing(
        broken=sorted(w.journey for w in looking.evidence().handover if w.offered and not w.met),
        alerts=look.alerts,
        watched_s=look.watched_s,
        restored=None if tried in (None, "infra_error") else tried == "passed",
        answer=_first(answer) if isinstance(answer, Diagnosis) else None,
        opened_s=None if begun is None or truth.symptom_at is None else truth.symptom_at - begun,
    )


def _first(answer: Diagnosis) -> tuple[str, str] | None:
    ranked = sorted(answer.hypotheses, key=lambda h: -h.probability)
    return (ranked[0].component, ranked[0].cause) if ranked else None
