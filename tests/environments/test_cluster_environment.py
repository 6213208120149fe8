"""An app on a cluster: made, healthy, used again, and gone without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cluster_world import TRIAL, Lab, laboratory

from aiopslab.environments.cluster import outline
from aiopslab.environments.cluster_cleaning import inventory
from aiopslab.environments.cluster_labels import has, ours
from aiopslab.faults.base import restart

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
    checks = lab.run(lab.env.probe())
    assert unmet(checks) == []
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


def test_rows_are_counted_by_the_stores_themselves(lab: Lab) -> None:
    digest = lab.run(lab.env.data_digest())
    assert digest["table:geo-postgres/hotels"] == 4200
    assert digest.keys() == lab.sim.world.registry.rows().keys()


def test_a_store_that_is_away_is_as_it_was_last_seen(lab: Lab) -> None:
    before = lab.run(lab.env.data_digest())
    lab.run(lab.env.kube.delete("Pod", "geo-postgres-0", SPACE, actor="kim"))
    assert lab.run(lab.env.data_digest()) == before


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

    lab.run(broken())
    assert unmet(lab.run(lab.env.restore())) == []
    assert lab.env.took_s["restore"] < 90.0
    assert not lab.exists("PriorityClass", f"batch-{TRIAL}")
    assert lab.exists("Service", "rate", SPACE)


def test_a_cache_that_was_set_up_otherwise_is_restarted(lab: Lab) -> None:
    password = lab.env.password("rate-valkey", "default")
    argv = ["valkey-cli", "-a", password, "CONFIG", "SET", "maxmemory", "1mb"]
    done = lab.run(lab.env.kube.exec("rate-valkey-0", SPACE, argv))
    assert done.stdout == "OK\n"
    assert unmet(lab.run(lab.env.restore())) == []


def test_rows_that_are_gone_are_not_put_back_but_told(lab: Lab) -> None:
    sql = "DELETE FROM areas WHERE id = 1"
    argv = ["psql", "-U", "postgres", "-d", "geo", "-c", sql]
    assert lab.run(lab.env.kube.exec("geo-postgres-0", SPACE, argv)).code == 0
    (told,) = unmet(lab.run(lab.env.restore()))
    assert told == "restored:rows: table:geo-postgres/areas has 29 rows of 30"
    lab.run(lab.env.snapshot())


def test_promises_that_are_not_kept_again_are_told(lab: Lab, monkeypatch: Any) -> None:
    monkeypatch.setattr("aiopslab.environments.cluster_warm._CALM_S", 0.1)
    lab.entry.status = 500
    try:
        told = unmet(lab.run(lab.env.restore()))
    finally:
        lab.entry.status = 200
    assert {t.partition(":")[0] for t in told} == {"slo"}


def test_without_a_snapshot_nothing_is_touched(lab: Lab) -> None:
    (told,) = unmet(lab.run(lab.environment().restore()))
    assert told == "snapshot: none was taken"
