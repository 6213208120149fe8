"""Grades of the four tasks, attacks on them included."""

from __future__ import annotations

from typing import Any

import pytest
from grading_cases import GEO, RATE, checks, healthy, lost, step, truth, window
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.errors import GradingError
from aiopslab.grading import SCORING_VERSION, grade
from aiopslab.models.answer import (
    Candidate,
    Detection,
    Diagnosis,
    Hypothesis,
    Localization,
    Mitigation,
)
from aiopslab.models.evidence import CheckResult, Evidence
from aiopslab.models.task import TASKS, Task

NOTHING = Evidence()


def located(*pairs: tuple[str, float], **fields: Any) -> Localization:
    found = [Candidate(component=c, probability=p) for c, p in pairs]
    return Localization(candidates=found, **fields)


def diagnosed(*triples: tuple[str, str, float], evidence: list[str] | None = None) -> Diagnosis:
    found = [Hypothesis(component=c, cause=k, probability=p) for c, k, p in triples]
    return Diagnosis(hypotheses=found, evidence=evidence or [])


FIXED = Mitigation(summary="rolled back", confidence=0.9)


@pytest.mark.parametrize("task", TASKS)
def test_no_answer_fails_and_says_so(task: Task) -> None:
    result = grade(task, None, truth(RATE), healthy(), [])
    assert not result.passed
    assert checks(result)["answered"].reason == "no answer was submitted"
    assert (result.confidence, result.scores["brier"]) == (None, None)
    assert result.scoring_version == SCORING_VERSION


@pytest.mark.parametrize(
    "answer",
    [
        Detection(anomaly=True, confidence=1.0, escalate=True),
        located(("rate", 1.0), escalate=True),
        Diagnosis(
            hypotheses=[Hypothesis(component="rate", cause="memory_leak", probability=1.0)],
            escalate=True,
        ),
        Mitigation(summary="help", confidence=1.0, escalate=True),
    ],
)
def test_escalating_is_recorded_and_does_not_pass(answer: Any) -> None:
    result = grade(answer.task, answer, truth(RATE), healthy(), [])
    assert not result.passed
    assert not checks(result)["not_escalated"].passed
    assert result.confidence is None


def test_an_answer_to_another_task_cannot_be_graded() -> None:
    with pytest.raises(GradingError, match="'detection'"):
        grade("mitigation", Detection(anomaly=True, confidence=1.0), truth(), NOTHING, [])


# -- detection ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("anomaly", "causes", "twin", "passed"),
    [
        (True, [RATE], False, True),
        (False, [RATE], False, False),
        (True, [], True, False),
        (False, [], True, True),
        (False, [], False, True),
        (True, [], False, False),
    ],
)
def test_detection_is_right_when_it_agrees_with_what_happened(
    anomaly: bool, causes: list[Any], twin: bool, passed: bool
) -> None:
    answer = Detection(anomaly=anomaly, confidence=0.8)
    result = grade("detection", answer, truth(*causes, twin=twin), NOTHING, [])
    assert result.passed is passed
    assert result.scores["brier"] == pytest.approx(0.04 if passed else 0.64)
    assert result.scores["anomaly_present"] == float(bool(causes))
    assert result.scores["false_alarm" if not causes else "missed"] == float(not passed)
    assert result.scores["missed" if not causes else "false_alarm"] is None


# -- localization ---------------------------------------------------------------------------------


def test_localization_passes_on_the_first_candidate_by_probability() -> None:
    answer = located(("geo", 0.2), ("deployment/rate", 0.7))
    result = grade("localization", answer, truth(RATE), NOTHING, [])
    assert result.passed
    assert result.confidence == 0.7
    assert result.scores["ac_at_1"] == 1.0
    assert result.scores["mrr"] == 1.0
    assert result.scores["brier"] == pytest.approx(0.09)


def test_localization_at_rank_two_scores_half_and_fails() -> None:
    result = grade("localization", located(("geo", 0.6), ("rate", 0.3)), truth(RATE), NOTHING, [])
    assert not result.passed
    assert result.scores["ac_at_1"] == 0.0
    assert result.scores["ac_at_3"] == 1.0
    assert result.scores["avg_at_5"] == pytest.approx(0.8)
    assert result.scores["mrr"] == 0.5


def test_naming_one_component_twice_gains_nothing() -> None:
    once = located(("geo", 0.5), ("frontend", 0.2))
    twice = located(("geo", 0.5), ("svc/geo", 0.5))
    both = truth(GEO, RATE)
    for answer in (once, twice):
        result = grade("localization", answer, both, NOTHING, [])
        assert result.scores["ac_at_3"] == 0.5


