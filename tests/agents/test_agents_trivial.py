"""Trivial agents: one idea each, a legal answer to every task, and never more than the idea."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from agents_fakes import Answer, FakeTrial
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.agents import loading
from aiopslab.agents.trivial import TRIVIAL, NSigma, RollbackLatestChange
from aiopslab.agents.trivial.n_sigma import z_score
from aiopslab.agents.trivial.prior import FREQUENCIES, Frequencies
from aiopslab.content import load_model
from aiopslab.models.task import TASKS, Task
from aiopslab.tools import TOOLS
from aiopslab.tools.schema import validate
from aiopslab.tools.submit import _ANSWERS as ANSWERS
from aiopslab.tools.vocabulary import causes

WORKLOADS = [
    {"component": "cart", "kind": "Deployment"},
    {"component": "cart-db", "kind": "StatefulSet"},
    {"component": "node-a", "kind": "Node"},
]
STEADY = [[float(t), 1.0 + 0.01 * (t % 3)] for t in range(24)]
LEAPT = [[float(t), 1.0 + 0.01 * (t % 3) + (9.0 if t > 18 else 0.0)] for t in range(24)]


def change(kind: str, summary: str, diff: str = "", component: str = "cart") -> dict[str, Any]:
    return {"kind": kind, "summary": summary, "diff": diff, "component": component}


ROLLED = change("rollout", "rollout cart: shop-cart:1 -> shop-cart:2")


def seen(**answers: Any) -> dict[str, Answer | list[Answer]]:
    given: dict[str, Any] = {
        "services": WORKLOADS,
        "topology": [{"caller": "web", "callee": "cart"}],
        "cause_kinds": [{"id": kind} for kind in causes()],
        "changes": [ROLLED],
        "alerts": [
            {
                "name": "HighLatency", "state": "firing", "severity": "warning", "active_at": 5.0,
                "labels": {"pod": "cart-7d9f-x2"},
            }
        ],
        "metrics_range": [
            {"labels": {"service": "cart"}, "points": LEAPT},
            {"labels": {"pod": "cart-db-0"}, "points": STEADY},
        ],
        **answers,
    }  # fmt: skip
    return {name: (True, "", data) for name, data in given.items()}


def play(name: str, task: Task, **answers: Any) -> FakeTrial:
    trial = FakeTrial(task, seen(**answers))
    asyncio.run(TRIVIAL[name]().run(trial))
    return trial


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", sorted(TRIVIAL))
def test_every_answer_is_legal_and_every_call_is_a_tools(name: str, task: Task) -> None:
    trial = play(name, task)
    assert trial.calls[-1][0] == "submit"
    validate(ANSWERS[task], trial.submitted)
    effects = []
    for tool, arguments in trial.calls[:-1]:
        read = TOOLS[tool].args.read(arguments)
        effects.append(TOOLS[tool].effect_for(read))
    assert task == "mitigation" or "write" not in effects


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", sorted(TRIVIAL))
def test_nothing_seen_is_no_reason_to_fail(name: str, task: Task) -> None:
    nothing = {"alerts": [], "changes": [], "metrics_range": [], "topology": []}
    trial = play(name, task, **nothing)
    validate(ANSWERS[task], trial.submitted)
    assert [tool for tool, _ in trial.calls].count("submit") == 1


@pytest.mark.parametrize("name", sorted(TRIVIAL))
def test_it_is_found_by_name(name: str) -> None:
    loader = loading.load(name)
    assert loader.spec.summary
    assert type(loader.build()) is TRIVIAL[name]


def test_restart_everything_restarts_stores_before_services() -> None:
    trial = play("restart-everything", "mitigation")
    restarted = [a["name"] for tool, a in trial.calls if tool == "k8s_rollout"]
    assert restarted == ["cart-db", "cart"]


def test_a_rollout_is_undone() -> None:
    trial = play("rollback-latest-change", "mitigation")
    undo = {"action": "undo", "kind": "Deployment", "name": "cart"}
    assert ("k8s_rollout", undo) in trial.calls


def test_a_configuration_value_is_set_back_and_its_reader_restarted() -> None:
    diff = 'data.POOL: "20" -> "1"\ndata.NEW: (absent) -> "x"'
    edited = change("config", "ConfigMap cart-config updated", diff)
    trial = play("rollback-latest-change", "mitigation", changes=[edited])
    patched = next(a for tool, a in trial.calls if tool == "k8s_patch")
    assert patched["name"] == "cart-config"
    assert json.loads(patched["patch"]) == {"data": {"POOL": "20", "NEW": None}}
    assert [a["action"] for tool, a in trial.calls if tool == "k8s_rollout"] == ["restart"]


def test_replicas_are_scaled_back() -> None:
    scaled = change("scale", "scale cart: 3 -> 0")
    trial = play("rollback-latest-change", "mitigation", changes=[scaled])
    back = {"name": "cart", "replicas": 3, "kind": "Deployment"}
    assert ("k8s_scale", back) in trial.calls


def test_no_change_is_no_anomaly_for_who_believes_in_changes() -> None:
    trial = FakeTrial("detection", seen(changes=[]))
    asyncio.run(RollbackLatestChange().run(trial))
    assert trial.submitted["anomaly"] is False


def test_n_sigma_names_the_series_that_leapt() -> None:
    trial = FakeTrial("localization", seen())
    asyncio.run(NSigma().run(trial))
    assert [c["component"] for c in trial.submitted["candidates"]] == ["cart"]


@given(st.lists(st.floats(0, 1e6), max_size=60), st.floats(0.1, 100))
def test_a_z_score_does_not_depend_on_the_unit(values: list[float], unit: float) -> None:
    score, scaled = z_score(values), z_score([v * unit for v in values])
    assert score >= 0.0
    if any(v > 1e-3 for v in values[: len(values) // 2]):
        assert scaled == pytest.approx(score, rel=1e-6, abs=1e-6)


def test_an_alert_that_names_a_pod_means_its_component() -> None:
    trial = play("alert-name", "diagnosis")
    first = trial.submitted["hypotheses"][0]
    assert (first["component"], first["cause"]) == ("cart", "cpu_regression_in_release")


def test_the_same_brief_is_guessed_alike() -> None:
    assert play("random", "diagnosis").submitted == play("random", "diagnosis").submitted


def test_the_prior_believes_the_most_frequent_cause_of_the_most_called_component() -> None:
    first = play("prior", "diagnosis").submitted["hypotheses"][0]
    known = load_model(FREQUENCIES, Frequencies).causes
    assert first["component"] == "cart"
    assert known[first["cause"]] == max(known.values())
