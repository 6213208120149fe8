"""Whatever an agent writes into the namespace of an app is undone, exactly."""

from __future__ import annotations

import copy
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from cluster_served import NAMESPACE, end, hotel
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.environments.cluster.declared import Declared, Ref, declared
from aiopslab.environments.cluster.restoring import Restorer, Undone
from aiopslab.environments.protocol import Kube
from aiopslab.environments.sim import Sim
from aiopslab.models.app import App
from aiopslab.models.kube import KubeError, Object
from aiopslab.services.tls_manifests import members, secret_name

Write = Callable[[Kube], Coroutine[Any, Any, Any]]
AGENT = "oncall"


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Sim, Declared]]:
    sim = hotel()
    sim.run_for(60.0)
    yield sim, sim.run_sync(declared(sim.kube, NAMESPACE))
    end(sim)


class Room:
    """A world at its snapshot, and a way to put it back."""

    def __init__(self, sim: Sim, before: Declared) -> None:
        self.sim, self.before = sim, before
        self.restorer = Restorer(sim.kube, sim.app, before, sim.now)

    def write(self, *writes: Write) -> int:
        """Make the writes; returns how many were not refused."""
        count = 0
        for write in writes:
            try:
                self.sim.run_sync(write(self.sim.kube))
                count += 1
            except KubeError:
                continue
        return count

    def undo(self) -> Undone:
        done = self.sim.run_sync(self.restorer.undo())
        self.sim.run_for(1.0)
        return done

    def differences(self) -> list[str]:
        return self.sim.run_sync(self.restorer.differences())

    def objects(self) -> dict[Any, Object]:
        """Return what is declared, without what is renewed all the time."""
        found = dict(self.sim.run_sync(declared(self.sim.kube, NAMESPACE)).objects)
        for service in members(self.sim.app):
            key = ("Secret", secret_name(service))
            if key in found:
                found[key] = {k: v for k, v in found[key].items() if k != "data"}
        return found


@pytest.fixture
def room(world: tuple[Sim, Declared]) -> Iterator[Room]:
    found = Room(*world)
    yield found
    found.undo()
    found.sim.run_for(30.0)
    assert found.differences() == []


# -- what agents write -----------------------------------------------------------------------------


def patch(kind: str, name: str, body: Any, **more: Any) -> Write:
    return lambda kube: kube.patch(kind, name, body, namespace=NAMESPACE, actor=AGENT, **more)


def delete(kind: str, name: str) -> Write:
    return lambda kube: kube.delete(kind, name, NAMESPACE, actor=AGENT)


def create(obj: Object) -> Write:
    return lambda kube: kube.create(copy.deepcopy(obj), actor=AGENT)


def made(version: str, kind: str, name: str, **parts: Any) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}


LONE = {"containers": [{"name": "x", "image": "busybox:1.36"}]}
DEPLOYED = {
    "selector": {"matchLabels": {"app": "x"}},
    "template": {"metadata": {"labels": {"app": "x"}}, "spec": LONE},
}
NEW = [
    made("v1", "ConfigMap", "notes", data={"a": "1"}),
    made("v1", "ConfigMap", "frozen", data={"a": "1"}, immutable=True),
    made("v1", "Secret", "keys", stringData={"a": "1"}),
    made("networking.k8s.io/v1", "NetworkPolicy", "deny", spec={"podSelector": {}}),
    made("v1", "ResourceQuota", "tight", spec={"hard": {"pods": "0", "configmaps": "1"}}),
    made(
        "v1", "LimitRange", "least", spec={"limits": [{"type": "Container", "min": {"cpu": "9"}}]}
    ),
    made("apps/v1", "Deployment", "extra", spec=DEPLOYED),
    made("v1", "Pod", "debug", spec=LONE),
    made("v1", "Service", "side", spec={"ports": [{"port": 80}], "selector": {"app": "x"}}),
]


def on_deployments(app: App) -> st.SearchStrategy[Write]:
    """Return changes to the services' workloads and to their Services."""
    note = {"kubectl.kubernetes.io/restartedAt": "now"}
    changes: list[tuple[str, Any]] = [
        *(("Deployment", {"spec": {"replicas": count}}) for count in (0, 4, 9)),
        ("Deployment", {"spec": {"template": {"metadata": {"annotations": note}}}}),
        ("Service", {"spec": {"selector": {"app": "none"}}}),
        ("Service", {"spec": {"type": "NodePort"}}),
    ]
    names = st.sampled_from(sorted(app.services))
    return st.builds(
        lambda n, change: patch(change[0], n, change[1]), names, st.sampled_from(changes)
    )


def on_anything(keys: list[Ref]) -> st.SearchStrategy[Write]:
    """Return changes to what objects are called, and deletions."""
    labels = st.sampled_from([{"tier": "x"}, {"app.kubernetes.io/name": "other"}])
    notes = {"metadata": {"annotations": {"note": "x", "owner": None}}}
    kept = [key for key in keys if key[0] != "PersistentVolumeClaim"]

    def labelled(key: Ref, found: dict[str, str]) -> Write:
        return patch(key[0], key[1], {"metadata": {"labels": found}})

    return st.one_of(
        st.sampled_from(kept).map(lambda key: delete(*key)),
        st.builds(labelled, st.sampled_from(keys), labels),
        st.sampled_from(keys).map(lambda key: patch(key[0], key[1], notes, type="merge")),
    )


