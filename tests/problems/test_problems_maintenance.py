"""Distractors that take their time: maintenance as a careful operator does it."""

from __future__ import annotations

import pytest

from aiopslab.environments.sim import Sim
from aiopslab.models.kube import Object
from aiopslab.problems import distractors
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app

HOTEL = load_app("hotel")
SERVICE = "app.kubernetes.io/component=service"


@pytest.fixture(scope="module")
def sim() -> Sim:
    key = world_key(HOTEL, 5)
    sim = Sim(HOTEL, key.seed, epoch=key.epoch)
    sim.boot()
    sim.run_sync(sim.traffic.stop())
    sim.run_for(20.0)
    return sim


def happen(sim: Sim, kind: str, target: str) -> None:
    happening = distractors.find(kind)(HOTEL, target, {})
    sim.run_sync(happening.happen(sim))


def pods(sim: Sim) -> list[Object]:
    return sim.run_sync(sim.kube.list("Pod", sim.namespace, labels=SERVICE))


def unready(sim: Sim) -> list[str]:
    checks = sim.run_sync(sim.probe())
    return [c.detail for c in checks if c.id.startswith("ready:") and not c.met]


def test_a_restart_of_everything_leaves_no_old_pod_and_everything_ready(sim: Sim) -> None:
    before = {p["metadata"]["name"] for p in pods(sim)}
    happen(sim, "change/restart-one-by-one", "rate")
    sim.run_for(40.0)
    assert not before & {p["metadata"]["name"] for p in pods(sim)}
    assert unready(sim) == []


def test_a_drained_node_keeps_the_stores_and_takes_no_service(sim: Sim) -> None:
    node = HOTEL.nodes[0].name
    everything = sim.run_sync(sim.kube.list("Pod", sim.namespace))
    stores = {p["metadata"]["name"] for p in everything} - {
        p["metadata"]["name"] for p in pods(sim)
    }
    happen(sim, "node/drain", node)
    sim.run_for(40.0)
    assert [p for p in pods(sim) if p["spec"]["nodeName"] == node] == []
    after = {p["metadata"]["name"] for p in sim.run_sync(sim.kube.list("Pod", sim.namespace))}
    assert stores <= after
    assert unready(sim) == []
    cordoned = sim.run_sync(sim.kube.get("Node", node))
    assert cordoned["spec"]["unschedulable"] is True
