"""The observer on a real cluster: a small app of busybox, in namespaces that go afterwards.

``AIOPSLAB_TEST_KUBECONFIG`` names the kubeconfig, ``AIOPSLAB_TEST_BUSYBOX`` an image that the
cluster has.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aiopslab.environments.cluster.cleaning import clean
from aiopslab.environments.cluster.connection import Connection, Reach
from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.labels import ours
from aiopslab.observer.lacks import Lacks
from aiopslab.observer.observer import Observer
from aiopslab.services.catalogue import load_app
from aiopslab.services.real.clock import WallClock

KUBECONFIG = os.environ.get("AIOPSLAB_TEST_KUBECONFIG", "")
NOW = WallClock().now
IMAGE = os.environ.get("AIOPSLAB_TEST_BUSYBOX", "busybox:1.36")
SAYING = 'i=0; while true; do i=$((i+1)); echo "level=warn n=$i"; sleep 1; done'
pytestmark = [
    pytest.mark.kind,
    pytest.mark.skipif(not KUBECONFIG, reason="AIOPSLAB_TEST_KUBECONFIG is not set"),
    pytest.mark.timeout(300),
]


def deployment(namespace: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "talker"}
    container = {
        "name": "talker", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", SAYING],
        "resources": {"requests": {"cpu": "10m"}, "limits": {"cpu": "100m", "memory": "32Mi"}},
    }  # fmt: skip
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "talker", "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


@contextlib.asynccontextmanager
async def observed() -> AsyncIterator[tuple[ClusterKube, Observer, str]]:
    """Observe a namespace of our own."""
    trial = uuid.uuid4().hex[:8]
    namespace = f"talk-{trial}"
    connection = Connection(Reach(KUBECONFIG, concurrency=16))
    kube = ClusterKube(connection, now=NOW)
    app = load_app("hotel").model_copy(update={"namespace": namespace, "stores": {}})
    observer = Observer(app, connection, NOW, Lacks(NOW), limit=2**28)
    space = {"name": namespace, "labels": ours(trial)}
    try:
        await kube.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": space}, actor="t"
        )  # fmt: skip
        running = asyncio.create_task(observer.run())
        try:
            yield kube, observer, namespace
        finally:
            running.cancel()
            await asyncio.wait([running])
    finally:
        await clean(kube, ours(trial))
        await connection.aclose()


def test_it_sees_what_a_pod_is_uses_says_and_who_changed_it() -> None:
    async def scene() -> None:
        async with observed() as (kube, observer, namespace):
            store = observer.recording.store
            await kube.create(deployment(namespace), actor="t")

            async def until(query: str) -> list[Any]:
                async with asyncio.timeout(120):
                    while not (found := store.promql.instant(query, NOW())):  # noqa: ASYNC110
                        await asyncio.sleep(0.5)
                return found

            await until('kube_deployment_status_replicas_available{deployment="talker"} == 1')
            (memory,) = await until("container_memory_working_set_bytes > 0")
            assert memory.labels["namespace"] == namespace
            assert (memory.labels["container"], memory.labels["image"]) == ("talker", IMAGE)
            assert await until("rate(container_cpu_usage_seconds_total[1m]) > 0")
            assert await until("node_memory_MemTotal_bytes > 2^20")
            assert await until("sum(node_cpu_seconds_total) > 0")
            assert not store.promql.instant(f'{{namespace!="{namespace}",pod!=""}}', NOW())

            rows, total = store.logs.search(start=0, end=9e9, limit=3, newest_first=False)
            assert total >= 3
            assert [(r.service, r.severity, r.line) for r in rows] == [
                ("talker", "WARN", f"level=warn n={n}") for n in (1, 2, 3)
            ]
            reasons = {e.reason for e in store.events(namespace=namespace)}
            assert {"Scheduled", "Started", "SuccessfulCreate"} <= reasons

            observer.begin(clear=False)
            past = len(store.change_records())
            patch = {"spec": {"replicas": 2}}
            await kube.patch("Deployment", "talker", patch, namespace=namespace, actor="t")
            await until('kube_deployment_spec_replicas{deployment="talker"} == 2')
            (change,) = store.change_records()[past:]
            assert (change.actor, change.summary) == ("kubectl-patch", "scale talker: 1 -> 2")
            assert observer.lacks.now == {}

    asyncio.run(scene())
