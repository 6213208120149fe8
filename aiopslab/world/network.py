"""The network of the world: addresses, Services, listening ports, and how connections are made.

Every pod, node and outside client has an address (``Netns``). A connection is made the way TCP
makes one: the name is looked up, kube-proxy's table turns a Service address into a pod's, a SYN
travels, and what comes back decides: an acknowledgement, a refusal, or nothing. The outcomes are
the errors of ``services.protocols``.

Not here: traffic on a connection that stands (``connection``), latency and loss (``path``), who is
in a Service (controllers program it). Neighbours: ``dns``, ``policy``, ``tls``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from aiopslab.models.network import Shape
from aiopslab.seeds import Streams
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.connection import Connection
from aiopslab.world.dns import ADDRESS as DNS_ADDRESS
from aiopslab.world.dns import Dns
from aiopslab.world.netns import Netns, Stack
from aiopslab.world.node import NodeClock
from aiopslab.world.path import Path
from aiopslab.world.policy import PolicyObject, PolicySet
from aiopslab.world.process import Process
from aiopslab.world.resolver import Resolver, of_namespace
from aiopslab.world.ways import Ways

SAME_NODE_S = 0.000_15
CROSS_NODE_S = 0.000_35
LOOPBACK_S = 0.000_02
"""One-way latencies before jitter, in seconds."""

__all__ = ["Connection", "Netns", "Network"]


class Network:
    """All addresses and everything between them.

    Args:
        loop: The world's clock.
        streams: Random streams; latency jitter draws by component.
    """

    def __init__(self, loop: VirtualLoop, streams: Streams) -> None:
        self.loop = loop
        self.dns = Dns()
        self.policies = PolicySet()
        self.clocks: Mapping[str, NodeClock] = {}
        """Clocks of nodes by name; whoever has none goes by the right time."""
        self._streams = streams.scope("network")
        self._stacks: dict[str, Stack] = {}
        self._services: dict[str, dict[int, list[tuple[str, int]]]] = {}
        self.ways = Ways()
        self._policy_objects: Sequence[PolicyObject] = ()
        self._namespaces: Mapping[str, Mapping[str, str]] = {}
        self._dns_server = Stack(DNS_ADDRESS, "kube-system", "kube-dns", {"k8s-app": "kube-dns"})

    # -- addresses --------------------------------------------------------------------------------

    def netns(
        self,
        ip: str,
        *,
        namespace: str,
        component: str,
        labels: Mapping[str, str],
        node: str,
        port_names: Mapping[str, int] | None = None,
        resolver: Resolver | None = None,
    ) -> Netns:
        """Bring up an address.

        Args:
            ip: The address.
            namespace: Of the pod; empty for nodes and clients outside.
            component: What links are shaped by; clients outside are ``edge``.
            labels: Of the pod.
            node: Name of the node it is on; empty outside.
            port_names: Named container ports, which policies may refer to.
            resolver: How it looks names up; None: as a pod of the namespace does by default.

        Raises:
            ValueError: The address is up already.
        """
        if ip in self._stacks:
            raise ValueError(f"address {ip!r} is in use")
        resolver = resolver or of_namespace(namespace)
        stack = Stack(ip, namespace, component, labels, node, port_names or {}, resolver)
        self._stacks[ip] = stack
        return Netns(self, stack, Process(self.loop))

    def _down(self, ip: str) -> None:
        self._stacks.pop(ip, None)
        self.ways.forget(ip)

    # -- what is programmed -----------------------------------------------------------------------

    def program_service(self, vip: str, port: int, endpoints: Iterable[tuple[str, int]]) -> None:
        """Set the endpoints behind one port of a Service address; none refuses connections."""
        self._services.setdefault(vip, {})[port] = list(endpoints)

    def remove_service(self, vip: str) -> None:
        """Forget a Service address: connections to it go nowhere."""
        self._services.pop(vip, None)

    def set_policies(self, policies: Sequence[PolicyObject]) -> None:
        """Set all NetworkPolicies, as objects in wire form; established connections stay."""
        self._policy_objects = list(policies)
        self.policies = PolicySet(self._policy_objects, self._namespaces)

    def set_namespaces(self, labels: Mapping[str, Mapping[str, str]]) -> None:
        """Set the labels of namespaces, which policies select by."""
        self._namespaces = {name: dict(found) for name, found in labels.items()}
        self.policies = PolicySet(self._policy_objects, self._namespaces)

    def shape(
        self, source: str, target: str, *, delay_s: float = 0.0, loss: float = 0.0,
        cut: bool = False,
    ) -> None:  # fmt: skip
        """Shape packets from one component to another; replies take the other direction.

        Args:
            source: Component that sends.
            target: Component that receives.
            delay_s: Added one-way delay.
            loss: Share of packets lost, 0..1.
            cut: Nothing passes.
        """
        self.ways.shape_pair(source, target, Shape(delay_s=delay_s, loss=loss, cut=cut))

    # -- what connecting asks ---------------------------------------------------------------------

    def backends(self, ip: str, port: int) -> list[tuple[str, int]] | None:
        """Return where an address leads: itself, a Service's endpoints, or None for nowhere."""
        service = self._services.get(ip)
        if service is None:
            return [(ip, port)]
        return service.get(port)

    def stack(self, ip: str) -> Stack | None:
        """Return what is at an address; None if nothing is up there."""
        return self._stacks.get(ip)

    def admits(self, source: Stack, target: Stack, port: int) -> bool:
        """Return whether policies admit a connection; a node always reaches its own pods."""
        if not self.policies or source is target:
            return True
        if not source.namespace and source.node and source.node == target.node:
            return True
        return self.policies.allows(source, target, port)

    def admits_lookup(self, source: Stack) -> bool:
        """Return whether policies let an address ask the cluster's DNS server."""
        if not self.policies or not source.resolver.knows_cluster:
            return True
        return self.policies.allows_egress(source, self._dns_server, 53, "UDP")

    def now_at(self, node: str) -> float:
        """Return what time the clock of a node shows, in unix seconds."""
        clock = self.clocks.get(node)
        return self.loop.time() + (clock.ahead_s if clock is not None else 0.0)

    def paths(self, source: Stack, target: Stack) -> tuple[Path, Path]:
        """Return the way from one address to another, and back."""
        if source is target:
            latency = LOOPBACK_S
        elif source.node and source.node == target.node:
            latency = SAME_NODE_S
        else:
            latency = CROSS_NODE_S
        latency += source.far_s + target.far_s
        draw = self._streams("jitter", source.component)
        out, back = self.ways.between(source, target), self.ways.between(target, source)
        return Path(self.loop, out, latency, draw), Path(self.loop, back, latency, draw)

    def pick(self, source: Stack, count: int) -> int:
        """Choose one of several equal addresses, as kube-proxy and resolvers do: at random."""
        if count == 1:
            return 0
        return self._streams("balance", source.component).randrange(count)

    def never(self) -> asyncio.Future[None]:
        """Return what to wait for when packets vanish: only a deadline ends it."""
        future: asyncio.Future[None] = self.loop.create_future()
        return future
