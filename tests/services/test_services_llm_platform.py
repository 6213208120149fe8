"""The programs that steer the pool, on a whole world: they change it, and bring it back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aiopslab.environments.sim import Sim
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app
from aiopslab.world.spot import AWAY_S, NOTICE_S, PRESSURE

LLMSERVE = load_app("llmserve")
FOLLOWED_S = 95.0


@pytest.fixture
def sim() -> Sim:
    key = world_key(LLMSERVE, 0)
    sim = Sim(LLMSERVE, key.seed, epoch=key.epoch, load=0.3)
    sim.boot()
    sim.run_for(90.0)
    return sim


def configure(sim: Sim, service: str, **data: str) -> None:
    sim.run_sync(
        sim.kube.patch(
            "ConfigMap", f"{service}-config", {"data": data}, namespace=sim.namespace,
            type="merge", actor="i.calvo",
        )
    )  # fmt: skip
    sim.run_for(FOLLOWED_S)


def control(sim: Sim, service: str, *words: str) -> str:
    labels = f"app.kubernetes.io/name={service}"
    [pod] = sim.run_sync(sim.kube.list("Pod", sim.namespace, labels=labels))
    argv = ["llmctl", *words]
    return sim.run_sync(sim.kube.exec(pod["metadata"]["name"], sim.namespace, argv)).stdout


def status(sim: Sim, service: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(control(sim, service, "status"))
    return found


def replicas(sim: Sim) -> dict[str, int]:
    found = sim.run_sync(sim.kube.list("Deployment", sim.namespace))
    return {
        d["metadata"]["name"]: d["spec"]["replicas"]
        for d in found
        if d["metadata"]["name"].startswith("engine-")
    }


def cordoned(sim: Sim) -> list[str]:
    nodes = sim.run_sync(sim.kube.list("Node"))
    return [n["metadata"]["name"] for n in nodes if n["spec"].get("unschedulable")]


def failed(sim: Sim, seconds: float) -> int:
    now = sim.now()
    windows = sim.run_sync(sim.traffic.slis(now - seconds, now))
    return sum(w.offered - w.succeeded for w in windows)


def test_in_the_day_nothing_is_changed(sim: Sim) -> None:
    sim.run_for(120.0)
    assert set(replicas(sim).values()) == {1}
    assert cordoned(sim) == []
    assert status(sim, "power-mgr")["clock_limit_mhz"] == 1980.0
    assert status(sim, "power-mgr")["throttled"] == []


def test_a_smaller_pool_is_scaled_in_without_losses_and_its_machines_come_back(sim: Sim) -> None:
    configure(sim, "autoscaler", SCALE_MAX="3")
    sim.run_for(120.0)
    stopped = sorted(name for name, count in replicas(sim).items() if not count)
    assert len(stopped) == 3
    assert cordoned(sim) == sorted(str(LLMSERVE.services[e].node) for e in stopped)
    assert len(status(sim, "autoscaler")["ready"]) == 3
    configure(sim, "autoscaler", SCALE_MAX="6")
    assert len(status(sim, "autoscaler")["ready"]) < 6  # a machine takes its time
    sim.run_for(150.0)
    assert set(replicas(sim).values()) == {1}
    assert cordoned(sim) == []
    assert len(status(sim, "autoscaler")["ready"]) == 6
    assert failed(sim, 400.0) == 0


def test_a_token_that_has_ended_keeps_machines_away_until_it_is_renewed(sim: Sim) -> None:
    configure(sim, "autoscaler", SCALE_MAX="4")
    sim.run_for(60.0)
    configure(sim, "platform-agent", PLATFORM_TOKEN_TTL_S="20")
    sim.run_for(30.0)
    configure(sim, "autoscaler", SCALE_MAX="6")
    sim.run_for(180.0)
    assert status(sim, "platform-agent")["token"] == "expired"
    assert len(status(sim, "autoscaler")["wanted"]) == 6
    assert len(status(sim, "autoscaler")["ready"]) == 4
    assert "token renewed" in control(sim, "platform-agent", "renew-token")
    sim.run_for(150.0)
    assert len(status(sim, "autoscaler")["ready"]) == 6


@pytest.mark.parametrize("hook", ["drain", "none"])
def test_only_a_drained_engine_loses_nothing_when_its_machine_is_taken(sim: Sim, hook: str) -> None:
    if hook != "drain":
        configure(sim, "platform-agent", PLATFORM_EVICTION_HOOK=hook)
    start = sim.now()
    sim.run_sync(sim.substrate.hardware("gpu-central-1", PRESSURE, 3600.0))
    sim.run_for(NOTICE_S / 2.0)
    assert status(sim, "platform-agent")["machines"]["gpu-central-1"] == "evicting"
    sim.run_for(NOTICE_S / 2.0 + AWAY_S + 150.0)
    assert status(sim, "platform-agent")["machines"]["gpu-central-1"] == "ours"
    assert cordoned(sim) == []
    assert (failed(sim, sim.now() - start) > 0) == (hook == "none")


def test_clocks_fall_back_to_the_night_when_forecasts_grow_old(sim: Sim) -> None:
    configure(sim, "autoscaler", SCALE_PLAN_S="6000")
    sim.run_for(170.0)
    found = status(sim, "power-mgr")
    assert found["clock_profile"] == "night"
    [series] = sim.run_sync(sim.telemetry.instant("max(DCGM_FI_DEV_SM_CLOCK)"))
    assert series.points[-1][1] == found["clock_limit_mhz"] < 1000.0
    configure(sim, "autoscaler", SCALE_PLAN_S="60")
    assert status(sim, "power-mgr")["clock_profile"] == "day"


def test_a_cap_of_a_row_is_shared_by_its_engines(sim: Sim) -> None:
    configure(sim, "power-mgr", POWER_ROW_CAPS="row-b=4400")
    sim.run_for(10.0)
    [series] = sim.run_sync(sim.telemetry.instant("max(llmserve_row_power_watts{row='row-b'})"))
    assert series.points[-1][1] <= 4400.0
    capped = [e for e in status(sim, "power-mgr")["throttled"] if not e.startswith("engine-west")]
    assert capped == []


def test_a_queue_manager_fails_what_a_silent_machine_had_and_no_drain_is_cut_short(
    sim: Sim,
) -> None:
    def at_engine() -> int:
        count: int = status(sim, "queue-mgr-central")["queues"]["engine-central-0"]["in_flight"]
        return count

    sim.run_sync(sim.traffic.scale(3.0))
    configure(sim, "autoscaler", SCALE_MAX="4")  # engines end with work left to do
    sim.run_for(60.0)
    assert failed(sim, 155.0) == 0
    while not at_engine():
        sim.run_for(1.0)
    sim.run_sync(sim.substrate.power("gpu-central-0", on=False))
    sim.run_for(5.0)
    assert at_engine() > 0
    sim.run_for(20.0)
    assert at_engine() == 0
