"""The scraper and what Kubernetes, containers and nodes export."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from aiopslab.models.app import NodeSpec
from aiopslab.telemetry.instruments import Registry
from aiopslab.telemetry.rules import RuleEvaluator
from aiopslab.telemetry.store import Store
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.disk import Volume
from aiopslab.world.exporters import Cadvisor, NodeExporter
from aiopslab.world.host_exporter import IPC
from aiopslab.world.kube_state import KubeState
from aiopslab.world.memory import MemoryGroup
from aiopslab.world.node import Node
from aiopslab.world.scrape import Scraper

Object = dict[str, Any]
START = 1_773_133_200.0


class Api:
    """Objects by kind."""

    def __init__(self, **objects: list[Object]) -> None:
        self.objects = objects

    def list(self, kind: str, namespace: str | None = None) -> list[Object]:
        return self.objects.get(kind, [])


class Kubelet:
    """Containers of a node."""

    name = "node-a"

    def __init__(self) -> None:
        self.running: list[tuple[Object, Any]] = []

    def boxes(self) -> Iterator[tuple[Object, Any]]:
        return iter(self.running)


def pod(name: str = "rate-1", **status: Any) -> Object:
    return {
        "metadata": {
            "name": name, "namespace": "hotel", "uid": f"uid-{name}",
            "labels": {"app.kubernetes.io/name": "rate"},
        },
        "spec": {
            "nodeName": "node-a",
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-rate"}}],
            "containers": [
                {
                    "name": "rate", "ports": [{"containerPort": 8080}],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}},
                }
            ],
        },
        "status": {"phase": "Running", **status},
    }  # fmt: skip


def box(node: Node, owner: Object) -> Any:
    """A container as far as the exporters look."""
    metrics = Registry()
    metrics.counter("served_total").add(7)
    identity = SimpleNamespace(
        uid=owner["metadata"]["uid"], name=owner["metadata"]["name"], namespace="hotel"
    )
    memory = MemoryGroup(128 * 2**20)
    memory.hold("heap", 64 * 2**20)
    disk = Volume(1000)
    disk.write("base", 250)
    return SimpleNamespace(
        pod=identity, name="rate", image_ref="hotel-rate:2.14.0", exit=None, suspended=False,
        cpu=node.cpu.group("rate", request=0.1, limit=0.5), memory=memory, started_at=START,
        volumes={"/data": disk}, metrics=metrics,
    )  # fmt: skip


@pytest.fixture
def loop() -> VirtualLoop:
    return VirtualLoop(START)


@pytest.fixture
def node(loop: VirtualLoop) -> Node:
    return Node(loop, NodeSpec(name="node-a", cpu=4.0), "198.18.240.10")


def values(store: Store, query: str, at: float) -> dict[str, float]:
    """Evaluate and key by the label that tells the series apart."""
    found = store.promql.instant(query, at)
    return {",".join(f"{v}" for v in s.labels.values()): s.points[0][1] for s in found}


def one(store: Store, query: str, at: float) -> float:
    [value] = values(store, query, at).values()
    return value


def scraper(loop: VirtualLoop, node: Node, api: Api, kubelet: Kubelet) -> tuple[Scraper, Store]:
    store = Store()
    return Scraper(loop, store, api, [kubelet], [node], RuleEvaluator(store, [])), store


def test_a_running_container_is_up_and_a_waiting_one_is_down(loop: VirtualLoop, node: Node) -> None:
    first, second, kubelet = pod("rate-1"), pod("rate-2"), Kubelet()
    kubelet.running = [(first, box(node, first))]
    scrape, store = scraper(loop, node, Api(Pod=[first, second]), kubelet)
    scrape.scrape(START)
    assert one(store, 'up{pod="rate-1"}', START) == 1.0
    assert one(store, 'up{pod="rate-2"}', START) == 0.0
    assert one(store, "sum by (service) (served_total)", START) == 7.0


def test_annotations_say_where_to_scrape_and_whether(loop: VirtualLoop, node: Node) -> None:
    kubelet, pods = Kubelet(), [pod(f"rate-{n}") for n in range(3)]
    for each, wish in zip(
        pods, ({"port": "8080"}, {"port": "9464"}, {"scrape": "false"}), strict=True
    ):
        named = {f"prometheus.io/{key}": value for key, value in wish.items()}
        each["metadata"]["annotations"] = named
    kubelet.running = [(each, box(node, each)) for each in pods]
    scrape, store = scraper(loop, node, Api(Pod=pods), kubelet)
    scrape.scrape(START)
    assert one(store, 'up{pod="rate-0"}', START) == 1.0
    assert one(store, 'up{pod="rate-1"}', START) == 0.0
    assert values(store, 'up{pod="rate-2"}', START) == {}


def test_a_pod_that_is_gone_leaves_no_series(loop: VirtualLoop, node: Node) -> None:
    api, kubelet = Api(Pod=[pod()]), Kubelet()
    kubelet.running = [(pod(), box(node, pod()))]
    scrape, store = scraper(loop, node, api, kubelet)
    scrape.scrape(START)
    api.objects["Pod"] = []
    kubelet.running = []
    scrape.scrape(START + 5)
    assert values(store, '{pod="rate-1"}', START + 5) == {}


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_finished_pod_is_no_target(loop: VirtualLoop, node: Node, phase: str) -> None:
    scrape, store = scraper(loop, node, Api(Pod=[pod(phase=phase)]), Kubelet())
    scrape.scrape(START)
    assert values(store, 'up{service="rate"}', START) == {}


def test_rounds_lie_on_multiples_of_five_seconds_and_rules_on_thirty(
    loop: VirtualLoop, node: Node
) -> None:
    scrape, store = scraper(loop, node, Api(), Kubelet())
    evaluated: list[float] = []
    scrape._rules.evaluate = evaluated.append  # type: ignore[method-assign]
    task = loop.create_task(scrape.run())
    loop.run_until(START + 62)
    task.cancel()
    assert [t - START for t in store.samples.times()] == [5.0 * n for n in range(1, 13)]
    assert [t - START for t in evaluated] == [30.0, 60.0]


def test_kube_state_shows_waiting_reasons_and_drops_them_when_over() -> None:
    waiting = {
        "name": "rate", "restartCount": 3, "ready": False, "image": "hotel-rate:2",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
    }  # fmt: skip
    api, store = Api(Pod=[pod(containerStatuses=[waiting])]), Store()
    state = KubeState(api, store.target({"job": "kube-state-metrics"}))
    state.scrape(0.0)
    prefix = "kube_pod_container_status_"
    assert one(store, f'{prefix}waiting_reason{{reason="CrashLoopBackOff"}}', 0) == 1.0
    assert one(store, f"{prefix}restarts_total", 0) == 3.0
    assert one(store, f'{prefix}last_terminated_reason{{reason="OOMKilled"}}', 0) == 1.0
    assert one(store, f"{prefix}last_terminated_exitcode", 0) == 137.0
    running = {**waiting, "ready": True, "state": {"running": {}}}
    api.objects["Pod"] = [pod(containerStatuses=[running])]
    state.scrape(5.0)
    assert values(store, f"{prefix}waiting_reason", 5) == {}
    assert one(store, f"{prefix}ready", 5) == 1.0
    assert one(store, 'kube_pod_container_resource_limits{resource="cpu"}', 5) == 0.5
    assert one(store, 'kube_pod_status_phase{phase="Running"}', 5) == 1.0


def test_kube_state_shows_replicas_endpoints_and_nodes() -> None:
    meta = {"namespace": "hotel", "name": "rate", "uid": "u"}
    api = Api(
        Deployment=[{
            "metadata": {**meta, "uid": "d"}, "spec": {"replicas": 3},
            "status": {"replicas": 3, "availableReplicas": 2, "unavailableReplicas": 1},
        }],
        Endpoints=[
            {"metadata": {**meta, "uid": "e"}, "subsets": [{"addresses": [{}, {}]}]},
            {"metadata": {**meta, "uid": "f", "name": "geo"}},
        ],
        Node=[{
            "metadata": {"name": "node-a", "uid": "n"}, "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]},
        }],
    )  # fmt: skip
    store = Store()
    KubeState(api, store.target({"job": "kube-state-metrics"})).scrape(0.0)
    assert one(store, "kube_deployment_spec_replicas", 0) == 3.0
    assert one(store, "kube_deployment_status_replicas_available", 0) == 2.0
    assert one(store, 'kube_endpoint_address_available{endpoint="rate"}', 0) == 2.0
    assert one(store, 'kube_endpoint_address_available{endpoint="geo"}', 0) == 0.0
    assert one(store, 'kube_node_status_condition{status="unknown"}', 0) == 1.0
    assert one(store, 'kube_node_status_condition{status="true"}', 0) == 0.0


def test_cadvisor_reads_the_cgroup_and_the_volumes(loop: VirtualLoop, node: Node) -> None:
    store, owner = Store(), pod()
    container = box(node, owner)
    loop.run_until_complete(container.cpu.burn(2.0))
    Cadvisor(store.target({"job": "kubelet"}), "node-a").scrape(START, [(owner, container)])
    assert one(store, "container_cpu_usage_seconds_total", START) == pytest.approx(2.0)
    # 2 s of CPU under a limit of half a core take 4 s: throttled in nearly every period.
    assert one(store, "container_cpu_cfs_throttled_seconds_total", START) > 1.5
    assert one(store, "container_spec_cpu_quota", START) == 50_000
    assert one(store, "container_memory_working_set_bytes", START) == 64 * 2**20
    assert one(store, "kubelet_volume_stats_available_bytes", START) == 750


def test_a_dead_container_exports_nothing(node: Node) -> None:
    store, owner = Store(), pod()
    container = box(node, owner)
    container.exit = "exited"
    Cadvisor(store.target({"job": "kubelet"}), "node-a").scrape(START, [(owner, container)])
    assert values(store, '{pod="rate-1"}', START) == {}


def test_cpu_time_of_a_node_adds_up_to_its_cores(loop: VirtualLoop, node: Node) -> None:
    store = Store()
    exporter = NodeExporter(store.target({"job": "node-exporter"}), node)
    group = node.cpu.group("work", request=1.0, limit=None)
    group.spin(3.0)
    loop.run_until(START + 100)
    exporter.scrape(START + 100)
    now = START + 100
    assert one(store, "sum(node_cpu_seconds_total)", now) == pytest.approx(400.0)
    assert one(store, 'sum(node_cpu_seconds_total{mode="idle"})', now) == pytest.approx(100.0)
    assert one(store, 'count(node_cpu_seconds_total{mode="user"})', now) == 4.0
    assert one(store, "node_load1", now) == pytest.approx(3.0, rel=0.3)
    assert one(store, "node_pressure_cpu_waiting_seconds_total", now) == 0.0


def test_a_node_exports_what_its_host_does_to_it(loop: VirtualLoop, node: Node) -> None:
    scrape, store = scraper(loop, node, Api(), Kubelet())
    node.cpu.group("app", request=1.0, limit=None).spin(1.0)
    node.host.give_cores(1.0)
    node.host.stream("other", 2.0 * node.host.bus.bandwidth)
    node.uplink.stream("copy", 2.0 * node.uplink.speed)
    loop.run_until(START + 10.0)
    scrape.scrape(START + 10.0)

    def value(query: str) -> float:
        return one(store, query, START + 10.0)

    assert value("sum(node_cpu_online)") == 1.0
    assert value('platform_event_total{kind="capacity_changed"}') == 1.0
    ratio = "node_perf_instructions_total / node_perf_cpucycles_total"
    assert value(ratio) == pytest.approx(IPC * node.host.bus.efficiency)
    assert value('resctrl_mbm_local_bytes_total{group="other"}') > 0.0
    assert value("node_network_transmit_drop_total") > 0.0
    assert value('fabric_flow_bytes_total{flow="copy"}') == pytest.approx(10 * node.uplink.speed)
    idle = value('sum(node_cpu_seconds_total{mode="idle"})')
    assert idle == pytest.approx(0.0, abs=1e-6)
