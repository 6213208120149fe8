"""The agent's identity on a cluster: rights as stored Roles say them, tried with its own token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_issuing import bound, issuing
from cluster_served import NAMESPACE, Cluster, Run, config_map, end, hotel, standing

from aiopslab.environments.cluster import agent as cluster_agent
from aiopslab.environments.cluster.access import Access, Grant, give, objects, take, token
from aiopslab.environments.cluster.agent import Agents
from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.labels import ACCESS, labelled, ours
from aiopslab.errors import InfraError, PreflightError
from aiopslab.models.kube import KubeError
from aiopslab.models.task import Task
from aiopslab.wire.identity import on_call
from aiopslab.world.kube.kinds import KINDS

HOME = "default"
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
TASKS: tuple[Task, ...] = ("detection", "localization", "diagnosis", "mitigation")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[Cluster, Run]]:
    sim = hotel()
    with standing(sim, tmp_path, issuing(sim)) as (cluster, run):
        yield cluster, run
    end(sim)


def test_rights_that_never_come_into_force_are_a_failure_of_the_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiopslab.environments.cluster.access._IN_FORCE_S", 0.3)
    sim, grant = hotel(), Grant("t5", "diagnosis", NAMESPACE, HOME)
    served = standing(sim, tmp_path, issuing(sim, late=1000))
    with served as (cluster, run), pytest.raises(InfraError, match="not in force"):
        run(give(cluster.kube(), grant))
    assert sim.world.api.find("ServiceAccount", grant.name, HOME) is None
    end(sim)


def agent(cluster: Cluster, access: Access) -> ClusterKube:
    return cluster.kube(cluster.config_with(access.token))


async def refused(coro: Any) -> bool:
    try:
        await coro
    except KubeError as error:
        return error.code == 403
    return False


def test_who_diagnoses_looks_and_changes_nothing(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    access = run(give(cluster.kube(), Grant("t1", "diagnosis", NAMESPACE, HOME)))
    kube = agent(cluster, access)

    async def scene() -> None:
        assert await kube.list("Pod", NAMESPACE)
        assert await kube.logs("geo-postgres-0", NAMESPACE)
        assert (await kube.exec("geo-postgres-0", NAMESPACE, ["env"])).code == 0
        assert await kube.list("Node")
        assert "Name:" in await kube.describe("Deployment", "geo", NAMESPACE)
        for kind in ("Pod", "ConfigMap", "Event"):
            assert await refused(kube.list(kind))
            assert await refused(kube.list(kind, "kube-system"))
        assert await refused(kube.list("Namespace"))
        assert await refused(kube.list("Secret", NAMESPACE))
        assert await refused(kube.create(config_map("x"), actor="a"))
        assert await refused(kube.delete("Deployment", "geo", NAMESPACE, actor="a"))
        scale = {"spec": {"replicas": 0}}
        assert await refused(
            kube.patch("Deployment", "geo", scale, namespace=NAMESPACE, type="merge",
                       subresource="scale", actor="a")
        )  # fmt: skip

    run(scene())


def test_who_mitigates_writes_in_the_apps_namespace_alone(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    grant = Grant("t2", "mitigation", NAMESPACE, HOME, look_in=["kube-system"])
    kube = agent(cluster, run(give(cluster.kube(), grant)))

    async def scene() -> None:
        await kube.create(config_map("x"), actor="a")
        await kube.patch("cm", "x", {"data": {"a": "1"}}, namespace=NAMESPACE, actor="a")
        scale = {"spec": {"replicas": 3}}
        await kube.patch("Deployment", "geo", scale, namespace=NAMESPACE, type="merge",
                         subresource="scale", actor="a")  # fmt: skip
        await kube.delete("cm", "x", NAMESPACE, actor="a")
        assert await kube.list("Secret", NAMESPACE)
        await kube.list("Pod", "kube-system")
        assert await refused(kube.list("Secret", "kube-system"))
        for space in ("kube-system", HOME):
            assert await refused(kube.create(config_map("x", namespace=space), actor="a"))
        assert await refused(kube.exec("x", "kube-system", ["env"], container="c"))
        assert await refused(kube.delete("Node", "node-a", None, actor="a"))
        assert await refused(kube.delete("Namespace", NAMESPACE, None, actor="a"))
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": "x"}, "rules": []}  # fmt: skip
        assert await refused(kube.create(role, actor="a"))

    run(scene())


@pytest.mark.parametrize("task", TASKS)
def test_rights_are_no_wider_than_the_simulated_agents(task: Task) -> None:
    grant = Grant("t", task, NAMESPACE, HOME)
    real, simulated = bound(objects(grant), HOME, grant.name), on_call("a", task, NAMESPACE)
    resources = [(k.group, k.plural, k.namespaced) for k in KINDS]
    resources += [("", f"pods/{p}", True) for p in ("exec", "log", "eviction", "portforward")]
    resources += [("", "serviceaccounts/token", True), ("apps", "deployments/scale", True)]
    for group, resource, namespaced in resources:
        for verb in VERBS:
            for space in (NAMESPACE, "elsewhere") if namespaced else ("",):
                if real.allows(verb, group, resource, space):
                    assert simulated.allows(verb, group, resource, space), (verb, resource, space)
                    assert space != "elsewhere"
    assert not real.allows("create", "", "serviceaccounts/token", NAMESPACE)
    for kind in KINDS:
        read = real.allows("list", kind.group, kind.plural, NAMESPACE if kind.namespaced else "")
        assert read is (kind.kind not in ("Secret", "Namespace") or (task == "mitigation"
                        and kind.kind == "Secret"))  # fmt: skip
        if kind.namespaced:
            writes = real.allows("patch", kind.group, kind.plural, NAMESPACE)
            assert writes is (task == "mitigation")


def test_commands_can_be_left_out() -> None:
    grant = Grant("t", "diagnosis", NAMESPACE, HOME, commands=False)
    assert not bound(objects(grant), HOME, grant.name).allows("create", "", "pods/exec", NAMESPACE)


def test_tokens_are_asked_for_their_time_and_at_least_ten_minutes(
    lab: tuple[Cluster, Run],
) -> None:
    cluster, run = lab
    grant = Grant("t3", "detection", NAMESPACE, HOME)
    access = run(give(cluster.kube(), grant, lasts_s=7200))
    assert (access.user, access.expires) == ("system:serviceaccount:default:on-call-t3", "7200")
    again = run(token(cluster.kube(), grant, lasts_s=5))
    assert again.token != access.token
    assert again.expires == "600"


def test_an_identity_is_labelled_stays_out_of_the_snapshot_and_goes_without_a_trace(
    lab: tuple[Cluster, Run],
) -> None:
    cluster, run = lab
    entries: list[Any] = []
    kube = cluster.kube(recorder=lambda *entry: entries.append(entry))
    before = run(kube.snapshot(NAMESPACE))
    grants = [Grant(t, "mitigation", NAMESPACE, HOME) for t in ("one", "two")]
    for grant in grants:
        run(give(kube, grant))
        with pytest.raises(KubeError, match="already exists"):
            run(give(kube, grant))
    assert run(kube.snapshot(NAMESPACE)) == before
    for obj in objects(grants[0]):
        meta = obj["metadata"]
        stored = run(kube.get(obj["kind"], meta["name"], meta.get("namespace")))
        assert ours("one").items() <= stored["metadata"]["labels"].items()
    cleaned = run(take(kube, "one"))
    assert (len(cleaned.removed), cleaned.left.objects) == (5, ())
    assert run(kube.get("ServiceAccount", "on-call-two", HOME))
    with pytest.raises(KubeError, match="not found"):
        run(token(kube, grants[0]))
    assert entries == []


def test_half_an_identity_is_taken_back(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    grant = Grant("t4", "diagnosis", NAMESPACE, HOME, look_in=["nowhere"])
    with pytest.raises(KubeError, match="nowhere"):
        run(give(cluster.kube(), grant))
    assert all(
        cluster.sim.world.api.find(kind, grant.name, space) is None
        for kind in ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
        for space in (HOME, NAMESPACE)
    )


# -- a long trial ----------------------------------------------------------------------------------


def expired(cluster: Cluster) -> None:
    """Let the server take no token of a ServiceAccount any more that was issued so far."""
    known = cluster.tokens._known
    known[:] = [(t, who) for t, who in known if not who.user.startswith("system:serviceaccount:")]


def test_a_token_that_expires_in_a_trial_is_replaced_for_requests_and_commands(
    lab: tuple[Cluster, Run],
) -> None:
    cluster, run = lab
    agents = Agents(cluster.kube(), Grant("t6", "detection", NAMESPACE, HOME), 600)
    kube = run(agents.view(cluster.sim, "diagnosis")).kube
    expired(cluster)
    assert run(kube.list("Pod", NAMESPACE))
    expired(cluster)
    assert run(kube.exec("geo-postgres-0", NAMESPACE, ["env"])).code == 0
    expired(cluster)
    run(take(cluster.kube(), "t6"))
    with pytest.raises(KubeError) as refusal:
        run(kube.list("Pod", NAMESPACE))
    assert refusal.value.code == 401
    run(agents.end())


def test_an_identity_that_nobody_came_to_use_does_not_keep_out_the_next(
    lab: tuple[Cluster, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, run = lab
    agents = Agents(cluster.kube(), Grant("t7", "detection", NAMESPACE, HOME), 600)

    def failing(*_: Any) -> Any:
        raise PreflightError("no kubeconfig any more")

    monkeypatch.setattr(cluster_agent, "Connection", failing)
    with pytest.raises(PreflightError):
        run(agents.view(cluster.sim, "diagnosis"))
    monkeypatch.undo()
    assert run(run(agents.view(cluster.sim, "diagnosis")).kube.list("Pod", NAMESPACE))
    run(agents.end())
    assert cluster.sim.world.api.find("ServiceAccount", "on-call-t7", HOME) is None


def test_what_an_agent_labels_as_its_rights_is_seen_and_stays(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    kube = cluster.kube()
    run(kube.create(labelled(config_map("hidden"), ours("t8", part=ACCESS)), actor="t"))
    run(give(kube, Grant("t8", "mitigation", NAMESPACE, HOME)))
    names = [obj["metadata"]["name"] for obj in run(kube.snapshot(NAMESPACE))]
    assert "hidden" in names
    assert "on-call-t8" not in names
    run(take(kube, "t8"))
    assert run(kube.get("ConfigMap", "hidden", NAMESPACE))
