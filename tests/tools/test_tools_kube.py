from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from tools_fakes import FakeEnvironment, add_pod, deployment, template, toolbox

from aiopslab.models.kube import ExecResult
from aiopslab.models.observation import Observation
from aiopslab.models.task import Task
from aiopslab.models.trial import Step
from aiopslab.tools import Toolbox


def call(tools: Toolbox, name: str, /, **arguments: Any) -> Observation:
    return asyncio.run(tools.call(name, arguments))


def shop(task: Task = "mitigation", **how: Any) -> tuple[FakeEnvironment, Toolbox]:
    env, tools = toolbox(task, **how)
    env.kube.add(deployment())
    return env, tools


def current(env: FakeEnvironment, kind: str = "Deployment", name: str = "web") -> Any:
    return env.kube.api.get(kind, name, "shop")


@pytest.mark.parametrize("kind", ["Deployment", "deploy", "deployments", "deployments.apps"])
def test_kinds_are_found_by_all_their_names(kind: str) -> None:
    _, tools = shop()
    seen = call(tools, "k8s_get", kind=kind)
    assert seen.text == "NAME\nweb"
    assert seen.data[0]["metadata"]["name"] == "web"


def test_an_unknown_kind_or_name_is_answered_with_near_ones() -> None:
    _, tools = shop()
    assert "did you mean" in call(tools, "k8s_get", kind="deploymnt").text
    seen = call(tools, "k8s_describe", kind="deploy", name="wed")
    assert "NotFound" in seen.text
    assert "did you mean 'web'" in seen.text


def test_yaml_output_is_the_whole_object_and_cluster_kinds_are_readable() -> None:
    _, tools = shop()
    text = call(tools, "k8s_get", kind="deploy", name="deployment/web", output="yaml").text
    assert "image: shop-web:1.0.0" in text
    assert "managedFields" not in text
    assert call(tools, "k8s_get", kind="namespace").ok


def test_secrets_show_their_data_only_where_the_namespace_may_be_edited() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "web-postgres-web", "namespace": "shop"},
        "data": {"password": base64.b64encode(b"s3cret-word").decode()},
    }
    for task, visible in (("mitigation", True), ("diagnosis", False)):
        env, tools = toolbox(task)  # type: ignore[arg-type]
        env.kube.add(secret)
        for output in ("yaml", "json"):
            seen = call(tools, "k8s_get", kind="secret", output=output)
            assert (secret["data"]["password"] in seen.text) is visible  # type: ignore[index]
            assert "password" in seen.text
        assert (secret["data"]["password"] in json.dumps(seen.data)) is visible  # type: ignore[index]


def test_a_patch_changes_the_object_and_reports_before_and_after() -> None:
    steps: list[Step] = []
    env, tools = shop(record=steps.append)
    seen = call(tools, "k8s_patch", kind="deploy", name="web", patch='{"spec": {"replicas": 5}}')
    assert seen.ok
    assert "spec.replicas: 2 -> 5" in seen.text
    assert current(env)["spec"]["replicas"] == 5
    assert steps[0].effect == "write"
    assert steps[0].before["spec"]["replicas"] == 2
    assert steps[0].after["spec"]["replicas"] == 5
    assert env.kube.api.audit[-1].actor == "oncall"


@pytest.mark.parametrize(
    ("type", "patch"),
    [
        ("json", '[{"op": "replace", "path": "/spec/replicas", "value": 1}]'),
        ("merge", "spec: {replicas: 1}"),
    ],
)
def test_json_and_merge_patches_work_in_json_and_yaml(type: str, patch: str) -> None:
    env, tools = shop()
    assert call(tools, "k8s_patch", kind="deploy", name="web", patch=patch, type=type).ok
    assert current(env)["spec"]["replicas"] == 1


def test_a_patch_that_the_server_refuses_is_answered_in_its_words() -> None:
    _, tools = shop()
    patch = '{"spec": {"replicaz": 1}}'
    seen = call(tools, "k8s_patch", kind="deploy", name="web", patch=patch)
    assert not seen.ok
    assert "Error from server" in seen.text
    assert not call(tools, "k8s_patch", kind="deploy", name="web", patch="[1]").ok
    assert not call(tools, "k8s_patch", kind="deploy", name="web", patch="{").ok


