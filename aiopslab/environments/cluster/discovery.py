"""Which kinds a cluster serves, and under which URLs: discovery, custom resources included.

One document where the server aggregates, list by list where it does not. A kind is found by any
name kubectl takes; where several groups have one of that name, the kinds that the simulated
cluster serves come first. Not here: requests (``cluster.connection``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from aiopslab.environments.cluster.connection import JSON, Request
from aiopslab.models.kube import KubeError, Object
from aiopslab.world.kube import kinds
from aiopslab.world.kube.kinds import Kind

Call = Callable[[Request], Any]
_AGGREGATED = f"{JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,{JSON}"


@dataclass(frozen=True, slots=True)
class Served:
    """One kind in one version, as a cluster serves it."""

    kind: Kind
    verbs: frozenset[str]

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Return the URL of an object or collection; None as namespace means all."""
        kind = self.kind
        parts = ["apis", kind.group] if kind.group else ["api"]
        parts.append(kind.version)
        if kind.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [kind.plural, *filter(None, (name, subresource))]
        return "/" + "/".join(quote(part, safe="") for part in parts)


class Catalogue:
    """What a cluster served when it was asked."""

    def __init__(self, served: list[Served]) -> None:
        self.served = served

    def find(self, name: str) -> Served | None:
        """Find a kind by kind, plural, short name or ``plural.group``, in any case."""
        known = kinds.find(name)
        if known is not None:
            same = [s for s in self.served if _same(s.kind, known)]
            exact = [s for s in same if s.kind.version == known.version]
            if same:
                return (exact or same)[0]
        wanted = name.lower()
        return next((s for s in self.served if wanted in _names(s.kind)), None)

    def spoken(self, name: str, api_version: str) -> Served | None:
        """Find a kind by its exact name and version, as an object says them."""
        return next((s for s in self._by_type.get((name, api_version), ())), None)

    def preferred(self) -> Iterator[Served]:
        """Iterate over all kinds, each in one version only."""
        seen = set()
        for served in self.served:
            key = (served.kind.group, served.kind.kind)
            if key not in seen:
                seen.add(key)
                yield served

    @cached_property
    def _by_type(self) -> dict[tuple[str, str], list[Served]]:
        found: dict[tuple[str, str], list[Served]] = {}
        for served in self.served:
            found.setdefault((served.kind.kind, served.kind.api_version), []).append(served)
        return found


def discover(call: Call, *, aggregated: bool = True) -> Catalogue:
    """Ask a cluster what it serves.

    Args:
        call: Sends a request and returns the JSON of its answer.
        aggregated: Whether to ask for all in one document first.

    Raises:
        KubeError: The server refuses to tell.
        InfraError: There was no answer.
    """
    served: list[Served] = []
    for root in ("/api", "/apis"):
        answer = call(Request("GET", root, accept=_AGGREGATED if aggregated else JSON))
        if answer.get("kind") == "APIGroupDiscoveryList":
            served += _of_document(answer)
        elif root == "/api":
            served += _of_lists(call, [f"/api/{v}" for v in answer["versions"]])
        else:
            versions = [v["groupVersion"] for g in answer["groups"] for v in _ordered(g)]
            served += _of_lists(call, [f"/apis/{v}" for v in versions])
    return Catalogue(served)


def _of_document(document: Object) -> Iterator[Served]:
    for group in document.get("items") or ():
        name = group["metadata"].get("name", "")
        for version in group.get("versions") or ():
            for resource in version.get("resources") or ():
                of_kind = resource.get("responseKind") or {}
                if not of_kind.get("kind"):
                    continue  # the aggregated server behind it could not be asked
                parts = [s["subresource"] for s in resource.get("subresources") or ()]
                yield _served(
                    name, version["version"], resource["resource"], of_kind["kind"],
                    namespaced=resource["scope"] == "Namespaced", more=resource, parts=parts,
                )  # fmt: skip


def _of_lists(call: Call, paths: list[str]) -> Iterator[Served]:
    for path in paths:
        try:
            listed = call(Request("GET", path))
        except KubeError as error:
            if error.code in (404, 503):
                continue  # an aggregated API whose server is away hides only itself
            raise
        group, _, version = listed["groupVersion"].rpartition("/")
        entries = listed.get("resources") or ()
        for entry in entries:
            if "/" in entry["name"]:
                continue
            own = f"{entry['name']}/"
            parts = [e["name"][len(own) :] for e in entries if e["name"].startswith(own)]
            yield _served(
                group, version, entry["name"], entry["kind"], namespaced=entry["namespaced"],
                more=entry, parts=parts,
            )  # fmt: skip


def _ordered(group: Object) -> list[Object]:
    """Return a group's versions, the preferred one first."""
    preferred = (group.get("preferredVersion") or {}).get("groupVersion")
    return sorted(group["versions"], key=lambda v: v["groupVersion"] != preferred)


def _served(
    group: str,
    version: str,
    plural: str,
    kind: str,
    *,
    namespaced: bool,
    more: Object,
    parts: list[str],
) -> Served:
    short = tuple(more.get("shortNames") or ())
    found = Kind(kind, group, version, plural, short, namespaced, "scale" in parts)
    return Served(found, frozenset(more.get("verbs") or ()))


def _same(kind: Kind, known: Kind) -> bool:
    return (kind.kind, kind.group) == (known.kind, known.group)


def _names(kind: Kind) -> tuple[str, ...]:
    names = (kind.kind.lower(), kind.plural, kind.resource, kind.qualified.lower())
    return (*names, *kind.short)
