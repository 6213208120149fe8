"""Baselines: what is planned, how rows become scores, which incidents give in unsaid."""

from __future__ import annotations

import asyncio

import pytest
from orchestrator_fakes import SPECS

from aiopslab.errors import UsageError
from aiopslab.grading.baselines import scores, solved
from aiopslab.models.baseline import Baselines, BaselineTrial
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.task import TASKS, Task
from aiopslab.orchestrator import baselines, lock
from aiopslab.orchestrator.soundness import Target

TARGETS = [Target(spec=SPECS[name], asked=name) for name in ("one", "calm")]


def row(
    incident: str,
    agent: str,
    task: Task,
    passed: bool | None,
    *,
    quiet: bool = False,
    seed: int = 0,
) -> BaselineTrial:
    return BaselineTrial(
        incident=incident, agent=agent, task=task, seed=seed, quiet=quiet, passed=passed
    )


def test_every_agent_plays_every_task_of_every_incident_beside_the_others() -> None:
    plans = baselines.planned(TARGETS, ["noop", "prior"], 2)
    assert len(plans) == 2 * 2 * 2 * len(TASKS)
    assert len({p.directory for p in plans}) == len(plans)
    # Trials of one incident and attempt follow each other, so they share its staging.
    groups = [(p.incident, p.attempt) for p in plans]
    assert groups == sorted(groups, key=lambda g: (g[0] != "one", g[1]))


def test_detection_is_balanced_over_both_answers() -> None:
    trials = [row("a", "always-yes", "detection", True) for _ in range(3)]
    trials.append(row("b", "always-yes", "detection", False, quiet=True))
    score = scores(trials)["always-yes"]["detection"]
    assert (score.passed, score.n, score.balanced) == (3, 4, 0.5)


def test_one_sided_detection_has_no_balance() -> None:
    score = scores([row("a", "noop", "detection", True)])["noop"]["detection"]
    assert score.balanced is None


def test_what_the_lab_failed_counts_for_nobody() -> None:
    trials = [row("a", "noop", "diagnosis", None), row("b", "noop", "diagnosis", False)]
    assert scores(trials)["noop"]["diagnosis"].n == 1


def test_an_incident_is_solved_if_every_seed_is() -> None:
    agent = "restart-everything"
    trials = [
        row("a", agent, "mitigation", True, seed=0),
        row("a", agent, "mitigation", True, seed=1),
        row("b", agent, "mitigation", True, seed=0),
        row("b", agent, "mitigation", False, seed=1),
        row("calm", agent, "mitigation", True, quiet=True),
        row("a", "noop", "mitigation", True),
    ]
    assert solved(trials, agent) == ["a"]


def test_an_incident_that_gives_in_has_to_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"restart-everything": "a restart is what people do"}
    said = SPECS["two"].model_copy(update={"solved_by": kept})
    targets = [TARGETS[0], Target(spec=said, asked="two")]
    monkeypatch.setattr(baselines, "asked", lambda _: targets)
    trials = [row(name, "restart-everything", "mitigation", True) for name in ("one", "two")]
    found = Baselines(scoring_version="1", catalogue="", trials=trials)
    assert baselines.undeclared(found, []) == {"restart-everything": ["one"]}


def test_only_agents_that_exist_and_repair_can_be_declared() -> None:
    raw = SPECS["one"].model_dump(by_alias=True) | {"solved_by": {"noop": "why not"}}
    with pytest.raises(ValueError, match="solved_by"):
        IncidentSpec.model_validate(raw)


def test_the_digest_of_a_catalogue_does_not_depend_on_the_order() -> None:
    specs = list(SPECS.values())
    assert lock.of_incidents(specs) == lock.of_incidents(reversed(specs))
    assert lock.of_incidents(specs) != lock.of_incidents(specs[:1])


def test_an_agent_that_does_not_exist_is_refused_before_anything_boots() -> None:
    with pytest.raises(UsageError, match="nobody"):
        asyncio.run(
            baselines.measure(["quickstart"], agents=["nobody"], seed=0, attempts=1, hosts=1)
        )