def test_writes_outside_of_the_namespace_are_forbidden() -> None:
    _, tools = shop()
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: kube-system}"
    for seen in (
        call(tools, "k8s_apply", manifest=manifest),
        call(tools, "k8s_delete", kind="node", name="node-a"),
        call(tools, "k8s_delete", kind="pod", name="x", namespace="kube-system"),
        call(tools, "k8s_exec", pod="dns", command="ls", namespace="kube-system"),
    ):
        assert not seen.ok
        assert "Error from server (Forbidden): " in seen.text
        assert 'user "oncall" cannot' in seen.text.lower()


def test_apply_creates_and_then_replaces() -> None:
    env, tools = shop()
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata: {{A: '{}'}}"
    assert "configmaps/x created" in call(tools, "k8s_apply", manifest=text.format(1)).text
    seen = call(tools, "k8s_apply", manifest=text.format(2))
    assert 'data.A: "1" -> "2"' in seen.text
    assert current(env, "ConfigMap", "x")["data"] == {"A": "2"}
    assert not call(tools, "k8s_apply", manifest="just text").ok
    assert not call(tools, "k8s_apply", manifest="").ok


def test_env_image_resources_and_scale_change_the_template() -> None:
    env, tools = shop()
    assert call(tools, "k8s_set_env", name="web", variables=["A=1=2", "MODE-"]).ok
    assert call(tools, "k8s_set_image", name="deployment/web", image="shop-web:1.1.0").ok
    assert call(tools, "k8s_set_resources", name="web", cpu_limit="1").ok
    assert call(tools, "k8s_scale", name="web", replicas="3").ok
    spec = current(env)["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "A", "value": "1=2"}]
    assert container["image"] == "shop-web:1.1.0"
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "128Mi"}
    assert spec["replicas"] == 3


def test_writes_that_cannot_be_meant_are_refused() -> None:
    _, tools = shop()
    assert "KEY=VALUE" in call(tools, "k8s_set_env", name="web", variables=["A"]).text
    assert "at least one" in call(tools, "k8s_set_resources", name="web").text
    assert "not a workload" in call(tools, "k8s_set_image", name="x", image="y", kind="svc").text
    seen = call(tools, "k8s_set_image", name="web", image="y", container="sidecar")
    assert "no container 'sidecar'; there are: web" in seen.text


def with_history(env: FakeEnvironment) -> None:
    """Give the deployment two revisions, the second with another image."""
    owner = current(env)
    reference = {
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "web",
        "uid": owner["metadata"]["uid"], "controller": True,
    }  # fmt: skip
    for number, image in ((1, "shop-web:1.0.0"), (2, "shop-web:2.0.0")):
        made = template("web", image)
        made["metadata"]["labels"]["pod-template-hash"] = f"h{number}"
        labels = {"app.kubernetes.io/name": "web", "pod-template-hash": f"h{number}"}
        env.kube.add(
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {
                    "name": f"web-h{number}", "namespace": "shop", "labels": labels,
                    "ownerReferences": [reference],
                    "annotations": {"deployment.kubernetes.io/revision": str(number)},
                },
                "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": made},
            }
        )  # fmt: skip


def test_undo_brings_the_previous_template_back() -> None:
    env, tools = shop()
    with_history(env)
    call(tools, "k8s_set_image", name="web", image="shop-web:2.0.0")
    assert "shop-web:2.0.0" in call(tools, "k8s_rollout", action="history", name="web").text
    seen = call(tools, "k8s_rollout", action="undo", name="web")
    assert seen.ok
    assert "to revision 1" in seen.text
    made = current(env)["spec"]["template"]
    assert made["spec"]["containers"][0]["image"] == "shop-web:1.0.0"
    assert "pod-template-hash" not in made["metadata"]["labels"]
    wrong = call(tools, "k8s_rollout", action="undo", name="web", revision=9)
    assert "revisions: 1, 2" in wrong.text


