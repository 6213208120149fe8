"""What may be said about a real cluster: the options (``-E KEY=VALUE``) of its environments.

Not here: choosing the context (``environments.contexts``), what images stand for which
(``environments.cluster.images``).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from aiopslab.models.base import Model, Seconds

CLUSTER = "aiopslab"
"""Name of the kind cluster that is made if none is named."""


def parse_names(text: Any) -> Any:
    """Read names with commas between them; anything but text is returned as it is.

    >>> parse_names("kind-a,kind-b")
    ('kind-a', 'kind-b')

    Raises:
        ValueError: A name is missing, or there twice.
    """
    if not isinstance(text, str):
        return text
    names = tuple(name.strip() for name in text.split(",")) if text else ()
    if not all(names):
        raise ValueError("a name is missing before or after a comma")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is there twice")
    return names


Names = Annotated[tuple[str, ...], BeforeValidator(parse_names)]


class RealOptions(Model):
    """Which clusters, and what they run. The processes of a run take turns at the clusters."""

    names: Names = Field(default=(CLUSTER,), min_length=1, alias="name")
    """Of kind clusters, with commas between them; their contexts are ``kind-<name>``."""
    kubeconfig: str = ""
    """Path; empty is ``$KUBECONFIG``, then ``~/.kube/config``."""
    contexts: Names = Field(default=(), alias="context")
    """Of the kubeconfig, with commas between them; none is the current one, for kind those of
    ``name``."""
    allow_production: bool = Field(default=False, alias="allow-production")
    """Whether contexts are meant that look like production."""
    registry: str = ""
    """Put before the names of our images: ``registry.example/lab/``."""
    postgres: str = ""
    """Image that stands for the one the app names; empty is that one."""
    valkey: str = ""
    nats: str = ""
    prometheus: str = ""
    """URL of a Prometheus that has the app's metrics already; with ``loki`` and ``jaeger``."""
    loki: str = ""
    jaeger: str = ""
    otlp: str = ""
    """URL of a collector that the app's telemetry is passed on to."""
    storage_class: str = Field(default="", alias="storage-class")
    """Of the stores' volumes; empty is the cluster's default."""
    cpu_share: float = Field(default=0.5, gt=0, le=1, alias="cpu-share")
    """Factor on CPU requests, so that an app fits a small machine."""
    load: float = Field(default=0.25, gt=0, le=4)
    """Factor on the users of an app: at 1 the hotel alone needs some four cores."""
    first_s: Seconds = Field(default=300.0, ge=0, alias="first")
    """Seconds of load before the first incident on an app that was deployed."""
    again_s: Seconds = Field(default=60.0, ge=45, alias="again")
    """Seconds of health between two incidents on an app that is put back. With the seconds that
    putting back has seen, they make the minute that is looked at before an incident."""
    warm: bool = True
    """Whether an app is put back between trials instead of being deployed anew."""

    @model_validator(mode="after")
    def _whole_stack(self) -> RealOptions:
        given = {name: getattr(self, name) for name in ("prometheus", "loki", "jaeger")}
        missing = [name for name, url in given.items() if not url]
        if missing and len(missing) < len(given):
            raise ValueError(f"a monitoring stack is all three; {' and '.join(missing)} is missing")
        return self
