"""Parts of kubelet and controllers that need no cluster: references, states, the work queue."""

from __future__ import annotations

from itertools import pairwise

import pytest
from controllers_cluster import START, container, pod
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.models.kube import KubeError
from aiopslab.models.timestamps import rfc3339
from aiopslab.world.clock import VirtualLoop, WorldFailure
from aiopslab.world.kube.controllers import pods
from aiopslab.world.kube.controllers.queue import Key, WorkQueue
from aiopslab.world.kube.kubelet import config as kubelet_config
from aiopslab.world.kube.kubelet import status as kubelet_status
from aiopslab.world.kube.kubelet.config import ConfigError, Facts
from aiopslab.world.kube.kubelet.images import image_id
from aiopslab.world.kube.kubelet.status import ContainerView
from aiopslab.world.kube.objects import Object, name_of
from aiopslab.world.kube.validation import podspec

FACTS = Facts("198.19.1.2", "node-1", "198.18.240.1")
NAMES = st.text("ABC", min_size=1, max_size=2)


# -- references -----------------------------------------------------------------------------------


@given(st.dictionaries(NAMES, st.text("xyz$()", max_size=4)), st.text("AB$() ", max_size=20))
def test_expansion_never_looks_at_what_it_put_in(env: dict[str, str], text: str) -> None:
    marked = {key: f"<{index}>" for index, key in enumerate(env)}
    expanded = kubelet_config.expand(text, marked)
    for index, (_, value) in enumerate(env.items()):
        expanded = expanded.replace(f"<{index}>", f"\0{value}\0")
    assert expanded.replace("\0", "") == kubelet_config.expand(text, env)


@given(st.text("AB$() ", max_size=20).filter(lambda text: "$" not in text))
def test_text_without_a_dollar_is_untouched(text: str) -> None:
    assert kubelet_config.expand(text, {"A": "1", "B": "2"}) == text


def test_downward_fields_are_read_from_the_pod() -> None:
    item = pod("a")
    item["metadata"]["labels"]["tier"] = "front"
    assert kubelet_config.field_value(item, "metadata.labels['tier']", FACTS) == "front"
    assert kubelet_config.field_value(item, "status.podIP", FACTS) == "198.19.1.2"
    with pytest.raises(ConfigError, match=r"unsupported fieldPath: spec\.x"):
        kubelet_config.field_value(item, "spec.x", FACTS)


def test_optional_references_may_be_missing() -> None:
    env = [
        {
            "name": "X",
            "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": True}},
        }
    ]
    spec = container(env=env, envFrom=[{"configMapRef": {"name": "none", "optional": True}}])
    found = kubelet_config.environment(pod("a"), spec, FACTS, lambda *_: None)
    assert found == {"HOSTNAME": "a"}


def test_limits_can_be_read_in_units() -> None:
    reference = {"resource": "limits.memory", "divisor": "1Mi"}
    spec = container(
        resources={"limits": {"memory": "96Mi"}},
        env=[{"name": "LIMIT", "valueFrom": {"resourceFieldRef": reference}}],
    )
    assert kubelet_config.environment(pod("a"), spec, FACTS, lambda *_: None)["LIMIT"] == "96"


def test_a_sub_path_mounts_one_file() -> None:
    volumes = kubelet_config.PodVolumes(files={"conf": {"a.yaml": "1", "b.yaml": "2"}})
    mount = {"name": "conf", "mountPath": "/etc/app.yaml", "subPath": "b.yaml"}
    assert volumes.into({"volumeMounts": [mount]}).files == {"/etc/app.yaml": "2"}


def test_image_ids_name_the_repository_without_the_tag() -> None:
    assert image_id("registry:5000/team/web:1.2").startswith("registry:5000/team/web@sha256:")
    assert image_id("web:1") != image_id("web:2")


# -- states ---------------------------------------------------------------------------------------


def ended(code: int) -> Object:
    return kubelet_status.terminated("x", code, started=START, finished=START, container_id="c")


