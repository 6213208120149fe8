from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from aiopslab.errors import ContentError
from aiopslab.models.app import App
from aiopslab.services.catalogue import load_app
from aiopslab.services.manifests import manifests, password, service_objects
from aiopslab.services.store_manifests import store_objects

Object = dict[str, Any]


@pytest.fixture(scope="module")
def hotel() -> App:
    return load_app("hotel")


def find(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    return found


def test_every_reference_between_objects_resolves(hotel: App) -> None:
    objects = manifests(hotel, 7)
    names = {(o["kind"], o["metadata"]["name"]) for o in objects}
    assert len(names) == len(objects)
    for obj in objects:
        if obj["kind"] not in ("Deployment", "StatefulSet"):
            continue
        template = obj["spec"]["template"]
        selector = obj["spec"]["selector"]["matchLabels"]
        assert selector.items() <= template["metadata"]["labels"].items()
        (container,) = template["spec"]["containers"]
        for source in container.get("envFrom", []):
            assert ("ConfigMap", source["configMapRef"]["name"]) in names
        for entry in container.get("env", []):
            if "valueFrom" in entry:
                reference = entry["valueFrom"]["secretKeyRef"]
                secret = find(objects, "Secret", reference["name"])
                assert reference["key"] in secret["data"]


def test_what_an_object_needs_comes_before_it(hotel: App) -> None:
    objects = manifests(hotel, 7)
    place = {(o["kind"], o["metadata"]["name"]): i for i, o in enumerate(objects)}
    assert place["Namespace", "hotel"] == 0
    assert place["Secret", "rate-postgres-rate"] < place["StatefulSet", "rate-postgres"]
    assert place["StatefulSet", "rate-postgres"] < place["Deployment", "rate"]
    assert place["ConfigMap", "rate-config"] < place["Deployment", "rate"]
    assert all(o["metadata"].get("namespace") == "hotel" for o in objects[1:])


def test_passwords_repeat_with_the_seed_and_differ_between_users() -> None:
    assert password(7, "a", "u") == password(7, "a", "u")
    assert len({password(7, "a", "u"), password(7, "a", "v"), password(8, "a", "u")}) == 3
    assert len(password(7, "a", "u")) == 24


def test_a_service_gets_configuration_credentials_and_probes(app: App) -> None:
    objects = service_objects(app, "stock")
    assert [o["kind"] for o in objects] == [
        "ConfigMap",
        "Service",
        "Deployment",
        "PodDisruptionBudget",
    ]
    (container,) = find(objects, "Deployment", "stock")["spec"]["template"]["spec"]["containers"]
    assert [entry["name"] for entry in container["env"]] == [
        "DB_USER",
        "DB_PASSWORD",
        "CACHE_PASSWORD",
    ]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["image"] == "shop-stock:2.0.0"


def test_a_database_has_a_secret_per_user_and_its_settings_in_a_file(app: App) -> None:
    objects = store_objects(app, "stock-postgres", lambda user: f"pw-{user}")
    secret = find(objects, "Secret", "stock-postgres-stock")
    assert base64.b64decode(secret["data"]["password"]) == b"pw-stock"
    conf = find(objects, "ConfigMap", "stock-postgres-config")["data"]["postgresql.conf"]
    assert "max_connections = 50\n" in conf
    (container,) = find(objects, "StatefulSet", "stock-postgres")["spec"]["template"]["spec"][
        "containers"
    ]
    assert {"ROLE_STOCK_PASSWORD", "POSTGRES_DB"} == {e["name"] for e in container["env"]}


def test_a_cache_takes_its_settings_on_the_command_line(app: App) -> None:
    objects = store_objects(app, "stock-valkey", lambda user: "pw")
    (container,) = find(objects, "StatefulSet", "stock-valkey")["spec"]["template"]["spec"][
        "containers"
    ]
    args = container["args"]
    assert args[args.index("--maxmemory") + 1] == "16mb"
    assert args[args.index("--requirepass") + 1] == "$(VALKEY_PASSWORD)"


def test_a_broken_manifest_of_an_app_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: App
) -> None:
    folder = tmp_path / "services" / "shop"
    (folder / "manifests").mkdir(parents=True)
    (folder / "app.yaml").write_text("", encoding="utf-8")
    (folder / "manifests" / "x.yaml").write_text("a: [", encoding="utf-8")
    monkeypatch.setenv("AIOPSLAB_CONTENT", str(tmp_path))
    with pytest.raises(ContentError, match=r"x\.yaml: not valid YAML"):
        manifests(app, 1)
