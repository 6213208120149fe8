"""What the parts of one kubelet share: the node, the world around it, and how it speaks.

Not here: any decision. Neighbours: ``kubelet`` builds it, ``kubelet.pod`` and
``kubelet.container`` use it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from aiopslab.seeds import Streams
from aiopslab.telemetry.store import Store
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.container import Shell
from aiopslab.world.disk import Volume
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.events import EventRecorder
from aiopslab.world.kube.kubelet.images import ImageCache
from aiopslab.world.kube.objects import Object
from aiopslab.world.netns import Netns
from aiopslab.world.network import Network
from aiopslab.world.node import Node

SANDBOX_S = (0.25, 0.7)
"""Range of the time to set up a pod's network."""
CREATE_S = (0.08, 0.25)
"""Range of the time to create and start a container."""
SYNC_S = (10.0, 14.0)
"""Range of the time between two looks at a pod that waits for something."""
PROPAGATION_S = (20.0, 80.0)
"""Range of the time until a changed ConfigMap or Secret shows in mounted files."""

Claims = dict[tuple[str, str], Volume]
"""Persistent data by (namespace, claim); outlives pods."""


@dataclass(slots=True)
class Runtime:
    """The surroundings of a kubelet."""

    api: ApiServer
    loop: VirtualLoop
    node: Node
    network: Network
    netns: Netns
    """Network of the node itself: where probes come from."""
    streams: Streams
    draw: random.Random
    store: Store
    recorder: EventRecorder
    images: ImageCache
    claims: Claims
    shell: Shell | None
    """Runs commands that a container's program does not know."""
    silent: bool = False
    """The kubelet hangs: it neither hears nor says anything, while containers go on."""

    @property
    def actor(self) -> str:
        """Who writes."""
        return f"system:node:{self.node.name}"

    def now(self) -> float:
        """Unix seconds."""
        return self.loop.time()

    def find(self, kind: str, name: str, namespace: str) -> Object | None:
        """Look an object up."""
        return self.api.find(kind, name, namespace)

    def event(
        self,
        involved: Object,
        kind: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        container: str = "",
        init: bool = False,
    ) -> None:
        """Record an event as the kubelet, about a pod or one of its containers."""
        listed = "initContainers" if init else "containers"
        path = f"spec.{listed}{{{container}}}" if container else ""
        self.recorder.record_event(involved, kind, reason, message, "kubelet", field_path=path)

    def between(self, bounds: tuple[float, float]) -> float:
        """Draw a duration in seconds."""
        return self.draw.uniform(*bounds)
