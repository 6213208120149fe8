"""Who changed what on a cluster: the recorder, and the names in ``managedFields``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cluster_served import NAMESPACE, Cluster, Run, config_map, end, hotel, standing

from aiopslab.environments.protocol import Kube
from aiopslab.models.kube import KubeError, Object

Entry = tuple[str, str, Object | None, Object | None]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Run]]:
    sim = hotel()
    with standing(sim, tmp_path_factory.mktemp("served")) as (cluster, run):
        yield cluster, run
    end(sim)


async def changes(kube: Kube) -> None:
    """Write in every way, in vain too."""
    await kube.create(config_map("noted", a="1"), actor="alice")
    await kube.create(config_map("unmade"), actor="alice", dry_run=True)
    await kube.replace(config_map("noted", a="2"), actor="bob")
    await kube.patch("cm", "noted", {"data": {"a": "3"}}, namespace=NAMESPACE, actor="carol")
    await kube.patch("cm", "noted", {"data": {"a": "3"}}, namespace=NAMESPACE, actor="nobody")
    scale = {"spec": {"replicas": 3}}
    await kube.patch(
        "Deployment", "geo", scale, namespace=NAMESPACE, type="merge", subresource="scale",
        actor="dave",
    )  # fmt: skip
    applied = config_map("applied", a="1")
    for actor in ("erin", "frank"):
        await kube.apply(
            "cm", "applied", {**applied, "data": {"by": actor}}, namespace=NAMESPACE,
            manager="m", actor=actor,
        )  # fmt: skip
    await kube.delete("cm", "noted", NAMESPACE, actor="grace")
    await kube.delete("Pod", "geo-postgres-0", NAMESPACE, actor="heidi")
    with pytest.raises(KubeError):
        await kube.delete("cm", "noted", NAMESPACE, actor="ivan")


def brief(entry: Entry) -> tuple[str, str, Any, Any]:
    actor, verb, before, after = entry
    shown = [
        obj and (obj["kind"], obj["metadata"]["name"], obj.get("data"),
                 obj.get("spec", {}).get("replicas"), "deletionTimestamp" in obj["metadata"])
        for obj in (before, after)
    ]  # fmt: skip
    return actor, verb, shown[0], shown[1]


def test_the_recorder_hears_what_the_worlds_own_audit_holds(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    entries: list[Entry] = []
    run(changes(cluster.kube(recorder=lambda *entry: entries.append(entry))))
    twin = hotel()
    begun = len(twin.world.api.audit)
    run(changes(twin.kube))
    audit = [(e.actor, e.verb, e.before, e.after) for e in twin.world.api.audit[begun:]]
    end(twin)
    assert [brief(e) for e in entries] == [brief(e) for e in audit]
    assert len(entries) == 8


def managers(obj: Object) -> set[str]:
    return {entry["manager"] for entry in obj["metadata"]["managedFields"]}


def test_fields_are_owned_by_the_lab_or_as_the_simulated_server_would_say(
    lab: tuple[Cluster, Run],
) -> None:
    cluster, run = lab
    ours = run(cluster.kube(manager="aiopslab").create(config_map("ours"), actor="ci"))
    assert managers(ours) == {"aiopslab"}
    plain = run(cluster.kube().create(config_map("plain"), actor="ci"))
    same = run(cluster.sim.kube.create(config_map("same"), actor="ci"))
    assert managers(plain) == managers(same) == {"kubectl-create"}
