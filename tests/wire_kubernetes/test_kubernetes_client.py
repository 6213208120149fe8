"""The official Python client against the API over TLS: lists, watches, patches, conflicts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from api_served import config_map, hotel
from streams_lab import served

from aiopslab.wire.identity import on_call

kubernetes = pytest.importorskip("kubernetes", reason="the official Python client is not installed")

Scene = Callable[[Any], None]
CONTAINERS = [{"name": "geo", "env": [{"name": "ADDED", "value": "1"}]}]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Run a scene in a thread of its own, with a client of the served hotel."""

    def run(scene: Scene, who: Any = None) -> None:
        async def serve() -> None:
            sim = hotel(load=0.05, seconds=0.0)
            async with served(sim, tmp_path, who) as lab:
                await asyncio.to_thread(with_client, lab.config, scene)
            await sim.aclose()

        asyncio.run(serve())

    return run


def with_client(config: Path, scene: Scene) -> None:
    client = kubernetes.config.new_client_from_config(str(config))
    try:
        scene(client)
    finally:
        client.rest_client.pool_manager.clear()


def test_lists_and_reads_are_typed(play: Callable[..., None]) -> None:
    def scene(client: Any) -> None:
        core, apps = kubernetes.client.CoreV1Api(client), kubernetes.client.AppsV1Api(client)
        pods = core.list_namespaced_pod("hotel", label_selector="app.kubernetes.io/name=geo")
        assert {p.status.phase for p in pods.items} == {"Running"}
        assert all(p.spec.containers[0].image.startswith("hotel-geo:") for p in pods.items)
        first = core.list_namespaced_pod("hotel", limit=3)
        assert first.metadata.remaining_item_count > 0
        rest = core.list_namespaced_pod("hotel", _continue=first.metadata._continue)
        whole = core.list_namespaced_pod("hotel")
        assert len(first.items) + len(rest.items) == len(whole.items)
        geo = apps.read_namespaced_deployment("geo", "hotel")
        assert geo.status.ready_replicas == 2
        assert geo.metadata.creation_timestamp.year == 2026
        assert kubernetes.client.VersionApi(client).get_code().git_version.startswith("v1.34.")

    play(scene)


def test_a_watch_tells_changes(play: Callable[..., None]) -> None:
    def scene(client: Any) -> None:
        core = kubernetes.client.CoreV1Api(client)
        revision = core.list_namespaced_config_map("hotel").metadata.resource_version
        core.create_namespaced_config_map("hotel", config_map("told", a="1"))
        core.patch_namespaced_config_map("told", "hotel", {"data": {"a": "2"}})
        core.delete_namespaced_config_map("told", "hotel")
        seen = []
        watch = kubernetes.watch.Watch()
        stream = watch.stream(
            core.list_namespaced_config_map, "hotel", resource_version=revision, timeout_seconds=60
        )
        for event in stream:
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                watch.stop()
        assert seen == [("ADDED", "told"), ("MODIFIED", "told"), ("DELETED", "told")]

    play(scene)


def test_patches_of_every_kind_and_the_scale(play: Callable[..., None]) -> None:
    def scene(client: Any) -> None:
        apps = kubernetes.client.AppsV1Api(client)
        body = {"spec": {"template": {"spec": {"containers": CONTAINERS}}}}
        patched = apps.patch_namespaced_deployment("geo", "hotel", body)
        names = {e.name for e in patched.spec.template.spec.containers[0].env}
        assert "ADDED" in names
        assert patched.spec.template.spec.containers[0].image
        operations = [{"op": "replace", "path": "/spec/replicas", "value": 3}]
        assert apps.patch_namespaced_deployment("geo", "hotel", operations).spec.replicas == 3
        scale = apps.patch_namespaced_deployment_scale("geo", "hotel", {"spec": {"replicas": 2}})
        assert scale.spec.replicas == 2
        scale.spec.replicas = 1
        scale.metadata.resource_version = None  # the cluster goes on while we think
        assert apps.replace_namespaced_deployment_scale("geo", "hotel", scale).spec.replicas == 1

    play(scene)


def test_a_stale_replacement_is_a_conflict(play: Callable[..., None]) -> None:
    def scene(client: Any) -> None:
        apps = kubernetes.client.AppsV1Api(client)
        copy = apps.read_namespaced_deployment("review", "hotel")
        copy.spec.replicas = 2
        apps.patch_namespaced_deployment("review", "hotel", {"spec": {"minReadySeconds": 1}})
        with pytest.raises(kubernetes.client.ApiException) as error:
            apps.replace_namespaced_deployment("review", "hotel", copy)
        assert error.value.status == 409
        assert "the object has been modified" in error.value.body

    play(scene)


def test_the_dynamic_client_discovers_and_applies(play: Callable[..., None]) -> None:
    def scene(client: Any) -> None:
        dynamic = kubernetes.dynamic.DynamicClient(client)
        maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
        body = config_map("mine", a="1")
        maps.server_side_apply(body=body, namespace="hotel", field_manager="m")
        assert maps.get(name="mine", namespace="hotel").data.a == "1"
        with pytest.raises(kubernetes.dynamic.exceptions.ConflictError):
            maps.server_side_apply(
                body=config_map("mine", a="2"), namespace="hotel", field_manager="n"
            )
        forced = maps.server_side_apply(
            body=config_map("mine", a="2"), namespace="hotel", field_manager="n",
            force_conflicts=True,
        )  # fmt: skip
        assert forced.data.a == "2"
        deployments = dynamic.resources.get(api_version="apps/v1", kind="Deployment")
        assert deployments.get(name="geo", namespace="hotel").status.readyReplicas == 2

    play(scene)


def test_rights_are_those_of_the_token(play: Callable[..., None]) -> None:
    def scene(client: Any) -> None:
        apps = kubernetes.client.AppsV1Api(client)
        assert apps.list_deployment_for_all_namespaces().items
        with pytest.raises(kubernetes.client.ApiException) as error:
            apps.delete_namespaced_deployment("geo", "hotel")
        assert error.value.status == 403

    play(scene, on_call("oncall", "diagnosis", "hotel"))
