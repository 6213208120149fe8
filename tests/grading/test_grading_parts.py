"""Half-right answers: distance in the graph, levels of a diagnosis, what cited evidence shows."""

from __future__ import annotations

from typing import Any

import pytest
from grading_cases import GEO, RATE, SPACE, healthy, step, truth, window
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.grading import citations, grade
from aiopslab.grading.dependency_graph import causal_path, diameter, distances, undirected
from aiopslab.models.answer import Candidate, Detection, Diagnosis, Hypothesis, Localization
from aiopslab.models.evidence import Evidence
from aiopslab.models.grade import Grade
from aiopslab.models.truth import RootCause

PLAIN = RATE.model_copy(update={"accepted": [], "aliases": []})
BROKEN = Evidence(handover=[window(met=False)])


def located(name: str, cause: RootCause = PLAIN) -> dict[str, float | None]:
    named = [Candidate(component=name, probability=0.5)] if name else []
    key = truth(cause, space=SPACE)
    return grade("localization", Localization(candidates=named), key, Evidence(), []).scores


def diagnosed(
    *pairs: tuple[str, str],
    causes: tuple[RootCause, ...] = (PLAIN,),
    evidence: tuple[str, ...] = (),
    steps: tuple[Any, ...] = (),
) -> Grade:
    ranked = [Hypothesis(component=c, cause=k, probability=0.3) for c, k in pairs]
    answer = Diagnosis(hypotheses=ranked, evidence=list(evidence))
    return grade("diagnosis", answer, truth(*causes, space=SPACE), BROKEN, list(steps))


# -- detection ------------------------------------------------------------------------------------


def test_time_to_detect_counts_from_the_faults_onset_and_only_for_a_right_yes() -> None:
    seen = Evidence(submitted_at=1250.0)
    yes, no = Detection(anomaly=True, confidence=0.9), Detection(anomaly=False, confidence=0.9)
    assert grade("detection", yes, truth(RATE), seen, []).scores["time_to_detect_s"] == 350.0
    assert grade("detection", no, truth(RATE), seen, []).scores["time_to_detect_s"] is None
    assert grade("detection", no, truth(twin=True), seen, []).scores["time_to_detect_s"] is None


# -- distance -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hops"),
    [
        ("rate", 0), ("deploy/rate", 0), ("search", 1), ("rate-postgres", 1), ("geo", 2),
        ("frontend", 2), ("profile", 3), ("node-a", 5), ("moon", 5), ("", 5),
    ],
)  # fmt: skip
def test_hops_are_counted_along_dependencies_in_either_direction(name: str, hops: int) -> None:
    assert diameter(undirected(SPACE)) == 4
    assert located(name)["graph_distance"] == hops
    assert located(name)["graph_distance_share"] == pytest.approx(hops / 5)


def test_an_accepted_equal_of_the_cause_is_no_distance_away() -> None:
    assert located("rate-postgres", RATE)["graph_distance"] == 0.0


def test_the_distance_to_what_is_in_no_graph_is_unknown() -> None:
    node = PLAIN.model_copy(update={"component": "node-a"})
    assert located("rate", node)["graph_distance"] is None
    assert located("node-a", node)["graph_distance"] is None
    plain = grade("localization", Localization(candidates=[]), truth(PLAIN), Evidence(), [])
    assert plain.scores["graph_distance"] is None


@given(st.sampled_from(SPACE.components), st.sampled_from(SPACE.components))
def test_distances_are_a_metric(a: str, b: str) -> None:
    graph = undirected(SPACE)
    there, back = distances(graph, [a]).get(b), distances(graph, [b]).get(a)
    assert there == back
    assert (there == 0) == (a == b and a in graph)
    for c, through in distances(graph, [a]).items():
        if there is not None:
            assert there <= through + distances(graph, [c])[b]


