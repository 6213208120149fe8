"""The published cause kinds: what a diagnosis may name (``problems/causes.yaml``).

Read here, in the tools' room, because agents are shown it; ``problems`` reads it from here. Not
here: which kind a fault has (``faults``).
"""

from __future__ import annotations

from functools import cache

from aiopslab.content import files, load_model
from aiopslab.errors import PreflightError
from aiopslab.models.cause import CauseCatalogue, CauseKind

NOTHING = "none"
"""The cause that says: nothing is wrong."""


@cache
def catalogue() -> CauseCatalogue:
    """Load the catalogue; a user's file hides ours.

    Raises:
        PreflightError: The content is not installed.
        ContentError: The file is malformed.
    """
    path = next(files("problems", "causes.yaml"), None)
    if path is None:
        raise PreflightError("problems/causes.yaml is missing; reinstall aiopslab")
    return load_model(path, CauseCatalogue)


def causes() -> dict[str, CauseKind]:
    """Return the kinds by id, in the catalogue's order."""
    return {kind.id: kind for kind in catalogue().causes}