def test_undo_without_history_says_so() -> None:
    _, tools = shop()
    assert "no revision before" in call(tools, "k8s_rollout", action="undo", name="web").text


def test_restart_pause_and_resume_patch_the_workload() -> None:
    env, tools = shop()
    assert call(tools, "k8s_rollout", action="restart", name="web").ok
    notes = current(env)["spec"]["template"]["metadata"]["annotations"]
    assert notes == {"kubectl.kubernetes.io/restartedAt": "2026-03-10T09:00:04Z"}
    assert call(tools, "k8s_rollout", action="pause", name="web").ok
    assert current(env)["spec"]["paused"] is True
    assert "resume it first" in call(tools, "k8s_rollout", action="undo", name="web").text
    assert call(tools, "k8s_rollout", action="resume", name="web").ok


def test_rollout_status_tells_progress_from_completion() -> None:
    env, tools = shop("diagnosis")
    status: dict[str, Any] = {"observedGeneration": 1, "updatedReplicas": 1, "replicas": 2}
    env.kube.api.update_status("Deployment", "web", "shop", status, actor="system:test")
    seen = call(tools, "k8s_rollout", action="status", name="web")
    assert "1 out of 2 new replicas have been updated" in seen.text
    status |= {"updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
    env.kube.api.update_status("Deployment", "web", "shop", status, actor="system:test")
    seen = call(tools, "k8s_rollout", action="status", name="web")
    assert "successfully rolled out" in seen.text
    assert seen.data["done"] is True


def test_delete_removes_the_object_and_keeps_what_it_was() -> None:
    steps: list[Step] = []
    env, tools = shop(record=steps.append)
    assert call(tools, "k8s_delete", kind="deploy", name="web").ok
    assert env.kube.api.find("Deployment", "web", "shop") is None
    assert steps[0].before["metadata"]["name"] == "web"


def test_a_command_runs_as_it_is_or_in_a_shell() -> None:
    env, tools = shop()
    add_pod(env, "web-1", "web")
    call(tools, "k8s_exec", pod="web-1", command="cat '/etc/a b'")
    call(tools, "k8s_exec", pod="web-1", command="env | grep MODE")
    assert env.kube.commands == [["cat", "/etc/a b"], ["sh", "-c", "env | grep MODE"]]
    env.kube.answer = ExecResult("", "no such file", 1)
    seen = call(tools, "k8s_exec", pod="web-1", command="cat x")
    assert seen.ok
    assert seen.text == "no such file\ncommand terminated with exit code 1"


def test_stores_are_asked_through_their_own_clients() -> None:
    env, tools = shop()
    add_pod(env, "web-postgres-0", "web-postgres")
    add_pod(env, "web-valkey-0", "web-valkey")
    call(tools, "sql_query", store="web-postgres", sql="SELECT 1")
    call(tools, "cache_command", store="web-valkey", command="CONFIG GET maxmemory")
    assert env.kube.commands == [
        ["psql", "-U", "postgres", "-d", "shop", "-c", "SELECT 1"],
        ["valkey-cli", "CONFIG", "GET", "maxmemory"],
    ]
    env.kube.answer = ExecResult("", 'ERROR:  relation "x" does not exist', 1)
    seen = call(tools, "sql_query", store="web-postgres", sql="SELECT * FROM x")
    assert not seen.ok
    assert "does not exist" in seen.text
    wrong = call(tools, "sql_query", store="web-valkey", sql="SELECT 1")
    assert "is no postgres store" in wrong.text


def test_a_store_without_a_running_pod_says_so() -> None:
    _, tools = shop()
    assert "no pod of" in call(tools, "sql_query", store="web-postgres", sql="SELECT 1").text


def test_a_manifest_with_a_refused_object_changes_nothing() -> None:
    env, tools = shop()
    good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fresh}\ndata: {a: b}"
    seen = call(tools, "k8s_apply", manifest=f"{good}\n---\nkind: ConfigMap\nmetadata: x")
    assert not seen.ok
    assert not [
        o for o in env.kube.api.list("ConfigMap", "shop") if o["metadata"]["name"] == "fresh"
    ]
    assert call(tools, "k8s_apply", manifest=good).ok
