"""Distractors that touch neither image nor setting: clients from outside, jobs, engines at rest."""

from __future__ import annotations

from typing import Any

import pytest

from aiopslab.environments.sim import Sim
from aiopslab.models.app import App
from aiopslab.problems import distractors
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app

HOTEL, SHOP, LLM = (load_app(name) for name in ("hotel", "shop", "llmserve"))


def world(app: App, seconds: float) -> Sim:
    key = world_key(app, 5)
    sim = Sim(app, key.seed, epoch=key.epoch)
    sim.boot()
    sim.run_for(seconds)
    return sim


@pytest.fixture(scope="module")
def hotel() -> Sim:
    return world(HOTEL, 20.0)


def happen(sim: Sim, kind: str, target: str, **params: Any) -> None:
    happening = distractors.find(kind)(sim.app, target, params)
    sim.run_sync(happening.happen(sim))


def asked(sim: Sim, promql: str) -> float:
    found = sim.run_sync(sim.telemetry.instant(f"sum({promql})"))
    return found[0].points[-1][1] if found else 0.0


def requests(sim: Sim, status: str) -> float:
    name = "http_server_request_duration_seconds_count"
    labels = f'service="frontend", http_response_status_code=~"{status}"'
    return asked(sim, f"{name}{{{labels}}}")


def test_a_client_that_nobody_updated_is_refused_and_nothing_fails(hotel: Sim) -> None:
    happen(hotel, "traffic/old-client", "frontend", journey="recommend", rate=3)
    hotel.run_for(90.0)
    assert requests(hotel, "4..") > 100.0
    assert requests(hotel, "5..") == 0.0
    contains, now = "missing required parameter", hotel.now()
    rows, _ = hotel.run_sync(
        hotel.telemetry.logs(contains=contains, start=now - 60.0, end=now, limit=5)
    )
    assert {row.severity for row in rows} == {"WARN"}


def test_a_load_test_is_announced_and_no_user_counts_it(hotel: Sim) -> None:
    begun, before = hotel.now(), requests(hotel, "2..")
    happen(hotel, "traffic/load-test", "frontend", rate=12)
    hotel.run_for(90.0)
    [change] = hotel.run_sync(hotel.telemetry.changes(since=begun - 1.0))
    assert (change.kind, change.component) == ("other", "frontend")
    users = sum(w.offered for w in hotel.run_sync(hotel.traffic.slis(begun, hotel.now())))
    assert requests(hotel, "2..") - before > users + 500.0


def test_a_client_needs_a_page_that_asks_for_something_to_be_refused() -> None:
    old = distractors.find("traffic/old-client")
    assert [s for s in HOTEL.services if old.fits(HOTEL, s)] == ["frontend"]
    assert not any(old.fits(LLM, s) for s in LLM.services)


def test_the_next_pod_of_an_interrupted_job_finishes_it() -> None:
    sim = world(SHOP, 20.0)
    sim.run_sync(sim.traffic.stop())
    happen(sim, "job/interrupted", "settle-charges", rounds=100, after=10)
    sim.run_for(120.0)
    name = "settle-charges-manual"
    job = sim.run_sync(sim.kube.get("Job", name, sim.namespace))
    assert job["status"]["succeeded"] == 1
    events = sim.run_sync(sim.kube.list("Event", sim.namespace))
    mine = [e for e in events if e["involvedObject"]["name"] == name]
    assert sum(e["reason"] == "SuccessfulCreate" for e in mine) == 2


def test_an_engine_at_rest_gets_no_request_while_its_region_goes_on() -> None:
    sim = world(LLM, 60.0)
    happen(sim, "llm/engine-cordoned", "engine-west-1")
    sim.run_for(200.0)
    started = 'increase(vllm:request_success_total{service="%s"}[1m])'
    assert asked(sim, started % "engine-west-1") == 0.0
    assert asked(sim, started % "engine-west-0") > 0.0
