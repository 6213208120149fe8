"""What a request is about: resource, namespace, name, subresource, verb, read off its URL.

Not here: whether it is allowed (``access``), the other parameters (``parameters``).
"""

from __future__ import annotations

from dataclasses import dataclass

from aiopslab.models.kube import KubeError
from aiopslab.wire.kubernetes.resources import Resource, find
from aiopslab.world.kube.errors import no_such_resource

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_OF_NAMESPACES = ("status", "finalize")
"""What follows ``namespaces/<name>/`` when the namespace itself is meant."""


@dataclass(frozen=True, slots=True)
class Target:
    """The object or collection a URL names."""

    resource: Resource
    namespace: str = ""
    """Empty: cluster scope, or all namespaces."""
    name: str = ""
    """Empty: the collection."""
    subresource: str = ""

    @property
    def resource_name(self) -> str:
        """``pods`` or ``pods/exec``, as rights name it."""
        plural = self.resource.plural
        return f"{plural}/{self.subresource}" if self.subresource else plural

    @property
    def space(self) -> str | None:
        """The namespace for the API server: None is all."""
        return self.namespace or None

    def verb(self, method: str, *, watching: bool = False) -> str:
        """Return the verb of a request, and refuse those that the resource has not.

        Raises:
            KubeError: 405.
        """
        if method in ("GET", "HEAD"):
            verb = "get" if self.name else "watch" if watching else "list"
        elif method == "DELETE":
            verb = "delete" if self.name else "deletecollection"
        else:
            verb = _VERBS.get(method, "")
            if (verb == "create") == bool(self.name) and not self.subresource:
                verb = ""
        if verb not in self._verbs():
            words = "the server does not allow this method on the requested resource"
            raise KubeError(405, "MethodNotAllowed", words)
        return verb

    def _verbs(self) -> tuple[str, ...]:
        if not self.subresource:
            return self.resource.verbs
        part = self.resource.subresource(self.subresource)
        return part.verbs if part else ()


def of_path(path: str) -> Target:
    """Read a whole path: ``/api/v1/...`` or ``/apis/<group>/<version>/...``.

    Raises:
        KubeError: 404, nothing is served there.
    """
    prefix, _, rest = path.lstrip("/").partition("/")
    group = ""
    if prefix == "apis":
        group, _, rest = rest.partition("/")
    elif prefix != "api":
        raise no_such_resource()
    version, _, rest = rest.partition("/")
    return parse(group, version, rest)


def parse(group: str, version: str, rest: str) -> Target:
    """Read the URL behind ``/api/v1/`` or ``/apis/<group>/<version>/``.

    Raises:
        KubeError: 404, nothing is served there.
    """
    parts = rest.split("/")
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces" and parts[2] not in _OF_NAMESPACES:
        namespace, parts = parts[1], parts[2:]
    resource = find(group, version, parts[0])
    if resource is None or len(parts) > 3 or not all(parts):
        raise no_such_resource()
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    if subresource and resource.subresource(subresource) is None:
        raise no_such_resource()
    if resource.namespaced is not bool(namespace) and (namespace or name):
        raise no_such_resource()
    return Target(resource, namespace, name, subresource)
