"""Every kind on every component it fits, without a world: labels, parameters, reference fixes."""

from __future__ import annotations

from typing import Any

import pytest

from aiopslab.errors import UsageError
from aiopslab.faults import registry
from aiopslab.faults.base import Fault, Site
from aiopslab.problems import selectors
from aiopslab.services.catalogue import load_app
from aiopslab.tools.catalogue import TOOLS
from aiopslab.tools.vocabulary import causes

HOTEL = load_app("hotel")
COMPONENTS = selectors.components(HOTEL)
PLACES = [
    (kind, component)
    for kind in sorted(registry.KINDS)
    for component in COMPONENTS
    if registry.find(kind).fits(HOTEL, component)
]


def fault(kind: str, component: str, **params: Any) -> Fault:
    return registry.build(kind, Site(HOTEL, component), params)


def test_every_kind_fits_somewhere_in_the_hotel() -> None:
    assert {kind for kind, _ in PLACES} == set(registry.KINDS)


def test_every_kind_is_registered_under_its_own_name() -> None:
    for kind, cls in registry.KINDS.items():
        assert kind == cls.kind
        family, _, name = kind.partition("/")
        assert family
        assert name


@pytest.mark.parametrize(("kind", "component"), PLACES)
def test_the_root_cause_is_in_the_vocabulary_that_agents_are_given(
    kind: str, component: str
) -> None:
    truth = fault(kind, component).root_cause()
    known = causes()
    assert truth.cause in known
    assert (truth.system_level, truth.fault_type) == (
        known[truth.cause].system_level,
        known[truth.cause].fault_type,
    )
    assert truth.component in COMPONENTS
    for other, cause in truth.accepted:
        assert other in COMPONENTS
        assert cause == "*" or cause in known


@pytest.mark.parametrize(("kind", "component"), PLACES)
def test_the_reference_fix_is_made_of_valid_tool_calls(kind: str, component: str) -> None:
    steps = fault(kind, component).fix()
    assert steps
    for step in steps:
        tool = TOOLS[step.tool]
        arguments = tool.args.read(step.arguments)
        assert tool.effect_for(arguments) == "write"


@pytest.mark.parametrize(("kind", "component"), PLACES)
def test_equal_faults_say_the_same(kind: str, component: str) -> None:
    first, second = fault(kind, component), fault(kind, component)
    assert first.root_cause() == second.root_cause()
    assert first.fix() == second.fix()


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_a_parameter_that_does_not_exist_is_named(kind: str) -> None:
    component = next(c for k, c in PLACES if k == kind)
    with pytest.raises(UsageError, match="parameter severity"):
        fault(kind, component, severity="high")


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_a_component_that_is_not_in_the_app_is_refused(kind: str) -> None:
    with pytest.raises(UsageError, match="cannot strike 'nobody'"):
        fault(kind, "nobody")


def test_an_unknown_kind_suggests_the_near_one() -> None:
    with pytest.raises(UsageError, match="release/memory-leek") as caught:
        registry.find("release/memory-leek")
    assert "release/memory-leak" in caught.value.hint
