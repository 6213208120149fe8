"""What would have happened without the agent: the trial's own world, left alone and repaired."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.grading.counterfactual import benefit
from aiopslab.models.counterfactual import Counterfactual, Course
from aiopslab.models.run import RunConfig
from aiopslab.orchestrator.records import RunDirectory, TrialDirectory
from aiopslab.orchestrator.results import regrade
from aiopslab.orchestrator.run import run_sync

LAB = "orchestrator_fakes:FakeLab"
SECONDS = st.floats(0.0, 1e5)


def mitigated(tmp_path: Path, agent: str, **fields: Any) -> TrialDirectory:
    """Mitigate the shop's first incident; return the trial's record."""
    config = RunConfig.model_validate(
        {
            "targets": ["one"], "tasks": ["mitigation"], "agent": agent,
            "environment": {"kind": LAB, "options": fields.pop("options", {})},
            "runs_dir": str(tmp_path), "name": "run", "counterfactual": True, "retry_infra": 0,
            **fields,
        }
    )  # fmt: skip
    report = run_sync(config)
    [plan] = report.record.trials
    return RunDirectory(report.directory).trial(plan)


def scores(trial: TrialDirectory) -> dict[str, float | None]:
    grade = trial.grade()
    assert grade is not None
    return grade.scores


def beside(nothing_s: float, reference_s: float) -> Counterfactual:
    return Counterfactual(
        nothing=Course(until=1.0, slo_violation_s=nothing_s),
        reference=Course(until=1.0, slo_violation_s=reference_s),
    )


def test_an_agent_that_did_nothing_was_of_no_benefit(tmp_path: Path) -> None:
    trial = mitigated(tmp_path, "noop")
    assert scores(trial)["benefit"] == 0.0
    known = trial.counterfactual()
    assert known is not None
    assert known.nothing.slo_violation_s == trial.evidence().slo_violation_s
    assert known.reference.slo_violation_s < known.nothing.slo_violation_s


def test_the_reference_fix_is_of_all_the_benefit_there_is(tmp_path: Path) -> None:
    assert scores(mitigated(tmp_path, "oracle"))["benefit"] == 1.0


def test_both_courses_end_where_the_trial_does_and_show_each_journey_in_each_bucket(
    tmp_path: Path,
) -> None:
    trial = mitigated(tmp_path, "orchestrator_fakes:Repairer")
    known, truth, end = trial.counterfactual(), trial.truth(), trial.evidence().settle[-1][0].end
    assert known is not None
    for course in (known.nothing, known.reference):
        assert course.until == end
        assert course.points[-1].at == end
        assert all(truth.handover_at < point.at <= end for point in course.points)
    assert {point.success for point in known.nothing.points} == {0.0}
    assert known.reference.points[-1].success == 1.0


@pytest.mark.parametrize(
    "fields",
    [
        {"counterfactual": False},
        {"options": {"cold": "1"}},
        {"agent": "orchestrator_fakes:Crasher"},
    ],
    ids=["not asked for", "worlds are not copied", "nothing was submitted"],
)
def test_elsewhere_it_is_not_known(tmp_path: Path, fields: dict[str, Any]) -> None:
    fields = {"agent": "noop"} | fields
    trial = mitigated(tmp_path, fields.pop("agent"), **fields)
    assert trial.counterfactual() is None
    assert "benefit" not in scores(trial)


def test_the_trial_itself_is_the_same_with_and_without(tmp_path: Path) -> None:
    with_, without = (
        mitigated(tmp_path / str(asked), "oracle", counterfactual=asked) for asked in (True, False)
    )
    for name in ("steps.jsonl", "evidence.json", "answer.json"):
        assert (with_.path / name).read_bytes() == (without.path / name).read_bytes()


def test_a_course_that_cannot_be_played_leaves_the_grade_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Hosts are processes of their own: what they import is broken for them by a path before ours.
    lab = tmp_path / "broken_lab.py"
    lab.write_text(
        "from orchestrator_fakes import FakeLab as Whole\n"
        "from aiopslab.orchestrator import counterfactual\n"
        "from aiopslab.errors import InfraError\n"
        "async def play(*args):\n    raise InfraError('counterfactual', 'refused')\n"
        "counterfactual.play = play\n"
        "class FakeLab(Whole): ...\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    trial = mitigated(tmp_path, "noop", environment={"kind": "broken_lab:FakeLab"})
    assert trial.complete
    assert "benefit" not in scores(trial)
    lines = (tmp_path / "run" / "events.jsonl").read_text("utf-8").splitlines()
    lost = [e for e in map(json.loads, lines) if e["event"] == "counterfactual_lost"]
    assert [e["trial"] for e in lost] == [trial.path.name]


def test_grading_again_keeps_the_benefit(tmp_path: Path) -> None:
    trial = mitigated(tmp_path, "noop")
    before = scores(trial)
    regrade(RunDirectory(tmp_path / "run"))
    assert scores(trial) == before


@given(SECONDS, SECONDS, SECONDS)
def test_benefit_is_at_most_one_and_falls_with_each_second_of_violation(
    nothing: float, reference: float, agent: float
) -> None:
    known = beside(nothing, reference)
    found = benefit(agent, known)
    if nothing <= reference:
        assert found is None
        return
    assert found is not None
    assert found <= 1.0
    assert benefit(nothing, known) == 0.0
    assert benefit(reference, known) == 1.0
    later = benefit(agent + 1.0, known)
    assert later is not None
    assert later <= found


def test_what_was_not_measured_has_no_benefit() -> None:
    assert benefit(None, beside(60.0, 10.0)) is None
