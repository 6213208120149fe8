"""A kind cluster of ours: what is asked of the ``kind`` program, what is made of its answers."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aiopslab.environments import image_builds, kind_cluster
from aiopslab.environments.cluster.images import Images
from aiopslab.errors import PreflightError
from aiopslab.services.catalogue import load_app

_KIND = """#!/bin/sh
printf '%s\\n' "$*" >> "$KIND_HOME/asked"
case "$*" in
  "get clusters") cat "$KIND_HOME/clusters" ;;
  create*) cat > "$KIND_HOME/config"; echo made >> "$KIND_HOME/clusters" ;;
  *) [ ! -f "$KIND_HOME/refuse" ] || { cat "$KIND_HOME/refuse" >&2; exit 1; } ;;
esac
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``kind`` that writes down what it is asked."""
    program = tmp_path / "kind"
    program.write_text(_KIND)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "clusters").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("KIND_HOME", str(tmp_path))
    return tmp_path


def asked(home: Path) -> list[str]:
    """What kind was asked so far."""
    return (home / "asked").read_text().splitlines()


def test_a_cluster_is_made_of_one_node_whose_image_is_pinned_by_digest(home: Path) -> None:
    kind_cluster.create("lab", kubeconfig="/tmp/config")
    assert asked(home) == ["create cluster --config - --wait 180s --kubeconfig /tmp/config"]
    config = json.loads((home / "config").read_text())
    assert config["name"] == "lab"
    assert [node["role"] for node in config["nodes"]] == ["control-plane"]
    assert "@sha256:" in config["nodes"][0]["image"]
    assert kind_cluster.names() == ["made"]


def test_images_go_onto_the_cluster_that_is_named(home: Path) -> None:
    kind_cluster.load("lab", ["a:1", "b:2"])
    kind_cluster.delete("lab")
    assert asked(home) == [
        "load docker-image --name lab a:1 b:2",
        "delete cluster --name lab",
    ]


def test_what_kind_says_last_is_the_reason(home: Path) -> None:
    (home / "refuse").write_text('working\nERROR: image: "a:1" not present locally\n')
    with pytest.raises(PreflightError, match='image: "a:1" not present locally') as refused:
        kind_cluster.load("lab", ["a:1"])
    assert refused.value.hint == "kind load docker-image --name lab a:1"


def test_a_host_without_kind_is_told_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PreflightError, match="kind is not installed") as refused:
        kind_cluster.names()
    assert "doctor" in refused.value.hint


def test_every_release_that_a_rollout_may_name_has_an_image_of_its_own() -> None:
    app, images = load_app("hotel"), Images("registry.example/lab/")
    refs = [one.ref for one in image_builds.builds(app, images)]
    assert len(refs) == len(set(refs))
    for name, service in app.services.items():
        for version in (service.image.version, *service.releases):
            assert f"registry.example/lab/{service.image.name}:{version}" in refs, name
    assert images.lab in refs
    assert images.partners(app) in refs


def test_an_image_says_which_service_and_version_it_is_and_nothing_of_the_release() -> None:
    app = load_app("hotel")
    for one in image_builds.builds(app, Images())[2:]:
        assert set(one.arguments) == {"APP", "SERVICE", "VERSION"}
        assert one.ref.endswith(f":{one.arguments['VERSION']}")


def test_images_of_stores_are_those_that_the_manifests_name_or_what_stands_for_them() -> None:
    app = load_app("shop")
    usual = image_builds.pulled(app, Images())
    assert {ref.partition(":")[0] for ref in usual} == {"postgres", "valkey/valkey", "nats"}
    for ref, source in usual.items():
        assert source.startswith(f"{ref}@sha256:")
    own = image_builds.pulled(app, Images(stores={"postgres": "mine/pg:17"}))
    assert own["mine/pg:17"] == "mine/pg:17"
    assert not any(ref.startswith("postgres:") for ref in own)


def test_a_stores_image_is_pulled_by_its_digest_and_called_by_its_version() -> None:
    asked: list[tuple[str, ...]] = []
    image = SimpleNamespace(tag=lambda ref: asked.append(("tag", ref)))

    def pull(source: str) -> SimpleNamespace:
        asked.append(("pull", source))
        return image

    client: Any = SimpleNamespace(images=SimpleNamespace(pull=pull))
    image_builds.pull(client, "postgres:17.5", "postgres:17.5@sha256:12ab")
    assert asked == [("pull", "postgres@sha256:12ab"), ("tag", "postgres:17.5")]
    asked.clear()
    image_builds.pull(client, "mine/pg:17", "mine/pg:17")
    assert asked == [("pull", "mine/pg:17")]
