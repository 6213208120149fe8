"""What the records of an incident's proofs say: which of them hold, and what the proving cost.

A pure reading of trial directories. Not here: what each proof plays (``proofs``), how proofs are
carried out (``soundness``).
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from aiopslab.models.base import Model
from aiopslab.models.run import PlannedTrial
from aiopslab.models.trial import Trial
from aiopslab.orchestrator import proofs
from aiopslab.orchestrator.records import RunDirectory, TrialDirectory


class Proof(Model):
    """One thing that had to hold."""

    id: str
    holds: bool
    detail: str


class Cost(Model):
    """What the proofs of an incident took, warm worlds apart; both processes together."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    virtual_s: float = 0.0
    """Seconds of the world, without what trials share: each trial's own part."""

    def plus(self, other: Cost) -> Cost:
        """Return the sum."""
        return Cost(
            wall_s=round(self.wall_s + other.wall_s, 3),
            cpu_s=round(self.cpu_s + other.cpu_s, 3),
            virtual_s=round(self.virtual_s + other.virtual_s, 3),
        )


class Verdict(Model):
    """What the proofs say of one incident."""

    incident: str
    seed: int = 0
    proofs: list[Proof]
    cost: Cost = Cost()

    @property
    def sound(self) -> bool:
        """Whether every proof holds."""
        return all(p.holds for p in self.proofs)


Sides = tuple[list[PlannedTrial], list[PlannedTrial]]
"""The planned proofs of one incident, as the two processes share them."""


def read(sides: Sides, runs: tuple[RunDirectory, RunDirectory]) -> list[Proof]:
    """Read the records of an incident's proofs; ``runs`` are those of the two processes."""
    found = []
    repeated: list[TrialDirectory] = []
    for run, plans in zip(runs, sides, strict=True):
        for plan in plans:
            if proofs.proof_of(plan) == proofs.REPEAT:
                repeated.append(run.trial(plan))
            else:
                found += _judge(proofs.proof_of(plan), run.trial(plan))
    return [*found, _same(*repeated)] if repeated else found


def virtual_seconds(sides: Sides, runs: tuple[RunDirectory, RunDirectory]) -> float:
    """Return how many seconds of the world the proofs' own parts took."""
    plans = zip(runs, sides, strict=True)
    trials = [run.trial(plan).trial() for run, mine in plans for plan in mine]
    return round(sum(t.phases.get("agent", 0.0) + t.phases.get("settle", 0.0) for t in trials), 3)


def _judge(proof: str, directory: TrialDirectory) -> list[Proof]:
    trial = directory.trial()
    if error := _lab_failure(directory):
        return [Proof(id=proof, holds=False, detail=error)]
    match proof:
        case "twin":
            return [_healthy(proof, directory, trial), _quiet(directory)]
        case "leak":
            return [_plays(proof, trial, "nothing readable names the fault")]
        case "recovery":
            return [_plays(proof, trial, "healthy, and the cause is gone")]
        case "fix":
            return [_healthy(proof, directory, trial)]
        case _ if proof.startswith(proofs.ALONE):
            return [_harmless(proof, directory)]
        case _:
            return [_fails(proof, directory, trial)]


def _plays(proof: str, trial: Trial, detail: str) -> Proof:
    """The player came to its end."""
    holds = trial.termination == "submitted"
    return Proof(id=proof, holds=holds, detail=detail if holds else trial.error or trial.outcome)


def _healthy(proof: str, directory: TrialDirectory, trial: Trial) -> Proof:
    """The trial passes."""
    return Proof(
        id=proof, holds=trial.outcome == "passed", detail=trial.error or _broken(directory)
    )


def _fails(proof: str, directory: TrialDirectory, trial: Trial) -> Proof:
    """The trial does not pass."""
    held = trial.outcome == "failed"
    detail = _broken(directory)
    if not held:
        detail = f"outcome {trial.outcome}: {trial.error or detail}"
    return Proof(id=proof, holds=held, detail=detail)


def _harmless(proof: str, directory: TrialDirectory) -> Proof:
    """Users are well, although the cause is there."""
    grade = directory.grade()
    windows = [c for c in grade.checks if c.id.startswith("settle_")] if grade else []
    unwell = [f"{c.id}: {c.reason}" for c in windows if not c.passed]
    holds = bool(windows) and not unwell
    return Proof(id=proof, holds=holds, detail="; ".join(unwell) or "users are well")


def _broken(directory: TrialDirectory) -> str:
    """Say which gating checks did not pass, and why."""
    grade = directory.grade()
    if grade is None:
        return "not graded"
    said = [f"{c.id}: {c.reason}" for c in grade.checks if c.gating and not c.passed]
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
