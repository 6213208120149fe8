"""What the doctor finds of images: those of the container engine, those of nodes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aiopslab.environments.cluster.images import Images
from aiopslab.environments.host_checks import Finding
from aiopslab.environments.image_builds import builds, present, pulled
from aiopslab.environments.image_checks import (
    MOST_IMAGES,
    MOST_NAMES,
    Needed,
    needed,
    of_engine,
    of_nodes,
)
from aiopslab.environments.image_names import lacking, whole
from aiopslab.services.catalogue import app_names, load_app

APP = Needed("hotel", ("hotel-rate:2.14.0", "aiopslab-lab:1.0"), ("postgres:17.5", "nats:2.11.4"))
HUB = "docker.io/library/"
EVERYTHING = [f"{HUB}{ref}" for ref in APP.all]


def node(names: list[str], *, name: str = "n1", more: int = 0, **spec: Any) -> dict[str, Any]:
    """A node that lists these images, each with one name, and some of no interest."""
    images = [{"names": [one]} for one in [*names, *(f"other:{i}" for i in range(more))]]
    return {"metadata": {"name": name}, "spec": spec, "status": {"images": images}}


def look(*nodes: dict[str, Any], context: str = "kind-lab", registry: str = "") -> Finding:
    (found,) = of_nodes(nodes, [APP], context, registry)
    return found


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "listed"),
    [
        ("postgres:17.5", "docker.io/library/postgres:17.5"),
        ("valkey/valkey:8.1.1", "docker.io/valkey/valkey:8.1.1"),
        ("index.docker.io/library/nats:2", "nats:2"),
        ("busybox", "docker.io/library/busybox:latest"),
        ("localhost:5000/lab/a:1", "localhost:5000/lab/a:1"),
        ("localhost/a:1", "localhost/a:1"),
        ("registry.example/lab/a", "registry.example/lab/a:latest"),
        ("nats:2.11.4@sha256:12", "docker.io/library/nats@sha256:12"),
    ],
)
def test_names_of_one_image_are_one_name(written: str, listed: str) -> None:
    assert whole(written) == whole(listed)


def test_another_registry_tag_or_digest_is_another_image() -> None:
    names = ["docker.io/library/a:1", "docker.io/library/b@sha256:12"]
    wanted = ["a:1", "a:2", "registry.example/a:1", "b:1@sha256:12", "b:1@sha256:34", "b:1"]
    assert lacking(wanted, names) == ["a:2", "registry.example/a:1", "b:1@sha256:34", "b:1"]


# -- the engine -----------------------------------------------------------------------------------


def engine(*names: str) -> Any:
    """An engine with images, two of which lost their names."""
    listed = [{"RepoTags": [name], "RepoDigests": None} for name in names]
    listed += [{"RepoTags": None, "RepoDigests": []}, {"RepoTags": ["<none>:<none>"]}]
    api = SimpleNamespace(images=lambda: listed)
    return SimpleNamespace(api=api, ping=lambda: True, close=lambda: None)


def test_the_engine_is_asked_once_which_images_it_has() -> None:
    assert present(engine("a:1", "docker.io/library/b:2"), ["a:1", "b:2", "c:3"]) == {"a:1", "b:2"}


def test_every_app_is_looked_for_with_all_that_a_cluster_runs() -> None:
    found = {one.app: one for one in needed("r/")}
    assert list(found) == app_names()
    hotel, images = load_app("hotel"), Images("r/")
    assert found["hotel"].ours == tuple(b.ref for b in builds(hotel, images))
    assert found["hotel"].theirs == tuple(pulled(hotel, images))
    pinned = {one.app: one for one in needed("r/", pinned=True)}
    assert pinned["hotel"].theirs == tuple(pulled(hotel, images).values())
    assert pinned["hotel"].ours == found["hotel"].ours


def test_images_that_the_engine_lacks_are_to_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    docker = pytest.importorskip("docker", reason="the Docker SDK is not installed")
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine:2375")
    monkeypatch.setattr(docker, "from_env", lambda **_: engine("postgres:17.5"))
    (found,) = of_engine([APP])
    assert (found.what, found.ok, found.needed_for) == ("images of hotel", False, "-e kind")
    assert found.detail == (
        "1 of 4 built or pulled; missing: hotel-rate:2.14.0, aiopslab-lab:1.0, nats:2.11.4"
    )
    assert found.fix == "aiopslab cluster up hotel"
    monkeypatch.setattr(docker, "from_env", lambda **_: engine(*APP.all))
    (found,) = of_engine([APP])
    assert (found.ok, found.detail) == (True, "4 of 4 built or pulled")


def test_of_an_engine_that_does_not_answer_nothing_is_said_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("docker", reason="the Docker SDK is not installed")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert of_engine([APP]) == []


# -- nodes ----------------------------------------------------------------------------------------


def test_nodes_that_list_every_image_are_ready() -> None:
    found = look(node(EVERYTHING), node(EVERYTHING, name="n2"))
    assert (found.ok, found.detail) == (True, "4 of 4 on every node")
    assert found.what == "images of hotel on nodes"


def test_images_of_ours_that_a_node_lacks_are_to_be_put_there() -> None:
    found = look(node(EVERYTHING), node(EVERYTHING[1:], name="n2"))
    assert not found.ok
    assert found.detail == "node n2 lacks 1 of 4, to be pulled: hotel-rate:2.14.0"
    assert found.fix.startswith("aiopslab cluster up hotel --name lab, or -E registry=")
    elsewhere = look(node([], more=1), context="lab")
    assert elsewhere.fix.startswith("-E registry=")
    assert elsewhere.detail.endswith("postgres:17.5 and 1 more")


def test_what_can_be_pulled_is_no_obstacle() -> None:
    stores = look(node(EVERYTHING[:2]))
    assert (stores.ok, stores.detail) == (
        True,
        "node n1 lacks 2 of 4, to be pulled: postgres:17.5, nats:2.11.4",
    )
    assert look(node([], more=1), registry="registry.example/lab/").ok


@pytest.mark.parametrize(
    "some",
    [
        node(EVERYTHING[:3], more=MOST_IMAGES - 3),
        node([]),
        {
            "metadata": {"name": "n1"},
            "status": {"images": [{"names": [f"a:{i}" for i in range(MOST_NAMES)]}]},
        },
    ],
)
def test_a_list_that_may_be_cut_proves_no_absence(some: dict[str, Any]) -> None:
    found = look(some)
    assert found.ok
    assert "seen on node n1, which lists some of its images only" in found.detail


def test_a_node_that_surely_lacks_one_is_told_before_one_that_may() -> None:
    found = look(node([], more=MOST_IMAGES), node(EVERYTHING[1:], name="n2"))
    assert found.detail.startswith("node n2 lacks 1 of 4")


def test_nodes_that_take_no_pods_need_no_images() -> None:
    barred = node([], name="control", more=1, taints=[{"key": "k", "effect": "NoSchedule"}])
    cordoned = node([], name="away", more=1, unschedulable=True)
    assert look(barred, cordoned, node(EVERYTHING)).ok
    assert of_nodes([barred], [APP], "kind-lab") == []
