"""The Brier score of a whole distribution: honest beliefs score best, tricks gain nothing."""

from __future__ import annotations

import pytest
from grading_cases import GEO, RATE, SPACE, truth
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.grading import grade
from aiopslab.grading.distribution import of_pairs, of_places
from aiopslab.models.answer import Candidate, Diagnosis, Hypothesis, Localization
from aiopslab.models.evidence import Evidence
from aiopslab.models.truth import RootCause, Truth

PLAIN = RATE.model_copy(update={"accepted": [], "aliases": []})
NAMES = SPACE.components
N = len(NAMES) + 1
"""Classes: components, and that nothing is wrong."""


def located(*pairs: tuple[str, float], key: Truth | None = None) -> float:
    found = [Candidate(component=c, probability=p) for c, p in pairs]
    score = of_places(found, key or truth(PLAIN, space=SPACE))
    assert score is not None
    return score


def diagnosed(*triples: tuple[str, str, float], key: Truth | None = None) -> float:
    found = [Hypothesis(component=c, cause=k, probability=p) for c, k, p in triples]
    score = of_pairs(found, key or truth(PLAIN, space=SPACE), "none")
    assert score is not None
    return score


def test_what_is_left_over_is_spread_over_what_was_not_named() -> None:
    rest = 0.1**2 / (N - 2)
    assert located(("rate", 0.7), ("geo", 0.2)) == pytest.approx(0.3**2 + 0.2**2 + rest)
    each = 0.7 / (N - 1)
    missed = 0.3**2 + (1 - each) ** 2 + (N - 2) * each**2
    assert located(("geo", 0.3)) == pytest.approx(missed)


def test_only_certainty_that_is_right_has_no_error() -> None:
    assert located(("rate", 1.0)) == 0.0
    assert diagnosed(("rate", "memory_leak", 1.0)) == 0.0
    assert located(key=truth(space=SPACE)) == 0.0
    assert diagnosed(("rate", "none", 1.0), key=truth(space=SPACE)) == 0.0


def test_saying_that_nothing_is_wrong_where_something_is_is_certain_and_wrong() -> None:
    assert located() == 2.0
    assert diagnosed() == 2.0
    assert diagnosed(("geo", "none", 1.0)) == 2.0


@pytest.mark.parametrize("junk", ["geo", "nosuch", ""])
def test_naming_nothing_that_is_believed_tells_nothing(junk: str) -> None:
    for key in (truth(PLAIN, space=SPACE), truth(space=SPACE)):
        assert located((junk, 0.0), key=key) > 0.8
        assert diagnosed((junk, "nosuch", 0.0), key=key) > 0.9


@given(st.sampled_from(["geo", "rate"]), st.lists(st.floats(0.0, 0.2), min_size=2, max_size=5))
def test_one_component_under_several_names_is_one(name: str, parts: list[float]) -> None:
    spelt = [name, f"svc/{name}", name.upper(), f"hotel/{name}", f"{name}-0"]
    split = located(*zip(spelt, parts, strict=False))
    assert split == pytest.approx(located((name, sum(parts))))
    pairs = diagnosed(*((n, "scaled-to-zero", p) for n, p in zip(spelt, parts, strict=False)))
    assert pairs == pytest.approx(diagnosed((name, "scaled_to_zero", sum(parts))))


@given(
    st.lists(st.floats(0.01, 1.0), min_size=N, max_size=N),
    st.lists(st.tuples(st.integers(0, N - 2), st.floats(0.0, 0.2)), min_size=1, max_size=5),
)
def test_no_answer_is_expected_to_beat_the_belief_itself(
    weights: list[float], other: list[tuple[int, float]]
) -> None:
    belief = [w / sum(weights) for w in weights]

    def expected(*pairs: tuple[str, float]) -> float:
        causes = [PLAIN.model_copy(update={"component": name}) for name in NAMES]
        keys = [*(truth(c, space=SPACE) for c in causes), truth(space=SPACE)]
        return sum(b * located(*pairs, key=k) for b, k in zip(belief, keys, strict=True))

    honest = expected(*zip(NAMES, belief[:-1], strict=True))
    assert honest <= expected(*((NAMES[i], p) for i, p in other)) + 1e-9
    assert honest <= expected() + 1e-9


def test_an_accepted_equal_is_the_root_cause_and_no_second_one() -> None:
    assert located(("rate-postgres", 1.0), key=truth(RATE, space=SPACE)) == 0.0
    both = located(
        ("rate", 0.5), ("hotel-rate", 0.3), ("node-a", 0.2), key=truth(RATE, space=SPACE)
    )
    assert both == pytest.approx(0.0)


def test_several_root_causes_have_equal_shares() -> None:
    key = truth(PLAIN, GEO, space=SPACE)
    assert located(("rate", 0.5), ("geo", 0.5), key=key) == 0.0
    assert located(("rate", 1.0), key=key) == pytest.approx(0.5)
    same = truth(PLAIN, PLAIN.model_copy(update={"cause": "errors_in_release"}), space=SPACE)
    assert located(("rate", 1.0), key=same) == 0.0


@given(
    st.lists(st.tuples(st.sampled_from([*NAMES, "x", "svc/x", ""]), st.floats(0, 0.2)), max_size=5),
    st.lists(st.sampled_from([PLAIN, RATE, GEO]), max_size=3),
)
def test_the_score_is_from_0_to_2(pairs: list[tuple[str, float]], causes: list[RootCause]) -> None:
    key = truth(*causes, space=SPACE)
    assert 0.0 <= located(*pairs, key=key) <= 2.0 + 1e-9
    kinds = ["memory_leak", "scaled_to_zero", "nosuch", "none", "too_many_connections"]
    triples = [(c, kinds[i], p) for i, (c, p) in enumerate(pairs)]
    assert 0.0 <= diagnosed(*triples, key=key) <= 2.0 + 1e-9


def test_it_is_unknown_without_a_search_space() -> None:
    place = Localization(candidates=[Candidate(component="rate", probability=1.0)])
    pair = Diagnosis(hypotheses=[])
    for answer in (place, pair):
        result = grade(answer.task, answer, truth(PLAIN), Evidence(), [])
        assert result.scores["brier_distribution"] is None
