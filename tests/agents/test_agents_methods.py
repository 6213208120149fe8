"""Baro, spectrum and firm as agents: legal answers to every task, the culprit first, no harm."""

from __future__ import annotations

import asyncio
import importlib
import json
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from method_fakes import MadeTrial, request, span, told

from aiopslab.agents import load
from aiopslab.errors import UsageError
from aiopslab.models.observation import Observation
from aiopslab.models.task import TASKS, Task
from aiopslab.tools.schema import validate
from aiopslab.tools.submit import _ANSWERS as ANSWERS
from aiopslab.tools.vocabulary import causes

NAMES = ("baro", "spectrum", "firm")
STEADY = [1.0 + 0.01 * (i % 3) for i in range(40)]
HEALTHY = [request(n) for n in range(200)]
SLOW = [request(n, slow_s=0.3 if n % 2 else 0.0) for n in range(100)]
REFUSED = [request(n, failed=bool(n % 2)) for n in range(100)]


def module(agent: str, name: str) -> ModuleType:
    """Import a module of an agent's folder the way its loader does."""
    load(agent).build()
    return importlib.import_module(f"_aiopslab_agent_{agent}.{name}")


def values(query: str) -> dict[str, list[float]]:
    """Statements of the store got slow; everything else is steady."""
    slow = "db_client_operation_duration_seconds_sum" in query
    return {
        "web": STEADY,
        "cart": STEADY,
        "cart-db": [v + 20.0 if slow and i > 30 else v for i, v in enumerate(STEADY)],
    }


def trial(task: Task, *, broken: bool = True) -> MadeTrial:
    return MadeTrial(
        task,
        healthy=HEALTHY,
        recent=SLOW if broken else HEALTHY[:100],
        values=values if broken else lambda query: {"web": STEADY, "cart": STEADY},
    )


def play(name: str, made: MadeTrial, **arguments: str) -> dict[str, Any]:
    asyncio.run(load(name).build(arguments).run(made))
    validate(ANSWERS[made.brief.task], made.submitted)
    return made.submitted


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NAMES)
def test_it_answers_every_task_once_and_leaves_room(name: str, task: Task) -> None:
    made = trial(task)
    said = play(name, made)
    assert [tool for tool, _ in made.calls].count("submit") == 1
    given = said.get("candidates") or said.get("hypotheses") or []
    assert sum(one["probability"] for one in given) < 0.95
    assert all(one["cause"] in causes() for one in said.get("hypotheses", []))
    if task == "detection":
        assert said["anomaly"] is True
    elif task != "mitigation":
        assert given[0]["component"] == "cart-db"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NAMES)
def test_where_nothing_deviates_it_says_so_and_changes_nothing(name: str, task: Task) -> None:
    made = trial(task, broken=False)
    said = play(name, made)
    assert said.get("anomaly", False) is False
    assert not said.get("candidates")
    assert not said.get("hypotheses")
    assert not said.get("escalate", False)
    writes = {t.name for t in made.tools if t.effect == "write"}
    assert not (writes | {"k8s_rollout"}) & {tool for tool, _ in made.calls}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NAMES)
def test_without_telemetry_it_answers_all_the_same(name: str, task: Task) -> None:
    assert play(name, MadeTrial(task)).get("anomaly", False) is False


@pytest.mark.parametrize("name", ["spectrum", "firm"])
def test_a_component_that_refuses_is_placed(name: str) -> None:
    made = MadeTrial("localization", healthy=HEALTHY, recent=REFUSED)
    assert play(name, made)["candidates"][0]["component"] == "cart"


@pytest.mark.parametrize("name", NAMES)
def test_the_same_telemetry_is_answered_alike(name: str) -> None:
    assert play(name, trial("diagnosis")) == play(name, trial("diagnosis"))


# -- baro ------------------------------------------------------------------------------------------


def test_causes_of_the_table_are_in_the_vocabulary() -> None:
    rows = module("baro", "table").metrics()
    assert {row.cause for row in rows} <= set(causes())
    assert any(row.watched for row in rows)
    short = module("firm", "resources").table()
    assert {r.cause for r in short} | {r.grown for r in short if r.grown} <= set(causes())
    assert set(module("spectrum", "agent").CAUSES.values()) <= set(causes())


def test_the_cut_is_where_the_watched_series_leapt() -> None:
    scorer = module("baro", "scorer")
    leapt = [0.0] * 25 + [9.0] * 10
    quiet = scorer.Series("a", "cpu", [1.0] * 35, 0.1, watched=True)
    loud = scorer.Series("b", "errors", leapt, 0.1, watched=True)
    place, sure = scorer.cut([quiet, loud])
    assert abs(place - 25) <= 1
    assert sure > 0.5
    assert [s.series.component for s in scorer.ranked([quiet, loud], place)] == ["b"]


def test_a_leap_of_unwatched_series_does_not_move_the_cut() -> None:
    scorer = module("baro", "scorer")
    leapt = [0.0] * 15 + [9.0] * 20
    assert scorer.cut([scorer.Series("b", "cpu", leapt, 0.1, watched=False)])[1] == 0.0


# -- spectrum --------------------------------------------------------------------------------------

COUNTS = st.integers(0, 60)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_suspicion_lies_between_0_and_1_and_needs_a_failing_request(
    ef: int, ep: int, nf: int, ok: int
) -> None:
    for formula in module("spectrum", "spectra").FORMULAS.values():
        assert 0.0 <= formula(ef, ep, nf, ok) <= 1.0
        assert (formula(ef, ep, nf, ok) > 0.0) == (ef > 0)


