"""Mappings from records: what was elicited in the trials of runs, and which answers were right.

Reads only records, so a mapping can be fitted and tested again without playing. Not here: the fit
(``grading.mapping``), how the agent elicits (``agents/pace``), how a mapping looks (``report``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from aiopslab.errors import UsageError
from aiopslab.grading import mapping as fitting
from aiopslab.grading.mapping import Labelled
from aiopslab.models.confidence import FEATURES, FILE, Elicited
from aiopslab.models.grade import Grade
from aiopslab.models.mapping import ConfidenceMapping, FittedOn, HeldOut
from aiopslab.models.run import SIMULATED, PlannedTrial, RunRecord
from aiopslab.models.task import TASKS, Task
from aiopslab.orchestrator import documents
from aiopslab.orchestrator.comparison import incident_name
from aiopslab.orchestrator.records import RunDirectory

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Label:
    """One answer with its verdict, and where it is from."""

    elicited: Elicited
    grade: Grade
    plan: PlannedTrial
    run: RunDirectory
    record: RunRecord

    @property
    def incident(self) -> str:
        """Name of the incident."""
        return incident_name(self.plan)

    def labelled(self) -> Labelled:
        """Return what a fit looks at."""
        elicited = self.elicited
        return Labelled(elicited.seen(), elicited.stated, self.grade.passed, self.incident)


def fit(
    runs: Sequence[Path],
    *,
    tasks: Sequence[Task] = (),
    share: Fraction | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> ConfidenceMapping:
    """Fit a mapping on the labelled answers of runs.

    Args:
        runs: Directories of runs that the agent ``pace`` played.
        tasks: Only answers of these; none means all.
        share: Of the incidents to fit on; the mapping is tested on the others. None: all.
        folds: Parts of the cross-validation.
        seed: Draws folds and split.

    Raises:
        UsageError: There is no such run, nothing was elicited in it, labels are too few or do not
            belong together.
    """
    labels = collect(runs, tasks)
    _refuse_mixed(labels)
    incidents = sorted({label.incident for label in labels})
    fitted_on, kept = (incidents, []) if share is None else fitting.split(incidents, share, seed)
    mapping = _fitted([x for x in labels if x.incident in fitted_on], kept, folds, seed)
    outside = [label for label in labels if label.incident in kept]
    if not outside:
        return mapping
    return mapping.model_copy(update={"held_out": _test(mapping, outside, 0)})


def _fitted(labels: Sequence[Label], kept: list[str], folds: int, seed: int) -> ConfidenceMapping:
    first = labels[0].elicited
    features = FEATURES[first.ablation]
    try:
        found = fitting.fit([x.labelled() for x in labels], features, folds=folds, seed=seed)
    except ValueError as error:
        raise UsageError(
            f"no mapping from {error}",
            hint="play more problems; without -A mapping the confidence is COE times RCE",
        ) from error
    return ConfidenceMapping(
        ablation=first.ablation,
        judge=first.judge,
        prompts=first.prompts,
        tasks=[task for task in TASKS if any(x.plan.task == task for x in labels)],
        features=list(features),
        form=found.form,
        n=len(labels),
        n_right=sum(x.grade.passed for x in labels),
        folds=folds,
        seed=seed,
        scores=found.scores,
        fitted_on=_provenance(labels, kept),
    )


def tested(mapping: ConfidenceMapping, runs: Sequence[Path]) -> HeldOut:
    """Test a mapping on answers of runs, leaving out the incidents that it was fitted on.

    Raises:
        UsageError: There is no such run, nothing was elicited in it the way the mapping needs it,
            or every incident was in the fit.
    """
    labels = collect(runs, mapping.tasks)
    _refuse_mixed(labels)
    first = labels[0].elicited
    if _kind(first) != (mapping.ablation, mapping.judge, mapping.prompts):
        raise UsageError(
            f"the mapping is for {_named(mapping)}, these answers were elicited with "
            f"{_named(first)}",
            hint="aiopslab calibrate fit RUN -o mapping.json",
        )
    others = [x for x in labels if x.incident not in mapping.fitted_on.incidents]
    if not others:
        raise UsageError(
            "the mapping was fitted on every incident of these runs: they prove nothing",
            hint="fit with --split 1/2, or play other incidents",
        )
    return _test(mapping, others, len(labels) - len(others))


def write(path: Path, mapping: ConfidenceMapping) -> None:
    """Write a mapping, whole or not at all.

    Raises:
        UsageError: The directory does not exist.
    """
    if not path.parent.is_dir():
        raise UsageError(f"there is no directory {str(path.parent)!r}", hint="give -o FILE")
    documents.write(path, mapping)


def read(path: Path) -> ConfidenceMapping:
    """Read a mapping.

    Raises:
        UsageError: It is missing, or none.
    """
    return documents.read(path, ConfidenceMapping)


def collect(runs: Sequence[Path], tasks: Sequence[Task] = ()) -> list[Label]:
    """Return the answers of runs to which a confidence could be given.

    Raises:
        UsageError: There is no such run, or no such answer in it.
    """
    labels: list[Label] = []
    for path in runs:
        found = list(_of_run(RunDirectory.find(path), tasks))
        if not found:
            of = f" of {', '.join(tasks)}" if tasks else ""
            raise UsageError(
                f"no confidence was elicited in {str(path)!r}{of}",
                hint="aiopslab run SUITE -a pace -A inner=AGENT",
            )
        labels += found
    return labels


def _of_run(run: RunDirectory, tasks: Sequence[Task]) -> Iterator[Label]:
    record = run.record()
    for plan in record.trials:
        directory = run.trial(plan)
        path = directory.path / "agent" / FILE
        if (tasks and plan.task not in tasks) or not directory.complete or not path.exists():
            continue
        grade, elicited = directory.grade(), documents.read(path, Elicited)
        # Without a confidence the answer escalated, was malformed or never came.
        if grade is not None and grade.confidence is not None and elicited.complete:
            yield Label(elicited, grade, plan, run, record)


def _test(mapping: ConfidenceMapping, labels: Sequence[Label], left_out: int) -> HeldOut:
    rate = (mapping.n_right + 1.0) / (mapping.n + 2.0)
    return fitting.held_out([x.labelled() for x in labels], mapping.form, rate, left_out)


def _refuse_mixed(labels: Sequence[Label]) -> None:
    """Refuse labels that mean different things.

    Raises:
        UsageError: Says which.
    """
    kinds = sorted({_named(x.elicited) for x in labels})
    if len(kinds) > 1:
        raise UsageError(
            f"these answers were elicited in several ways: {'; '.join(kinds)}",
            hint="give runs with the same -A ablation and -A judge",
        )
    environments = sorted({x.record.config.environment.kind for x in labels})
    if SIMULATED in environments and len(environments) > 1:
        raise UsageError(
            f"runs on {' and '.join(environments)}: the simulated world and a cluster are never "
            "mixed",
            hint="give runs of one environment",
        )
    versions = sorted({x.grade.scoring_version for x in labels})
    if len(versions) > 1:
        paths = dict.fromkeys(str(x.run.path) for x in labels)
        raise UsageError(
            f"graded by several scoring versions ({', '.join(versions)})",
            hint=" && ".join(f"aiopslab regrade {path}" for path in paths),
        )


def _kind(one: Elicited | ConfidenceMapping) -> tuple[str, str | None, str]:
    return one.ablation, one.judge, one.prompts


def _named(one: Elicited | ConfidenceMapping) -> str:
    ablation, judge, prompts = _kind(one)
    parts = [f"ablation {ablation}", f"judge {judge}" if judge else "no judge", prompts]
    return ", ".join(filter(None, parts))


def _provenance(labels: Sequence[Label], kept: list[str]) -> FittedOn:
    def each(values: Iterable[str | None]) -> list[str]:
        return sorted({value for value in values if value})

    return FittedOn(
        runs=each(x.run.path.name for x in labels),
        labels=each(x.record.label for x in labels),
        inner=each(x.elicited.inner for x in labels),
        models=each(x.record.config.model for x in labels),
        environments=each(x.record.config.environment.kind for x in labels),
        seeds=sorted({x.record.config.trial_seed(x.plan.attempt) for x in labels}),
        scoring_versions=each(x.grade.scoring_version for x in labels),
        incidents=each(x.incident for x in labels),
        held_out=kept,
    )