# -- levels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "component", "family", "cause", "credit"),
    [
        (("rate", "memory_leak"), 1, 1, 1, 1.0),
        (("rate", "errors_in_release"), 1, 1, 0, 0.75),
        (("rate", "scaled_to_zero"), 1, 0, 0, 0.5),
        (("geo", "memory_leak"), 0, 1, 1, 0.5),
        (("geo", "errors_in_release"), 0, 1, 0, 0.25),
        (("geo", "scaled_to_zero"), 0, 0, 0, 0.0),
    ],
)
def test_each_level_of_a_diagnosis_has_its_credit(
    pair: tuple[str, str], component: float, family: float, cause: float, credit: float
) -> None:
    result = diagnosed(pair)
    said = [result.scores[n] for n in ("component_right", "family_right", "cause_right")]
    assert said == [component, family, cause]
    assert result.scores["partial_credit"] == credit
    assert result.passed == (credit == 1.0)


def test_right_parts_of_two_accepted_pairs_are_not_a_right_pair() -> None:
    result = diagnosed(("rate", "too_many_connections"), causes=(RATE,))
    assert (result.passed, result.scores["partial_credit"]) == (False, 0.75)


def test_of_two_causes_hypotheses_are_assigned_as_is_best() -> None:
    both = (PLAIN, GEO)
    swapped = diagnosed(("geo", "scaled_to_zero"), ("rate", "memory_leak"), causes=both)
    assert swapped.scores["partial_credit"] == 1.0
    assert diagnosed(("geo", "scaled_to_zero"), causes=both).scores["partial_credit"] == 0.5
    assert diagnosed(causes=both).scores["partial_credit"] == 0.0


def test_the_family_is_unknown_without_the_vocabulary() -> None:
    answer = Diagnosis(hypotheses=[Hypothesis(component="rate", cause="x", probability=0.3)])
    scores = grade("diagnosis", answer, truth(PLAIN), BROKEN, []).scores
    assert (scores["family_right"], scores["partial_credit"]) == (None, None)


# -- evidence -------------------------------------------------------------------------------------

LEAKS = step(1, text="rate memory 190Mi\ngeo memory 20Mi")
NAMES = step(2, text="rate is called by search")
BESIDE = step(3, text="rate up\ngeo memory 20Mi")
QUERY = step(4, "metrics_query", text="rate 3", arguments={"query": "container_memory_bytes"})
SUBMIT = step(5, "submit", effect="submit")
LATE = step(6, text="rate memory")
STEPS = (LEAKS, NAMES, BESIDE, QUERY, SUBMIT, LATE)
RIGHT = ("rate", "memory_leak")


@pytest.mark.parametrize(
    ("cited", "precision"),
    [
        (("obs-1",), 1.0), (("obs-2",), 0.0), (("obs-3",), 0.0), (("obs-4",), 1.0),
        (("obs-6",), 0.0), (("obs-9",), 0.0), (("obs-1", "obs-1", "obs-2"), 0.5), ((), None),
    ],
)  # fmt: skip
def test_precise_evidence_was_seen_and_shows_the_cause_beside_the_component(
    cited: tuple[str, ...], precision: float | None
) -> None:
    result = diagnosed(RIGHT, evidence=cited, steps=STEPS)
    assert result.scores["evidence_precision"] == precision
    assert result.passed, "evidence does not gate"


def test_claims_are_held_against_what_was_cited_whether_they_are_right_or_not() -> None:
    def share(pair: tuple[str, str], *cited: str) -> float | None:
        return diagnosed(pair, evidence=cited, steps=STEPS).scores["unsupported_claims"]

    assert share(RIGHT) == 1.0
    assert share(RIGHT, "obs-1") == 0.0
    assert share(RIGHT, "obs-2") == 0.5
    assert share(("geo", "memory_leak"), "obs-3") == 0.0
    assert share(("geo", "scaled_to_zero"), "obs-3") == 0.5
    assert diagnosed().scores["unsupported_claims"] is None


