"""Firm's parts: critical paths, features of instances, the classifier and its stored model."""

from __future__ import annotations

import importlib
import random
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from method_fakes import request, span
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LogisticRegression

from aiopslab.agents import load
from aiopslab.agents.sampling import Trace
from aiopslab.errors import PreflightError
from aiopslab.problems import catalogue


def module(name: str) -> ModuleType:
    load("firm").build()
    return importlib.import_module(f"_aiopslab_agent_firm.{name}")


def path(*spans: Any) -> list[tuple[str, float]]:
    """Ids of the hops on the critical path, with their own seconds."""
    found = module("paths").critical_path(tuple(spans))
    return [(hop.span.id, round(hop.own_s, 6)) for hop in found.hops]


ROOT = span("r", start=0.0, end=10.0)


def test_children_one_after_another_are_all_on_the_path() -> None:
    first, second = span("a", "r", start=1.0, end=4.0), span("b", "r", start=5.0, end=9.0)
    assert path(ROOT, second, first) == [("r", 3.0), ("a", 3.0), ("b", 4.0)]


def test_of_children_at_the_same_time_only_the_last_to_return_counts() -> None:
    short, long = span("a", "r", start=1.0, end=4.0), span("b", "r", start=1.0, end=9.0)
    assert path(ROOT, short, long) == [("r", 2.0), ("b", 8.0)]


def test_a_child_in_the_background_was_not_waited_for() -> None:
    waited, after = span("a", "r", start=1.0, end=4.0), span("b", "r", start=5.0, end=12.0)
    assert path(ROOT, waited, after) == [("r", 7.0), ("a", 3.0)]


def test_every_try_of_a_retried_call_is_on_the_path() -> None:
    tries = [
        span(f"t{n}", "r", kind="client", callee="cart", failed=n < 2, start=3.0 * n + 0.5,
             end=3.0 * n + 3.0)
        for n in range(3)
    ]  # fmt: skip
    assert path(ROOT, *tries) == [("r", 2.5), ("t0", 2.5), ("t1", 2.5), ("t2", 2.5)]


def test_a_child_whose_clock_is_behind_is_moved_into_its_parent() -> None:
    early = span("a", "r", start=-2.0, end=1.0)
    assert path(ROOT, early) == [("r", 7.0), ("a", 3.0)]
    longer = span("a", "r", start=-9.0, end=4.0)
    assert path(ROOT, longer) == [("r", 0.0), ("a", 10.0)]


def test_what_hangs_on_a_missing_span_hangs_on_the_root() -> None:
    orphan, grandchild = span("b", "lost", start=2.0, end=7.0), span("c", "b", start=3.0, end=6.0)
    assert path(ROOT, orphan, grandchild) == [("r", 5.0), ("b", 2.0), ("c", 3.0)]
    elsewhere = span("b", "lost", start=50.0, end=51.0)
    assert path(ROOT, elsewhere) == [("r", 10.0)]


def test_without_a_root_the_longest_span_is_one() -> None:
    assert path(span("a", "lost", end=1.0), span("b", "lost", end=3.0))[0][0] == "b"
    assert module("paths").critical_path(()) is None


def test_a_path_is_known_by_its_services() -> None:
    found = module("paths").critical_path(request(1))
    assert found.identity == ("web", "cart", "cart-db")


@st.composite
def nested(draw: st.DrawFn) -> Trace:
    """A tree of spans, each within its parent."""
    spans = [span("0", start=0.0, end=float(draw(st.integers(1, 1000))))]
    for n in range(draw(st.integers(0, 12))):
        parent = spans[draw(st.integers(0, len(spans) - 1))]
        low, high = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
        spans.append(
            span(
                str(n + 1), parent.id, start=parent.start + low * parent.duration,
                end=parent.start + high * parent.duration,
            )
        )  # fmt: skip
    return tuple(spans)


@given(nested())
def test_own_times_of_a_path_sum_to_the_duration_of_the_root(trace: Trace) -> None:
    found = module("paths").critical_path(trace)
    assert found.seconds == pytest.approx(trace[0].duration, abs=1e-3)
    assert all(hop.own_s >= 0.0 for hop in found.hops)


# -- features --------------------------------------------------------------------------------------


def features_of(recent: list[Trace], healthy: list[Trace]) -> dict[str, Any]:
    ways = module("paths")
    lists = [[ways.critical_path(t) for t in traces] for traces in (recent, healthy)]
    known = ["web", "cart", "cart-db"]
    return {i.component: i for i in module("features").instances(*lists, known)}


