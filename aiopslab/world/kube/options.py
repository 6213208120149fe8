"""What a request says beside its object: how to write, how to delete.

The query parameters and ``DeleteOptions`` of the real API, as far as they mean something here.
Neighbour: ``api``, which takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Propagation = Literal["Background", "Foreground", "Orphan"]
FieldValidation = Literal["Strict", "Warn", "Ignore"]
Subresource = Literal["", "scale", "status"]


def unheard(warning: str) -> None:
    """Let a warning go: in-process writers have nobody to show it to."""


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How an object is written."""

    field_manager: str = ""
    """Who owns the fields written (``metadata.managedFields``); empty is derived from the verb."""
    dry_run: bool = False
    """Answer as if, and store nothing."""
    validation: FieldValidation = "Strict"
    """What happens to unknown fields: refused, dropped with a warning, dropped."""
    api_version: str = ""
    """The version a patch speaks; empty is the stored one. Objects say their own."""
    warn: Callable[[str], None] = unheard
    """Receives warnings in the API server's words, without the code ``299``."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How an object is deleted."""

    grace_s: int | None = None
    """Seconds a pod may take to end; None is its own setting."""
    propagation: Propagation = "Background"
    dry_run: bool = False
    uid: str = ""
    """Precondition: delete only this incarnation."""
    resource_version: str = ""
    """Precondition: delete only this version."""


WRITE = WriteOptions()
DELETE = DeleteOptions()
DELETE_NOW = DeleteOptions(grace_s=0)
"""As the kubelet deletes a pod that has ended, and as ``--force --grace-period=0`` does."""
