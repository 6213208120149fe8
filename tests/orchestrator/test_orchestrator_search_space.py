"""What an answer may name, as the answer key keeps it, of the apps that there are."""

from __future__ import annotations

import pytest

from aiopslab.grading.dependency_graph import causal_path, diameter, undirected
from aiopslab.orchestrator.search_space import of_app
from aiopslab.services import catalogue
from aiopslab.tools import vocabulary


@pytest.mark.parametrize("name", catalogue.app_names())
def test_every_service_and_store_lies_on_a_way_from_what_users_call(name: str) -> None:
    app = catalogue.load_app(name)
    space = of_app(app, ["node-x"], vocabulary.causes())
    assert {*app.services, *app.stores, *app.externals, *app.jobs, "node-x"} == {*space.components}
    assert space.components == sorted(space.components)
    graph = undirected(space)
    assert set(graph) <= set(space.components)
    assert set(space.entries.values()) <= set(app.services)
    assert 0 < diameter(graph) < len(graph)
    lost = [n for n in {*app.services, *app.stores} & set(graph) if not causal_path(space, n, [])]
    assert lost == []


def test_the_vocabulary_is_the_published_one() -> None:
    space = of_app(catalogue.load_app("hotel"), [], vocabulary.causes())
    assert space.causes.keys() == vocabulary.causes().keys()
    assert all(kind.family and kind.definition for kind in space.causes.values())
