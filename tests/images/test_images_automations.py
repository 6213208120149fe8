"""The images that automations and policies run: kubectl inside the cluster, a pod policy."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from aiopslab.seeds import Streams
from aiopslab.world.container import Container
from aiopslab.world.images.kubectl import Kubectl
from aiopslab.world.images.podpolicy import PORT, PodPolicy, Rules
from aiopslab.world.kube.api import ApiServer

START = 1_773_133_200.0


@pytest.fixture
def api() -> ApiServer:
    server = ApiServer(lambda: START, Streams(3))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "app"}}
    server.create(namespace, actor="system:bootstrap")
    container = {"name": "web", "image": "web:1"}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    place = {"name": "web", "namespace": "app"}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": place, "spec": spec}
    server.create(deployment, actor="alice")
    for name, label in (("web-1", "web"), ("web-2", "web"), ("db-0", "db")):
        meta = {"name": name, "namespace": "app", "labels": {"app": label}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta}
        server.create({**pod, "spec": {"containers": [container]}}, actor="alice")
    return server


Run = Callable[..., tuple[Container, list[str]]]


@pytest.fixture
def kubectl(api: ApiServer, bench: Any) -> Run:
    def run(*words: str) -> tuple[Container, list[str]]:
        box = bench.run("job", Kubectl(api), command=["kubectl", *words])
        bench.loop.run_until(bench.loop.time() + 5.0)
        return box, [line for _, line in box.log_lines()]

    return run


def code(box: Container) -> int:
    assert box.exit is not None
    return box.exit.code


def test_it_deletes_the_pods_of_a_selector(api: ApiServer, kubectl: Run) -> None:
    box, lines = kubectl("delete", "pods", "-l", "app=web", "--grace-period=0")
    assert (code(box), lines) == (0, ['pod "web-1" deleted', 'pod "web-2" deleted'])
    assert [p["metadata"]["name"] for p in api.list("Pod", "app")] == ["db-0"]


def test_it_scales_as_its_service_account(api: ApiServer, kubectl: Run) -> None:
    box, lines = kubectl("scale", "deployment/web", "--replicas=0", "-n", "app")
    assert (code(box), lines) == (0, ["deployment.apps/web scaled"])
    assert api.get("Deployment", "web", "app")["spec"]["replicas"] == 0
    assert api.audit[-1].actor == "system:serviceaccount:app:default"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scale", "deployment/shop", "--replicas=0"], "Error from server (NotFound)"),
        (["scale", "web", "--replicas=0"], "error: there is no need to specify"),
        (["delete", "pods"], "error: unknown command: delete pods"),
        (["delete", "pods", "-x"], "error: unknown shorthand flag: -x"),
    ],
)
def test_what_it_cannot_do_it_says_and_fails(kubectl: Run, words: list[str], said: str) -> None:
    box, lines = kubectl(*words)
    assert code(box) == 1
    assert lines[0].startswith(said)


# -- the policy -----------------------------------------------------------------------------------


def reviewed(env: dict[str, str], pod: dict[str, Any]) -> dict[str, Any]:
    return Rules(env).review({"object": pod})


def pod(**resources: dict[str, str]) -> dict[str, Any]:
    container = {"name": "web", "resources": resources}
    return {"metadata": {"labels": {"team": "a"}}, "spec": {"containers": [container]}}


def test_a_pod_without_the_label_is_refused() -> None:
    answer = reviewed({"REQUIRED_LABEL": "owner"}, pod())
    assert answer["allowed"] is False
    assert answer["status"]["message"] == "pods need the label owner"
    assert reviewed({"REQUIRED_LABEL": "team"}, pod())["allowed"] is True


def test_only_what_is_above_the_cap_is_lowered() -> None:
    asked = pod(requests={"cpu": "50m"}, limits={"cpu": "1", "memory": "1Gi"})
    answer = reviewed({"CPU_CAP": "100m"}, asked)
    assert json.loads(base64.b64decode(answer["patch"])) == [
        {"op": "replace", "path": "/spec/containers/0/resources/limits/cpu", "value": "100m"}
    ]
    assert "patch" not in reviewed({"CPU_CAP": "2"}, asked)


def test_it_listens_until_it_is_told_to_end(bench: Any) -> None:
    box = bench.run("policy", PodPolicy(), env={"CPU_CAP": "100m"})
    bench.loop.run_until(bench.loop.time() + 2.0)
    assert box.netns.listening() == [PORT]
    assert "cpu at most 100m" in box.log_lines()[0][1]
    box.terminate()
    bench.loop.run_until(bench.loop.time() + 1.0)
    assert code(box) == 0
