"""Other versions of a kind than the stored one, as a client of that version sees them.

Not here: the conversions themselves (``world.kube``).
"""

from __future__ import annotations

from aiopslab.models.kube import Object
from aiopslab.wire.kubernetes.resources import Resource


def shown(resource: Resource, obj: Object) -> Object:
    """Return a stored object in the version of a resource."""
    return obj


def stored(resource: Resource, obj: Object) -> Object:
    """Return an object of a resource's version as the one that is stored."""
    return obj
