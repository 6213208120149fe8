"""The simulated environment keeps the Environment contract: shapes, errors, time, isolation."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from aiopslab.environments import protocol, sim_kube, sim_substrate, sim_traffic, store_telemetry
from aiopslab.environments.sim import Sim
from aiopslab.errors import InfraError
from aiopslab.models.kube import KubeError
from aiopslab.models.signal import Change
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app
from aiopslab.telemetry.promql.values import QueryError

HOTEL = load_app("hotel")
PAIRS = [
    (protocol.Environment, Sim),
    (protocol.Kube, sim_kube.SimKube),
    (protocol.Telemetry, store_telemetry.StoreTelemetry),
    (protocol.Traffic, sim_traffic.SimTraffic),
    (protocol.Substrate, sim_substrate.SimSubstrate),
]
METHODS = [
    (contract, real, name)
    for contract, real in PAIRS
    for name, value in sorted(vars(contract).items())
    if inspect.isfunction(value) and not name.startswith("_")
]


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    """Two minutes of a hotel under load, driven without a thread; then quiet."""
    key = world_key(HOTEL, 23)
    sim = Sim(HOTEL, key.seed, epoch=key.epoch, load=0.5)
    sim.boot()
    sim.run_for(70.0)
    sim.run_sync(sim.traffic.stop())
    sim.run_for(20.0)
    yield sim
    asyncio.run(sim.aclose())


def ask(coro: Coroutine[Any, Any, Any]) -> Any:
    """Call from an ordinary event loop, as an agent's tools do."""
    return asyncio.run(coro)


def a_pod(sim: Sim, component: str) -> str:
    pods = ask(sim.kube.list("Pod", "hotel", labels=f"app.kubernetes.io/name={component}"))
    name: str = pods[0]["metadata"]["name"]
    return name


@pytest.mark.parametrize(("contract", "real", "name"), METHODS)
def test_every_method_of_the_contract_has_its_form(contract: Any, real: Any, name: str) -> None:
    wanted = inspect.signature(getattr(contract, name))
    given = inspect.signature(getattr(real, name))
    assert list(given.parameters.values()) == list(wanted.parameters.values())
    assert inspect.iscoroutinefunction(getattr(real, name)) == inspect.iscoroutinefunction(
        getattr(contract, name)
    )


def test_a_booted_app_is_ready_and_serves(sim: Sim) -> None:
    checks = {c.id: c for c in ask(sim.probe())}
    ready = {f"ready:{n}" for n in HOTEL.components()}
    assert ready <= set(checks)
    assert all(checks[c].met for c in ready)
    windows = ask(sim.traffic.slis(sim.now() - 80.0, sim.now() - 20.0))
    assert {w.journey for w in windows} == set(HOTEL.journeys)
    assert all(w.offered > 0 and w.succeeded == w.offered for w in windows)


def test_reading_takes_no_time(sim: Sim) -> None:
    before = sim.now()
    ask(sim.kube.list("Pod", "hotel"))
    ask(sim.kube.describe("Deployment", "geo", "hotel"))
    ask(sim.telemetry.instant("up"))
    ask(sim.telemetry.frame("spans"))
    ask(sim.data_digest())
    assert sim.now() == before


def test_time_passes_by_the_seconds_asked_for(sim: Sim) -> None:
    before = sim.now()
    ask(sim.advance(2.5))
    sim.run_sync(sim.advance(1.5))
    assert sim.now() == before + 4.0


def test_callers_get_copies(sim: Sim) -> None:
    mine = ask(sim.kube.get("Deployment", "geo", "hotel"))
    mine["spec"]["replicas"] = 99
    for obj in ask(sim.kube.list("Deployment", "hotel")):
        obj["spec"].clear()
    assert ask(sim.kube.get("Deployment", "geo", "hotel"))["spec"]["replicas"] == 2


def test_what_is_created_belongs_to_the_cluster(sim: Sim) -> None:
    mine = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "note", "namespace": "hotel"},
        "data": {"a": "1"},
    }
    made = ask(sim.kube.create(mine, actor="j.meyer"))
    mine["data"]["a"] = "2"
    assert ask(sim.kube.get("ConfigMap", "note", "hotel"))["data"] == {"a": "1"}
    changed = ask(sim.kube.replace({**made, "data": {"a": "3"}}, actor="j.meyer"))
    assert changed["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    with pytest.raises(KubeError) as conflict:
        ask(sim.kube.replace({**made, "data": {"a": "4"}}, actor="j.meyer"))
    assert (conflict.value.code, conflict.value.reason) == (409, "Conflict")
    ask(sim.kube.delete("ConfigMap", "note", "hotel", actor="j.meyer"))


def test_a_dry_run_changes_nothing(sim: Sim) -> None:
    patch = {"spec": {"replicas": 7}}
    seen = ask(
        sim.kube.patch("Deployment", "geo", patch, namespace="hotel", actor="x", dry_run=True)
    )
    assert seen["spec"]["replicas"] == 7
    assert ask(sim.kube.get("Deployment", "geo", "hotel"))["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (lambda k: k.get("Deployment", "nobody", "hotel"), 404, "NotFound"),
        (lambda k: k.delete("Service", "nobody", "hotel", actor="x"), 404, "NotFound"),
        (lambda k: k.logs("nobody", "hotel"), 404, "NotFound"),
        (lambda k: k.exec("nobody", "hotel", ["ls"]), 404, "NotFound"),
        (lambda k: k.describe("Pod", "nobody", "hotel"), 404, "NotFound"),
        (
            lambda k: k.patch(
                "Deployment", "geo", {"spec": {"replicas": -1}}, namespace="hotel", actor="x"
            ),
            422,
            "Invalid",
        ),
        (lambda k: k.list("Pod", "hotel", labels="a==="), 400, "BadRequest"),
    ],
)
def test_refusals_are_the_api_servers(sim: Sim, request_: Any, code: int, reason: str) -> None:
    with pytest.raises(KubeError) as caught:
        ask(request_(sim.kube))
    assert (caught.value.code, caught.value.reason) == (code, reason)
    assert caught.value.message


