"""The ways between addresses, and what is special about each: by component, by node, by address.

A way from one address to another is shaped by the pair of components, by the uplinks of both nodes
(if it leaves a node at all), by both zones (if it leaves a zone) and by the addresses themselves.
Packets see one ``Link``, combined whenever a part changes, so connections that stand feel it too.
Not here: sending (``path``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from aiopslab.models.network import NEUTRAL, Shape, combined
from aiopslab.world.path import Link


class Place(Protocol):
    """One end of a way."""

    @property
    def ip(self) -> str: ...

    @property
    def component(self) -> str: ...

    @property
    def node(self) -> str:
        """Empty outside the cluster."""
        ...


K = TypeVar("K")
Key = tuple[str, str, str, str, str, str]
"""Address, component and node of the sender, then of the receiver."""


class Ways:
    """All ways of a network."""

    def __init__(self) -> None:
        self._links: dict[Key, Link] = {}
        self._pairs: dict[tuple[str, str], Shape] = {}
        self._nodes: dict[str, Shape] = {}
        self._queues: dict[str, Shape] = {}
        self.zones: Mapping[str, str] = {}
        """Zone of each node; what is outside the cluster is in none."""
        self._zones: dict[str, Shape] = {}
        self._addresses: dict[str, Shape] = {}
        self._gone: dict[str, int] = {}
        """Packets sent again on ways that are no more, by node of the sender."""

    def between(self, source: Place, target: Place) -> Link:
        """Return the link from one address to another."""
        key = (
            source.ip, source.component, source.node, target.ip, target.component, target.node,
        )  # fmt: skip
        link = self._links.get(key)
        if link is None:
            link = self._links[key] = Link()
            self._combine(key, link)
        return link

    def shape_pair(self, source: str, target: str, shape: Shape) -> None:
        """Shape packets from one component to another; replies take the other direction."""
        _keep(self._pairs, (source, target), shape)
        self._recombine()

    def shape_node(self, node: str, shape: Shape) -> None:
        """Shape packets that leave or reach a node."""
        _keep(self._nodes, node, shape)
        self._recombine()

    def shape_queue(self, node: str, shape: Shape) -> None:
        """Shape packets that wait in the queue of a node's uplink, on their way out or in."""
        _keep(self._queues, node, shape)
        self._recombine()

    def shape_zone(self, zone: str, shape: Shape) -> None:
        """Shape packets that leave or reach a zone."""
        _keep(self._zones, zone, shape)
        self._recombine()

    def shape_address(self, ip: str, shape: Shape) -> None:
        """Shape packets from and to one address."""
        _keep(self._addresses, ip, shape)
        self._recombine()

    def forget(self, ip: str) -> None:
        """An address is gone; whoever gets it next starts with clean ways."""
        self._addresses.pop(ip, None)
        for key in [key for key in self._links if ip in (key[0], key[3])]:
            link = self._links.pop(key)
            self._gone[key[2]] = self._gone.get(key[2], 0) + link.lost

    def lost(self, node: str) -> int:
        """Count the packets that senders on a node had to send again."""
        now = sum(link.lost for key, link in self._links.items() if key[2] == node)
        return self._gone.get(node, 0) + now

    def _recombine(self) -> None:
        for key, link in self._links.items():
            self._combine(key, link)

    def _combine(self, key: Key, link: Link) -> None:
        source_ip, source, source_node, target_ip, target, target_node = key
        parts = [self._pairs.get((source, target))]
        if source_node != target_node:
            parts += [self._nodes.get(source_node), self._nodes.get(target_node)]
            parts += [self._queues.get(source_node), self._queues.get(target_node)]
            source_zone, target_zone = self.zones.get(source_node), self.zones.get(target_node)
            if source_zone != target_zone:
                parts += [self._zones.get(source_zone or ""), self._zones.get(target_zone or "")]
        parts += [self._addresses.get(source_ip), self._addresses.get(target_ip)]
        shape = combined(parts)
        link.shape(shape.delay_s, shape.loss, shape.cut)


def _keep(shapes: dict[K, Shape], key: K, shape: Shape) -> None:
    if shape == NEUTRAL:
        shapes.pop(key, None)
    else:
        shapes[key] = shape
