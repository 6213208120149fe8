"""The life of pods on a node: images, configuration, crashes, probes, the end."""

from __future__ import annotations

import asyncio
import base64

import pytest
from controllers_cluster import GIB, MIB, START, Cluster, container, deployment, pod

from aiopslab.models.kube import KubeError
from aiopslab.services.protocols import ConnectTimeout, Request
from aiopslab.world.kube.kubelet.kubelet import Kubelet
from aiopslab.world.kube.objects import Object, dig, is_true, name_of
from aiopslab.world.kube.options import DeleteOptions


def config_map(name: str, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop"},
        "data": data,
    }


def reason(cluster: Cluster, name: str = "a") -> str:
    state = cluster.state(name)["state"]
    return str(next(iter(state.values())).get("reason", "")) if state else ""


def kubelet_of(cluster: Cluster, name: str) -> Kubelet:
    return cluster.kubelets[cluster.get("Pod", name)["spec"]["nodeName"]]


def lines(cluster: Cluster, name: str = "a", *, previous: bool = False) -> list[str]:
    return [line for _, line in kubelet_of(cluster, name).logs(name, "shop", previous=previous)]


def running(cluster: Cluster, name: str = "a") -> bool:
    return "running" in dig(
        cluster.get("Pod", name), "status", "containerStatuses", 0, "state", default={}
    )


def ready(cluster: Cluster, name: str = "a") -> bool:
    return is_true(cluster.get("Pod", name), "Ready")


# -- start ----------------------------------------------------------------------------------------


def test_a_pod_starts_with_the_events_of_a_real_one(cluster: Cluster) -> None:
    cluster.create(pod("a"))
    cluster.wait_for(lambda: ready(cluster))
    found = sorted(
        cluster.api.list("Event", "shop"), key=lambda e: int(e["metadata"]["resourceVersion"])
    )
    mine = [item["reason"] for item in found if item["involvedObject"]["kind"] == "Pod"]
    assert mine == ["Scheduled", "Pulling", "Pulled", "Created", "Started"]
    status = cluster.get("Pod", "a")["status"]
    assert status["phase"] == "Running"
    assert status["podIP"].startswith("198.19.")
    assert cluster.state("a")["containerID"].startswith("containerd://")


def test_the_second_pod_of_an_image_does_not_pull_it_again() -> None:
    cluster = Cluster(nodes=1)
    cluster.create(pod("a"))
    cluster.wait_for(lambda: running(cluster))
    cluster.create(pod("b"))
    cluster.wait_for(lambda: running(cluster, "b"))
    assert 'Container image "web:1" already present on machine' in cluster.events("Pulled")


def test_a_missing_image_backs_off_and_recovers_when_it_is_corrected(cluster: Cluster) -> None:
    cluster.create(pod("a", container("web:gone")))
    cluster.wait_for(lambda: reason(cluster) == "ErrImagePull")
    cluster.wait_for(lambda: reason(cluster) == "ImagePullBackOff")
    assert 'Back-off pulling image "web:gone"' in cluster.events("BackOff")
    assert any("manifest for web:gone not found" in text for text in cluster.events("Failed"))
    assert cluster.get("Pod", "a")["status"]["phase"] == "Pending"
    with pytest.raises(KubeError, match="trying and failing to pull image"):
        lines(cluster)
    fix = {"spec": {"containers": [{"name": "main", "image": "web:1"}]}}
    cluster.patch("Pod", "a", fix)
    cluster.wait_for(lambda: ready(cluster), limit=30)


def test_a_missing_config_map_holds_the_container_until_it_exists(cluster: Cluster) -> None:
    cluster.create(pod("a", container(envFrom=[{"configMapRef": {"name": "settings"}}])))
    cluster.wait_for(lambda: reason(cluster) == "CreateContainerConfigError")
    assert cluster.state("a")["state"]["waiting"]["message"] == 'configmap "settings" not found'
    cluster.create(config_map("settings", GREETING="hello"))
    cluster.wait_for(lambda: ready(cluster), limit=30)
    assert lines(cluster) == ["starting with hello"]


def test_a_missing_key_is_named(cluster: Cluster) -> None:
    cluster.create(config_map("settings"))
    env = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "GREETING"}}}]
    cluster.create(pod("a", container(env=env)))
    cluster.wait_for(lambda: reason(cluster) == "CreateContainerConfigError")
    message = cluster.state("a")["state"]["waiting"]["message"]
    assert message == "couldn't find key GREETING in ConfigMap shop/settings"


