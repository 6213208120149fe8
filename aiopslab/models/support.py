"""Where something exists: in the simulated world alone, or on a real cluster as well.

Every fault kind and every distractor declares it, with the words that the documentation shows.
``kind`` stands for any cluster by kubeconfig. Not here: what a whole incident needs
(``problems.playable``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EnvironmentName = Literal["sim", "kind"]
"""What incidents run on: the simulated world, or a cluster, kind's or one by kubeconfig."""
ENVIRONMENTS: tuple[EnvironmentName, ...] = ("sim", "kind")


@dataclass(frozen=True, slots=True)
class Support:
    """Where one thing exists, and what is to be known about it on a cluster."""

    environments: tuple[EnvironmentName, ...]
    note: str = ""
    """What of it is modelled on a cluster, or why it does not exist there; empty: all is real."""

    def on(self, environment: EnvironmentName) -> bool:
        """Whether it exists there."""
        return environment in self.environments


def everywhere(modelled: str = "") -> Support:
    """Say that a cluster has the same mechanism; ``modelled`` is what of it is ours there."""
    return Support(ENVIRONMENTS, modelled)


def simulated(because: str) -> Support:
    """Say that only the simulated world has it, and why a cluster does not."""
    return Support(("sim",), because)
