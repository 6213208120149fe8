"""The same calls in process and through a connection: the same objects, texts and refusals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from cluster_served import NAMESPACE, Cluster, Run, config_map, end, hotel, standing
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.reading import ClusterReader
from aiopslab.environments.protocol import Kube
from aiopslab.models.kube import KubeError, Object
from aiopslab.world.kube.kinds import KINDS

Call = Callable[[Kube], Awaitable[Any]]


class Both:
    """Two worlds of one seed: one is asked in process, its twin over HTTPS."""

    def __init__(self, cluster: Cluster, run: Run, kube: Kube, twin: ClusterKube) -> None:
        self.cluster, self.run, self.kube, self.twin = cluster, run, kube, twin

    def agree(self, *calls: Call) -> list[Any]:
        """Make the calls in both worlds and return the outcomes, after comparing them."""
        outcomes = []
        for call in calls:
            ours = self.run(outcome(call, self.kube))
            assert self.run(outcome(call, self.twin)) == ours
            outcomes.append(ours)
        return outcomes


def seen(value: Any) -> Any:
    """Return an answer without who manages which field: the surface adds the components' names."""
    if isinstance(value, list):
        return [seen(item) for item in value]
    if isinstance(value, dict) and isinstance(value.get("metadata"), dict):
        kept = {k: v for k, v in value["metadata"].items() if k != "managedFields"}
        return {**value, "metadata": kept}
    return value


async def outcome(call: Call, kube: Kube) -> Any:
    try:
        return seen(await call(kube))
    except KubeError as error:
        details = {k: v for k, v in error.details.items() if v}
        return error.code, error.reason, error.message, details


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    ours, theirs = hotel(), hotel()
    for sim in (ours, theirs):
        sim.run_for(20.0)
    with standing(theirs, tmp_path_factory.mktemp("served")) as (cluster, run):
        yield Both(cluster, run, ours.kube, cluster.kube())
    for sim in (ours, theirs):
        end(sim)


# -- reads -----------------------------------------------------------------------------------------


def test_lists_of_every_kind(both: Both) -> None:
    calls: list[Call] = [lambda kube, k=kind.kind: kube.list(k) for kind in KINDS]
    assert sum(map(len, both.agree(*calls))) > 100


def test_one_object_of_every_kind_and_its_description(both: Both) -> None:
    calls: list[Call] = []
    for kind in KINDS:
        for obj in both.cluster.sim.world.api.list(kind.kind)[:2]:
            name, space = obj["metadata"]["name"], obj["metadata"].get("namespace")
            calls.append(lambda kube, k=kind.kind, n=name, s=space: kube.get(k, n, s))
            calls.append(lambda kube, k=kind.kind, n=name, s=space: kube.describe(k, n, s))
    assert len(both.agree(*calls)) > 40


@pytest.mark.parametrize("wide", [False, True])
def test_tables_of_every_kind(both: Both, wide: bool) -> None:
    calls: list[Call] = [
        lambda kube, k=kind.kind: kube.table(k, NAMESPACE, wide=wide) for kind in KINDS
    ]
    both.agree(*calls)


def test_the_snapshot(both: Both) -> None:
    (snapshot,) = both.agree(lambda kube: kube.snapshot(NAMESPACE))
    assert {"Deployment", "Service", "ConfigMap"} <= {obj["kind"] for obj in snapshot}


@pytest.mark.parametrize("name", ["deploy", "deployments", "Deployment.apps", "DEPLOYMENTS.APPS"])
def test_kinds_by_the_names_that_kubectl_takes(both: Both, name: str) -> None:
    (found,) = both.agree(lambda kube: kube.list(name, NAMESPACE))
    assert found[0]["kind"] == "Deployment"


