"""Every kind on every component it fits, without a world: labels, parameters, reference fixes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from aiopslab.errors import UsageError
from aiopslab.faults import registry
from aiopslab.faults.base import Fault, Site
from aiopslab.problems import selectors
from aiopslab.services.catalogue import app_names, load_app
from aiopslab.tools.catalogue import TOOLS
from aiopslab.tools.vocabulary import causes

APPS = {name: load_app(name) for name in app_names()}
PLACES = [
    (name, kind)
    for name, app in APPS.items()
    for kind in sorted(registry.KINDS)
    if any(registry.find(kind).fits(app, c) for c in selectors.components(app))
]


def build(app: str, kind: str, component: str, **params: Any) -> Fault:
    return registry.build(kind, Site(APPS[app], component), params)


def everywhere(app: str, kind: str) -> Iterator[Fault]:
    """Build a kind at every component of an app that it fits."""
    for component in selectors.components(APPS[app]):
        if registry.find(kind).fits(APPS[app], component):
            yield build(app, kind, component)


def test_every_kind_fits_somewhere() -> None:
    assert {kind for _, kind in PLACES} == set(registry.KINDS)


def test_every_kind_is_registered_under_its_own_name() -> None:
    for kind, cls in registry.KINDS.items():
        assert kind == cls.kind
        family, _, name = kind.partition("/")
        assert family
        assert name


@pytest.mark.parametrize(("app", "kind"), PLACES)
def test_the_root_cause_is_in_the_vocabulary_that_agents_are_given(app: str, kind: str) -> None:
    known, components = causes(), selectors.components(APPS[app])
    for fault in everywhere(app, kind):
        truth = fault.root_cause()
        assert truth.cause in known
        assert (truth.system_level, truth.fault_type) == (
            known[truth.cause].system_level,
            known[truth.cause].fault_type,
        )
        assert truth.component in components
        for other, cause in truth.accepted:
            assert other in components
            assert cause == "*" or cause in known


def test_every_cause_of_the_vocabulary_can_be_right() -> None:
    truths = [fault.root_cause() for app, kind in PLACES for fault in everywhere(app, kind)]
    right = {t.cause for t in truths} | {cause for t in truths for _, cause in t.accepted}
    assert set(causes()) <= right


@pytest.mark.parametrize(("app", "kind"), PLACES)
def test_the_reference_fix_is_made_of_valid_tool_calls(app: str, kind: str) -> None:
    for fault in everywhere(app, kind):
        steps = fault.fix()
        assert steps
        arguments = [TOOLS[step.tool].args.read(step.arguments) for step in steps]
        effects = [TOOLS[s.tool].effect_for(a) for s, a in zip(steps, arguments, strict=True)]
        assert "write" in effects


@pytest.mark.parametrize(("app", "kind"), PLACES)
def test_equal_faults_say_the_same(app: str, kind: str) -> None:
    for first, second in zip(everywhere(app, kind), everywhere(app, kind), strict=True):
        assert first.root_cause() == second.root_cause()
        assert first.fix() == second.fix()


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_a_parameter_that_does_not_exist_is_named(kind: str) -> None:
    app = next(a for a, k in PLACES if k == kind)
    component = next(everywhere(app, kind)).site.target
    with pytest.raises(UsageError, match="parameter severity"):
        build(app, kind, component, severity="high")


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_a_component_that_is_not_in_the_app_is_refused(kind: str) -> None:
    with pytest.raises(UsageError, match="cannot strike 'nobody'"):
        build("hotel", kind, "nobody")


def test_an_unknown_kind_suggests_the_near_one() -> None:
    with pytest.raises(UsageError, match="release/memory-leek") as caught:
        registry.find("release/memory-leek")
    assert "release/memory-leak" in caught.value.hint
