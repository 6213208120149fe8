"""The manifests of every app as a real cluster takes them: complete, ours, and hardly different."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import dangling, unmounted

from aiopslab.environments.cluster.images import Images
from aiopslab.environments.cluster.labels import has
from aiopslab.environments.cluster.manifests import (
    ENDPOINT,
    PROBE_S,
    Placement,
    on_cluster,
    placed,
    pod_of,
)
from aiopslab.faults.base import Site
from aiopslab.models.app import App
from aiopslab.models.kube import Object
from aiopslab.services.catalogue import app_names, load_app
from aiopslab.services.manifests import manifests
from aiopslab.services.store_images import published
from aiopslab.world.kube.podsecurity import ENFORCE, problems

APPS = {name: load_app(name) for name in app_names()}
SIMULATED = {name: manifests(app, 7, 1e9) for name, app in APPS.items()}


def addresses(app: App) -> dict[str, str]:
    return {spec.host: f"10.96.0.{i}" for i, spec in enumerate(app.externals.values(), 9)}


def both(app: App, placement: Placement) -> tuple[App, list[Object]]:
    here = placed(app, placement)
    return here, on_cluster(here, manifests(here, 7, 1e9), placement)


def placement_of(app: App, **more: Any) -> Placement:
    return Placement("x7k2p", partners=addresses(app), authority="PEM", **more)


def containers(objects: list[Object]) -> list[tuple[Object, Object]]:
    return [(o, c) for o in objects if (p := pod_of(o)) for c in p["spec"]["containers"]]


REFERENCES = st.from_regex(
    r"[a-z]{1,5}(\.example(:[0-9]{2})?)?/[a-z]{1,5}:[a-z0-9.]{1,5}", fullmatch=True
)
PLACEMENTS = st.builds(
    Placement,
    st.from_regex(r"[a-z0-9]{5}", fullmatch=True),
    st.builds(
        Images,
        st.sampled_from(["", "registry.example:5000/lab/", "localhost/"]),
        st.dictionaries(st.sampled_from(["postgres", "valkey", "nats"]), REFERENCES),
        st.dictionaries(st.sampled_from(["busybox:1.36", "cert-renewer:1.6.2"]), REFERENCES),
    ),
    authority=st.sampled_from(["", "PEM"]),
    nodes=st.sampled_from([frozenset[str](), frozenset({"node-a", "gpu-east-0"})]),
    cpu_share=st.floats(0.05, 2.0),
    storage_class=st.sampled_from(["", "fast"]),
)


@given(st.sampled_from(sorted(APPS)), PLACEMENTS, st.booleans())
def test_everything_that_is_named_is_there_and_carries_our_labels(
    name: str, placement: Placement, partners: bool
) -> None:
    if partners:
        placement.partners.update(addresses(APPS[name]))
    app, objects = both(APPS[name], placement)
    assert dangling(objects) == []
    assert unmounted(objects) == []
    assert all(has(obj, placement.labels) for obj in objects)
    spaces = {o["metadata"].get("namespace", "") for o in objects}
    assert spaces == {"", app.namespace}
    assert app.namespace == f"{APPS[name].namespace}-{placement.trial}"
    keys = [(o["kind"], o["metadata"]["name"]) for o in objects]
    assert len(set(keys)) == len(keys)
    json.dumps(objects)


@given(st.sampled_from(sorted(APPS)), PLACEMENTS)
def test_the_manifests_given_stay_as_they_are(name: str, placement: Placement) -> None:
    app = placed(APPS[name], placement)
    objects = manifests(app, 7, 1e9)
    before = copy.deepcopy(objects)
    on_cluster(app, objects, placement)
    assert objects == before


@pytest.mark.parametrize("name", sorted(APPS))
def test_what_services_are_told_to_do_is_the_same_as_in_the_simulated_world(name: str) -> None:
    _, objects = both(APPS[name], placement_of(APPS[name]))
    here = {(o["kind"], o["metadata"]["name"]): o for o in objects}
    for obj in SIMULATED[name]:
        found = here.get((obj["kind"], obj["metadata"]["name"]))
        if obj["kind"] == "Namespace":
            continue
        assert found is not None, obj["metadata"]
        if obj["kind"] in ("Service", "PodDisruptionBudget", "ResourceQuota"):
            assert found["spec"] == obj["spec"]
        if obj["kind"] in ("Deployment", "StatefulSet"):
            ours, theirs = found["spec"]["template"], obj["spec"]["template"]
            assert ours["metadata"] == theirs["metadata"]
            for mine, its in zip(
                ours["spec"]["containers"], theirs["spec"]["containers"], strict=True
            ):
                assert mine["resources"]["limits"] == its["resources"]["limits"]
                assert [e for e in mine.get("env", []) if e in its.get("env", [])] == its.get(
                    "env", []
                )
                same = ("name", "ports", "envFrom", "args")
                assert [mine.get(k) for k in same] == [its.get(k) for k in same]
                for probe in ("readinessProbe", "livenessProbe"):
                    assert told(mine, probe) == told(its, probe)


@pytest.mark.parametrize("name", sorted(APPS))
def test_no_pod_of_an_apps_namespace_takes_over_its_machine_and_no_pod_of_the_app_is_refused(
    name: str,
) -> None:
    _, objects = both(APPS[name], placement_of(APPS[name]))
    (space,) = [o for o in objects if o["kind"] == "Namespace"]
    level = space["metadata"]["labels"][ENFORCE]
    pods = [p["spec"] for o in objects if (p := pod_of(o))]
    assert pods
    assert [broken for spec in pods for broken in problems(level, spec)] == []
    for spec in (
        {**pods[0], "hostPID": True},
        {**pods[0], "volumes": [{"name": "root", "hostPath": {}}]},
    ):
        assert problems(level, spec)


def test_only_the_apps_own_programs_are_confined_and_send_telemetry() -> None:
    app = APPS["hotel"]
    _, objects = both(app, placement_of(app))
    for obj, container in containers(objects):
        is_service = obj["metadata"]["name"] in app.services
        sends = any(e["name"] == ENDPOINT for e in container.get("env", []))
        assert sends is is_service
        if is_service:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert pod_of(obj)["spec"]["securityContext"]["runAsNonRoot"] is True  # type: ignore[index]


def test_callers_of_partners_find_all_of_them_by_host_name_and_trust_them() -> None:
    app = APPS["hotel"]
    _, objects = both(app, placement_of(app))
    pods = {o["metadata"]["name"]: pod_of(o)["spec"] for o in objects if o["kind"] == "Deployment"}  # type: ignore[index]
    aliases = pods["reservation"]["hostAliases"]
    # It may be configured to call the other one.
    hosts = {"api.cardbridge.example", "api.paylane.example"}
    assert hosts < {host for alias in aliases for host in alias["hostnames"]}
    assert len(aliases) == len(app.externals)
    assert "hostAliases" not in pods["geo"]


@pytest.mark.parametrize("name", ["hotel", "shop"])
def test_the_observer_is_let_in_where_an_ingress_policy_of_the_app_lets_somebody_in(
    name: str,
) -> None:
    app, after = both(APPS[name], placement_of(APPS[name]))
    theirs = [o for o in manifests(app, 7, 1e9) if o["kind"] == "NetworkPolicy"]
    ours = [o for o in after if o["kind"] == "NetworkPolicy"]
    assert theirs
    space = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "lab-x7k2p"}}}
    for was, now in zip(theirs, ours, strict=True):
        for rule, changed in zip(was["spec"]["ingress"], now["spec"]["ingress"], strict=True):
            assert changed == rule | {"from": [*rule["from"], space]}


def test_images_are_those_that_are_named() -> None:
    app = APPS["shop"]
    images = Images(
        registry="localhost/lab/",
        stores={"nats": "own/nats:2"},
        others={"busybox:1.36": "own/box:1", "cert-renewer:1.6.2": "own/renew:1"},
    )
    here, objects = both(app, placement_of(app, images=images))
    used = {c["image"] for _, c in containers(objects)}
    assert "own/nats:2" in used
    assert "own/renew:1" in used
    assert {s.image.ref for s in here.services.values()} <= used
    assert all("/" in ref or ref.startswith("postgres:") for ref in used)
    assert images.partners(app).startswith("localhost/lab/shop-partners:")


def test_where_images_are_pulled_the_stores_are_named_with_their_digests() -> None:
    app = APPS["shop"]
    here, objects = both(app, placement_of(app, images=Images(pinned=True)))
    used = {c["image"] for _, c in containers(objects)}
    for store in here.stores.values():
        assert published(store.image, pinned=True) in used
        assert published(store.image, pinned=False) not in used


def test_a_fault_names_the_image_and_the_namespace_that_are_there() -> None:
    images = Images(registry="localhost/lab/")
    app = placed(APPS["hotel"], placement_of(APPS["hotel"], images=images))
    site = Site(app, "geo")
    assert site.namespace == "hotel-x7k2p"
    assert site.app.services["geo"].image.name == "localhost/lab/hotel-geo"


def told(container: Object, probe: str) -> Object | None:
    """Return a probe without how long it waits for an answer."""
    if (found := container.get(probe)) is None:
        return None
    return {key: value for key, value in found.items() if key != "timeoutSeconds"}


def test_probes_wait_as_long_as_the_app_says_and_never_less_than_a_busy_machine_needs() -> None:
    app = APPS["hotel"]
    geo = app.services["geo"]
    assert geo.readiness is not None
    assert geo.liveness is not None
    slow = geo.model_copy(
        update={
            "readiness": geo.readiness.model_copy(update={"timeout_s": PROBE_S + 4}),
            "liveness": geo.liveness.model_copy(update={"timeout_s": 1}),
        }
    )
    app = app.model_copy(update={"services": {**app.services, "geo": slow}})
    _, objects = both(app, placement_of(app))
    [container] = [c for o, c in containers(objects) if o["metadata"]["name"] == "geo"]
    assert container["readinessProbe"]["timeoutSeconds"] == PROBE_S + 4
    assert container["livenessProbe"]["timeoutSeconds"] == PROBE_S


def test_requests_of_cpu_shrink_and_autoscalers_act_at_the_same_load() -> None:
    app = APPS["hotel"]
    _, objects = both(app, placement_of(app, cpu_share=0.5))
    scaler = next(o for o in objects if o["kind"] == "HorizontalPodAutoscaler")
    (metric,) = scaler["spec"]["metrics"]
    assert metric["resource"]["target"]["averageUtilization"] == 180
    cpu = {o["metadata"]["name"]: c["resources"]["requests"]["cpu"] for o, c in containers(objects)}
    assert cpu["recommendation"] == "125m"


def test_a_node_that_is_not_there_is_not_asked_for() -> None:
    app = APPS["llmserve"]
    tied = {name for name, spec in app.services.items() if spec.node}
    assert tied
    nodes = frozenset(spec.node for spec in app.services.values() if spec.node)
    for known in (frozenset[str](), nodes):
        _, objects = both(app, placement_of(app, nodes=known))
        asking = {
            o["metadata"]["name"]
            for o in objects
            if (p := pod_of(o)) and "nodeSelector" in p["spec"]
        }
        assert asking == (tied if known else set())


def test_a_queue_has_a_user_beside_its_password() -> None:
    app = APPS["shop"]
    _, objects = both(app, placement_of(app))
    texts = [o["data"]["nats.conf"] for o in objects if "nats.conf" in (o.get("data") or {})]
    assert texts
    assert all("authorization {\n  user: default\n  password: $NATS_PASSWORD" in t for t in texts)
