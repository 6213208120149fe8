"""Where ``describe`` reads: the few questions it asks of an API server.

The world's ``ApiServer`` answers them from memory; ``environments.cluster.text`` asks a cluster.
"""

from __future__ import annotations

from typing import Protocol

from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import Object, Objects


class Source(Protocol):
    """Objects by the names kubectl takes; all raise ``models.kube.KubeError``."""

    def kind(self, name: str) -> Kind:
        """Look a kind up; 404 if it is not served."""
        ...

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """Return one object; 404 if there is none."""
        ...

    def find(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """Return one object, or None if there is none."""
        ...

    def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Objects:
        """Return objects by namespace and name; None as namespace means all."""
        ...
