"""A clue: a reason to suspect one cause in one component, and how one would repair it.

Clues about the same pair add up. Weights are on a logarithmic scale: 2 is a hint, 4 is strong,
6 leaves little doubt. Not here: finding clues (the rules), weighing them (``ranking``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Call = tuple[str, dict[str, Any]]
"""A tool call: name and arguments."""


@dataclass(frozen=True, slots=True)
class Clue:
    """One reason."""

    component: str
    cause: str
    weight: float
    why: str
    sources: tuple[str, ...]
    """Keys of ``Survey.ids``."""
    repair: tuple[Call, ...] = field(default=())


def undo(name: str, kind: str = "Deployment") -> tuple[Call, ...]:
    """Go back to the template before the last change."""
    return (("k8s_rollout", {"action": "undo", "name": name, "kind": kind}),)


def restart(name: str) -> Call:
    """Replace the pods of a Deployment."""
    return ("k8s_rollout", {"action": "restart", "name": name, "kind": "Deployment"})