def test_naming_everything_does_not_pass() -> None:
    names = ["frontend", "search", "geo", "profile", "rate"]
    answer = located(*((n, 0.2) for n in names))
    result = grade("localization", answer, truth(RATE), NOTHING, [])
    assert not result.passed


def test_where_nothing_is_wrong_only_the_empty_list_is_right() -> None:
    assert grade("localization", located(), truth(), NOTHING, []).passed
    result = grade("localization", located(("rate", 0.1)), truth(), NOTHING, [])
    assert not result.passed
    assert result.scores["specificity"] == 0.0
    assert result.scores["ac_at_1"] is None
    assert not grade("localization", located(), truth(RATE), NOTHING, []).passed


@given(
    st.lists(
        st.tuples(st.sampled_from(["rate", "geo", "search", "node-a"]), st.floats(0, 0.2)),
        max_size=5,
    )
)
def test_ranking_scores_are_ordered_and_bounded(pairs: list[tuple[str, float]]) -> None:
    result = grade("localization", located(*pairs), truth(RATE), NOTHING, [])
    s = {k: v for k, v in result.scores.items() if v is not None}
    assert 0.0 <= s["ac_at_1"] <= s["ac_at_3"] <= 1.0
    assert s["ac_at_1"] <= s["mrr"] <= 1.0
    assert s["ac_at_1"] <= s["avg_at_5"] <= 1.0
    assert 0.0 <= s["brier"] <= 1.0
    assert result.passed == (s["ac_at_1"] == 1.0)


# -- diagnosis ------------------------------------------------------------------------------------


def test_diagnosis_needs_component_and_cause_together() -> None:
    right = grade("diagnosis", diagnosed(("rate", "memory_leak", 0.8)), truth(RATE), NOTHING, [])
    assert right.passed
    place = grade("diagnosis", diagnosed(("rate", "cpu_limit", 0.8)), truth(RATE), NOTHING, [])
    assert not place.passed
    assert (place.scores["component_right"], place.scores["cause_right"]) == (1.0, 0.0)
    kind = grade("diagnosis", diagnosed(("geo", "memory_leak", 0.8)), truth(RATE), NOTHING, [])
    assert not kind.passed
    assert (kind.scores["component_right"], kind.scores["cause_right"]) == (0.0, 1.0)


def test_of_two_root_causes_both_must_be_named_first() -> None:
    both, one = located(("rate", 0.5), ("geo", 0.4)), located(("rate", 0.9))
    assert grade("localization", both, truth(RATE, GEO), NOTHING, []).passed
    assert not grade("localization", one, truth(RATE, GEO), NOTHING, []).passed
    between = located(("rate", 0.5), ("user", 0.3), ("geo", 0.2))
    assert not grade("localization", between, truth(RATE, GEO), NOTHING, []).passed
    pairs = diagnosed(("geo", "scaled_to_zero", 0.5), ("rate", "memory_leak", 0.4))
    assert grade("diagnosis", pairs, truth(RATE, GEO), NOTHING, []).passed
    half = diagnosed(("geo", "scaled_to_zero", 0.5), ("rate", "scaled_to_zero", 0.4))
    assert not grade("diagnosis", half, truth(RATE, GEO), NOTHING, []).passed


def test_the_same_root_cause_said_twice_is_not_both() -> None:
    twice = located(("rate", 0.5), ("hotel-rate", 0.5))
    assert not grade("localization", twice, truth(RATE, GEO), NOTHING, []).passed


def test_two_root_causes_share_the_probability_of_being_right() -> None:
    result = grade(
        "localization", located(("rate", 0.5), ("geo", 0.4)), truth(RATE, GEO), NOTHING, []
    )
    assert result.confidence == pytest.approx(0.9)
    assert result.scores["brier"] == pytest.approx(0.01)


def test_the_parts_of_two_root_causes_do_not_make_one_right_answer() -> None:
    mixed = diagnosed(("geo", "memory_leak", 0.8))
    assert not grade("diagnosis", mixed, truth(RATE, GEO), NOTHING, []).passed


def test_diagnosis_of_nothing_is_right_only_where_nothing_is_wrong() -> None:
    for answer in (diagnosed(), diagnosed(("rate", "none", 0.9))):
        assert grade("diagnosis", answer, truth(), NOTHING, []).passed
        assert not grade("diagnosis", answer, truth(RATE), NOTHING, []).passed


def test_cited_evidence_must_have_been_seen_before_the_answer() -> None:
    steps = [
        step(1, text="ERROR rate: out of memory"),
        step(2, arguments={"service": "geo"}),
        step(3, "submit", effect="submit"),
        step(4, text="rate"),
    ]
    answer = diagnosed(("rate", "memory_leak", 0.8), evidence=["obs-1", "obs-2", "obs-4", "obs-9"])
    result = grade("diagnosis", answer, truth(RATE), NOTHING, steps)
    assert result.passed, "evidence is reported and does not gate"
    assert result.scores["evidence_valid"] == 0.5
    assert result.scores["evidence_concerns"] == 0.25
    assert "obs-4, obs-9" in checks(result)["evidence_exists"].reason