@pytest.mark.parametrize(
    ("policy", "states", "expected"),
    [
        ("Always", [kubelet_status.waiting("ContainerCreating")], "Pending"),
        ("Always", [kubelet_status.running(START), kubelet_status.waiting("x")], "Pending"),
        ("Always", [kubelet_status.running(START), ended(1)], "Running"),
        ("Always", [ended(0)], "Running"),
        ("OnFailure", [ended(1)], "Running"),
        ("OnFailure", [ended(0), ended(0)], "Succeeded"),
        ("Never", [ended(0), ended(1)], "Failed"),
    ],
)
def test_phases_follow_from_container_states(
    policy: str, states: list[Object], expected: str
) -> None:
    views = [ContainerView("c", "web:1", state=state) for state in states]
    assert kubelet_status.phase({"restartPolicy": policy}, [], views) == expected


def test_quality_of_service_follows_from_resources() -> None:
    same = {"cpu": "1", "memory": "1Gi"}
    guaranteed = {"resources": {"limits": same}}
    assert podspec.qos_class({"containers": [guaranteed]}) == "Guaranteed"
    assert podspec.qos_class({"containers": [guaranteed, {}]}) == "Burstable"
    assert podspec.qos_class({"containers": [{}]}) == "BestEffort"


def test_init_containers_raise_what_a_pod_requests() -> None:
    spec = {
        "initContainers": [{"resources": {"requests": {"cpu": "2"}}}],
        "containers": [{"resources": {"requests": {"cpu": "500m"}}}] * 2,
    }
    assert podspec.resource_requests(spec) == {"cpu": 2.0}


def member(name: str, *, node: str = "n", ready: bool = True, age: float = 100.0) -> Object:
    found = pod(name, nodeName=node) if node else pod(name)
    found["metadata"]["creationTimestamp"] = rfc3339(START - age)
    mark = {"type": "Ready", "status": str(ready), "lastTransitionTime": rfc3339(START - age)}
    found["status"] = {"phase": "Running" if node else "Pending", "conditions": [mark]}
    return found


def test_the_least_useful_pods_are_deleted_first() -> None:
    group = [
        member("old", node="a", age=900),
        member("young", node="b", age=10),
        member("crowded", node="c", age=500),
        member("crowding", node="c", age=600),
        member("unready", node="d", ready=False),
        member("unplaced", node="", ready=False),
    ]
    order = [name_of(item) for item in pods.deletion_order(group)]
    assert order == ["unplaced", "unready", "crowded", "crowding", "young", "old"]


# -- the work queue -------------------------------------------------------------------------------


def test_a_key_added_many_times_is_processed_once() -> None:
    loop, seen = VirtualLoop(0.0), list[Key]()
    queue = WorkQueue(loop, seen.append, lambda: 0.02)
    for _ in range(5):
        queue.add(("shop", "a"))
    queue.add_after(("shop", "a"), 10.0)
    loop.run_until(60.0)
    assert seen == [("shop", "a")]
    assert not len(queue)


def test_an_earlier_time_replaces_a_later_one() -> None:
    loop, times = VirtualLoop(0.0), list[float]()
    queue = WorkQueue(loop, lambda _: times.append(loop.time()), lambda: 0.0)
    queue.add_after(("", "a"), 50.0)
    queue.add_after(("", "a"), 5.0)
    loop.run_until(60.0)
    assert times == [5.0]


def test_a_refused_key_comes_back_with_growing_delays_and_its_reason() -> None:
    loop, times = VirtualLoop(0.0), list[float]()

    def refuse(_key: Key) -> None:
        times.append(loop.time())
        if len(times) < 6:
            raise KubeError(409, "Conflict", "changed meanwhile")

    queue = WorkQueue(loop, refuse, lambda: 0.0)
    queue.add(("", "a"))
    loop.run_until(0.001)
    assert queue.last_error["", "a"].reason == "Conflict"
    loop.run_until(60.0)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == pytest.approx([0.005, 0.01, 0.02, 0.04, 0.08])
    assert not queue.last_error


def test_a_defect_of_a_controller_stops_the_world() -> None:
    loop = VirtualLoop(0.0)

    def broken(_key: Key) -> None:
        raise KeyError("spec")

    WorkQueue(loop, broken, lambda: 0.0).add(("", "a"))
    with pytest.raises(WorldFailure, match="spec"):
        loop.run_until(1.0)
