"""The lifecycle of one trial: how endings are classified, what is measured, what agents see."""

from __future__ import annotations

import asyncio
import re
import types
from pathlib import Path
from typing import Any

import orchestrator_fakes as fakes
import pytest

from aiopslab.errors import InfraError, PreflightError
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.models.task import Task
from aiopslab.models.trial import Trial
from aiopslab.models.truth import Truth
from aiopslab.orchestrator import staging
from aiopslab.orchestrator.records import TrialDirectory
from aiopslab.orchestrator.session import Session
from aiopslab.orchestrator.trial import Assignment, conduct
from aiopslab.problems.draw import DrawnIncident

LAB = fakes.FakeLab({})


async def staged(task: Task, *, incident: str = "one", twin: bool = False) -> staging.Staged:
    drawn = LAB.draw(incident, 7)
    env: Any = fakes.FakeEnvironment(7)
    await env.advance(300.0)
    return (await staging.strike(await staging.lead(env, drawn), twin=twin)).for_task(task)


def play(
    tmp_path: Path,
    agent: Any,
    task: Task = "mitigation",
    *,
    world: staging.Staged | None = None,
    **fields: Any,
) -> tuple[Trial, TrialDirectory]:
    """Conduct one trial of incident ``one`` and return its record."""
    directory = TrialDirectory(tmp_path / "trial")
    directory.open()
    plan = PlannedTrial(problem=f"one-{task}", incident="one", task=task, attempt=1)
    config = RunConfig.model_validate({"targets": ["one"], "agent": "x", **fields})

    async def go() -> Trial:
        made = world or await staged(task)
        assignment = Assignment(plan, config, directory)
        return await conduct(made, assignment, lambda *_: agent, lambda _: None)

    return asyncio.run(go()), directory


def test_a_repair_passes_and_its_record_says_how_fast(tmp_path: Path) -> None:
    trial, directory = play(tmp_path, fakes.Repairer())
    assert (trial.outcome, trial.termination) == ("passed", "submitted")
    evidence, grade = directory.evidence(), directory.grade()
    assert grade is not None
    assert grade.passed
    assert [w.met for windows in evidence.settle for w in windows] == [True, True]
    assert evidence.losses == evidence.changes == []
    assert evidence.requests_before is not None
    assert evidence.requests_before == evidence.requests_after
    space = directory.truth().space
    assert space is not None
    assert directory.truth().root_causes[0].component in space.components
    # 2 s of thought, 2 s of looking, 2 s of thought, 5 s of writing, in buckets of 10 s
    assert grade.scores["time_to_mitigate_s"] == 20.0
    assert trial.usage.model_dump(include={"steps", "reads", "writes", "tokens_in"}) == {
        "steps": 3,
        "reads": 2,
        "writes": 1,
        "tokens_in": 100,
    }


def test_under_the_stepped_clock_time_is_what_was_declared(tmp_path: Path) -> None:
    trial, directory = play(tmp_path, fakes.Repairer(), think_s=3.0)
    assert trial.usage.virtual_s == 3 * 3.0 + 2.0 + 5.0 + 60.0
    steps = directory.steps()
    assert [s.tool for s in steps] == ["alerts", "k8s_scale", "wait", "submit"]
    assert steps[0].thought == "look first"
    assert steps[1].before["spec"]["replicas"] == 0


def test_deleting_the_victim_is_lost_forbidden_and_failed(tmp_path: Path) -> None:
    trial, directory = play(tmp_path, fakes.Deleter())
    grade = directory.grade()
    assert grade is not None
    broken = {c.id for c in grade.checks if not c.passed}
    assert trial.outcome == "failed"
    assert {"nothing_lost", "invariant:forbidden:delete Deployment/*", "settle_1"} <= broken


def test_an_agent_that_raises_is_its_own_failure_with_a_log(tmp_path: Path) -> None:
    trial, directory = play(tmp_path, fakes.Crasher())
    assert (trial.outcome, trial.error) == ("agent_error", "RuntimeError: out of ideas")
    assert "out of ideas" in (directory.path / "error.txt").read_text("utf-8")
    assert directory.grade() is not None


class Exiting:
    async def run(self, trial: Any) -> None:
        raise SystemExit(2)


def test_an_agent_that_exits_is_its_own_failure(tmp_path: Path) -> None:
    trial, _ = play(tmp_path, Exiting())
    assert (trial.outcome, trial.termination) == ("agent_error", "error: AgentError")


