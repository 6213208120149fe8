"""Which components of an app a selector of an incident file means.

Keys: ``kind`` (service, store, job, external, node), ``journey`` (its requests need it; ``any``
for some journey), ``entry`` (users reach it),
``replicas_min``, ``replicas_max``, ``language``, ``uses`` (db, cache), ``name`` (one or a list),
``not`` (one or a list).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiopslab.content import near
from aiopslab.errors import UsageError
from aiopslab.models.app import App
from aiopslab.models.service import Service


def components(app: App) -> list[str]:
    """Name everything that can be a target, sorted by kind and name."""
    return [
        *sorted(app.services), *sorted(app.stores), *sorted(app.jobs), *sorted(app.externals),
        *sorted(n.name for n in app.nodes),
    ]  # fmt: skip


def select(app: App, selector: dict[str, Any]) -> list[str]:
    """Return the components that match every key.

    Raises:
        UsageError: An unknown key, or a value that no component can have.
    """
    unknown = sorted(set(selector) - set(_TESTS))
    if unknown:
        raise UsageError(f"unknown selector key {unknown[0]!r}", hint=f"known: {sorted(_TESTS)}")
    for key, want in selector.items():
        _check(app, key, want)
    return [
        c
        for c in components(app)
        if all(_TESTS[key](app, c, want) for key, want in selector.items())
    ]


def _check(app: App, key: str, want: Any) -> None:
    """Refuse a value that no component could match, whichever way it is looked at."""
    known: dict[str, list[str]] = {
        "kind": sorted(_KINDS),
        "journey": ["any", *sorted(app.journeys)],
        "uses": ["db", "cache", "queue"],
        "name": components(app),
        "not": components(app),
    }
    if key in known:
        wrong = [name for name in _names(want) if name not in known[key]]
        if wrong:
            hint = near(str(wrong[0]), known[key]) or f"known: {', '.join(known[key])}"
            raise UsageError(f"selector {key}: unknown value {wrong[0]!r}", hint=hint)
    wanted = _TYPES.get(key)
    if wanted is not None and type(want) is not wanted:
        raise UsageError(f"selector {key}: {want!r} is no {_WORDS[wanted]}")


def _names(want: Any) -> list[str]:
    return want if isinstance(want, list) else [want]


def _kind(app: App, component: str, want: Any) -> bool:
    kinds = {
        "service": set(app.services),
        "store": set(app.stores),
        "job": set(app.jobs),
        "external": set(app.externals),
        "node": {n.name for n in app.nodes},
    }
    return component in kinds[want]


def _service(test: Callable[[Service, Any], bool]) -> Callable[[App, str, Any], bool]:
    def apply(app: App, component: str, want: Any) -> bool:
        service = app.services.get(component)
        return service is not None and test(service, want)

    return apply


def _journey(app: App, component: str, want: Any) -> bool:
    journeys = sorted(app.journeys) if want == "any" else [want]
    return any(component in app.needs(j) for j in journeys)


def _entry(app: App, component: str, want: Any) -> bool:
    return (component in {j.entry for j in app.journeys.values()}) == bool(want)


_KINDS = frozenset({"service", "store", "job", "external", "node"})
_TYPES: dict[str, type] = {"entry": bool, "replicas_min": int, "replicas_max": int, "language": str}
_WORDS = {bool: "truth value; write true or false", int: "whole number", str: "name"}

_TESTS: dict[str, Callable[[App, str, Any], bool]] = {
    "kind": _kind,
    "journey": _journey,
    "entry": _entry,
    "replicas_min": _service(lambda s, want: s.replicas >= want),
    "replicas_max": _service(lambda s, want: s.replicas <= want),
    "language": _service(lambda s, want: s.language == want),
    "uses": _service(lambda s, want: want in s.uses),
    "name": lambda _, c, want: c in _names(want),
    "not": lambda _, c, want: c not in _names(want),
}
