"""Held-out variants: other names everywhere, the same structure, draws pinned."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aiopslab import content
from aiopslab.errors import ContentError, UsageError
from aiopslab.models.names import Names
from aiopslab.orchestrator import generation
from aiopslab.problems import catalogue, variant
from aiopslab.problems.draw import draw
from aiopslab.problems.heldout import HeldOutTruth, opaque_name, pin
from aiopslab.problems.renaming import Renaming
from aiopslab.seeds import Streams
from aiopslab.services.catalogue import app_names, load_app
from aiopslab.services.manifests import manifests

RENAMED = Renaming(("hotel", "inns"), {"geo": "places", "geo-db": "places-db", "search": "finder"})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("geo GET /search", "places GET /search"),
        ("http://geo:8080/search?x=1", "http://places:8080/search?x=1"),
        ("scale Deployment/geo below 2", "scale Deployment/places below 2"),
        ("image: hotel-geo:1.2 -> hotel-geo:1.3", "image: inns-places:1.2 -> inns-places:1.3"),
        ("GEO_DB_HOST and GEO_TIMEOUT_MS", "PLACES_DB_HOST and PLACES_TIMEOUT_MS"),
        ("geo-db-0 of hotel.svc", "places-db-0 of inns.svc"),
        ("geography is no geo", "geography is no places"),
        ("geo_tables stay", "geo_tables stay"),
    ],
)
def test_a_component_is_renamed_wherever_it_is_meant(before: str, after: str) -> None:
    assert RENAMED.text(before) == after


def test_prose_keeps_its_words_but_not_its_names() -> None:
    said = "Guests search in `search`; geo-db holds positions"
    assert RENAMED.text(said, words=False) == "Guests search in `finder`; places-db holds positions"


@given(st.text(max_size=200))
def test_text_without_a_name_stays_as_it_is(text: str) -> None:
    names = ("geo", "hotel", "search", "GEO")
    if not any(name in text for name in names):
        assert RENAMED.text(text) == text


WORDS = st.sampled_from(
    ["geo", "geo-db", "search", "hotel", "x", "/search", "GEO_TIMEOUT_MS", "go"]
)
DATA = st.recursive(
    WORDS | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
)


@given(DATA)
def test_the_shape_of_data_stays(data: object) -> None:
    def shape(value: object) -> object:
        if isinstance(value, dict):
            return [shape(v) for v in value.values()]
        return [shape(v) for v in value] if isinstance(value, list) else type(value)

    assert shape(RENAMED.data(data)) == shape(data)


@pytest.mark.parametrize("app", app_names())
@pytest.mark.parametrize("seed", [1, 2])
def test_a_variant_of_every_app_is_a_valid_app_without_the_old_names(
    app: str, seed: int, tmp_path: Path
) -> None:
    streams = Streams(seed)
    named = variant.renaming(app, streams)
    variant.write_variant(app, named, streams, tmp_path)
    with content.searched_first(tmp_path):
        made = load_app(named.app[1])
        rendered = yaml.safe_dump_all(manifests(made, seed))
    public = load_app(app)
    assert len(made.components()) == len(public.components())
    assert not set(made.components()) & set(public.components())
    objects = list(yaml.safe_load_all(rendered))
    known = {f"{o['kind']}/{o['metadata']['name']}" for o in objects}
    compounds = [name for name in public.components() if "-" in name]
    assert [name for name in compounds if name in rendered] == []
    assert {f"Deployment/{name}" for name in made.services} <= known


def test_a_component_without_another_name_is_a_mistake_in_the_content() -> None:
    names = Names.model_validate(
        {"schema": "aiopslab/names@1", "app": ["inns"], "components": {"geo": ["places"]}}
    )
    with pytest.raises(ContentError, match="components has no"):
        Renaming.draw(load_app("hotel"), names, Streams(1))


@pytest.mark.parametrize(
    "name", ["service-target-port", "network-policy-denied", "calm-load-spike"]
)
def test_a_pinned_incident_strikes_at_the_same_place_whatever_the_seed(
    name: str, tmp_path: Path
) -> None:
    streams = Streams(3)
    named = variant.renaming("hotel", streams)
    variant.write_variant("hotel", named, streams, tmp_path)
    with content.searched_first(tmp_path):
        app = load_app(named.app[1])
    made = pin(catalogue.load_incident(name), app, named, name="h-1", seed=9)
    drawn = [draw(made.spec, app, seed) for seed in (1, 2)]
    places = [[f.site.target for f in d.live_faults(twin=False)] for d in drawn]
    assert places[0] == places[1] == [c.component for c in made.truth.root_causes]
    assert made.spec.draw == {}
    assert made.spec.title == "Held-out incident"


def test_names_of_a_set_are_opaque_and_differ() -> None:
    names = {opaque_name(5, number) for number in range(200)}
    assert len(names) == 200
    assert not any(app in name for app in app_names() for name in names)


def test_the_answer_key_is_its_owners_alone(tmp_path: Path) -> None:
    truth = HeldOutTruth(
        incident="h-1", app="inns", made_from="x", public_app="hotel", root_causes=[], draws={}
    )
    path = tmp_path / "truth.json"
    generation.write_truth(path, [truth])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["incidents"][0]["incident"] == "h-1"


async def _generate(home: Path) -> None:
    await generation.generate("quickstart", seed=1, count=1, home=home, hosts=1)


def test_a_directory_that_holds_something_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="not an empty directory"):
        asyncio.run(_generate(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
