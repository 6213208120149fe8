"""A network namespace: one address, its listening ports, and dialling from it.

The containers of a pod share a ``Stack``; each process has its own ``Netns`` onto it, so that what
a process opened ends with it while the pod's address stays. Not here: what lies between two
addresses (``network``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiopslab.pauses import Deadline, pause
from aiopslab.services.packets import RTO_S
from aiopslab.services.protocols import (
    ConnectionRefused,
    ConnectionReset,
    ConnectTimeout,
    NetError,
    NoSuchHost,
    TlsError,
)
from aiopslab.world.connection import Book, Connection, Handler, Peer, Route
from aiopslab.world.path import Path
from aiopslab.world.process import Process
from aiopslab.world.resolver import OUTSIDE, Resolver
from aiopslab.world.tls import ClientTls, Clocks, ServerTls, handshake

if TYPE_CHECKING:
    from aiopslab.world.network import Network

LOOKUP_S = 0.000_3
"""Time of an answer of the DNS server."""
CACHE_S = 5.0
"""How long a client believes an answer."""
_FIRST_PORT, _LAST_PORT = 32768, 60999
_LOCALHOST = ("localhost", "127.0.0.1")


@dataclass(slots=True, eq=False)
class Stack:
    """What is at an address; see ``Network.netns``."""

    ip: str
    namespace: str
    component: str
    labels: Mapping[str, str]
    node: str = ""
    port_names: Mapping[str, int] = field(default_factory=dict)
    resolver: Resolver = OUTSIDE
    up: bool = True
    listeners: dict[int, Listener] = field(default_factory=dict)
    members: list[Netns] = field(default_factory=list)
    answers: dict[str, tuple[float, list[str]]] = field(default_factory=dict)
    """DNS cache: name to (expiry, addresses)."""
    next_port: int = _FIRST_PORT
    far_s: float = 0.0
    """One-way latency to the cluster, beyond that inside it: the internet."""

    def ephemeral_port(self) -> int:
        """Return a source port."""
        port = self.next_port
        self.next_port = port + 1 if port < _LAST_PORT else _FIRST_PORT
        return port


class Listener:
    """An open port."""

    __slots__ = ("handler", "netns", "port", "tls")

    def __init__(self, netns: Netns, port: int, handler: Handler, tls: ServerTls | None) -> None:
        self.netns = netns
        self.port = port
        self.handler = handler
        self.tls = tls

    @property
    def closed(self) -> bool:
        """Whether connections are refused."""
        return self.netns._stack.listeners.get(self.port) is not self

    def close(self) -> None:
        """Accept no further connection; those that stand go on."""
        if not self.closed:
            del self.netns._stack.listeners[self.port]


@dataclass(slots=True)
class _Attempt:
    """What is known about a connection being made, for the error if it fails."""

    host: str
    port: int
    address: str = ""
    detail: str = ""

    def error(self, kind: type[NetError], detail: str = "") -> NetError:
        return kind(self.host, self.port, self.address, detail or self.detail)


class Netns:
    """An address as one process uses it; the first one made owns the address itself."""

    __slots__ = ("_accepted", "_dialled", "_network", "_process", "_stack")

    def __init__(self, network: Network, stack: Stack, process: Process) -> None:
        self._network = network
        self._stack = stack
        self._process = process
        self._dialled: Book = {}
        self._accepted: Book = {}
        stack.members.append(self)

    @property
    def ip(self) -> str:
        """The address."""
        return self._stack.ip

    @property
    def resolver(self) -> Resolver:
        """How names are looked up here."""
        return self._stack.resolver

    @property
    def up(self) -> bool:
        """Whether the address is (still) there."""
        return self._stack.up

    @property
    def network(self) -> Network:
        """The network it is part of."""
        return self._network

    def far(self, seconds: float) -> None:
        """Be this far away, one way, from everything."""
        self._stack.far_s = seconds

    def relabel(self, labels: Mapping[str, str]) -> None:
        """Follow a change of the pod's labels, which policies select by."""
        self._stack.labels = labels

    def listening(self) -> list[int]:
        """List the open ports of the address."""
        return sorted(self._stack.listeners)

    def join(self, process: Process) -> Netns:
        """Return the same address for another process; ``leave`` ends what that one opened."""
        return Netns(self._network, self._stack, process)

    # -- serving ----------------------------------------------------------------------------------

    def listen(self, port: int, handler: Handler, *, tls: ServerTls | None = None) -> Listener:
        """Accept connections on a port.

        Args:
            port: The port.
            handler: ``async handler(message, peer) -> reply``; runs as a task of this process.
            tls: Certificate to present; None speaks plain text.

        Raises:
            OSError: The port is taken (EADDRINUSE).
        """
        if self not in self._stack.members:
            # Killed in the middle of a step (out of memory): it runs on to its next await, but
            # must not take a port that nobody would ever free.
            return Listener(self, port, handler, tls)
        if port in self._stack.listeners:
            raise OSError(98, f"bind: address already in use: 0.0.0.0:{port}")
        listener = self._stack.listeners[port] = Listener(self, port, handler, tls)
        return listener

    def leave(self) -> None:
        """Close the ports of this process and hang up its connections, as the kernel does."""
        if self in self._stack.members:
            self._stack.members.remove(self)
        for listener in list(self._stack.listeners.values()):
            if listener.netns is self:
                listener.close()
        for connection in list(self._accepted):
            connection.peer.abort()
        for connection in list(self._dialled):
            connection.close()

    def close(self) -> None:
        """Take the address down: every process's ports and connections end, packets vanish."""
        for member in list(self._stack.members):
            member.leave()
        self._stack.up = False
        self._process.end()
        self._network._down(self._stack.ip)

    def vanish(self) -> None:
        """Take the address down as a machine that lost its power does: nobody is told.

        Clients find out by their deadlines.
        """
        for member in self._stack.members:
            member._accepted.clear()
            member._dialled.clear()
        self._stack.listeners.clear()
        self.close()

    # -- dialling ---------------------------------------------------------------------------------

    async def resolve(self, host: str) -> list[str]:
        """Look up a name as this pod does, with a cache of 5 s.

        Raises:
            NoSuchHost: The name does not exist; ``port`` is 0.
        """
        stack, loop = self._stack, self._network.loop
        if host in _LOCALHOST:
            return [stack.ip]
        if _is_address(host):
            return [host]
        expiry, found = stack.answers.get(host, (0.0, []))
        if loop.time() < expiry:
            return found
        if host not in stack.resolver.hosts and not self._network.admits_lookup(stack):
            await self._network.never()
        await pause(loop, LOOKUP_S)
        found = self._network.dns.resolve(host, stack.resolver)
        stack.answers[host] = (loop.time() + CACHE_S, found)
        return found

    async def connect(
        self, host: str, port: int, *, timeout_s: float, tls: ClientTls | None = None
    ) -> Connection:
        """Open a connection.

        Args:
            host: Name or address.
            port: Port.
            timeout_s: Seconds for everything: lookup, set-up and TLS handshake.
            tls: What to trust; None speaks plain text.

        Raises:
            NoSuchHost: The name does not resolve.
            ConnectionRefused: Nobody listens, or the Service has no ready endpoint.
            ConnectTimeout: No answer within the deadline.
            ConnectionReset: The server went away while the connection was made.
            TlsError: The handshake failed; the detail says why.
        """
        attempt = _Attempt(host, port)
        try:
            with Deadline(self._network.loop, timeout_s):
                return await self._dial(attempt, tls)
        except TimeoutError:
            raise attempt.error(ConnectTimeout) from None

    async def _dial(self, attempt: _Attempt, tls: ClientTls | None) -> Connection:
        network, source = self._network, self._stack
        if not source.up:
            raise attempt.error(NetError, "connect: network is unreachable")
        target, port = await self._target(attempt)
        if not network.admits(source, target, port):
            await network.never()
        out, back = paths = network.paths(source, target)
        await self._cross(out)
        if not target.up:
            await network.never()
        listener = target.listeners.get(port)
        await self._cross(back)
        if listener is None:
            raise attempt.error(ConnectionRefused)
        if tls is not None:
            await self._cross(out)
            await self._cross(back)
            clocks = Clocks(network.now_at(source.node), network.now_at(target.node))
            problem = handshake(listener.tls, tls, attempt.host, clocks)
            if problem:
                raise attempt.error(TlsError, problem)
        if listener.closed or not target.up or (listener.tls and not tls):
            raise attempt.error(ConnectionReset)
        out.rto_s = back.rto_s = RTO_S
        server = listener.netns
        route = Route(attempt.host, attempt.port, attempt.address, f"{target.ip}:{port}")
        connection = Connection(
            route, paths, listener.handler, server._process, (self._dialled, server._accepted)
        )
        connection.peer = Peer(connection, source.ip, source.ephemeral_port())
        connection.peer.certified = tls is not None and tls.certificate is not None
        return connection

    async def _target(self, attempt: _Attempt) -> tuple[Stack, int]:
        """Find the pod behind what was dialled; waits for ever where packets vanish."""
        network, source = self._network, self._stack
        # Until the name is resolved, a time-out is the DNS server's.
        server = source.resolver.server
        attempt.detail = f"lookup {attempt.host} on {server}:53: i/o timeout"
        try:
            ips = await self.resolve(attempt.host)
        except NoSuchHost:
            raise attempt.error(
                NoSuchHost, f"lookup {attempt.host} on {server}:53: no such host"
            ) from None
        attempt.detail = ""
        ip = ips[network.pick(source, len(ips))]
        attempt.address = f"{ip}:{attempt.port}"
        backends = network.backends(ip, attempt.port)
        if backends is not None and not backends:
            # kube-proxy's REJECT rule on the own node: no packet leaves.
            await pause(network.loop, 0.000_05)
            raise attempt.error(ConnectionRefused)
        if backends is not None:
            ip, port = backends[network.pick(source, len(backends))]
            target = network.stack(ip)
            if target is not None:
                return target, port
        await network.never()
        raise AssertionError("waiting for packets that vanished ended without a deadline")

    async def _cross(self, path: Path) -> None:
        """Wait until a packet has got through."""
        arrived = self._network.never()
        path.send(_wake, arrived)
        await arrived


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _is_address(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdecimal() for part in parts)
