"""Which runs lie in a folder, and what can be said of each at a glance.

A folder that is no run, or one that cannot be read, is listed with the reason. Figures of a run
that is over are those of its ``results.json``; of one that is not, its finished trials are counted,
each read once. Names are only ever compared with what the folder holds, never made into paths. Not
here: what a run's page needs (``library``), how the list looks (``list_page``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from aiopslab.errors import UsageError
from aiopslab.models.run import Estimate, PlannedTrial, RunRecord
from aiopslab.models.trial import Outcome
from aiopslab.orchestrator import wallclock
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.report.terminal import no_headline

FRESH_S = 1.0
"""Seconds for which the folder is not looked at again, however many ask."""
LIVE = "started"
"""Status of a run that is not over."""
UNREADABLE = (UsageError, OSError, ValueError)
"""What reading a damaged or foreign record raises."""

Signature = tuple[tuple[int, int], ...]
_SIGNED = ("run.json", "lock.json", "results.json", "events.jsonl")


@dataclass(frozen=True, slots=True)
class Row:
    """A run at a glance; None is unknown."""

    name: str
    signature: Signature
    """Changes whenever the run's records may have changed."""
    status: str
    suite: str
    agents: tuple[str, ...]
    model: str | None
    environment: str
    seed: int
    attempts: int
    started: str | None
    planned: int
    done: int
    passed: Estimate | None
    """Share of completed trials; None where there is no headline, or not yet."""
    why: str
    """Why there is no headline."""
    outcomes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Broken:
    """A folder that is no run that can be shown."""

    name: str
    reason: str


@dataclass(slots=True)
class _Progress:
    """The outcomes of a live run's trials that were read so far, by directory."""

    results: tuple[int, int]
    outcomes: dict[str, Outcome] = field(default_factory=dict)


class Listing:
    """The runs of one folder; may be asked from several threads.

    Args:
        root: The folder.
        only: Name of the one run that is shown; None: all.
        seconds: Monotonic seconds.
    """

    def __init__(
        self,
        root: Path,
        *,
        only: str | None = None,
        seconds: Callable[[], float] = wallclock.seconds,
    ) -> None:
        self.root = root.resolve()
        self._only = only
        self._seconds = seconds
        self._lock = Lock()
        self._looked: float | None = None
        self._found: dict[str, Row | Broken] = {}
        self._progress: dict[str, _Progress] = {}

    def entries(self) -> list[Row | Broken]:
        """Return what lies in the folder, the latest name first.

        Raises:
            UsageError: The folder is not there, or may not be read.
        """
        with self._lock:
            now = self._seconds()
            if self._looked is None or now - self._looked >= FRESH_S:
                self._found = {path.name: self._entry(path) for path in self._folders()}
                self._looked = now
            return list(self._found.values())

    def row(self, name: str) -> Row:
        """Return a run by its name.

        Raises:
            UsageError: There is no such run; says what is the matter with the folder.
        """
        for entry in self.entries():
            if entry.name == name:
                if isinstance(entry, Broken):
                    raise UsageError(f"{name!r} cannot be shown: {entry.reason}")
                return entry
        raise UsageError(f"there is no run {name!r} here")

    def directory(self, row: Row) -> RunDirectory:
        """Return the records of a run that was listed."""
        return RunDirectory(self.root / row.name)

    def _folders(self) -> list[Path]:
        try:
            found = [p for p in self.root.iterdir() if p.is_dir() and p.name[:1] != "."]
        except OSError as error:
            raise UsageError(f"{str(self.root)!r} cannot be read: {error.strerror}") from error
        return sorted((p for p in found if self._only in (None, p.name)), reverse=True)

    def _entry(self, path: Path) -> Row | Broken:
        try:
            before = self._found.get(path.name)
            signature = signature_of(path)
            if isinstance(before, Row) and before.signature == signature:
                return before
            self._refuse(path)
            return self._row(RunDirectory(path), signature)
        except UNREADABLE as error:
            return Broken(path.name, reason_of(error))

    def _refuse(self, path: Path) -> None:
        """Refuse what is no run, or is one of another place.

        Raises:
            UsageError: Says what it is.
        """
        try:
            path.name.encode()
        except UnicodeEncodeError as error:
            raise UsageError("its name is not UTF-8") from error
        if path.resolve().parent != self.root:
            raise UsageError("a link to another place")
        if not (path / "run.json").is_file():
            raise UsageError("no run.json: not a run")

    def _row(self, run: RunDirectory, signature: Signature) -> Row:
        record = run.record()
        for plan in record.trials:
            if Path(plan.directory).name != plan.directory:
                raise UsageError(f"plans a trial outside its directory: {plan.directory!r}")
        config, name = record.config, run.path.name
        passed, why, outcomes, done = self._figures(run, record, signature)
        return Row(
            name=name, signature=signature, status=record.status, suite=record.label,
            agents=tuple(sorted({config.agent_of(p) for p in record.trials} or {config.agent})),
            model=config.model, environment=config.environment.kind, seed=config.seed,
            attempts=config.attempts, started=_text(record.wall.get("started")),
            planned=len(record.trials), done=done, passed=passed, why=why, outcomes=outcomes,
        )  # fmt: skip

    def _figures(
        self, run: RunDirectory, record: RunRecord, signature: Signature
    ) -> tuple[Estimate | None, str, dict[str, int], int]:
        """Return the headline or why there is none, outcomes by name, and how many trials ended."""
        if record.status != LIVE and (run.path / "results.json").is_file():
            results = run.results()
            overall, shown = results.overall, results.headline.completed is not None
            why = "" if shown else no_headline(results)
            done = overall.n_completed + overall.n_infra
            return (overall.completed if shown else None), why, dict(overall.outcomes), done
        seen = self._outcomes(run, record.trials, signature[2])
        outcomes = dict(Counter[str](seen.values()))
        return None, "no results yet", outcomes, len(seen)

    def _outcomes(
        self, run: RunDirectory, plans: list[PlannedTrial], results: tuple[int, int]
    ) -> dict[str, Outcome]:
        """Return the outcomes of the trials that ended; grading again makes all of them new."""
        known = self._progress.get(run.path.name)
        if known is None or known.results != results:
            known = self._progress[run.path.name] = _Progress(results)
        for plan in plans:
            directory = run.trial(plan)
            if plan.directory not in known.outcomes and directory.complete:
                known.outcomes[plan.directory] = directory.trial().outcome
        return known.outcomes


def signature_of(run: Path) -> Signature:
    """Return what tells the states of a run's records apart: times and sizes of its files.

    The journal grows with every trial and every regrade, so these files suffice.
    """
    return tuple(_stat(run / name) for name in _SIGNED)


def reason_of(error: Exception) -> str:
    """Say in a line what is wrong with a record."""
    words = str(error).strip() or type(error).__name__
    return " ".join(words.split())[:300]


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _text(value: float | str | None) -> str | None:
    return value if isinstance(value, str) else None