def test_environment_comes_from_every_kind_of_source(cluster: Cluster) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login", "namespace": "shop"},
        "data": {"password": base64.b64encode(b"s3").decode()},
    }
    cluster.create(secret)
    cluster.create(config_map("settings", USER="ann", GREETING="hidden"))
    env = [
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "GREETING", "value": "$(USER):$(PASSWORD):$(NONE):$$(USER)"},
    ]
    cluster.create(pod("a", container(envFrom=[{"configMapRef": {"name": "settings"}}], env=env)))
    cluster.wait_for(lambda: running(cluster))
    assert lines(cluster) == ["starting with ann:s3:$(NONE):$(USER)"]


def test_a_missing_volume_source_keeps_the_pod_creating(cluster: Cluster) -> None:
    volume = {"name": "conf", "configMap": {"name": "files"}}
    mount = {"name": "conf", "mountPath": "/etc/app"}
    cluster.create(pod("a", container(volumeMounts=[mount]), volumes=[volume]))
    cluster.wait(5)
    assert reason(cluster) == "ContainerCreating"
    assert cluster.events("FailedMount")[0].endswith('configmap "files" not found')
    cluster.create(config_map("files", **{"app.yaml": "x: 1"}))
    cluster.wait_for(lambda: running(cluster))
    _, box = next(kubelet_of(cluster, "a").boxes())
    assert box.files["/etc/app/app.yaml"] == "x: 1"
    cluster.patch("ConfigMap", "files", {"data": {"app.yaml": "x: 2"}})
    cluster.wait(90)
    assert box.files["/etc/app/app.yaml"] == "x: 2"


def test_an_unknown_command_is_a_start_error(cluster: Cluster) -> None:
    cluster.create(pod("a", container(command=["/bin/nope"])))
    cluster.wait_for(lambda: reason(cluster) == "StartError")
    assert cluster.state("a")["state"]["terminated"]["exitCode"] == 128
    assert 'exec: "/bin/nope": executable file not found' in cluster.events("Failed")[0]
    cluster.wait_for(lambda: reason(cluster) == "CrashLoopBackOff")


def test_init_containers_run_in_order_before_the_others(cluster: Cluster) -> None:
    first = {"name": "one", "image": "shell:1", "command": ["sleep", "5"]}
    second = {"name": "two", "image": "shell:1", "command": ["sleep", "5"]}
    cluster.create(pod("a", initContainers=[first, second]))
    cluster.wait(8)
    assert reason(cluster) == "PodInitializing"
    assert not is_true(cluster.get("Pod", "a"), "Initialized")
    took = cluster.wait_for(lambda: ready(cluster))
    assert took > 4
    assert is_true(cluster.get("Pod", "a"), "Initialized")


def test_a_failing_init_container_is_tried_again(cluster: Cluster) -> None:
    bad = {"name": "one", "image": "shell:1", "command": ["fail"]}
    cluster.create(pod("a", initContainers=[bad]))
    cluster.wait(40)
    status = cluster.get("Pod", "a")["status"]
    assert status["phase"] == "Pending"
    assert status["initContainerStatuses"][0]["restartCount"] >= 1


# -- crashes --------------------------------------------------------------------------------------


def test_a_crashing_container_backs_off_and_keeps_its_previous_log(cluster: Cluster) -> None:
    env = [{"name": "EXIT", "value": "3"}]
    cluster.create(pod("a", container(env=env)))
    cluster.wait_for(lambda: reason(cluster) == "CrashLoopBackOff")
    state = cluster.state("a")
    assert state["lastState"]["terminated"]["exitCode"] == 3
    assert state["lastState"]["terminated"]["reason"] == "Error"
    assert state["state"]["waiting"]["message"].startswith("back-off 10s restarting failed")
    assert lines(cluster, previous=True) == ["starting with nothing"]
    cluster.wait(120)
    assert cluster.state("a")["restartCount"] in (4, 5)
    assert cluster.get("Pod", "a")["status"]["phase"] == "Running"


