"""Selectors: which components an incident file may mean."""

from __future__ import annotations

import pytest
from problems_fakes import make_app

from aiopslab.errors import UsageError
from aiopslab.problems.selectors import components, select

APP = make_app()


def test_components_are_services_then_stores_then_nodes() -> None:
    assert components(APP) == ["ads", "cart", "idle", "web", "cart-postgres", "node-a", "node-b"]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ({}, components(APP)),
        ({"kind": "store"}, ["cart-postgres"]),
        ({"kind": "node"}, ["node-a", "node-b"]),
        ({"kind": "service", "not": ["ads", "idle"]}, ["cart", "web"]),
        ({"name": "cart"}, ["cart"]),
        ({"name": ["cart", "web"]}, ["cart", "web"]),
        ({"language": "java"}, ["cart"]),
        ({"uses": "db"}, ["cart"]),
        ({"replicas_min": 2}, ["cart", "web"]),
        ({"kind": "service", "replicas_max": 1}, ["ads", "idle"]),
        ({"entry": True}, ["web"]),
        ({"kind": "service", "entry": False}, ["ads", "cart", "idle"]),
    ],
)
def test_every_key_narrows_the_choice(selector: dict[str, object], found: list[str]) -> None:
    assert select(APP, selector) == found


def test_a_journey_needs_its_entry_its_calls_and_their_stores_but_nothing_optional() -> None:
    assert select(APP, {"journey": "browse"}) == ["cart", "web", "cart-postgres"]
    assert select(APP, {"journey": "any"}) == select(APP, {"journey": "browse"})


def test_keys_of_services_match_no_store() -> None:
    assert select(APP, {"kind": "store", "replicas_min": 1}) == []


def test_an_unknown_key_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'colour'") as caught:
        select(APP, {"colour": "red"})
    assert "replicas_min" in caught.value.hint