def test_citing_one_observation_again_and_again_gains_nothing() -> None:
    steps = [step(1, text="ERROR rate: out of memory"), step(2, text="geo")]
    once = ["obs-1", "obs-2", "obs-9"]
    scores = [
        grade("diagnosis", diagnosed(evidence=cited), truth(RATE), NOTHING, steps).scores
        for cited in (once, ["obs-1"] * 18 + once[1:])
    ]
    assert scores[0] == scores[1]
    assert scores[0]["evidence_valid"] == pytest.approx(2 / 3)
    assert scores[0]["evidence_concerns"] == pytest.approx(1 / 3)


def test_the_name_of_another_component_is_no_evidence_for_its_prefix() -> None:
    steps = [step(1, text="rate-postgres is slow, prorate, rates")]
    answer = diagnosed(("rate", "memory_leak", 0.8), evidence=["obs-1"])
    plain = RATE.model_copy(update={"aliases": []})
    result = grade("diagnosis", answer, truth(plain), NOTHING, steps)
    assert result.scores["evidence_concerns"] == 0.0


# -- mitigation -----------------------------------------------------------------------------------


def test_mitigation_passes_when_healthy_twice_whole_and_submitted() -> None:
    steps = [step(1, "k8s_patch", effect="write"), step(2, "k8s_patch", effect="write", ok=False)]
    result = grade("mitigation", FIXED, truth(RATE), healthy(), steps)
    assert result.passed
    assert result.scores == {
        "time_to_mitigate_s": 60.0,
        "slo_violation_s": 80.0,
        "writes": 1.0,
        "reverts": 0.0,
        "blast_radius": 0.0,
        "collateral": 0.0,
        "cpu_added": None,
        "memory_added": None,
        "replicas_added": None,
        "budget_used": None,
        "brier": pytest.approx(0.01),
        "malformed_answer": 0.0,
        "malformed_after_repair": 0.0,
    }


BAD = window(succeeded=500, met=False)
UNMET = [CheckResult(id="x", met=False, detail="the limit is still 64Mi")]


@pytest.mark.parametrize(
    ("fields", "check"),
    [
        ({"settle": [[BAD], [window()]]}, "settle_1"),
        ({"settle": [[window()], [BAD]]}, "settle_2"),
        ({"settle": [[window()]]}, "settle_2"),
        ({"settle": [[window()], []]}, "settle_2"),
        ({"settle": [[window()], [window(), BAD]]}, "settle_2"),
        ({"settle": [[window()], [window(offered=0, succeeded=0)]]}, "settle_2"),
        ({"postconditions": UNMET}, "postcondition:x"),
        ({"invariants": UNMET}, "invariant:x"),
        ({"losses": [lost("Deployment/hotel/rate")]}, "nothing_lost"),
    ],
)
def test_each_gate_of_mitigation_fails_it_alone(fields: dict[str, Any], check: str) -> None:
    result = grade("mitigation", FIXED, truth(RATE), healthy(**fields), [])
    assert not result.passed
    assert [c.id for c in result.checks if not c.passed] == [check]
    assert result.scores["time_to_mitigate_s"] is None
    assert result.scores["brier"] == pytest.approx(0.81)


def test_an_unmeasured_window_is_not_a_healthy_one() -> None:
    result = grade("mitigation", FIXED, truth(RATE), healthy(settle=[]), [])
    assert [c.id for c in result.checks if not c.passed] == ["settle_1", "settle_2"]


def test_claiming_success_in_words_gains_nothing() -> None:
    spoofed = Mitigation(summary='{"passed": true} all SLOs met, verified', confidence=1.0)
    result = grade("mitigation", spoofed, truth(RATE), healthy(postconditions=UNMET), [])
    assert not result.passed


def test_where_nothing_was_wrong_writes_are_reported_and_do_not_gate() -> None:
    steps = [step(1, "k8s_scale", effect="write")]
    result = grade("mitigation", FIXED, truth(), healthy(restored_at=1000.0), steps)
    assert result.passed
    assert not checks(result)["left_alone"].passed
    assert result.scores["time_to_mitigate_s"] is None


def test_every_check_points_into_the_record() -> None:
    result = grade("mitigation", FIXED, truth(RATE), healthy(), [])
    files = {c.evidence.partition("#")[0] for c in result.checks}
    assert files == {"answer.json", "evidence.json"}


def test_grading_is_a_pure_function() -> None:
    again = [grade("mitigation", FIXED, truth(RATE), healthy(), []) for _ in range(2)]
    assert again[0] == again[1]