def writes(sim: Sim, before: Declared) -> st.SearchStrategy[Write]:
    """Return writes to what is there and of what is not."""
    keys = sorted(before.objects)
    maps = st.sampled_from([name for kind, name in keys if kind == "ConfigMap"])
    changes = st.sampled_from([{"data": {"LOG_LEVEL": "x"}}, {"immutable": True}])
    space = {"metadata": {"labels": {"team": "x"}}}
    return st.one_of(
        on_anything(keys),
        on_deployments(sim.app),
        st.sampled_from(NEW).map(create),
        st.builds(lambda name, change: patch("ConfigMap", name, change), maps, changes),
        st.just(lambda kube: kube.patch("Namespace", NAMESPACE, space, actor=AGENT)),
    )


@settings(max_examples=60)
@given(data=st.data())
def test_any_sequence_of_writes_is_undone_exactly(
    world: tuple[Sim, Declared], data: st.DataObject
) -> None:
    room = Room(*world)
    before = room.objects()
    drawn = data.draw(st.lists(writes(*world), min_size=1, max_size=8))
    room.write(*drawn)
    done = room.undo()
    assert done.stuck == []
    assert room.objects() == before
    assert room.differences() == []


# -- one by one ------------------------------------------------------------------------------------


def test_nothing_is_written_where_nothing_but_certificates_was_renewed(room: Room) -> None:
    room.sim.run_for(600.0)
    done = room.undo()
    assert (done.written, done.restarted, done.stuck) == ([], [], [])
    assert room.differences() == []


def test_a_workload_that_was_made_anew_with_other_fixed_fields_comes_back(room: Room) -> None:
    obj = copy.deepcopy(room.before.objects["StatefulSet", "geo-postgres"])
    obj["spec"]["serviceName"] = "elsewhere"
    assert room.write(delete("StatefulSet", "geo-postgres"), create(obj)) == 2
    assert room.differences() == ["StatefulSet geo-postgres has changed"]
    room.undo()
    assert room.differences() == []


def test_pods_that_read_a_setting_that_was_changed_are_made_anew(room: Room) -> None:
    assert room.write(patch("ConfigMap", "geo-config", {"data": {"LOG_LEVEL": "debug"}})) == 1
    done = room.undo()
    assert done.written == [("ConfigMap", "geo-config")]
    assert {name.rsplit("-", 2)[0] for name in done.restarted} == {"geo"}


def test_a_pod_of_its_own_and_one_that_was_taken_out_of_its_service_go(room: Room) -> None:
    pods = room.sim.run_sync(
        room.sim.kube.list("Pod", NAMESPACE, labels="app.kubernetes.io/name=search")
    )
    name = pods[0]["metadata"]["name"]
    alone = made("v1", "Pod", "debug", spec=LONE)
    tagged = patch("Pod", name, {"metadata": {"labels": {"debug": "yes"}}})
    assert room.write(create(alone), tagged) == 2
    done = room.undo()
    assert ("Pod", "debug") in done.written
    assert name in done.restarted


def test_a_claim_that_is_gone_cannot_be_put_back(world: tuple[Sim, Declared]) -> None:
    room = Room(*world)
    name = "data-user-postgres-0"
    taken = room.sim.run_sync(room.sim.kube.get("PersistentVolumeClaim", name, NAMESPACE))
    lost = Declared(
        {**room.before.objects, ("PersistentVolumeClaim", "data-lost-0"): taken},
        room.before.space,
        room.before.loners,
        room.before.revisions,
    )
    restorer = Restorer(room.sim.kube, room.sim.app, lost, room.sim.now)
    done = room.sim.run_sync(restorer.undo())
    assert done.stuck == ["PersistentVolumeClaim data-lost-0 went with its data"]
    assert room.sim.run_sync(restorer.differences()) == [
        "PersistentVolumeClaim data-lost-0 is gone"
    ]


def test_certificates_are_issued_anew_and_valid_from_now(room: Room) -> None:
    room.sim.run_for(300.0)
    assert room.write(delete("Secret", "reservation-tls")) == 1
    done = room.undo()
    assert ("Secret", "reservation-tls") in done.written
    assert done.restarted == []
    assert room.differences() == []


def test_afterwards_nothing_tells_of_the_time_between(room: Room) -> None:
    bad = {"spec": {"template": {"spec": {"containers": [{"name": "geo", "image": "geo:none"}]}}}}
    assert room.write(patch("Deployment", "geo", bad)) == 1
    room.sim.run_for(60.0)
    room.undo()
    room.sim.run_for(60.0)
    kube = room.sim.kube
    room.sim.run_sync(room.restorer.tidy())
    sets = room.sim.run_sync(kube.list("ReplicaSet", NAMESPACE))
    assert {o["metadata"]["name"] for o in sets} == room.before.revisions
    assert room.sim.run_sync(kube.list("Event", NAMESPACE)) == []
    assert room.differences() == []