def test_the_instance_that_makes_requests_slow_stands_out_in_every_feature() -> None:
    drawn = random.Random(5)
    recent = [request(n, slow_s=drawn.choice([0.0, 0.0, 0.4])) for n in range(90)]
    found = features_of(recent, [request(n) for n in range(90)])
    store, others = found.pop("cart-db"), found.values()
    assert store.importance > 0.9
    assert store.congestion > 10.0
    assert all(store.growth > 3.0 * one.growth for one in others)


def test_an_error_is_charged_to_whom_it_began_at() -> None:
    recent = [request(n, failed=True) for n in range(20)]
    found = features_of(recent, [request(n) for n in range(20)])
    assert found["cart"].failing == 1.0
    assert found["web"].failing == 0.0


def test_instances_on_few_requests_say_nothing() -> None:
    assert features_of([request(1)], [request(2)]) == {}


@given(st.lists(st.tuples(st.floats(0, 1e3), st.floats(0, 1e3)), min_size=3, max_size=30))
def test_relative_importance_is_a_correlation(pairs: list[tuple[float, float]]) -> None:
    a, b = zip(*pairs, strict=True)
    pearson = module("features").pearson
    assert -1.0 <= pearson(a, b) <= 1.0
    assert pearson(a, b) == pytest.approx(pearson(b, a))


def test_relative_importance_agrees_with_numpy() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 40))
    assert module("features").pearson(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])


# -- the classifier --------------------------------------------------------------------------------


def lesson(seed: int) -> tuple[list[list[float]], list[bool]]:
    """Nine innocents around the origin and one culprit far away."""
    drawn = np.random.default_rng(seed)
    innocent = drawn.normal(0.0, 0.3, size=(9, 4))
    culprit = drawn.normal(2.0, 0.3, size=(1, 4))
    return [*innocent.tolist(), *culprit.tolist()], [False] * 9 + [True]


def taught(*seeds: int) -> Any:
    learner = module("classifier").Learner([v for s in seeds for v in lesson(s)[0]])
    for _ in range(5):
        for seed in seeds:
            learner.learn(*lesson(seed))
    return learner


def test_what_was_learnt_from_some_incidents_finds_the_culprit_of_others() -> None:
    model = taught(1, 2, 3, 4).stored(["x"], (-1.0, 0.0))
    for seed in (11, 12, 13):
        vectors, _ = lesson(seed)
        decisions = model.decision(vectors)
        assert decisions.index(max(decisions)) == 9
        assert max(decisions) > 0.0 > sorted(decisions)[-2]


def test_a_stored_model_decides_as_scikit_learn_does() -> None:
    learner = taught(1, 2)
    model = type(learner.stored([], (-1.0, 0.0))).model_validate_json(
        learner.stored(["x"], (-1.0, 0.0)).model_dump_json()
    )
    vectors, _ = lesson(9)
    theirs = learner._svm.decision_function(
        learner._map.transform(learner._scaled(np.array(vectors)))
    )
    assert model.decision(vectors) == pytest.approx(list(theirs), abs=1e-3)
    assert isinstance(learner._map, RBFSampler)


def test_learning_twice_gives_the_same_model() -> None:
    first, second = (taught(1, 2, 3).stored(["x"], (-1.0, 0.0)) for _ in range(2))
    assert first == second


def test_the_scaling_of_margins_agrees_with_a_logistic_regression() -> None:
    drawn = np.random.default_rng(2)
    decisions = drawn.normal(size=400)
    guilty = drawn.random(400) < 1.0 / (1.0 + np.exp(-(2.0 * decisions - 1.0)))
    a, b = module("classifier").fit_platt(decisions, guilty)
    theirs = LogisticRegression(C=1e9).fit(decisions[:, None], guilty)
    assert (-a, -b) == pytest.approx((theirs.coef_[0][0], theirs.intercept_[0]), rel=0.05)


def test_without_a_model_importance_and_congestion_decide() -> None:
    classifier, instance = module("classifier"), module("features").Instance
    loud = instance("a-1", "a", 0.9, 5.0, 1.0, 0.0, 0.1)
    steady = instance("b-1", "b", 0.9, 1.1, 1.0, 0.0, 0.1)
    apart = instance("c-1", "c", 0.1, 5.0, 1.0, 0.0, 0.1)
    found = classifier.suspicions([loud, steady, apart], None)
    assert found["a"] > 0.5 > max(found["b"], found["c"])


def test_learning_without_scikit_learn_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(PreflightError, match="scikit-learn"):
        module("classifier").Learner([[0.0, 1.0]])


def test_the_stored_model_has_learnt_from_no_incident_that_is_measured() -> None:
    model = module("classifier").load(module("agent").MODEL)
    allowed = set(module("train").training_incidents())
    assert model is not None
    assert set(model.learnt_from) <= allowed
    core = next(s for s in catalogue.suites().values() if s.name == "core")
    assert not allowed & set(catalogue.suite_incidents(core))
