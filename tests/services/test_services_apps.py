"""What holds for every app that comes along: releases, documents, and no word of a laboratory."""

from __future__ import annotations

import pytest

from aiopslab.models.app import App
from aiopslab.models.service import Bug
from aiopslab.orchestrator.leaks import HONEST
from aiopslab.services import catalogue

LABORATORY = ("fault", "inject", "chaos", "simulat", "benchmark", "incident-")


@pytest.fixture(scope="module", params=["hotel", "shop"])
def app(request: pytest.FixtureRequest) -> App:
    return catalogue.load_app(request.param)


def test_the_apps_that_come_along_are_found() -> None:
    assert {"hotel", "shop"} <= set(catalogue.app_names())


def test_every_service_has_a_clean_release(app: App) -> None:
    for service in app.services.values():
        assert None in [release.bug for release in service.releases.values()]


def defects(app: App) -> set[str]:
    """Name the fields that the latent defects of an app set."""
    bugs = [r.bug for service in app.services.values() for r in service.releases.values()]
    bugs += [flag.bug for flag in app.flags.values()]
    return {field for bug in bugs if bug for field in bug.model_dump(exclude_defaults=True)}


def test_every_kind_of_defect_occurs_somewhere() -> None:
    known = [defects(catalogue.load_app(name)) for name in catalogue.app_names()]
    assert set().union(*known) == set(Bug.model_fields)


def test_what_the_app_says_about_itself_is_complete(app: App) -> None:
    assert len(app.services) >= 10
    assert len(app.history) >= 12
    assert len(catalogue.runbooks(app.name)) >= 8
    assert {"architecture", "dependencies", "oncall"} <= set(catalogue.docs(app.name))
    table = catalogue.docs(app.name)["dependencies"]
    for name, service in app.services.items():
        (row,) = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
        assert all(target in row for target in service.depends_on())


def test_every_promise_is_written_down_for_the_on_call(app: App) -> None:
    lines = catalogue.docs(app.name)["oncall"].splitlines()
    for journey, slo in app.slos.items():
        (row,) = [line for line in lines if line.startswith(f"| {journey}")]
        assert f"{slo.success:.0%}".replace("%", " %") in row
        assert f"{slo.p95_ms:g} ms" in row


def test_nothing_in_the_app_sounds_like_a_laboratory(app: App) -> None:
    texts = [*catalogue.runbooks(app.name).values(), *catalogue.docs(app.name).values()]
    texts.append(app.model_dump_json(exclude={"services": {"__all__": {"releases": True}}}))
    for text in texts:
        plain = HONEST.sub("", text).lower()
        assert [word for word in LABORATORY if word in plain] == []
