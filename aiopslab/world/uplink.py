"""The uplink of a node: a queue of fixed speed that bulk transfers of others can fill.

Modelled as a fluid: the packets of the cluster's own pods are small beside bulk streams, which do
not slow down for losses. While all streams together fit, a packet waits hardly; the closer they
come to the link's speed, the longer the queue (M/M/1, bounded by its buffer); beyond, the queue is
full and what does not fit is dropped, of everybody in proportion.

Not here: sending packets (``path``), which link a packet takes (``ways``).
"""

from __future__ import annotations

from aiopslab.models.network import Shape
from aiopslab.world.clock import VirtualLoop

PACKET = 1500.0
"""Bytes."""
BUFFER = 1_000_000.0
"""Bytes that fit into the queue: 8 ms at 1 Gbit/s."""


class Uplink:
    """The uplink of one node.

    Args:
        loop: The world's clock.
        speed: Bytes per second.
    """

    __slots__ = ("_at", "_carried", "_dropped", "_loop", "_streams", "speed")

    def __init__(self, loop: VirtualLoop, speed: float) -> None:
        self.speed = speed
        """Bytes per second."""
        self._loop = loop
        self._streams: dict[str, float] = {}
        self._carried: dict[str, float] = {}
        self._dropped = 0.0
        self._at = loop.time()

    def stream(self, name: str, rate: float) -> None:
        """Let a bulk transfer offer so many bytes per second; 0 ends it."""
        self._settle()
        if rate > 0.0:
            self._streams[name] = rate
            self._carried.setdefault(name, 0.0)
        else:
            self._streams.pop(name, None)

    @property
    def shape(self) -> Shape:
        """What happens to a packet that takes the link now."""
        load = self._load
        if not load:
            return Shape()
        waiting = BUFFER if load >= 1.0 else min(BUFFER, PACKET * load / (1.0 - load))
        return Shape(delay_s=waiting / self.speed, loss=self._loss)

    @property
    def dropped(self) -> float:
        """Packets of bulk transfers dropped until now (``node_network_transmit_drop_total``)."""
        self._settle()
        return self._dropped

    def carried(self) -> dict[str, float]:
        """Return the bytes carried until now, by bulk transfer."""
        self._settle()
        return dict(self._carried)

    @property
    def _load(self) -> float:
        return sum(self._streams.values()) / self.speed

    @property
    def _loss(self) -> float:
        return max(0.0, 1.0 - 1.0 / self._load) if self._streams else 0.0

    def _settle(self) -> None:
        now = self._loop.time()
        elapsed, self._at = now - self._at, now
        loss = self._loss
        for name, rate in self._streams.items():
            self._carried[name] += elapsed * rate * (1.0 - loss)
            self._dropped += elapsed * rate * loss / PACKET
