"""What is served under which group and version: resources, verbs, subresources.

The kinds that the API server stores (``world.kube.kinds``) under their URLs, other versions of
them, and resources nobody stores: reviews, usage. Discovery, OpenAPI and routing all read this
one table. Not here: what a request does (``reads``, ``writes``, ``reviews``, ``usage``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from aiopslab.world.kube import kinds
from aiopslab.world.kube.kinds import Kind

Source = Literal["stored", "review", "usage"]

ALL_VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)
_VIEW = ("get", "patch", "update")


@dataclass(frozen=True, slots=True)
class Subresource:
    """A part of a resource with a URL of its own."""

    name: str
    """``scale``, ``status``, ``log``."""
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""
    """Group and version of its kind, where they are not the resource's."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource in one version of one group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...] = ALL_VERBS
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    source: Source = "stored"

    @property
    def api_version(self) -> str:
        """``apps/v1``; ``v1`` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """``deployments.apps``, ``pods``: the name messages use."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def singular(self) -> str:
        """``deployment``."""
        return self.kind.lower()

    @property
    def path(self) -> str:
        """``/apis/apps/v1`` or ``/api/v1``: where its group and version hang."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def stored(self) -> Kind:
        """The kind the API server keeps."""
        return kinds.BY_KIND[self.kind]

    def subresource(self, name: str) -> Subresource | None:
        """Return a subresource by name."""
        return next((s for s in self.subresources if s.name == name), None)


_IN_ALL = (
    "Pod", "Service", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob",
    "HorizontalPodAutoscaler",
)  # fmt: skip
_POD_PARTS = (
    Subresource("attach", "PodAttachOptions", ("create", "get")),
    Subresource("binding", "Binding", ("create",)),
    Subresource("eviction", "Eviction", ("create",), "policy", "v1"),
    Subresource("exec", "PodExecOptions", ("create", "get")),
    Subresource("log", "Pod", ("get",)),
    Subresource("portforward", "PodPortForwardOptions", ("create", "get")),
)


def _resource(kind: Kind) -> Resource:
    parts: list[Subresource] = []
    if kind.kind == "Pod":
        parts += _POD_PARTS
    if kind.scale:
        parts.append(Subresource("scale", "Scale", _VIEW, "autoscaling", "v1"))
    if kind.has_status:
        parts.append(Subresource("status", kind.kind, _VIEW))
    verbs = tuple(v for v in ALL_VERBS if kind.kind != "Namespace" or v != "deletecollection")
    return Resource(
        kind.group,
        kind.version,
        kind.plural,
        kind.kind,
        kind.namespaced,
        verbs,
        short=kind.short,
        categories=("all",) if kind.kind in _IN_ALL else (),
        subresources=tuple(parts),
    )


def _review(group: str, kind: str) -> Resource:
    return Resource(group, "v1", f"{kind.lower()}s", kind, False, ("create",), source="review")


def _usage(plural: str, kind: str, *, namespaced: bool) -> Resource:
    verbs = ("get", "list")
    return Resource("metrics.k8s.io", "v1beta1", plural, kind, namespaced, verbs, source="usage")


def _version(of: str, group: str, version: str) -> Resource:
    """Return another version of a stored kind."""
    kind = kinds.BY_KIND[of]
    return replace(_resource(kind), group=group, version=version)


@cache
def served() -> tuple[Resource, ...]:
    """Return every resource in the order discovery lists them: core first."""
    known = [_resource(kind) for kind in kinds.KINDS]
    known += [
        _version("HorizontalPodAutoscaler", "autoscaling", "v1"),
        _version("Event", "events.k8s.io", "v1"),
        _review("authentication.k8s.io", "SelfSubjectReview"),
        _review("authorization.k8s.io", "SelfSubjectAccessReview"),
        _review("authorization.k8s.io", "SelfSubjectRulesReview"),
        _usage("nodes", "NodeMetrics", namespaced=False),
        _usage("pods", "PodMetrics", namespaced=True),
    ]
    order = [r.group for r in known]
    return tuple(sorted(known, key=lambda r: (order.index(r.group), r.version, r.plural)))


def groups() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Iterate over (group, versions), the preferred version first."""
    versions: dict[str, list[str]] = {}
    for resource in served():
        known = versions.setdefault(resource.group, [])
        if resource.version not in known:
            known.append(resource.version)
    for group, names in versions.items():
        yield group, tuple(sorted(names, reverse=True))


def in_version(group: str, version: str) -> tuple[Resource, ...]:
    """Return the resources of one version of a group; empty if it is not served."""
    return tuple(r for r in served() if r.group == group and r.version == version)


@cache
def find(group: str, version: str, plural: str) -> Resource | None:
    """Return a resource by its URL; None if it is not served."""
    return next((r for r in in_version(group, version) if r.plural == plural), None)
