"""A feature flag of an app: who reads it, what it is by default, and what it may wake.

Flags live in the ConfigMap ``<app>-flags``, one key a flag, mounted where services read them again
and again. Not here: reading them (``services.flags``), branching on them (``models.step``).
"""

from __future__ import annotations

from pydantic import Field

from aiopslab.models.base import Model
from aiopslab.models.service import Bug


class Flag(Model):
    """One feature flag."""

    description: str
    """What product colleagues know of it."""
    default: bool = False
    services: list[str] = Field(min_length=1)
    """The services that read it."""
    bug: Bug | None = None
    """A latent defect that acts in these services while the flag is on."""