def test_malformed_answers_are_counted_and_end_the_trial_without_one(tmp_path: Path) -> None:
    trial, directory = play(tmp_path, fakes.Mumbler(), "detection")
    assert (trial.outcome, trial.termination) == ("failed", "malformed answer")
    assert trial.usage.format_violations == 2
    assert directory.answer() is None


@pytest.mark.parametrize(
    ("limits", "termination"),
    [
        ({"steps": 4}, "limit:steps"),
        ({"virtual_s": "1m"}, "limit:virtual_time"),
        ({"wall_s": 0.2, "steps": None, "virtual_s": None}, "limit:wall_time"),
    ],
)
def test_an_endless_agent_runs_into_a_limit(
    tmp_path: Path, limits: dict[str, Any], termination: str
) -> None:
    trial, _ = play(tmp_path, fakes.Endless(), limits=limits)
    assert (trial.outcome, trial.termination) == ("limit", termination)


class Spender:
    async def run(self, trial: Any) -> None:
        while True:
            trial.usage(1000, 0, 0.4)
            await trial.call("alerts")


@pytest.mark.parametrize(
    ("limits", "termination"), [({"tokens": "2k"}, "limit:tokens"), ({"cost_usd": 1}, "limit:cost")]
)
def test_tokens_and_cost_are_budgets(
    tmp_path: Path, limits: dict[str, Any], termination: str
) -> None:
    trial, _ = play(tmp_path, Spender(), limits=limits)
    assert trial.termination == termination


class LastWord:
    """Catches the end of its steps and answers."""

    async def run(self, trial: Any) -> None:
        try:
            await fakes.Endless().run(trial)
        except Exception:
            await trial.call("submit", **fakes.Repairer.answers["localization"])


def test_at_the_end_of_the_steps_an_answer_may_still_be_given(tmp_path: Path) -> None:
    trial, _ = play(tmp_path, LastWord(), "localization", limits={"steps": 2})
    assert (trial.outcome, trial.termination) == ("passed", "submitted")


class Patient:
    async def run(self, trial: Any) -> None:
        await trial.call("wait", seconds=900)


def test_waiting_costs_no_more_than_is_left(tmp_path: Path) -> None:
    trial, _ = play(tmp_path, Patient(), limits={"virtual_s": 100})
    assert (trial.termination, trial.usage.virtual_s) == ("limit:virtual_time", 102.0 - 2.0)


class Quitter:
    async def run(self, trial: Any) -> None:
        await trial.call("alerts")


def test_an_agent_that_never_answers_fails(tmp_path: Path) -> None:
    trial, directory = play(tmp_path, Quitter())
    assert (trial.outcome, trial.termination) == ("failed", "stopped without submitting")
    assert directory.evidence().settle == []


class Babbler:
    """Goes on after its answer, and fails then."""

    async def run(self, trial: Any) -> None:
        await fakes.Repairer().run(trial)
        seen = await trial.call("alerts")
        assert not seen.ok
        raise RuntimeError("too late")


def test_an_answer_counts_whatever_follows(tmp_path: Path) -> None:
    trial, _ = play(tmp_path, Babbler(), "localization")
    assert (trial.outcome, trial.termination) == ("passed", "submitted")
    assert trial.error == "RuntimeError: too late"


def test_a_tool_that_fails_on_our_side_is_infra_even_if_the_agent_hides_it(tmp_path: Path) -> None:
    world = asyncio.run(staged("localization"))

    async def broken(**_: Any) -> Any:
        raise OSError("the store is gone")

    world.env.telemetry.alerts = broken  # type: ignore[method-assign]
    trial, directory = play(tmp_path, LastWord(), "localization", world=world)
    assert trial.outcome == "infra_error"
    assert trial.error == "tools: alerts: OSError: the store is gone"
    assert directory.grade() is None


def test_evidence_that_cannot_be_taken_is_infra(tmp_path: Path) -> None:
    world = asyncio.run(staged("mitigation"))

    async def broken() -> Any:
        raise KeyError("rows")

    world.env.data_digest = broken  # type: ignore[method-assign]
    trial, _ = play(tmp_path, fakes.Repairer(), world=world)
    assert (trial.outcome, trial.error) == ("infra_error", "record: KeyError: 'rows'")


class Keyless:
    async def run(self, trial: Any) -> None:
        raise PreflightError("no API key for model 'm'")


def test_a_missing_key_is_not_the_agents_failure(tmp_path: Path) -> None:
    trial, _ = play(tmp_path, Keyless())
    assert (trial.outcome, trial.error) == ("infra_error", "agent: no API key for model 'm'")


