"""``check``: prove incidents sound by carrying out their proofs and reading the records.

For each incident: the twin is healthy and no alert fires; with the fault the symptom gate opens
and doing nothing fails; the reference fix passes; known cheats fail; nothing readable names the
fault; two processes with one seed write identical records. Not here: what each proof plays
(``proofs``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb

from aiopslab.errors import UsageError
from aiopslab.models.base import Model
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.models.trial import Trial
from aiopslab.orchestrator import proofs
from aiopslab.orchestrator.lab import find_lab
from aiopslab.orchestrator.plan import plan_jobs, spread
from aiopslab.orchestrator.pool import Pool
from aiopslab.orchestrator.records import RunDirectory, TrialDirectory
from aiopslab.orchestrator.run import OnProgress, Progress
from aiopslab.problems import catalogue


class Proof(Model):
    """One thing that had to hold."""

    id: str
    holds: bool
    detail: str


class Verdict(Model):
    """What the proofs say of one incident."""

    incident: str
    proofs: list[Proof]

    @property
    def sound(self) -> bool:
        """Whether every proof holds."""
        return all(p.holds for p in self.proofs)


async def check(
    targets: Sequence[str], *, seed: int, hosts: int, progress: OnProgress | None = None
) -> list[Verdict]:
    """Prove incidents sound.

    Args:
        targets: Incidents, suites, globs or paths; empty means every incident.
        seed: Draws targets, parameters and traffic.
        hosts: Processes at once.
        progress: Receives what happens.

    Returns:
        One verdict an incident, in the order asked.

    Raises:
        UsageError: A target is unknown.
    """
    specs = _specs(targets)
    with tempfile.TemporaryDirectory(prefix="aiopslab-check-") as scratch:
        runs = [RunDirectory(Path(scratch) / name) for name in ("first", "second")]
        first = [p for s in specs for p in [*proofs.planned(s.spec), proofs.repeated(s.spec)]]
        second = [proofs.repeated(s.spec) for s in specs]
        told = _Telling(runs[0].path, len(first) + len(second), progress)
        for run, trials in zip(runs, (first, second), strict=True):
            await _carry_out(run, [_at(p, specs) for p in trials], seed, hosts, told)
        return [_verdict(s.spec, *runs) for s in specs]


class _Target(Model):
    """An incident and how it was asked for: by name or by path."""

    spec: IncidentSpec
    asked: str


def _specs(targets: Sequence[str]) -> list[_Target]:
    if not targets:
        return [_Target(spec=s, asked=n) for n, s in catalogue.incidents().items()]
    names: dict[str, None] = {}
    for problem in catalogue.expand(targets)[1]:
        names.setdefault(problem.incident)
    found = [_Target(spec=catalogue.load_incident(n), asked=n) for n in names]
    if len({t.spec.name for t in found}) != len(found):
        raise UsageError("two of the incidents have the same name")
    return found


def _at(plan: PlannedTrial, targets: Sequence[_Target]) -> PlannedTrial:
    """Point a trial at the incident as it was asked for."""
    asked = next(t.asked for t in targets if t.spec.name == plan.incident)
    return plan.model_copy(update={"incident": asked})


class _Telling:
    """Turns events of hosts into progress over both passes."""

    def __init__(self, path: Path, planned: int, progress: OnProgress | None) -> None:
        self._path = path
        self._planned = planned
        self._done = 0
        self._progress = progress

    def hear(self, message: dict[str, object]) -> None:
        kind = message.get("event")
        self._done += kind == "trial_finished"
        if self._progress is None or kind not in ("trial_started", "step", "trial_finished"):
            return
        fields = {k: v for k, v in message.items() if k != "event"}
        if fields.get("outcome") in ("passed", "failed"):
            # Whether a proof holds is judged at the end; for many, failing is what must happen.
            fields["outcome"] = "done"
        done, planned = self._done, self._planned
        told = {"kind": kind, "directory": self._path, "planned": planned, "done": done}
        self._progress(Progress(**told, **fields))  # type: ignore[arg-type]


async def _carry_out(
    run: RunDirectory, trials: list[PlannedTrial], seed: int, hosts: int, told: _Telling
) -> None:
    config = RunConfig(targets=["check"], agent=proofs.AGENT, seed=seed, concurrency=hosts)
    run.open()
    jobs = plan_jobs(find_lab(config.environment), config, trials)
    await Pool(run, config, told.hear).work(spread(jobs, hosts), hosts)


# -- reading the records --------------------------------------------------------------------------


def _verdict(spec: IncidentSpec, first: RunDirectory, second: RunDirectory) -> Verdict:
    found = []
    for plan in proofs.planned(spec):
        found += _judge(proofs.proof_of(plan), first.trial(plan))
    again = proofs.repeated(spec)
    found.append(_same(first.trial(again), second.trial(again)))
    return Verdict(incident=spec.name, proofs=found)


def _judge(proof: str, directory: TrialDirectory) -> list[Proof]:
    trial = directory.trial()
    if error := _lab_failure(directory):
        return [Proof(id=proof, holds=False, detail=error)]
    if proof == "twin":
        return [_healthy(proof, directory, trial), _quiet(directory)]
    if proof == "leak":
        found = trial.error or "nothing readable names the fault"
        return [Proof(id=proof, holds=trial.outcome != "agent_error", detail=found)]
    if proof == "fix":
        return [_healthy(proof, directory, trial)]
    return [_fails(proof, directory, trial)]


def _healthy(proof: str, directory: TrialDirectory, trial: Trial) -> Proof:
    """The trial passes."""
    passed = trial.outcome == "passed"
    return Proof(id=proof, holds=passed, detail=trial.error or _reasons(directory, passed=False))


def _fails(proof: str, directory: TrialDirectory, trial: Trial) -> Proof:
    """The trial does not pass."""
    held = trial.outcome == "failed"
    detail = _reasons(directory, passed=False)
    if not held:
        detail = f"outcome {trial.outcome}: {trial.error or detail}"
    return Proof(id=proof, holds=held, detail=detail)


def _reasons(directory: TrialDirectory, *, passed: bool) -> str:
    grade = directory.grade()
    if grade is None:
        return "not graded"
    said = [f"{c.id}: {c.reason}" for c in grade.checks if c.gating and c.passed == passed]
    return "; ".join(said) or "every gating check passed"


def _quiet(directory: TrialDirectory) -> Proof:
    """No alert fired in the twin."""
    path = str(directory.telemetry / "alerts.parquet")
    query = "SELECT DISTINCT name FROM read_parquet(?) WHERE state = 'firing' ORDER BY name"
    with duckdb.connect() as connection:
        names = [row[0] for row in connection.execute(query, [path]).fetchall()]
    return Proof(id="twin-quiet", holds=not names, detail=f"fired: {', '.join(names) or 'none'}")


def _same(first: TrialDirectory, second: TrialDirectory) -> Proof:
    """Two processes wrote the same record; two equal failures of the lab prove nothing."""
    if not (first.complete and second.complete):
        return Proof(id="repeat", holds=False, detail="a record is missing")
    if error := next((e for d in (first, second) if (e := _lab_failure(d))), None):
        return Proof(id="repeat", holds=False, detail=error)
    different = differing(first.path, second.path)
    detail = f"differ: {', '.join(different)}" if different else "identical"
    return Proof(id="repeat", holds=not different, detail=detail)


def _lab_failure(directory: TrialDirectory) -> str | None:
    """Return why the lab could not bring a trial to its end; None if it did."""
    trial = directory.trial()
    return trial.error or "the lab failed" if trial.outcome == "infra_error" else None


def differing(first: Path, second: Path) -> list[str]:
    """Name the files of two trial directories that differ, wall-clock fields apart."""
    names = sorted(
        {p.relative_to(d).as_posix() for d in (first, second) for p in d.rglob("*") if p.is_file()}
    )
    return [n for n in names if _content(first / n) != _content(second / n)]


def _content(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    data = path.read_bytes()
    if path.name == "trial.json":
        trial = Trial.model_validate_json(data)
        return trial.model_copy(update={"wall": {}}).model_dump_json().encode()
    return data