WORDS = st.sampled_from(["app.kubernetes.io/name", "geo", "rate", "tier", "hotel", "in", "x y"])
OPERATORS = st.sampled_from(["=", "==", "!=", " in (geo,rate)", " notin (geo)", "", "!", "(", "="])
TERMS = st.tuples(WORDS, OPERATORS, st.sampled_from(["geo", "rate", "", "hotel"])).map("".join)
FIELDS = st.tuples(
    st.sampled_from(["metadata.name", "status.phase", "spec.nodeName", "spec.replicas", ""]),
    st.sampled_from(["=", "!=", "==", "~"]),
    st.sampled_from(["Running", "node-a", "", "geo"]),
).map("".join)


@settings(max_examples=60)
@given(labels=st.lists(TERMS, max_size=3).map(",".join))
def test_label_selectors_pick_the_same_or_are_refused_alike(both: Both, labels: str) -> None:
    both.agree(lambda kube: kube.list("Pod", NAMESPACE, labels=labels))


@settings(max_examples=40)
@given(fields=st.lists(FIELDS, max_size=2).map(",".join))
def test_field_selectors_pick_the_same_or_are_refused_alike(both: Both, fields: str) -> None:
    both.agree(lambda kube: kube.list("Pod", NAMESPACE, fields=fields))


