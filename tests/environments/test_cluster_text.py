"""Descriptions and tables of what a real API server answers, with all that it fills in."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.text import ClusterSource, table
from aiopslab.environments.protocol import Kube
from aiopslab.models.kube import KubeError, Object
from aiopslab.models.timestamps import unix
from aiopslab.world.kube.describe.describe import describe
from aiopslab.world.kube.kinds import BY_KIND, Kind

OBJECTS: list[Object] = list(
    yaml.safe_load_all(Path(__file__).with_name("real_objects.yaml").read_text())
)
NOW = unix("2026-04-01T14:51:40Z")


def place(obj: Object) -> tuple[str, str, str | None]:
    return obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace")


class Stored:
    """These objects, as a cluster that has them would answer."""

    def __init__(self, code: int = 404) -> None:
        self.code = code

    def kind(self, name: str) -> Kind:
        return BY_KIND[name]

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        for obj in OBJECTS:
            if place(obj) == (kind, name, namespace):
                return obj
        raise KubeError(self.code, "x", "not for you")

    def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        return [o for o in OBJECTS if o["kind"] == kind and place(o)[2] in (None, namespace)]


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda o: f"{o['kind']}/{o['metadata']['name']}")
def test_every_kind_is_described(obj: Object) -> None:
    text = describe(*place(obj), api=ClusterSource(Stored()), now=NOW)
    assert text.startswith("Name:")
    assert obj["metadata"]["name"] in text.splitlines()[0]


def test_events_of_the_newer_form_have_their_time_and_their_reporter() -> None:
    text = describe("Pod", "run", "demo", api=ClusterSource(Stored()), now=NOW)
    assert text.splitlines()[-1].split() == ["Normal", "Scheduled", "59s", "default-scheduler",
                                             "assigned"]  # fmt: skip


def test_what_may_not_be_seen_is_as_if_it_were_not_there() -> None:
    assert ClusterSource(Stored(403)).find("Lease", "nowhere") is None
    with pytest.raises(KubeError):
        ClusterSource(Stored(500)).find("Lease", "nowhere")


def test_a_table_shows_the_servers_columns() -> None:
    columns = [{"name": "Name", "priority": 0}, {"name": "Ready", "priority": 0},
               {"name": "Node", "priority": 1}]  # fmt: skip
    pages: list[Object] = [
        {"columnDefinitions": columns, "rows": [{"cells": ["a", "1/1", "n"]}]},
        {"columnDefinitions": None, "rows": [{"cells": ["bb", None, "n"]}]},
    ]
    assert table(pages, wide=False) == "NAME   READY\na      1/1\nbb     <none>"
    assert table(pages, wide=True).splitlines()[0].split() == ["NAME", "READY", "NODE"]
    assert table([{"columnDefinitions": columns, "rows": []}], wide=False) == "No resources found"


def test_of_a_server_that_makes_no_tables_the_names_are_shown() -> None:
    pages: list[Object] = [{"kind": "WidgetList", "items": [{"metadata": {"name": "w"}}]}]
    assert table(pages, wide=False) == "NAME\nw"


def test_it_has_every_method_of_the_protocol() -> None:
    wanted = {name for name in vars(Kube) if not name.startswith("_")}
    assert wanted <= set(dir(ClusterKube))