def test_a_query_that_is_wrong_says_so(sim: Sim) -> None:
    with pytest.raises(QueryError):
        ask(sim.telemetry.instant("sum by ("))


def test_exec_takes_the_time_of_its_command(sim: Sim) -> None:
    before = sim.now()
    done = ask(sim.kube.exec(a_pod(sim, "geo"), "hotel", ["sleep", "7"]))
    assert (done.code, done.stderr) == (0, "")
    assert sim.now() == pytest.approx(before + 7.0, abs=0.5)


def test_exec_gives_up_after_its_timeout(sim: Sim) -> None:
    before = sim.now()
    done = ask(sim.kube.exec(a_pod(sim, "geo"), "hotel", ["sleep", "600"], timeout_s=5.0))
    assert done.code == 124
    assert "gave up" in done.stderr
    assert sim.now() == pytest.approx(before + 5.0, abs=0.5)


def test_exec_gives_output_and_code(sim: Sim) -> None:
    pod = a_pod(sim, "geo")
    assert "GEO" not in ask(sim.kube.exec(pod, "hotel", ["hostname"])).stderr
    assert ask(sim.kube.exec(pod, "hotel", ["hostname"])).stdout == f"{pod}\n"
    missing = ask(sim.kube.exec(pod, "hotel", ["cat", "/nowhere"]))
    assert missing.code == 1
    assert "No such file" in missing.stderr


def test_logs_are_the_containers(sim: Sim) -> None:
    pod = a_pod(sim, "geo")
    everything = ask(sim.kube.logs(pod, "hotel"))
    assert everything.endswith("\n")
    assert ask(sim.kube.logs(pod, "hotel", tail=1)) == everything.splitlines()[-1] + "\n"
    assert ask(sim.kube.logs(pod, "hotel", since_s=0.0)) == ""


def test_a_watch_tells_of_changes_from_now_on(sim: Sim) -> None:
    async def scenario() -> list[tuple[str, str]]:
        watch = sim.kube.watch("ConfigMap", "hotel")
        obj = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "watched", "namespace": "hotel"},
        }
        await sim.kube.create(obj, actor="x")
        await sim.kube.delete("ConfigMap", "watched", "hotel", actor="x")
        seen = [await anext(watch), await anext(watch)]
        return [(event, o["metadata"]["name"]) for event, o in seen]

    assert sim.run_sync(scenario()) == [("ADDED", "watched"), ("DELETED", "watched")]


def test_a_store_answers_its_operator_and_refuses_nonsense(sim: Sim) -> None:
    assert "1" in ask(sim.substrate.store_admin("geo-postgres", "SELECT 1"))
    with pytest.raises(InfraError):
        ask(sim.substrate.store_admin("geo-postgres", "SELEKT"))
    with pytest.raises(InfraError):
        ask(sim.substrate.neighbour("node-z", name="batch", threads=1.0))


def test_a_line_in_the_change_log_is_found_again(sim: Sim) -> None:
    line = Change(
        time=sim.now(), actor="j.meyer", kind="database", component="geo-postgres", summary="vacuum"
    )
    ask(sim.substrate.record_change(line))
    assert line in ask(sim.telemetry.changes(component="geo-postgres", since=sim.now() - 1.0))


def test_telemetry_answers_for_the_minutes_that_passed(sim: Sim) -> None:
    start, end = sim.now() - 120.0, sim.now()
    assert "up" in ask(sim.telemetry.metric_names())
    assert ask(sim.telemetry.labels("up"))
    rows, total = ask(sim.telemetry.logs(start=start - 60, end=end, limit=3))
    assert len(rows) == 3 < total
    found, _ = ask(sim.telemetry.traces(service="geo", start=start, end=end, limit=1))
    spans = ask(sim.telemetry.trace(found[0].trace_id))
    assert {"frontend", "search", "geo"} <= {s.service for s in spans}
    edges = {(a, b) for a, b, *_ in ask(sim.telemetry.service_graph(start, end))}
    assert ("search", "geo") in edges
    assert ask(sim.telemetry.trace("0" * 32)) == []


def test_agents_in_parallel_meet_one_world(sim: Sim) -> None:
    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sim.advance(3.0))
            group.create_task(sim.kube.exec(pod, "hotel", ["sleep", "2"]))
            group.create_task(sim.advance(1.0))

    pod = a_pod(sim, "geo")
    before = sim.now()
    asyncio.run(both())
    assert sim.now() == pytest.approx(before + 6.0, abs=0.5)


def test_an_app_that_does_not_get_ready_names_the_pod_and_the_reason() -> None:
    small = [node.model_copy(update={"memory": 640 * 2**20}) for node in HOTEL.nodes]
    cramped = HOTEL.model_copy(update={"nodes": small})
    sim = Sim(cramped, 1, epoch=world_key(HOTEL, 1).epoch)
    with pytest.raises(
        InfraError, match=r"ready:\S+: 0 of \d replicas ready; \w+: .*nodes"
    ) as said:
        sim.boot()
    assert said.value.stage == "ready"
