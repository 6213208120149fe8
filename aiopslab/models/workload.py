"""What any workload has: an image, resources, probes; and literals of content files."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Model

Language = Literal["go", "java", "python", "node"]
Value = str | int | float | bool
"""A literal, or a template: ``$KEY`` reads configuration, ``{name}`` a request parameter."""


class Image(Model):
    """An image reference; the registry of the world knows the version and the releases."""

    name: str
    version: str

    @property
    def ref(self) -> str:
        """``name:version``."""
        return f"{self.name}:{self.version}"


class Resources(Model):
    """Requests and limits, as Kubernetes quantities."""

    requests: dict[Literal["cpu", "memory"], str] = Field(default_factory=dict)
    limits: dict[Literal["cpu", "memory"], str] = Field(default_factory=dict)


class Probe(Model):
    """An HTTP or TCP probe; the defaults are the kubelet's."""

    path: str | None = None
    """None: a TCP probe."""
    port: int | None = None
    """None: the service's own port."""
    initial_delay_s: int = 0
    period_s: int = 10
    timeout_s: int = 1
    failure_threshold: int = 3
