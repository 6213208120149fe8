"""Names of the world: what the DNS servers answer.

Records are A records by full name. Which full names are tried for a short one, and whom a pod asks,
is the pod's (``resolver``). Not here: how long an answer takes, client caches, policies
(``network``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiopslab.services.protocols import NoSuchHost

if TYPE_CHECKING:
    from aiopslab.world.resolver import Resolver

ADDRESS = "198.18.0.10"
"""Service address of the cluster's DNS server."""
DOMAIN = "cluster.local"
NDOTS = 5
"""Of ``resolv.conf`` in ``ClusterFirst`` pods."""


class Dns:
    """The zone of the cluster, and the names of the world outside."""

    def __init__(self) -> None:
        self._records: dict[str, tuple[str, ...]] = {}

    def publish(self, fqdn: str, ips: Sequence[str]) -> None:
        """Set the addresses of a name; no address leaves a name without answers."""
        self._records[_canonical(fqdn)] = tuple(ips)

    def withdraw(self, fqdn: str) -> None:
        """Remove a name; an unknown one is no error."""
        self._records.pop(_canonical(fqdn), None)

    def resolve(self, name: str, resolver: Resolver) -> list[str]:
        """Look a name up as a pod does that has this resolver.

        Args:
            name: Short, partly or fully qualified; a trailing dot skips the search path.
            resolver: Whom it asks, and along which search path.

        Returns:
            At least one address.

        Raises:
            NoSuchHost: No candidate has an address; ``port`` is 0, the caller knows it.
        """
        if alias := resolver.hosts.get(_canonical(name)):
            return [alias]
        for candidate in resolver.candidates(name) if resolver.server else ():
            hidden = candidate.endswith(f".{DOMAIN}") and not resolver.knows_cluster
            found = None if hidden else self._records.get(candidate)
            if found:
                return list(found)
        raise NoSuchHost(name, 0)


def _canonical(name: str) -> str:
    return name.rstrip(".").lower()
