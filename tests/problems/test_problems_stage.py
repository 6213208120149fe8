"""Staging: the baseline must be healthy, the symptom must be seen, the brief must not speak."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from problems_fakes import EPOCH, MemoryEnvironment, deployment, make_app, make_spec
from pydantic import ValidationError

from aiopslab.errors import InfraError
from aiopslab.models.incident import Distractor, SliCondition, Symptom, SymptomClause
from aiopslab.models.observation import Budget
from aiopslab.models.task import TASKS
from aiopslab.problems import catalogue, stage
from aiopslab.problems.brief import brief
from aiopslab.problems.distractors import JobByHand
from aiopslab.problems.draw import WARM_S, DrawnIncident, draw
from aiopslab.services.catalogue import load_app
from aiopslab.services.manifests import job_object

APP = make_app()


def run(coro: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coro)


@pytest.fixture
def env() -> Any:
    env = MemoryEnvironment()
    env.kube.put(*(deployment(n) for n in APP.services))
    env.kube.put({"kind": "ConfigMap", "metadata": {"name": "web-config"}})
    return env


def drawn(**more: Any) -> DrawnIncident:
    return draw(make_spec(**more), APP, 5)


def test_distractors_happen_before_the_start_at_their_time(env: Any) -> None:
    incident = drawn(
        baseline="10m",
        distractors=[{"kind": "change/innocent-config", "target": "web", "before": "2m"}],
    )
    run(stage.lead_in(env, incident))
    assert env.now() == EPOCH + 600 - WARM_S
    assert env.kube.patched == [
        (env.now() - 120, "ConfigMap", "web-config"),
        (env.now() - 120, "Deployment", "web"),
    ]


@pytest.mark.parametrize("twin", [False, True])
def test_a_later_distractor_happens_after_the_fault_and_in_the_twin(env: Any, twin: bool) -> None:
    late = {"kind": "change/staged-config", "target": "web", "after": "30s"}
    incident = drawn(baseline="10m", distractors=[late])
    assert stage.quiet_s(incident) == 600 - WARM_S
    run(stage.lead_in(env, incident))
    assert env.kube.patched == []
    start = env.now()
    run(stage.strike(env, incident, twin=twin))
    assert env.kube.patched[-1] == (start + 30, "ConfigMap", "web-config")
    assert len(env.kube.patched) == (1 if twin else 2)


def test_a_distractor_has_one_time() -> None:
    with pytest.raises(ValidationError, match="either 'before' or 'after'"):
        Distractor(kind="load/spike", target="web", before=60, after=60)


def test_a_job_started_by_hand_is_its_cron_job_with_other_rounds(env: Any) -> None:
    app = load_app("shop")
    env.kube.put(job_object(app, "reconcile-orders"))
    run(JobByHand(app, "reconcile-orders", {"rounds": 70}).happen(env))
    made = run(env.kube.get("Job", "reconcile-orders-manual"))
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["job", "reconcile-orders"]
    assert {"name": "JOB_ROUNDS", "value": "70"} in container["env"]
    (kept,) = env.kube.objects["CronJob", "reconcile-orders"]["spec"]["jobTemplate"]["spec"][
        "template"
    ]["spec"]["containers"]
    assert {"name": "JOB_ROUNDS", "value": "10"} in kept["env"]


def test_a_world_that_went_on_until_the_first_event_leads_to_the_same_start(env: Any) -> None:
    incident = drawn(
        baseline="10m",
        distractors=[{"kind": "change/innocent-config", "target": "web", "before": "2m"}],
    )
    quiet = stage.quiet_s(incident)
    assert quiet == 600 - WARM_S - 120
    run(env.advance(quiet))
    run(stage.lead_in(env, incident, passed_s=quiet))
    assert env.now() == EPOCH + 600 - WARM_S
    assert {at for at, _, _ in env.kube.patched} == {env.now() - 120}


@pytest.mark.parametrize(("before", "quiet"), [("9m", 0.0), (None, 300.0)])
def test_nothing_is_shared_of_a_baseline_that_is_disturbed_at_once(
    before: str | None, quiet: float
) -> None:
    early = {"kind": "change/innocent-config", "target": "web", "before": before}
    incident = drawn(baseline="10m", distractors=[early] if before else [])
    assert stage.quiet_s(incident) == quiet


def test_a_spike_of_load_is_a_distractor_too(env: Any) -> None:
    spike = {"kind": "load/spike", "target": "web", "params": {"factor": 1.4}}
    run(stage.lead_in(env, drawn(distractors=[spike])))
    assert env.factors == [1.4]


def test_an_unhealthy_baseline_is_a_failure_of_the_lab(env: Any) -> None:
    env.unhealthy = "1 of 2 replicas ready"
    with pytest.raises(InfraError, match=r"baseline: not healthy.*1 of 2") as caught:
        run(stage.lead_in(env, drawn()))
    assert caught.value.stage == "baseline"


def test_faults_strike_in_the_order_of_their_times(env: Any) -> None:
    faults = [
        {"kind": "workload/scaled-to-zero", "target": "cart", "after": "40s"},
        {"kind": "workload/scaled-to-zero", "target": "web"},
    ]
    run(stage.strike(env, drawn(faults=faults, load={"scale": 1.2}), twin=False))
    assert env.kube.patched == [
        (EPOCH, "Deployment", "web"),
        (EPOCH + 40, "Deployment", "cart"),
    ]
    assert env.factors == [1.2]


def test_the_twin_gets_the_load_but_no_fault(env: Any) -> None:
    run(stage.strike(env, drawn(load={"scale": 1.2}), twin=True))
    assert (env.factors, env.kube.patched) == ([1.2], [])


def test_the_gate_opens_when_the_alert_fires_and_the_page_is_read(env: Any) -> None:
    env.alerts_from = {"HighErrorRatio": EPOCH + 45}
    seen = run(stage.await_symptom(env, drawn(handover="30s"), started=EPOCH, twin=False))
    assert seen == (EPOCH + 50, "alert HighErrorRatio")
    assert env.now() == EPOCH + 80


@pytest.mark.parametrize("passed_s", [0.0, 0.009, 5.0, 12.5])
def test_hand_over_is_on_one_grid_with_the_twins_whenever_the_fault_is_seen(
    env: Any, passed_s: float
) -> None:
    incident = drawn(handover="60s")
    run(env.advance(passed_s))
    env.alerts_from = {"HighErrorRatio": EPOCH}
    run(stage.await_symptom(env, incident, started=EPOCH, twin=False))
    assert (env.now() - EPOCH) % 10 == 0
    assert incident.twin_delay_s % 10 == 0


def test_the_twin_waits_for_faults_that_come_later_as_the_incident_does() -> None:
    late = [{"kind": "workload/scaled-to-zero", "target": "web", "after": "95s"}]
    delays = {draw(make_spec(faults=late), APP, seed).twin_delay_s for seed in range(40)}
    assert min(delays) >= 100 + 10 + make_spec().handover


def test_a_pending_alert_does_not_open_the_gate(env: Any) -> None:
    env.alerts_from = {"HighErrorRatio": EPOCH + 3600}
    with pytest.raises(InfraError, match=r"symptom: not seen within 120 s.*HighErrorRatio"):
        run(stage.await_symptom(env, drawn(), started=EPOCH, twin=False))


def test_another_alert_does_not_open_the_gate(env: Any) -> None:
    env.alerts_from = {"SomethingElse": EPOCH}
    with pytest.raises(InfraError, match="not seen"):
        run(stage.await_symptom(env, drawn(), started=EPOCH, twin=False))


def test_the_twin_waits_for_nothing_but_its_time(env: Any) -> None:
    incident = drawn()
    assert run(stage.await_symptom(env, incident, started=EPOCH, twin=True)) is None
    assert env.now() == EPOCH + incident.twin_delay_s


@pytest.mark.parametrize(
    ("success", "p95", "condition", "seen"),
    [
        (0.90, 80.0, {"success_below": 0.95}, "browse success 0.9"),
        (0.96, 80.0, {"success_below": 0.95}, ""),
        (1.0, 900.0, {"p95_ms_above": 400}, "browse p95 900 ms"),
        (1.0, 300.0, {"p95_ms_above": 400}, ""),
        (1.0, None, {"p95_ms_above": 400}, ""),
        (0.5, 900.0, {"journey": "other", "success_below": 0.95}, ""),
    ],
)
def test_slis_open_the_gate_as_the_users_see_them(
    env: Any, success: float, p95: float | None, condition: dict[str, Any], seen: str
) -> None:
    env.success, env.p95_ms = success, p95
    clause = SymptomClause(sli=SliCondition.model_validate({"journey": "browse", **condition}))
    said = run(stage.holds(env, clause))
    assert said.startswith(seen)
    assert bool(said) == bool(seen)


def test_a_gate_of_all_opens_only_while_every_clause_holds(env: Any) -> None:
    slow = {"sli": {"journey": "browse", "p95_ms_above": 400}}
    gate = Symptom.model_validate({"all": [{"alert": "HighErrorRatio"}, slow], "within": 120})
    env.alerts_from = {"HighErrorRatio": EPOCH}
    assert run(stage.opened(env, gate)) == ""
    env.p95_ms = 900.0
    assert run(stage.opened(env, gate)) == "alert HighErrorRatio; browse p95 900 ms > 400 ms"
    env.alerts_from = {}
    assert run(stage.opened(env, gate)) == ""


def test_a_query_opens_the_gate_if_it_has_a_result(env: Any) -> None:
    env.results = {"up == 0": ["a series"]}
    assert run(stage.holds(env, SymptomClause(promql="up == 0"))) == "promql up == 0"
    assert run(stage.holds(env, SymptomClause(promql="up == 2"))) == ""


def test_the_page_is_the_worst_firing_alert(env: Any) -> None:
    env.alerts_from = {"ASlow": EPOCH - 99, "HighErrorRatio": EPOCH}
    text = run(stage.page(env))
    assert text.startswith("[critical] HighErrorRatio: users see errors {service=cart}")
    assert "(+1 more firing)" in text


def test_without_an_alert_the_page_is_the_broken_slo(env: Any) -> None:
    env.success = 0.5
    assert "SLO of journey 'browse' is broken: success 50" in run(stage.page(env))


def test_without_either_there_is_no_page(env: Any) -> None:
    assert run(stage.page(env)) is None


@pytest.mark.parametrize("task", TASKS)
def test_the_brief_is_opaque(task: Any) -> None:
    told = brief(
        APP, task, trial="t-1", now=EPOCH, page="[critical] X", budget=Budget(), answer_schema={}
    )
    text = told.model_dump_json().lower()
    names = {*catalogue.incidents(), make_spec().name}
    kinds = {f.kind for s in catalogue.incidents().values() for f in s.faults}
    assert not [word for word in {*names, *kinds, "seed", "fault", "inject"} if word in text]
    assert (told.alert is None) == (task == "detection")
    assert told.now == "2026-03-10T09:00:00Z"