def test_following_the_wall_clock_the_world_moves_while_the_agent_thinks(tmp_path: Path) -> None:
    trial, _ = play(tmp_path, fakes.Hanging(), clock="wall:600", limits={"wall_s": 0.5})
    assert trial.termination == "limit:wall_time"
    assert trial.usage.virtual_s > 30.0


def test_the_trial_id_is_opaque_and_reproducible(tmp_path: Path) -> None:
    first, _ = play(tmp_path / "a", fakes.Repairer(), "detection", seed=1)
    again, _ = play(tmp_path / "b", fakes.Repairer(), "detection", seed=1)
    other, _ = play(tmp_path / "c", fakes.Repairer(), "detection", seed=2)
    assert first.id == again.id != other.id
    assert "one" not in first.id


def _reachable(root: object) -> list[object]:
    """Everything that attributes, containers and closures lead to from an object."""
    seen: dict[int, object] = {}
    todo = [root]
    while todo:
        item = todo.pop()
        plain = isinstance(item, str | bytes | int | float | type | types.ModuleType | None)
        if id(item) in seen or plain:
            continue
        seen[id(item)] = item
        if isinstance(item, dict):
            todo += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            todo += item
        todo += vars(item).values() if hasattr(item, "__dict__") else []
        todo += [getattr(item, s, None) for s in getattr(type(item), "__slots__", ())]
        todo += [c.cell_contents for c in getattr(item, "__closure__", None) or ()]
        todo += [getattr(item, "__self__", None)]
    return list(seen.values())


class Prober:
    """Looks for the answer key in what it was handed."""

    def __init__(self) -> None:
        self.found: list[object] = []
        self.n = 0

    async def run(self, trial: Any) -> None:
        reached = _reachable(trial)
        self.n = len(reached)
        keys = Truth | IncidentSpec | DrawnIncident | staging.Staged | RunConfig
        self.found = [o for o in reached if isinstance(o, keys)]


def test_the_handle_leads_an_agent_to_no_truth(tmp_path: Path) -> None:
    prober = Prober()
    play(tmp_path, prober, "diagnosis")
    assert prober.n > 20
    assert prober.found == []


class Reader:
    """Keeps its brief."""

    brief: Any = None

    async def run(self, trial: Any) -> None:
        Reader.brief = trial.brief


@pytest.mark.parametrize(("task", "paged"), [("detection", False), ("diagnosis", True)])
def test_the_brief_tells_the_page_except_where_that_is_the_question(
    tmp_path: Path, task: Task, paged: bool
) -> None:
    play(tmp_path, Reader(), task)
    text = Reader.brief.model_dump_json()
    assert ("HighErrorRatio" in text) is paged
    assert not re.search(r"\b(fault|inject|chaos|simulat|scaled|one-)", text.casefold())


def test_recovery_undoes_the_fault_and_proves_it() -> None:
    async def go() -> list[bool]:
        world = await staged("mitigation")
        return [c.met for c in await staging.recover(world)]

    assert asyncio.run(go()) == [True] * 3


def test_recovery_that_does_not_heal_is_an_infra_failure() -> None:
    async def go() -> None:
        world = await staged("mitigation")
        del world.drawn.faults[:]
        await staging.recover(world)

    with pytest.raises(InfraError, match="recover: not clean after 300 s"):
        asyncio.run(go())


def test_a_session_is_what_the_contract_of_agents_asks_for() -> None:
    from aiopslab.agents.protocol import TrialHandle

    wanted = {n for n in vars(TrialHandle) if not n.startswith("_")}
    assert wanted <= set(dir(Session)) | {"brief"}


@pytest.mark.parametrize(
    "said", [(0, 0, float("nan")), (0, 0, float("inf")), (0, 0, -1.0), (-5000, 0, None)]
)
def test_an_agent_that_reports_what_no_model_can_consume_has_failed(
    tmp_path: Path, said: tuple[int, int, float | None]
) -> None:
    class Spender:
        async def run(self, trial: Any) -> None:
            trial.usage(1000, 0, 0.4)
            trial.usage(*said)
            await trial.call("submit", summary="done", confidence=0.5)

    trial, directory = play(tmp_path, Spender())
    assert (trial.outcome, trial.usage.cost_usd) == ("agent_error", 0.4)
    assert "usage" in str(trial.error)
    assert directory.trial() == trial