@given(st.integers(1, 60), COUNTS, COUNTS, COUNTS)
def test_what_passing_requests_touch_as_well_is_less_suspicious(
    ef: int, ep: int, nf: int, ok: int
) -> None:
    for formula in module("spectrum", "spectra").FORMULAS.values():
        assert formula(ef, ep + 1, nf, ok) <= formula(ef, ep, nf, ok) + 1e-12


def test_known_values_of_the_formulas() -> None:
    formulas = module("spectrum", "spectra").FORMULAS
    assert formulas["ochiai"](3, 1, 1, 5) == pytest.approx(3 / 4)
    assert formulas["tarantula"](3, 1, 1, 5) == pytest.approx(0.75 / (0.75 + 1 / 6))
    assert formulas["dstar"](3, 1, 1, 5) == pytest.approx(4.5 / 5.5)


@pytest.mark.parametrize("formula", ["ochiai", "tarantula", "dstar"])
def test_every_formula_finds_the_slow_store(formula: str) -> None:
    said = play("spectrum", trial("localization"), formula=formula)
    assert said["candidates"][0]["component"] == "cart-db"


def test_an_unknown_formula_is_refused() -> None:
    with pytest.raises(UsageError, match="guesswork"):
        load("spectrum").build({"formula": "guesswork"})


# -- firm in mitigation ----------------------------------------------------------------------------

CART = {
    "metadata": {"name": "cart"},
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "cart",
                        "resources": {
                            "limits": {"cpu": "250m", "memory": "64Mi"},
                            "requests": {"cpu": "100m"},
                        },
                    }
                ]
            }
        },
    },
}


class Throttled(MadeTrial):
    """Cart is slow for want of CPU, and as usual once its limit was raised, or never."""

    def __init__(self, *, heals: bool) -> None:
        slow = [
            (*t[:2], span(t[2].id, t[2].parent, service="cart", start=t[2].start, end=t[2].end))
            for t in (request(n, slow_s=0.3 if n % 2 else 0.0) for n in range(100))
        ]
        super().__init__(
            "mitigation", healthy=HEALTHY, recent=slow, values=self.starved,
            k8s_get=(True, "", [CART]),
        )  # fmt: skip
        self._heals = heals

    @staticmethod
    def starved(query: str) -> dict[str, list[float]]:
        throttled = "throttled" in query
        return {"cart": [0.1] * 30 + [0.95] * 10 if throttled else [0.1] * 40}

    async def call(self, name: str, /, **arguments: Any) -> Observation:
        seen = await super().call(name, **arguments)
        raised = any(tool == "k8s_set_resources" for tool, _ in self.calls)
        if name == "telemetry_sql" and raised and self._heals:
            return seen.model_copy(update={"data": [told(t) for t in HEALTHY[:80]]})
        return seen

    @property
    def limits(self) -> list[str]:
        return [a["cpu_limit"] for tool, a in self.calls if tool == "k8s_set_resources"]


def test_the_contended_limit_is_doubled_and_kept_where_it_helps() -> None:
    made = Throttled(heals=True)
    said = play("firm", made)
    assert made.limits == ["500m"]
    assert said["confidence"] > 0.5


def test_a_change_that_does_not_help_is_taken_back() -> None:
    made = Throttled(heals=False)
    said = play("firm", made)
    assert made.limits[:2] == ["500m", "250m"]
    assert said["confidence"] < 0.2
    assert "taken back" in said["summary"]


def test_it_keeps_what_it_saw_of_every_instance() -> None:
    made = trial("localization")
    play("firm", made)
    kept = json.loads(made.kept["instances.json"])
    assert {row["component"] for row in kept} == {"web", "cart", "cart-db"}


def test_a_replica_must_not_cost_more_than_a_tenth_of_all_requests() -> None:
    rules = module("firm", "reprovision")
    short = module("firm", "resources").Shortage(None, "cart", "x")
    others = [{"metadata": {"name": f"s{n}"}, "spec": CART["spec"]} for n in range(9)]
    assert rules.step_for("cart", "Deployment", short, [CART]) is None
    step = rules.step_for("cart", "Deployment", short, [CART, *others])
    assert step.do == ("k8s_scale", {"name": "cart", "replicas": 3})
    assert step.undo == ("k8s_scale", {"name": "cart", "replicas": 2})
    assert rules.step_for("cards", "External", short, [CART, *others]) is None


def test_a_grown_use_is_to_blame_rather_than_its_limit() -> None:
    resources = module("firm", "resources")
    grid = importlib.import_module("aiopslab.agents.sampling").Grid
    grids = {r.resource: grid([], {}, "") for r in resources.table()}
    grids["throttling"] = grid([], {"cart": [0.1] * 20 + [0.9] * 10}, "")
    use = next(r.use for r in resources.table() if r.resource == "throttling")
    for now, cause in ((0.1, "cpu_limit_too_low"), (0.4, "cpu_regression_in_release")):
        uses = {r.use: grid([], {}, "") for r in resources.table() if r.use}
        uses[use] = grid([], {"cart": [0.1] * 20 + [now] * 10}, "")
        have = resources.Levels(grids, uses, {})
        assert have.shortage("cart", "Deployment", "cart-1").cause == cause


def test_a_crowded_node_is_blamed_in_its_pods_place() -> None:
    resources = module("firm", "resources")
    grid = importlib.import_module("aiopslab.agents.sampling").Grid
    grids = {r.resource: grid([], {}, "") for r in resources.table()}
    grids["node cpu"] = grid([], {"node-a": [0.2] * 20 + [0.99] * 10}, "")
    uses = {r.use: grid([], {}, "") for r in resources.table() if r.use}
    have = resources.Levels(grids, uses, {"cart-1": "node-a"})
    found = have.shortage("cart", "Deployment", "cart-1")
    assert (found.place, found.cause) == ("node-a", "noisy_neighbour")
    assert have.shortage("cart", "Deployment", "cart-2").place == "cart"
