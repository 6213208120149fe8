"""Cross-references of what lies at an app's edge: feature flags and parties outside the cluster.

Part of ``validation``, which gives the means of reporting. Not here: calls to outside parties,
which are checked with all other calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

from aiopslab.models.app import App
from aiopslab.models.external import External
from aiopslab.models.service import Bug, Service
from aiopslab.models.step import WhenStep
from aiopslab.services import templates
from aiopslab.services.tokens import token_services
from aiopslab.services.walk import walk

_KEY = re.compile(r"[-._a-zA-Z0-9]+")
"""What a key of a ConfigMap may look like."""
_HOST = re.compile(r"([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)+[a-z]+")


_BLOCK = IPv4Network("198.18.252.0/22")
"""Addresses of outside parties, apart from those of the cluster and its users."""


class Known(Protocol):
    """Reports a name that is not among those known."""

    def __call__(self, where: str, name: str, known: Iterable[str], what: str) -> None: ...


class Wrong(Protocol):
    """Reports a mistake."""

    def __call__(self, where: str, message: str, hint: str = "") -> None: ...


def check_edges(app: App, known: Known, wrong: Wrong) -> None:
    """Check flags, branches on flags, and outside parties of an app."""
    for name, external in app.externals.items():
        _external(f"externals.{name}", app, external, known, wrong)
    _tls(app, known, wrong)
    if token_services(app, "verify") and not token_services(app, "sign"):
        wrong("services", "tokens are verified, but nobody signs any")
    branched = {name: _branches(service) for name, service in app.services.items()}
    for service, flags in branched.items():
        for flag in flags:
            known(f"services.{service}", flag, app.flags_of(service), "flag of this service")
    for name, spec in app.flags.items():
        if _KEY.fullmatch(name) is None:
            wrong("flags", f"{name!r} cannot be a key of a ConfigMap")
        for service in spec.services:
            known(f"flags.{name}.services", service, app.services, "service")
            if spec.bug is None and name not in branched[service]:
                wrong(f"flags.{name}", f"does nothing in {service!r}: no bug, no branch")
        _bug(f"flags.{name}.bug", spec.bug, wrong)
    for name, service_spec in app.services.items():
        for version, release in service_spec.releases.items():
            _bug(f"services.{name}.releases.{version}.bug", release.bug, wrong)


def _tls(app: App, known: Known, wrong: Wrong) -> None:
    if app.tls is not None:
        known("tls.owner", app.tls.owner, app.owners, "owner")
    entries = {journey.entry for journey in app.journeys.values()}
    for name in sorted(n for n, service in app.services.items() if service.tls):
        if app.tls is None:
            wrong(f"services.{name}.tls", "the app has no authority: tls is missing")
        if name in entries:
            wrong(f"services.{name}.tls", "users reach it, and the edge speaks plain text")


def _external(where: str, app: App, external: External, known: Known, wrong: Wrong) -> None:
    known(f"{where}.owner", external.owner, app.owners, "owner")
    if _HOST.fullmatch(external.host) is None:
        wrong(f"{where}.host", f"{external.host!r} is not a DNS name")
    for place in (external.address, external.moved_to):
        if place and not _inside(place):
            wrong(where, f"{place!r} is not an address within {_BLOCK}")
    for endpoint in external.endpoints:
        if len(endpoint.split(" ")) != 2:
            wrong(f"{where}.endpoints", f"{endpoint!r} is not 'METHOD /path'")
    if external.without:
        known(f"{where}.without", external.without, app.flags, "flag")
    if external.replaces is not None:
        known(f"{where}.replaces", external.replaces, app.externals, "external")
        for endpoint in app.externals[external.replaces].endpoints:
            known(f"{where}.endpoints", endpoint, external.endpoints, "endpoint")


def _inside(place: str) -> bool:
    try:
        return IPv4Address(place) in _BLOCK
    except ValueError:
        return False


def _branches(service: Service) -> set[str]:
    """Return the flags that a service branches on."""
    steps = [step for each in service.work() for step in walk(each)]
    whens = [step.when for step in steps if isinstance(step, WhenStep)]
    return {str(when["flag"]) for when in whens if "flag" in when}


def _bug(where: str, bug: Bug | None, wrong: Wrong) -> None:
    if bug is not None and bug.kept_per_key is not None and not templates.names(bug.key):
        wrong(where, "kept_per_key needs a key with a request parameter")
