"""What a program may do to the cluster it runs in: scale workloads, look at and cordon machines.

For programs that steer others (an autoscaler, an agent of the platform). Each acts as the service
account of its service. Not here: the API server behind it (``world.kube``), who uses it
(``services.llm``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Scale:
    """Replicas of a Deployment."""

    wanted: int
    ready: int


@dataclass(frozen=True, slots=True)
class Machine:
    """A node, as programs see it."""

    schedulable: bool
    ready: bool
    annotations: dict[str, str]


class Cluster(Protocol):
    """The cluster's API, in the namespace of the program.

    Every method raises ``KubeError``: the object does not exist, or the write is refused.
    """

    async def scale_of(self, deployment: str) -> Scale:
        """Look at a Deployment."""
        ...

    async def pods(self, deployment: str) -> int:
        """Count a Deployment's pods, those that are ending included."""
        ...

    async def scale(self, deployment: str, replicas: int) -> None:
        """Set the replicas of a Deployment."""
        ...

    async def machine(self, name: str) -> Machine:
        """Look at a node."""
        ...

    async def cordon(self, name: str, *, on: bool) -> None:
        """Keep further pods away from a node, or no longer."""
        ...
