"""A provider that takes preemptible capacity back, and leaves everything else alone."""

from __future__ import annotations

from controllers_cluster import GIB, Cluster, container, deployment, pod

from aiopslab.models.app import NodeSpec
from aiopslab.world.node import Node
from aiopslab.world.reclaimer import PREEMPTIBLE, Reclaimer

MARK = {PREEMPTIBLE: "true"}


def provider(cluster: Cluster) -> tuple[Reclaimer, dict[str, Node]]:
    nodes = {
        name: Node(cluster.loop, NodeSpec(name=name, cpu=4, memory=8 * GIB), f"198.18.241.{i}")
        for i, name in enumerate(cluster.kubelets)
    }
    return Reclaimer(cluster.loop, cluster.api, cluster.recorder, nodes), nodes


def names(cluster: Cluster) -> set[str]:
    return {p["metadata"]["name"] for p in cluster.pods()}


def test_only_pods_that_say_so_are_taken_and_their_owners_replace_them() -> None:
    cluster = Cluster()
    marked = deployment("cheap", 2)
    marked["spec"]["template"]["metadata"]["annotations"] = MARK
    cluster.create(marked)
    cluster.create(deployment("dear", 2))
    cluster.wait_for(lambda: cluster.ready("Deployment", "cheap", 2))
    cluster.wait_for(lambda: cluster.ready("Deployment", "dear", 2))
    before = names(cluster)
    reclaimer, nodes = provider(cluster)
    taken = set(reclaimer.take_back())
    assert taken == {name for name in before if name.startswith("cheap")}
    assert sum(n.host.events["capacity_reclaimed"] for n in nodes.values()) == 2
    assert len(cluster.events("CapacityReclaimed")) == 2
    cluster.wait(40.0)
    cluster.wait_for(lambda: cluster.ready("Deployment", "cheap", 2))
    assert {name for name in names(cluster) if name.startswith("dear")} == before - taken
    assert not taken & names(cluster)


def test_waves_come_until_the_need_is_over() -> None:
    cluster = Cluster()
    marked = deployment("cheap", 1)
    marked["spec"]["template"]["metadata"]["annotations"] = MARK
    cluster.create(marked)
    cluster.wait_for(lambda: cluster.ready("Deployment", "cheap", 1))
    reclaimer, nodes = provider(cluster)
    reclaimer.every(60.0)
    cluster.wait(130.0)
    taken = sum(n.host.events["capacity_reclaimed"] for n in nodes.values())
    assert taken == 3
    reclaimer.every(0.0)
    cluster.wait(130.0)
    assert sum(n.host.events["capacity_reclaimed"] for n in nodes.values()) == taken


def test_a_pod_that_waits_for_a_node_or_says_no_holds_nothing_to_take() -> None:
    cluster = Cluster()
    for name, says in (("no", "false"), ("waits", "true")):
        obj = pod(name, container(resources={"requests": {"cpu": "99"}}))
        obj["metadata"]["annotations"] = {PREEMPTIBLE: says}
        if name == "no":
            obj["spec"]["containers"] = [container()]
        cluster.create(obj)
    cluster.wait(5.0)
    reclaimer, _ = provider(cluster)
    assert reclaimer.take_back() == []
