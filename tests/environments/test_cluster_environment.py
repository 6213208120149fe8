"""An app on a cluster: made, healthy, used again, and gone without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_users import offered
from cluster_world import ROWS, TRIAL, Lab, laboratory

from aiopslab.environments.cluster import warm
from aiopslab.environments.cluster.cleaning import inventory
from aiopslab.environments.cluster.environment import outline
from aiopslab.environments.cluster.labels import has, ours
from aiopslab.environments.cluster.readiness import until_ready
from aiopslab.errors import InfraError
from aiopslab.faults.base import restart
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import Object

SPACE, OURS = f"hotel-{TRIAL}", f"lab-{TRIAL}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("served")) as found:
        found.run(found.env.deploy())
        found.run(found.env.snapshot())
        yield found


def unmet(checks: Any) -> list[str]:
    return [f"{c.id}: {c.detail}" for c in checks if not c.met]


def test_a_deployed_app_is_healthy(lab: Lab) -> None:
    async def scenario() -> list[CheckResult]:
        # The world's minutes are much shorter than those of the users here.
        async with asyncio.timeout(120.0):
            while unmet(found := await lab.env.probe()):  # noqa: ASYNC110 - users tell nobody
                await asyncio.sleep(0.1)
        return found

    checks = lab.run(scenario())
    ids = {c.id for c in checks}
    assert {"ready:frontend", "ready:geo-postgres", "slo:search"} <= ids
    assert {"lab", "stores", "seed", "ready", "users"} <= lab.env.took_s.keys()


def test_everything_has_our_labels_and_is_in_two_namespaces(lab: Lab) -> None:
    found = lab.run(inventory(lab.env.quiet, ours(TRIAL)))
    assert {o.namespace for o in found.objects} <= {"", SPACE, OURS}
    for obj in lab.run(lab.env.kube.snapshot(SPACE)):
        made_by_cluster = obj["kind"] == "PersistentVolumeClaim" or (
            obj["kind"] == "ServiceAccount" and obj["metadata"]["name"] == "default"
        )
        if not made_by_cluster:
            assert has(obj, ours(TRIAL)), obj["metadata"]


def test_what_is_shown_beforehand_is_what_is_made(lab: Lab) -> None:
    shown = outline(lab.env.app, lab.placement, lab.env._rooms, lab.env.terms)
    assert set(shown) == {"", SPACE, OURS}
    for space, names in shown.items():
        for kind, _, name in (n.partition("/") for n in names):
            assert lab.exists(kind, name, space or None), (space, kind, name)


def test_what_a_fault_creates_carries_the_labels_of_everything_else(lab: Lab) -> None:
    policy = {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "egress", "namespace": SPACE}, "spec": {"podSelector": {}},
    }  # fmt: skip
    made = lab.run(lab.env.kube.create(policy, actor="platform-bot"))
    assert has(made, ours(TRIAL))
    lab.run(lab.env.kube.delete("NetworkPolicy", "egress", SPACE, actor="platform-bot"))


def test_an_app_is_calm_once_it_kept_its_promises_for_a_while(lab: Lab) -> None:
    begun = lab.env.now()
    checks = lab.run(lab.env.calm())
    assert {c.id: c.met for c in checks} == {"slo:book": True, "slo:search": True}
    assert lab.env.now() - begun >= warm._CALM_S


def test_rows_are_counted_by_the_stores_themselves(lab: Lab) -> None:
    digest = lab.run(lab.env.data_digest())
    assert digest["table:geo-postgres/hotels"] == ROWS
    assert digest.keys() == lab.sim.world.registry.rows().keys()


def test_a_store_that_is_away_is_as_it_was_last_seen(lab: Lab) -> None:
    before = lab.run(lab.env.data_digest())
    lab.run(lab.env.kube.delete("Pod", "geo-postgres-0", SPACE, actor="kim"))
    assert lab.run(lab.env.data_digest()) == before


# -- what is not ready -----------------------------------------------------------------------------


def told(lab: Lab, timeout_s: float = 3.0) -> str:
    with pytest.raises(InfraError) as error:
        lab.run(until_ready(lab.env.quiet, SPACE, timeout_s))
    return str(error.value)


def extra(image: str, **container: Any) -> Object:
    """Return a workload of one container."""
    labels = {"app.kubernetes.io/name": "extra"}
    first = {"name": "extra", "image": image, **container}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [first]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": "extra", "namespace": SPACE}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


PROBE = {"httpGet": {"path": "/", "port": 9}, "periodSeconds": 1, "failureThreshold": 1}
BROKEN: dict[str, tuple[Object, list[str]]] = {
    "an image that is not there": (
        extra("nowhere/extra:9"),
        ["extra: 0 of 1 replicas ready; pod extra-", "image nowhere/extra:9 waits: ",
         "event: Failed: Failed to pull image"],
    ),
    "a program that ends": (
        extra("busybox:1.36", command=["sh", "-c", "echo no settings; exit 3"]),
        ["image busybox:1.36", "code 3", "log: no settings", "event: BackOff: "],
    ),
    "a probe that fails": (
        extra("busybox:1.36", command=["sleep", "900"], readinessProbe=PROBE),
        ["runs, but its probe fails", "event: Unhealthy: Readiness probe failed"],
    ),
    "no room": (
        extra("busybox:1.36", resources={"requests": {"cpu": "90"}}),
        ["is Pending: Unschedulable: 0/3 nodes are available", "FailedScheduling"],
    ),
    "a setting that is not there": (
        extra("busybox:1.36", envFrom=[{"configMapRef": {"name": "none"}}]),
        ["CreateContainerConfigError", 'configmap "none" not found'],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_of_a_pod_that_is_not_ready_the_reason_is_told(lab: Lab, name: str) -> None:
    obj, words = BROKEN[name]
    lab.run(lab.env.kube.create(obj, actor="dev"))
    try:
        text = told(lab)
    finally:
        lab.run(lab.env.kube.delete("Deployment", "extra", SPACE, actor="dev"))
    assert text.startswith("ready: not after 3 s")
    for word in words:
        assert word in text, text


def test_of_pods_that_are_refused_the_reason_is_told(lab: Lab) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"pods": "1"}},
             "metadata": {"name": "tight", "namespace": SPACE}}  # fmt: skip
    for obj in (quota, extra("busybox:1.36", command=["sleep", "900"])):
        lab.run(lab.env.kube.create(obj, actor="dev"))
    try:
        text = told(lab)
    finally:
        lab.run(lab.env.kube.delete("Deployment", "extra", SPACE, actor="dev"))
        lab.run(lab.env.kube.delete("ResourceQuota", "tight", SPACE, actor="dev"))
    assert "extra: 0 of 1 replicas ready; FailedCreate: " in text
    assert "exceeded quota: tight" in text


# -- used again ------------------------------------------------------------------------------------


def test_what_was_changed_is_put_back_and_looked_at(lab: Lab) -> None:
    async def broken() -> None:
        kube, env = lab.env.kube, lab.env
        bad = {"containers": [{"name": "geo", "image": "registry.example/lab/hotel-geo:none"}]}
        await kube.patch("Deployment", "geo", {"spec": {"template": {"spec": bad}}},
                         namespace=SPACE, actor="dev")  # fmt: skip
        await kube.delete("Service", "rate", SPACE, actor="kim")
        await kube.patch("ConfigMap", "search-config", {"data": {"LOG_LEVEL": "debug"}},
                         namespace=SPACE, actor="kim")  # fmt: skip
        await restart(env, "Deployment", "profile", actor="kim")
        hook = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 10,
                "metadata": {"name": f"batch-{TRIAL}"}}  # fmt: skip
        await kube.create(hook, actor="platform-bot")
        password = env.password("rate-valkey", "default")
        argv = ["valkey-cli", "-a", password, "CONFIG", "SET", "maxmemory", "1mb"]
        assert (await kube.exec("rate-valkey-0", SPACE, argv)).stdout == "OK\n"

    lab.run(broken())
    assert unmet(lab.run(lab.env.restore())) == []
    assert lab.env.took_s["restore"] < 90.0
    assert not lab.exists("PriorityClass", f"batch-{TRIAL}")
    assert lab.exists("Service", "rate", SPACE)


def test_rows_that_are_gone_are_not_put_back_but_told(lab: Lab) -> None:
    sql = "DELETE FROM areas WHERE id = 1"
    argv = ["psql", "-U", "postgres", "-d", "geo", "-c", sql]
    assert lab.run(lab.env.kube.exec("geo-postgres-0", SPACE, argv)).code == 0
    (words,) = unmet(lab.run(lab.env.restore()))
    assert words == "restored:rows: table:geo-postgres/areas has 29 rows of 30"
    lab.run(lab.env.snapshot())


def test_promises_that_are_not_kept_again_are_told(lab: Lab, monkeypatch: Any) -> None:
    monkeypatch.setattr("aiopslab.environments.cluster.warm._CALM_S", 0.1)
    lab.entry.status = 500
    lab.entry.seen.clear()
    for path in ("/search", "/book"):
        lab.run(offered(lab.entry, path, 30))
    try:
        words = unmet(lab.run(lab.env.restore()))
    finally:
        lab.entry.status = 200
    assert {word.partition(":")[0] for word in words} == {"slo"}


def test_without_a_snapshot_nothing_is_touched(lab: Lab) -> None:
    (words,) = unmet(lab.run(lab.environment().restore()))
    assert words == "snapshot: none was taken"
