"""The hotel's own manifests, as the API server sees them: real content, all kinds it uses."""

from typing import Any

import pytest

from aiopslab.services.catalogue import load_app
from aiopslab.services.manifests import manifests
from aiopslab.world.kube import snapshot
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.describe.describe import describe
from aiopslab.world.kube.table.table import table

ACTOR = "deploy"


@pytest.fixture
def applied(api: ApiServer) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each manifest with the object it became."""
    return [(sent, api.create(sent, actor=ACTOR)) for sent in manifests(load_app("hotel"), 7)]


def test_applying_a_manifest_again_changes_nothing(
    api: ApiServer, applied: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    assert applied
    for sent, stored in applied:
        metadata = stored["metadata"]
        where = {"namespace": metadata.get("namespace"), "actor": ACTOR}
        assert api.replace(stored, actor=ACTOR) is stored
        assert api.patch(sent["kind"], metadata["name"], sent, **where) is stored
        assert api.patch(sent["kind"], metadata["name"], sent, **where, type="merge") is stored


def test_a_deleted_object_comes_back_whole_from_its_snapshot(
    api: ApiServer, applied: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    namespace = load_app("hotel").namespace
    before = snapshot.take(api.store, namespace)
    assert {o["kind"] for o in before} >= {"Deployment", "StatefulSet", "Secret", "Service"}
    for obj in before:
        api.delete(obj["kind"], obj["metadata"]["name"], namespace, actor=ACTOR)
    assert snapshot.take(api.store, namespace) == []
    for obj in before:
        api.create(obj, actor=ACTOR)
    assert snapshot.take(api.store, namespace) == before


def test_every_object_has_a_row_and_a_page(
    api: ApiServer, applied: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    for _, stored in applied:
        name, namespace = stored["metadata"]["name"], stored["metadata"].get("namespace")
        assert name in table(stored["kind"], [stored], now=api.now(), wide=True)
        page = describe(stored["kind"], name, namespace, api=api, now=api.now())
        assert page.startswith("Name:")
