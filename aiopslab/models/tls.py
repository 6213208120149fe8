"""Mutual TLS between the services of an app: who signs, how long certificates hold, who renews.

Certificates are short-lived and renewed by a CronJob. Not here: issuing them
(``services.certificates``), the objects (``services.tls_manifests``).
"""

from __future__ import annotations

from pydantic import Field

from aiopslab.models.base import Model, Seconds
from aiopslab.models.workload import Image


class Tls(Model):
    """How the services of an app that serve TLS, and their callers, come by certificates."""

    authority: str
    """Name of the app's own authority."""
    owner: str
    """Team that runs it."""
    validity: Seconds = 600.0
    """How long a certificate holds."""
    renew_every_min: int = Field(default=4, ge=1, le=59)
    """Minutes between two renewals."""
    image: Image = Field(default_factory=lambda: Image(name="cert-renewer", version="1.6.2"))
    """Image of the renewal job."""
