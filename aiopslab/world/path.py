"""The way packets take between two addresses, in one direction: latency, jitter, loss, cuts.

In order, as TCP delivers: a packet that has to be sent again holds up those behind it. Loss is
never an error, it is a stall (retransmission after 200 ms, doubling); on a path that is cut
nothing arrives until it heals or the kernel gives up, and only deadlines tell.

Not here: what is sent (``connection``), who may send at all (``policy``).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from aiopslab.services.packets import RETRIES, SYN_RTO_S, resend_after
from aiopslab.world.clock import VirtualLoop

_Packet = tuple[Callable[..., object], tuple[Any, ...]]


class Link:
    """What is special about packets on a way; neutral by default."""

    __slots__ = ("cut", "delay_s", "loss", "lost", "plain")

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.loss = 0.0
        self.cut = False
        self.lost = 0
        """Packets that had to be sent again."""
        self.plain = True

    def shape(self, delay_s: float, loss: float, cut: bool) -> None:
        """Set added one-way delay, the share of packets lost, and whether nothing passes."""
        self.delay_s, self.loss, self.cut = delay_s, loss, cut
        self.plain = not (delay_s or loss or cut)


class Path:
    """One direction of one connection.

    Args:
        loop: The world's clock.
        link: Shared by all paths of the same way.
        latency_s: One way, before jitter.
        draw: Stream for jitter and loss.
    """

    __slots__ = ("_draw", "_held", "_last", "_loop", "latency_s", "link", "rto_s")

    def __init__(
        self, loop: VirtualLoop, link: Link, latency_s: float, draw: random.Random
    ) -> None:
        self.link = link
        self.latency_s = latency_s
        self.rto_s = SYN_RTO_S
        """First retransmission timeout; ``RTO_S`` once the connection stands."""
        self._loop = loop
        self._draw = draw
        self._held: deque[_Packet] = deque()  # sent, not got through yet
        self._last = 0.0  # when the latest packet arrives

    def send(self, arrive: Callable[..., object], *args: Any) -> None:
        """Call ``arrive`` when a packet that is sent now gets there."""
        if self.link.plain and not self._held:
            loop = self._loop
            at = loop._now + self.latency_s * (0.9 + 0.2 * self._draw.random())
            if at < self._last:
                at = self._last
            self._last = at
            loop.call_at(at, arrive, *args)
            return
        self._held.append((arrive, args))
        if len(self._held) == 1:
            self._transmit(0)

    def _transmit(self, tried: int) -> None:
        """Send what is held, in order, until a packet gets lost."""
        link, draw = self.link, self._draw
        while self._held:
            if link.cut or (link.loss and draw.random() < link.loss):
                link.lost += 1
                if tried >= RETRIES:
                    self._held.clear()
                    return
                self._loop.call_later(resend_after(self.rto_s, tried), self._transmit, tried + 1)
                return
            tried = 0
            arrive, args = self._held.popleft()
            latency = self.latency_s * (0.9 + 0.2 * draw.random()) + link.delay_s
            self._last = max(self._last, self._loop._now + latency)
            self._loop.call_at(self._last, arrive, *args)
