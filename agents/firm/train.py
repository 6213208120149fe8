"""Learn the stored model: ``python agents/firm/train.py``; minutes, and scikit-learn.

Plays incidents of the suite ``full`` that are in none of ``core``, ``lite``, ``hard``,
``quickstart`` and ``aiopslab-parity`` through the public API, with the thresholds in place of a
model. Each record then gives the instances with their features and the answer key; culprits are the
instances of a component at fault. Of a fault of a node no instance is to blame: those incidents are
left out. Not here: the arithmetic (``classifier``).
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from aiopslab import RunConfig, run_sync
from aiopslab.agents import load as load_agent

if TYPE_CHECKING:
    from .classifier import Learner, Svm
    from .features import Instance

HELD_OUT = ("core", "lite", "hard", "quickstart", "aiopslab-parity")
"""Suites from which nothing is learnt."""
ROUNDS = 20
"""How often all incidents are gone through."""
FOLDS = 5
"""Parts of the incidents that decisions are scaled on, each by a model that did not see it."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One incident: the vectors of its instances, and who was at fault."""

    incident: str
    vectors: list[list[float]]
    guilty: list[bool]


def training_incidents() -> list[str]:
    """Name the incidents that may be learnt from, sorted."""
    from aiopslab.problems import catalogue

    suites = {suite.name: suite for suite in catalogue.suites().values()}
    chosen = set(catalogue.suite_incidents(suites["full"]))
    for name in HELD_OUT:
        chosen -= set(catalogue.suite_incidents(suites[name]))
    return sorted(chosen)


def play(incidents: Sequence[str], seed: int, runs_dir: Path) -> Path:
    """Let the untrained agent look at every incident; return the directory of the run."""
    report = run_sync(
        RunConfig(
            targets=list(incidents), agent="firm", agent_args={"trained": "false"},
            tasks=["localization"], seed=seed, concurrency=1, telemetry=False,
            runs_dir=str(runs_dir),
        )
    )  # fmt: skip
    return Path(report.directory)


def lessons(run: Path, instance: type[Instance], kept: str) -> list[Lesson]:
    """Read what the records of a run teach."""
    found = []
    for trial in sorted((run / "trials").iterdir()):
        path, key = trial / "agent" / kept, trial / "truth" / "truth.json"
        if not path.is_file() or not key.is_file():
            continue
        truth = json.loads(key.read_text(encoding="utf-8"))
        names = {n for c in truth["root_causes"] for n in (c["component"], *c["aliases"])}
        rows = [instance(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
        lesson = Lesson(
            truth["incident"], [r.vector() for r in rows], [r.component in names for r in rows]
        )
        if rows and (not names or any(lesson.guilty)):
            found.append(lesson)
    return found


def learn(learnt: Sequence[Lesson], classifier: ModuleType) -> Svm:
    """Return the model, its margins scaled on decisions about incidents it had not seen."""
    decisions: list[float] = []
    guilty: list[bool] = []
    for fold in range(FOLDS):
        seen = [lesson for i, lesson in enumerate(learnt) if i % FOLDS != fold]
        model = _fitted(seen, classifier).stored([], (-1.0, 0.0))
        for lesson in learnt[fold::FOLDS]:
            decisions += model.decision(lesson.vectors)
            guilty += lesson.guilty
    platt = classifier.fit_platt(decisions, guilty)
    names = [lesson.incident for lesson in learnt]
    return _fitted(learnt, classifier).stored(names, platt)


def _fitted(learnt: Sequence[Lesson], classifier: ModuleType) -> Learner:
    """Go through all incidents several times, one step each."""
    learner = classifier.Learner([v for lesson in learnt for v in lesson.vectors])
    for _ in range(ROUNDS):
        for lesson in learnt:
            learner.learn(lesson.vectors, lesson.guilty)
    return learner


def _module(name: str) -> ModuleType:
    """Import a module of this folder as part of the agent's package."""
    load_agent("firm").build({"trained": "false"})
    return importlib.import_module(f"_aiopslab_agent_firm.{name}")


def main(arguments: Sequence[str]) -> int:
    """Play, learn, store."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="only so many incidents")
    parser.add_argument("--run", type=Path, help="a run that was played before")
    options = parser.parse_args(arguments)
    agent, classifier, features = (_module(n) for n in ("agent", "classifier", "features"))
    with tempfile.TemporaryDirectory(prefix="aiopslab-firm-") as scratch:
        chosen = training_incidents()[: options.limit]
        run = options.run or play(chosen, options.seed, Path(scratch))
        learnt = lessons(run, features.Instance, agent.KEPT)
    model = learn(learnt, classifier)
    classifier.dump(model, agent.MODEL)
    sys.stdout.write(f"learnt from {len(model.learnt_from)} incidents, kept in {agent.MODEL}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