def test_the_causal_path_leads_from_what_users_call_down_to_the_cause() -> None:
    way = ["frontend", "search", "rate"]
    assert causal_path(SPACE, "rate", BROKEN.handover) == way
    assert causal_path(SPACE, "rate", []) == way
    assert causal_path(SPACE, "frontend", []) == ["frontend"]
    assert causal_path(SPACE, "node-a", BROKEN.handover) is None


def test_coverage_is_the_share_of_the_path_that_cited_evidence_names() -> None:
    def share(*cited: str) -> float | None:
        return diagnosed(RIGHT, evidence=cited, steps=STEPS).scores["evidence_coverage"]

    assert share() == 0.0
    assert share("obs-1") == pytest.approx(1 / 3)
    assert share("obs-1", "obs-2") == pytest.approx(2 / 3)


def test_a_list_of_everything_covers_nothing_but_what_was_asked_for() -> None:
    every = " ".join(SPACE.components)
    plain, asked = step(1, text=every), step(2, text=every, arguments={"component": "rate"})
    for cited, share in (("obs-1", 0.0), ("obs-2", 1 / 3)):
        result = diagnosed(RIGHT, evidence=(cited,), steps=(plain, asked))
        assert result.scores["evidence_coverage"] == pytest.approx(share)


@given(st.sets(st.sampled_from([f"obs-{i}" for i in range(1, 9)])))
def test_evidence_scores_are_bounded_and_more_evidence_covers_no_less(cited: set[str]) -> None:
    scores = diagnosed(RIGHT, evidence=tuple(sorted(cited)), steps=STEPS).scores
    fewer = diagnosed(RIGHT, evidence=tuple(sorted(cited)[1:]), steps=STEPS).scores
    for name in ("evidence_precision", "evidence_coverage", "unsupported_claims"):
        assert scores[name] is None or 0.0 <= scores[name] <= 1.0
    assert (scores["evidence_coverage"] or 0.0) >= (fewer["evidence_coverage"] or 0.0)
    assert (scores["unsupported_claims"] or 0.0) <= (fewer["unsupported_claims"] or 0.0)


def test_what_was_asked_for_belongs_to_every_row_if_it_was_asked_for() -> None:
    for asked, carried in ((True, True), (False, False)):
        found = step(1, text="rate: GET /", arguments={"errors_only": asked})
        assert citations.carries(found, ["rate"], citations.stems("error")) is carried


def test_a_heading_in_capitals_belongs_to_every_row() -> None:
    table = step(1, text="at: 12:00Z\nNAME  MEMORY\nrate  190Mi")
    assert citations.carries(table, ["rate"], citations.stems("memory"))
    assert not citations.carries(table, ["geo"], citations.stems("memory"))


def test_words_that_most_kinds_share_are_no_sign_of_any() -> None:
    kinds = {f"k{i}": SPACE.causes["memory_leak"] for i in range(40)} | SPACE.causes
    assert "memor" in citations.signs_of("memory_leak", SPACE.causes)
    assert citations.signs_of("memory_leak", kinds) == {"leak"}
    assert {"scale", "repli", "ready"} <= citations.signs_of("scaled_to_zero", SPACE.causes)
    assert citations.signs_of("unheard_of", SPACE.causes) == set()


# -- format ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("oks", "before", "after"),
    [((True,), 0, 0), ((False, True), 1, 0), ((False, False), 1, 1), ((True, False), 0, 0),
     ((), 0, 0)],
)  # fmt: skip
def test_malformed_answers_are_told_before_and_after_repair(
    oks: tuple[bool, ...], before: float, after: float
) -> None:
    steps = [step(i, "submit", effect="submit", ok=ok) for i, ok in enumerate(oks, start=1)]
    scores = grade("mitigation", None, truth(PLAIN), healthy(), steps).scores
    assert (scores["malformed_answer"], scores["malformed_after_repair"]) == (before, after)
