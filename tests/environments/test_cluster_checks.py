"""What the doctor finds of a cluster: its context, its server, our rights, its images."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from cluster_served import NAMESPACE, Cluster, Run, end, hotel, standing

from aiopslab.environments.cluster import checks as cluster_checks
from aiopslab.environments.cluster.access import Grant
from aiopslab.environments.cluster.access import objects as grant_objects
from aiopslab.environments.cluster.checks import Right, checks, missing, wanted
from aiopslab.environments.cluster.observer import Place, observer_objects
from aiopslab.environments.host_checks import Finding
from aiopslab.wire.identity import Identity, on_call


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Run]]:
    sim = hotel()
    with standing(sim, tmp_path_factory.mktemp("served")) as (cluster, run):
        yield cluster, run
    end(sim)


@pytest.fixture
def look(lab: tuple[Cluster, Run]) -> Callable[..., dict[str, Finding]]:
    """Look at the served cluster from a thread, as the command does."""
    cluster, run = lab

    def checked(who: Identity | None = None, url: str = "") -> dict[str, Finding]:
        config = cluster.config_of(who)
        config.write_text(config.read_text().replace(cluster.url, url or cluster.url))
        found = run(asyncio.to_thread(checks, str(config)))
        return {finding.what.split()[0]: finding for finding in found}

    return checked


def test_a_cluster_of_ones_own_is_fit(look: Callable[..., dict[str, Finding]]) -> None:
    found = look()
    assert list(found) == ["context", "Kubernetes", "rights", "images"]
    assert all(finding.ok for finding in found.values())
    assert found["Kubernetes"].detail.startswith("v1.34.")


def test_images_are_looked_for_on_the_nodes(look: Callable[..., dict[str, Finding]]) -> None:
    found = look()["images"]
    assert found.needed_for.startswith("-e kubeconfig, ")
    assert "lists some of its images only" in found.detail


def test_rights_that_are_missing_are_named(look: Callable[..., dict[str, Finding]]) -> None:
    found = look(on_call("guest", "diagnosis", NAMESPACE))["rights"]
    assert not found.ok
    assert found.detail.startswith("may not create namespaces, patch namespaces, delete namespaces")
    assert "--clusterrole=cluster-admin" in found.fix


def test_every_right_is_asked_for_by_itself(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    reader = cluster.connect(cluster.config_of(on_call("guest", "diagnosis", NAMESPACE)))
    lacking = run(missing(reader, wanted()))
    assert {right.verb for right in lacking} == {
        "create", "update", "patch", "delete", "deletecollection",
    }  # fmt: skip
    assert str(Right("create", "serviceaccounts/token")) in map(str, lacking)
    assert str(Right("get", "deployments/scale", "apps")) == "get deployments.apps/scale"


def test_what_is_handed_on_to_agents_and_the_observer_is_among_the_rights() -> None:
    asked = {(right.group, right.resource, right.verb) for right in wanted()}
    objects = grant_objects(Grant("t", "mitigation", "app", "lab"))
    filled = Place(lab="lab", namespace="app", app="hotel", image="i", token="t")
    roles = [*objects, *observer_objects(filled, "t")]
    for rule in [rule for obj in roles for rule in obj.get("rules") or ()]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                if (group, resource) != ("", "namespaces"):
                    assert {(group, resource, verb) for verb in rule["verbs"]} <= asked


def test_a_server_that_does_not_answer_is_to_be_asked_by_hand(
    look: Callable[..., dict[str, Finding]],
) -> None:
    found = look(url="https://127.0.0.1:1")["API"]
    assert not found.ok
    assert found.fix == "kubectl --context cluster get --raw /version"


def test_an_old_server_is_not_enough(
    look: Callable[..., dict[str, Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_checks, "LEAST", (9, 0))
    assert not look()["Kubernetes"].ok


def test_a_context_that_must_not_be_used_ends_the_look(
    lab: tuple[Cluster, Run], tmp_path: Path
) -> None:
    cluster, run = lab
    config = cluster.config_of()
    content = yaml.safe_load(config.read_text())
    content["contexts"][0]["name"] = content["current-context"] = "shop-prod"
    config.write_text(yaml.safe_dump(content))
    (found,) = checks(str(config))
    assert (found.what, found.ok) == ("context", False)
    assert "looks like production" in found.detail
    meant = run(asyncio.to_thread(checks, str(config), allow_production=True))
    assert all(finding.ok for finding in meant)
    (gone,) = checks(str(tmp_path / "nowhere"))
    assert "there is no kubeconfig" in gone.detail