def test_lists_of_many_pages(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = ClusterReader._pages

    def short(*args: Any, limit: int = 3) -> Iterator[Object]:
        return pages(*args, limit=limit)

    monkeypatch.setattr(ClusterReader, "_pages", short)
    (found, text, *_) = both.agree(
        lambda kube: kube.list("Pod"),
        lambda kube: kube.table("Pod", NAMESPACE),
        lambda kube: kube.list("Pod", NAMESPACE, labels="app.kubernetes.io/name=geo"),
    )
    assert len(found) > 6
    assert len(text.splitlines()) > 6


# -- writes ----------------------------------------------------------------------------------------


def creates(obj: Any, *, dry_run: bool = False) -> Call:
    return lambda kube: kube.create(obj, actor="tester", dry_run=dry_run)


def replaces(obj: Any, *, dry_run: bool = False) -> Call:
    return lambda kube: kube.replace(obj, actor="tester", dry_run=dry_run)


def patches(name: str, patch: Any, *, kind: str = "Deployment", **more: Any) -> Call:
    return lambda kube: kube.patch(kind, name, patch, namespace=NAMESPACE, actor="tester", **more)


def applies(name: str, config: Any, manager: str = "m", **more: Any) -> Call:
    return lambda kube: kube.apply(
        "ConfigMap", name, config, namespace=NAMESPACE, manager=manager, actor="tester", **more
    )


def deletes(kind: str, name: str, namespace: str | None = NAMESPACE, **more: Any) -> Call:
    return lambda kube: kube.delete(kind, name, namespace, actor="tester", **more)


def without(obj: Object, *keys: str) -> Object:
    return {k: v for k, v in obj.items() if k not in keys}


NAMELESS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": NAMESPACE}}
GENERATED = {**NAMELESS, "metadata": {"namespace": NAMESPACE, "generateName": "made-"}}
STALE = {**NAMELESS, "metadata": {"name": "one", "namespace": NAMESPACE, "resourceVersion": "1"}}
BAD = {**config_map("bad"), "data": {"a": 1}}

CREATES: dict[str, Call] = {
    "a new object": creates(config_map("one", a="1")),
    "a name that is taken": creates(config_map("one", a="1")),
    "a dry run": creates(config_map("two"), dry_run=True),
    "a generated name": creates(GENERATED),
    "no name": creates(NAMELESS),
    "a name that is none": creates(config_map("No_Name")),
    "a namespace that is not there": creates(config_map("x", namespace="nowhere")),
    "a field that is unknown": creates({**config_map("x"), "extra": 1}),
    "a value of the wrong type": creates(BAD),
    "no kind": creates(without(config_map("x"), "kind")),
    "no version": creates(without(config_map("x"), "apiVersion")),
    "a kind that is not served": creates({**config_map("x"), "kind": "Nonesuch"}),
    "a version that is not served": creates({**config_map("x"), "apiVersion": "v9"}),
    "an invalid spec": creates(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {}}
    ),
    "the default namespace": creates(without(config_map("x"), "metadata") | {
        "metadata": {"name": "elsewhere"}}),
    "a cluster-scoped object": creates(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "another"}}
    ),
}  # fmt: skip
CHANGES: dict[str, Call] = {
    "a replacement": replaces(config_map("one", a="2")),
    "a replacement from a stale copy": replaces(STALE),
    "a replacement of nothing": replaces(config_map("nothing")),
    "a replacement that says no name": replaces(NAMELESS),
    "a replacement that is a dry run": replaces(config_map("one", a="3"), dry_run=True),
    "a strategic patch": patches("geo", {"spec": {"template": {"spec": {"containers": [
        {"name": "geo", "env": [{"name": "ADDED", "value": "1"}]}]}}}}),
    "a merge patch": patches("geo", {"metadata": {"labels": {"x": "y"}}}, type="merge"),
    "a JSON patch": patches(
        "geo", [{"op": "replace", "path": "/spec/replicas", "value": 3}], type="json"
    ),
    "a JSON patch whose test fails": patches(
        "geo", [{"op": "test", "path": "/spec/replicas", "value": 9}], type="json"
    ),
    "a JSON patch of a missing path": patches(
        "geo", [{"op": "remove", "path": "/spec/none"}], type="json"
    ),
    "a patch to an unknown field": patches("geo", {"spec": {"nonesuch": 1}}, type="merge"),
    "a patch to a wrong type": patches("geo", {"spec": {"replicas": "x"}}, type="merge"),
    "a patch to an invalid value": patches("geo", {"spec": {"replicas": -1}}),
    "a patch of an immutable field": patches("geo", {"spec": {"selector": {"matchLabels": {
        "app.kubernetes.io/name": "x"}}}}),
    "a patch of nothing": patches("nothing", {}),
    "a patch of a kind that is not served": patches("geo", {}, kind="Nonesuch"),
    "a patch that is a dry run": patches("geo", {"spec": {"replicas": 7}}, dry_run=True),
    "a scale": patches("geo", {"spec": {"replicas": 2}}, type="merge", subresource="scale"),
    "a scale below nothing": patches(
        "geo", {"spec": {"replicas": -2}}, type="merge", subresource="scale"
    ),
    "a scale of what has none": patches(
        "one", {"spec": {}}, kind="ConfigMap", type="merge", subresource="scale"
    ),
}  # fmt: skip
APPLIES: dict[str, Call] = {
    "a new object": applies("applied", config_map("applied", a="1")),
    "again": applies("applied", config_map("applied", a="1")),
    "a field of another manager": applies("applied", config_map("applied", a="2"), "n"),
    "by force": applies("applied", config_map("applied", a="2"), "n", force=True),
    "a dry run": applies("dry", config_map("dry"), dry_run=True),
    "no kind": applies("x", without(config_map("x"), "kind")),
    "another name": applies("x", config_map("y")),
    "an unknown field": applies("x", {**config_map("x"), "extra": 1}),
}
DELETES: dict[str, Call] = {
    "an object": deletes("ConfigMap", "one"),
    "nothing": deletes("ConfigMap", "one"),
    "a kind that is not served": deletes("Nonesuch", "one"),
    "a namespace that is needed": deletes("Namespace", "kube-system", None),
    "a node that is not there": deletes("Node", "nowhere", None),
    "a workload": deletes("Deployment", "review"),
    "a pod": deletes("Pod", "geo-postgres-0"),
    "a pod at once": deletes("Pod", "rate-postgres-0", grace_s=0),
}


def test_writes_change_the_same_or_are_refused_alike(both: Both) -> None:
    for battery in (CREATES, CHANGES, APPLIES, DELETES):
        for name, call in battery.items():
            try:
                both.agree(call)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error
    # Nothing else was changed on the way: the worlds are still twins.
    calls: list[Call] = [lambda kube, k=kind.kind: kube.list(k) for kind in KINDS]
    both.agree(*calls)