def test_too_much_memory_is_oom_killed(cluster: Cluster) -> None:
    resources = {"limits": {"cpu": "100m", "memory": "64Mi"}}
    env = [{"name": "HOLD", "value": str(80 * MIB)}]
    cluster.create(pod("a", container(env=env, resources=resources)))
    cluster.wait_for(lambda: cluster.state("a")["restartCount"] > 0)
    last = cluster.state("a")["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("OOMKilled", 137)


def test_a_pod_that_never_restarts_finishes(cluster: Cluster) -> None:
    done = {"name": "main", "image": "shell:1", "command": ["sleep", "2"]}
    cluster.create(pod("a", done, restartPolicy="Never"))
    cluster.create(pod("b", {**done, "command": ["fail"]}, restartPolicy="Never"))
    cluster.wait_for(lambda: cluster.get("Pod", "a")["status"]["phase"] == "Succeeded")
    assert cluster.get("Pod", "b")["status"]["phase"] == "Failed"
    assert reason(cluster) == "Completed"


def test_a_restart_keeps_the_address(cluster: Cluster) -> None:
    cluster.create(pod("a"))
    cluster.wait_for(lambda: ready(cluster))
    before = cluster.get("Pod", "a")["status"]["podIP"]
    kubelet_of(cluster, "a").restart("a", "shop", "main")
    cluster.wait_for(lambda: cluster.state("a")["restartCount"] == 1 and ready(cluster))
    assert cluster.get("Pod", "a")["status"]["podIP"] == before
    assert cluster.state("a")["lastState"]["terminated"]["exitCode"] == 137


# -- probes ---------------------------------------------------------------------------------------


def test_an_unhealthy_answer_makes_a_pod_unready_with_the_kubelets_words(cluster: Cluster) -> None:
    cluster.create(pod("a", container(env=[{"name": "STATUS", "value": "503"}])))
    cluster.wait(20)
    assert not ready(cluster)
    assert cluster.events("Unhealthy") == [
        "Readiness probe failed: HTTP probe failed with statuscode: 503"
    ]


def test_a_failing_liveness_probe_restarts_the_container(cluster: Cluster) -> None:
    liveness = {"tcpSocket": {"port": 9}, "periodSeconds": 5, "failureThreshold": 2}
    cluster.create(pod("a", container(livenessProbe=liveness)))
    cluster.wait_for(lambda: cluster.state("a")["restartCount"] == 1)
    assert "Container main failed liveness probe, will be restarted" in cluster.events("Killing")
    ip = cluster.get("Pod", "a")["status"]["podIP"]
    expected = f"Liveness probe failed: dial tcp {ip}:9: connect: connection refused"
    assert expected in cluster.events("Unhealthy")


def test_a_startup_probe_holds_the_others_back(cluster: Cluster) -> None:
    startup = {"exec": {"command": ["ping"]}, "initialDelaySeconds": 20, "periodSeconds": 5}
    liveness = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    cluster.create(pod("a", container(startupProbe=startup, livenessProbe=liveness)))
    cluster.wait(15)
    assert cluster.state("a")["started"] is False
    cluster.wait_for(lambda: ready(cluster))
    assert cluster.state("a")["started"] is True
    assert cluster.state("a")["restartCount"] == 0


# -- the end --------------------------------------------------------------------------------------


def test_a_pod_that_ignores_nothing_ends_at_once_and_leaves_the_network(cluster: Cluster) -> None:
    cluster.create(pod("a"))
    cluster.wait_for(lambda: ready(cluster))
    ip = cluster.get("Pod", "a")["status"]["podIP"]
    cluster.api.delete("Pod", "a", "shop", actor="alice")
    assert cluster.wait_for(lambda: not cluster.pods()) < 2
    assert "Stopping container main" in cluster.events("Killing")

    async def dial() -> None:
        await cluster.client.connect(ip, 8080, timeout_s=1.0)

    with pytest.raises(ConnectTimeout):
        cluster.loop.run_until_complete(dial())


def test_a_pre_stop_sleep_delays_the_end(cluster: Cluster) -> None:
    hook = {"preStop": {"sleep": {"seconds": 8}}}
    cluster.create(pod("a", container(lifecycle=hook)))
    cluster.wait_for(lambda: ready(cluster))
    cluster.api.delete("Pod", "a", "shop", actor="alice")
    assert 8 <= cluster.wait_for(lambda: not cluster.pods()) < 10


def test_a_process_that_does_not_end_is_killed_after_its_grace(cluster: Cluster) -> None:
    deaf = {"name": "main", "image": "shell:1", "command": ["sleep", "10000"]}
    cluster.create(pod("a", deaf, terminationGracePeriodSeconds=15))
    cluster.wait_for(lambda: running(cluster))
    cluster.api.delete("Pod", "a", "shop", actor="alice")
    assert 14.5 <= cluster.wait_for(lambda: not cluster.pods()) < 17


def test_a_forced_deletion_kills_at_once(cluster: Cluster) -> None:
    deaf = {"name": "main", "image": "shell:1", "command": ["sleep", "10000"]}
    cluster.create(pod("a", deaf))
    cluster.wait_for(lambda: running(cluster))
    kubelet = kubelet_of(cluster, "a")
    cluster.api.delete("Pod", "a", "shop", actor="alice", options=DeleteOptions(grace_s=0))
    assert not cluster.pods()
    assert not list(kubelet.boxes())


def test_a_crash_looping_pod_can_be_deleted(cluster: Cluster) -> None:
    cluster.create(pod("a", container(env=[{"name": "EXIT", "value": "1"}])))
    cluster.wait_for(lambda: reason(cluster) == "CrashLoopBackOff")
    cluster.api.delete("Pod", "a", "shop", actor="alice")
    cluster.wait_for(lambda: not cluster.pods(), limit=5)
    cluster.wait(60)
    assert not [box for kubelet in cluster.kubelets.values() for box in kubelet.boxes()]


def test_a_pod_deleted_while_its_image_is_pulled_never_starts(cluster: Cluster) -> None:
    cluster.create(pod("a"))
    cluster.wait_for(lambda: bool(cluster.events("Pulling")))
    cluster.api.delete("Pod", "a", "shop", actor="alice")
    cluster.wait_for(lambda: not cluster.pods(), limit=5)
    cluster.wait(10)
    assert not cluster.events("Started")


# -- what operators ask ---------------------------------------------------------------------------


def test_exec_runs_commands_of_the_program(cluster: Cluster) -> None:
    cluster.create(pod("a"))
    cluster.wait_for(lambda: ready(cluster))
    kubelet = kubelet_of(cluster, "a")
    result = cluster.loop.run_until_complete(kubelet.exec("a", "shop", None, ["ping"]))
    assert (result.stdout, result.code) == ("pong\n", 0)
    with pytest.raises(KubeError, match="container x is not valid for pod a"):
        cluster.loop.run_until_complete(kubelet.exec("a", "shop", "x", ["ping"]))


def test_logs_of_a_life_that_was_not_are_refused(cluster: Cluster) -> None:
    cluster.create(pod("a"))
    cluster.wait_for(lambda: ready(cluster))
    with pytest.raises(
        KubeError, match='previous terminated container "main" in pod "a" not found'
    ):
        lines(cluster, previous=True)


def test_nodes_report_what_pods_may_use(cluster: Cluster) -> None:
    node = cluster.api.get("Node", "node-1")
    assert is_true(node, "Ready")
    assert node["status"]["capacity"]["cpu"] == "4"
    assert node["status"]["capacity"]["memory"] == f"{8 * GIB // 1024}Ki"
    assert node["spec"]["podCIDR"] == "198.19.1.0/24"


def test_the_same_seed_gives_the_same_history() -> None:
    def history() -> list[tuple[float, str, str, str]]:
        cluster = Cluster()
        seen: list[tuple[float, str, str, str]] = []
        for kind in ("Pod", "Event"):
            cluster.api.subscribe(
                kind,
                lambda event, obj, _old: seen.append(
                    (cluster.loop.time() - START, event, obj["metadata"]["name"], str(obj))
                ),
            )
        cluster.create(pod("a"))
        cluster.create(pod("b", container(env=[{"name": "EXIT", "value": "1"}])))
        cluster.wait(60)
        return seen

    assert history() == history()


def test_probes_are_requests_of_the_kubelet(cluster: Cluster) -> None:
    cluster.create(pod("a"))
    cluster.wait_for(lambda: ready(cluster))
    ip = cluster.get("Pod", "a")["status"]["podIP"]

    async def ask() -> int:
        async with asyncio.timeout(5):
            connection = await cluster.client.connect(ip, 8080, timeout_s=1.0)
            reply = await connection.call(Request("GET", "/"), timeout_s=1.0)
            return int(reply.status)

    assert cluster.loop.run_until_complete(ask()) == 200


def test_a_pod_for_which_a_node_has_no_address_waits_for_one(cluster: Cluster) -> None:
    many = {"containers": [container()], "nodeName": "node-1", "terminationGracePeriodSeconds": 0}
    cluster.create(deployment("web", replicas=255, pod=many))
    cluster.wait(5)
    held = [item for item in cluster.pods() if "podIP" in item["status"]]
    assert len(held) == 253
    assert "no IP addresses available" in cluster.events("FailedCreatePodSandBox")[0]
    for item in held[:20]:
        cluster.api.delete("Pod", name_of(item), "shop", actor="alice")
    cluster.patch("Deployment", "web", {"spec": {"replicas": 200}})
    cluster.wait(30)
    assert all("podIP" in item["status"] for item in cluster.pods())
