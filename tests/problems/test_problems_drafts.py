"""Drafts are well-formed and out of the catalogue; suites name what exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopslab.problems import catalogue
from aiopslab.problems.draw import draw
from aiopslab.services.catalogue import load_app

DRAFTS = sorted((Path(__file__).parents[2] / "problems" / "drafts").glob("*.yaml"))


@pytest.mark.parametrize("path", DRAFTS, ids=lambda p: p.stem)
def test_a_draft_can_be_drawn_and_is_no_incident_yet(path: Path) -> None:
    spec = catalogue.load_incident_file(path)
    app = load_app(spec.app)
    assert all(draw(spec, app, seed).spec is spec for seed in range(3))
    assert spec.name not in catalogue.incidents()


def test_full_is_the_whole_catalogue() -> None:
    assert {spec.name for spec in catalogue.of_suite("full")} == set(catalogue.incidents())


@pytest.mark.parametrize("ref", sorted(catalogue.suites()))
def test_a_suite_names_incidents_that_exist(ref: str) -> None:
    assert catalogue.of_suite(ref)
