"""The observer's objects: what is filled in, what they may, and that a cluster takes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_served import NAMESPACE, end, hotel, standing

from aiopslab import content
from aiopslab.environments.cluster.labels import has, ours
from aiopslab.environments.cluster.observer import MANIFEST, Place, observer_objects, place
from aiopslab.environments.sim import Sim
from aiopslab.models.kube import Object
from aiopslab.observer.observer import watched
from aiopslab.observer.settings import HTTP_PORT, OTLP_PORT
from aiopslab.world.kube.kinds import BY_KIND
from aiopslab.world.kube.quantity import amount

LAB = "lab-x1"
ODD = 'a: "b" # {c}\n- $d'


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    sim = hotel()
    yield sim
    end(sim)


def objects(token: str = "t") -> list[Object]:
    return observer_objects(Place(LAB, NAMESPACE, "hotel", "aiopslab-lab:1", token), "x1")


def of_kind(kind: str) -> Object:
    (found,) = [obj for obj in objects() if obj["kind"] == kind]
    return found


def test_the_manifest_declares_what_is_filled_in() -> None:
    text = next(iter(content.files("telemetry", MANIFEST))).read_text()
    used = set(re.findall(r"\$\{(\w+)\}", text.split("\n", 1)[1])) - {"like_this"}
    declared = set(re.findall(r"^#   (\w+) ", text, re.MULTILINE))
    assert used == declared == {field.name for field in fields(Place)}
    assert "${" not in yaml.safe_dump(objects())


def test_what_is_filled_in_is_never_read_as_yaml() -> None:
    (secret,) = [obj for obj in objects(ODD) if obj["kind"] == "Secret"]
    assert secret["stringData"] == {"token": ODD}


def test_everything_is_the_trials() -> None:
    assert all(has(obj, ours("x1", part="observer")) for obj in objects())
    spaces = {obj["metadata"].get("namespace", "") for obj in objects()}
    assert spaces == {"", LAB, NAMESPACE}


def test_it_may_watch_what_it_watches_and_nothing_else(sim: Sim) -> None:
    rules = of_kind("Role")["rules"] + of_kind("ClusterRole")["rules"]
    may = {
        (group, resource)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if "watch" in rule["verbs"]
    }
    kinds = [BY_KIND[w.kind] for w in watched(NAMESPACE)]
    assert may == {(kind.group, kind.plural) for kind in kinds}
    verbs = {verb for rule in rules for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch"}
    more = {r for rule in rules for r in rule["resources"] if "/" in r}
    assert more == {"nodes/proxy", "pods/log", "pods/proxy"}
    assert place(sim.app, lab=LAB, image="i", token="t").namespace == NAMESPACE


def test_it_is_confined_and_fits_a_laptop() -> None:
    spec = of_kind("Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    requests = container["resources"]["requests"]
    assert amount(requests["cpu"]) <= 0.2
    assert amount(requests["memory"]) <= 512 * 2**20
    limit_mib = next(e["value"] for e in container["env"] if e["name"] == "OBSERVER_LIMIT_MIB")
    # Python, its libraries, and copies while something grows take the rest.
    assert 1.8 * int(limit_mib) * 2**20 <= amount(container["resources"]["limits"]["memory"])


def test_ports_are_those_of_the_program() -> None:
    ports = {p["name"]: p["port"] for p in of_kind("Service")["spec"]["ports"]}
    assert ports == {"http": HTTP_PORT, "otlp": OTLP_PORT}


def test_a_cluster_takes_all_of_it(sim: Sim, tmp_path: Path) -> None:
    with standing(sim, tmp_path) as (cluster, run):
        kube = cluster.kube()

        async def scene() -> list[Any]:
            space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LAB}}
            await kube.create(space, actor="t")
            made = [await kube.create(obj, actor="t") for obj in objects()]
            return [obj["kind"] for obj in made]

        assert run(scene()) == [obj["kind"] for obj in objects()]
