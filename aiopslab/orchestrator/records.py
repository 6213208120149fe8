"""The directories of a run and of a trial: who writes which file, and when one is complete.

    <run>/run.json lock.json results.json events.jsonl
    <run>/trials/<problem>__<k>/steps.jsonl answer.json evidence.json grade.json
                                slis.json telemetry/*.parquet truth/truth.json trial.json
                                counterfactual/nothing.json counterfactual/reference.json
                                doors.json while it is served, agent_telemetry/*.parquet
                                agent/stdout.txt agent/stderr.txt of a program
    <run>/trials/<problem>__<k>/attempts/<n>/...      superseded tries of a lab that failed

``trial.json`` is written last: a trial is complete exactly if it is there. Nothing is deleted.
Not here: how a file is written (``documents``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from aiopslab.errors import UsageError
from aiopslab.models.answer import Answer
from aiopslab.models.counterfactual import Counterfactual, Course
from aiopslab.models.doors import Doors
from aiopslab.models.evidence import Evidence
from aiopslab.models.grade import Grade
from aiopslab.models.lock import Lock
from aiopslab.models.run import PlannedTrial, Results, RunRecord
from aiopslab.models.sli_series import SliSeries
from aiopslab.models.trial import Step, Trial
from aiopslab.models.truth import Truth
from aiopslab.orchestrator import documents, wallclock
from aiopslab.seeds import derive

_ANSWER: TypeAdapter[Answer | None] = TypeAdapter(Answer | None)
_ATTEMPTS = "attempts"
_COURSES = "counterfactual"


@dataclass(frozen=True, slots=True)
class TrialDirectory:
    """The record of one trial."""

    path: Path

    @property
    def complete(self) -> bool:
        """Whether the trial came to its end and was written whole."""
        return (self.path / "trial.json").exists()

    @property
    def telemetry(self) -> Path:
        """Where the telemetry's Parquet files go."""
        return self.path / "telemetry"

    @property
    def agent_telemetry(self) -> Path:
        """Where what an agent sent as telemetry of its own goes."""
        return self.path / "agent_telemetry"

    @property
    def doors(self) -> Path:
        """Where the trial is reached from outside, for as long as it is."""
        return self.path / "doors.json"

    def write_doors(self, doors: Doors) -> None:
        """Say where the trial is reached; only its owner may read it, for it holds the token."""
        self.doors.touch(mode=0o600)
        self.doors.write_text(doors.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def remove_doors(self) -> None:
        """Say that nothing is served any longer."""
        self.doors.unlink(missing_ok=True)

    def keep(self, name: str, content: bytes) -> None:
        """Write a file that the agent's side left for people, below ``agent/``."""
        (self.path / "agent").mkdir(exist_ok=True)
        (self.path / "agent" / name).write_bytes(content)

    def open(self) -> None:
        """Make the directory; whatever an earlier try left moves to ``attempts/N``."""
        self.path.mkdir(parents=True, exist_ok=True)
        left = sorted(p for p in self.path.iterdir() if p.name != _ATTEMPTS)
        if not left:
            return
        attempts = self.path / _ATTEMPTS
        attempts.mkdir(exist_ok=True)
        taken = [int(p.name) for p in attempts.iterdir() if p.name.isdigit()]
        target = attempts / str(max(taken, default=0) + 1)
        target.mkdir()
        # trial.json goes first: a crash in the middle must not leave half a record that counts.
        for path in sorted(left, key=lambda p: (p.name != "trial.json", p.name)):
            path.rename(target / path.name)
        documents.sync_directory(self.path)

    @contextlib.contextmanager
    def agent_at_work(self) -> Iterator[None]:
        """Mark, on disk, that the agent has the word: whose part it was if the process ends."""
        self._at_work.touch()
        yield
        self._at_work.unlink()

    @property
    def left_by_agent(self) -> bool:
        """Whether the process of the trial ended while the agent had the word."""
        return self._at_work.exists()

    @property
    def _at_work(self) -> Path:
        return self.path / "agent_at_work"

    def retries(self) -> int:
        """Return how many superseded tries there are."""
        attempts = self.path / _ATTEMPTS
        return len(list(attempts.iterdir())) if attempts.is_dir() else 0

    def add_step(self, step: Step) -> None:
        """Append a step as it happens."""
        documents.append(self.path / "steps.jsonl", step)

    def write_parts(
        self, *, answer: Answer | None, truth: Truth, evidence: Evidence, grade: Grade | None
    ) -> None:
        """Write all that grading reads, and the grade."""
        dumped = None if answer is None else answer.model_dump(mode="json")
        documents.write(self.path / "answer.json", dumped)
        documents.write(self.path / "evidence.json", evidence)
        (self.path / "truth").mkdir(exist_ok=True)
        documents.write(self.path / "truth" / "truth.json", truth)
        if grade is not None:
            self.write_grade(grade)

    def write_grade(self, grade: Grade) -> None:
        """Write the grade; also when the trial is graded again."""
        documents.write(self.path / "grade.json", grade)

    def write_log(self, text: str) -> None:
        """Keep what an agent's or the lab's failure printed, for people, after what is there."""
        path = self.path / "error.txt"
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)

    def finish(self, trial: Trial) -> None:
        """Write ``trial.json``: from now on the trial is complete."""
        self._at_work.unlink(missing_ok=True)
        documents.write(self.path / "trial.json", trial)

    def trial(self) -> Trial:
        """Read ``trial.json``."""
        return documents.read(self.path / "trial.json", Trial)

    def steps(self) -> list[Step]:
        """Read the steps in order."""
        return documents.read_journal(self.path / "steps.jsonl", Step)

    def answer(self) -> Answer | None:
        """Read the answer; None if none was submitted."""
        path = self.path / "answer.json"
        return _ANSWER.validate_json(path.read_text(encoding="utf-8")) if path.exists() else None

    def evidence(self) -> Evidence:
        """Read the evidence."""
        return documents.read(self.path / "evidence.json", Evidence)

    def truth(self) -> Truth:
        """Read the answer key."""
        return documents.read(self.path / "truth" / "truth.json", Truth)

    @property
    def has_truth(self) -> bool:
        """Whether the answer key is there; it is not where the lab failed."""
        return (self.path / "truth" / "truth.json").is_file()

    def write_slis(self, series: SliSeries) -> None:
        """Write what users experienced, in a line: it is one number after another."""
        documents.write(self.path / "slis.json", series, indent=None)

    def slis(self) -> SliSeries | None:
        """Read what users experienced; None where that was not kept."""
        path = self.path / "slis.json"
        return documents.read(path, SliSeries) if path.exists() else None

    def write_course(self, name: str, course: Course) -> None:
        """Write what would have happened without the agent: ``nothing`` or ``reference``."""
        (self.path / _COURSES).mkdir(exist_ok=True)
        documents.write(self.path / _COURSES / f"{name}.json", course)

    def counterfactual(self) -> Counterfactual | None:
        """Read what would have happened without the agent; None if a course is missing."""
        paths = {
            name: self.path / _COURSES / f"{name}.json" for name in Counterfactual.model_fields
        }
        if not all(path.exists() for path in paths.values()):
            return None
        return Counterfactual(**{name: documents.read(p, Course) for name, p in paths.items()})

    def grade(self) -> Grade | None:
        """Read the grade; None where the lab failed."""
        path = self.path / "grade.json"
        return documents.read(path, Grade) if path.exists() else None


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The record of one run."""

    path: Path

    @classmethod
    def find(cls, path: Path) -> RunDirectory:
        """Return the run at a path.

        Raises:
            UsageError: There is none.
        """
        if not (path / "run.json").is_file():
            raise UsageError(f"no run at {str(path)!r}", hint="aiopslab list runs")
        return cls(path)

    @property
    def token(self) -> str:
        """An opaque name of the run: it may be read where its directory's may not.

        When it began is part of it: hosts that share a cluster may have runs at equal paths.
        """
        is_begun = (self.path / "run.json").is_file()
        began = str(self.record().wall.get("started", "")) if is_begun else ""
        return f"{derive(0, 'run', str(self.path.resolve()), began):016x}"[:10]

    def open(self) -> None:
        """Make the directory."""
        (self.path / "trials").mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep everybody else from carrying out the run for the time of a block.

        Raises:
            UsageError: Somebody does already.
        """
        with (self.path / "events.jsonl").open("a", encoding="utf-8") as journal:
            if not documents.lock(journal.fileno()):
                hint = "wait for its end, or end that process first"
                raise UsageError(f"run {str(self.path)!r} is under way", hint=hint)
            yield

    def trial(self, plan: PlannedTrial) -> TrialDirectory:
        """Return the directory of a planned trial."""
        return TrialDirectory(self.path / "trials" / plan.directory)

    def event(self, kind: str, **fields: object) -> None:
        """Append to the run's journal."""
        entry = {"time": wallclock.timestamp(), "event": kind, **fields}
        documents.append(self.path / "events.jsonl", entry)

    def record(self) -> RunRecord:
        """Read ``run.json``."""
        return documents.read(self.path / "run.json", RunRecord)

    def lock(self) -> Lock:
        """Read ``lock.json``."""
        return documents.read(self.path / "lock.json", Lock)

    def results(self) -> Results:
        """Read ``results.json``."""
        return documents.read(self.path / "results.json", Results)

    def write(self, document: BaseModel) -> None:
        """Write ``run.json``, ``lock.json`` or ``results.json``, whichever the model is."""
        names: dict[type[BaseModel], str] = {
            RunRecord: "run.json",
            Lock: "lock.json",
            Results: "results.json",
        }
        documents.write(self.path / names[type(document)], document)
