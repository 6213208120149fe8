"""Why two grades of one trial differ."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiopslab.grading.assertions import check
from aiopslab.grading.changes import changed_checks, changed_scores
from aiopslab.models.grade import Check, Grade


def grade(*checks: Check, version: str = "1", **scores: float | None) -> Grade:
    return Grade(
        scoring_version=version,
        task="localization",
        passed=all(c.passed for c in checks if c.gating),
        checks=list(checks),
        scores=scores,
    )


def test_words_and_versions_alone_are_no_change() -> None:
    old = grade(check("answered", True, "yes", "answer.json"), mrr=0.5)
    new = grade(check("answered", True, "an answer", "answer.json#x"), version="2", mrr=0.5)
    assert changed_checks(old, new) == []
    assert changed_scores(old, new) == []


def test_a_check_tells_its_old_and_new_verdict_with_the_new_reason() -> None:
    old = grade(check("first", True, "rate is right", "answer.json"))
    new = grade(check("first", False, "rate is wrong", "answer.json"))
    (change,) = changed_checks(old, new)
    assert (change.id, change.before, change.after) == ("first", True, False)
    assert change.reason == "rate is wrong"


def test_checks_that_came_and_went_are_told() -> None:
    old = grade(check("gone", False, "was asked", "answer.json"))
    new = grade(check("new", False, "is asked", "answer.json"))
    came, went = changed_checks(old, new)
    assert (came.id, came.before, came.after, came.reason) == ("new", None, False, "is asked")
    assert (went.id, went.before, went.after, went.reason) == ("gone", False, None, "was asked")


def test_a_check_that_begins_to_gate_is_a_change() -> None:
    old = grade(check("left_alone", False, "wrote", "steps.jsonl", gating=False))
    new = grade(check("left_alone", False, "wrote", "steps.jsonl"))
    (change,) = changed_checks(old, new)
    assert (change.gated, change.gates) == (False, True)


def test_of_checks_with_one_id_the_right_one_is_named() -> None:
    one = check("invariant:ready", True, "web", "evidence.json#invariants[0]")
    two = check("invariant:ready", True, "api", "evidence.json#invariants[1]")
    lost = two.model_copy(update={"passed": False})
    (change,) = changed_checks(grade(one, two), grade(one, lost))
    assert (change.reason, change.after) == ("api", False)


def test_a_score_that_is_not_there_is_unknown() -> None:
    (gone, moved) = changed_scores(grade(brier=0.1, mrr=1.0), grade(brier=None, mrr=0.5))
    assert (gone.score, gone.before, gone.after) == ("brier", 0.1, None)
    assert (moved.score, moved.before, moved.after) == ("mrr", 1.0, 0.5)


checks = st.lists(
    st.builds(
        check, st.sampled_from("abc"), st.booleans(), st.just("r"), st.just("e"),
        gating=st.booleans(),
    ),
    max_size=5,
)  # fmt: skip


@given(checks, checks)
def test_a_change_is_told_from_both_ends(left: list[Check], right: list[Check]) -> None:
    old, new = grade(*left), grade(*right)
    assert changed_checks(old, old) == []
    there, back = changed_checks(old, new), changed_checks(new, old)
    assert sorted((c.id, str(c.before), str(c.after), str(c.gated)) for c in there) == sorted(
        (c.id, str(c.after), str(c.before), str(c.gates)) for c in back
    )
    if old.passed != new.passed:
        assert there
