"""Names of the world: what the cluster's DNS server answers.

Records are A records by full name. Lookups follow a pod's ``resolv.conf``: search path
``<namespace>.svc.cluster.local svc.cluster.local cluster.local``, ``ndots:5``. Not here: how long
an answer takes, client caches, policies (``network``).
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopslab.services.protocols import NoSuchHost

ADDRESS = "198.18.0.10"
"""Service address of the DNS server."""
DOMAIN = "cluster.local"
_NDOTS = 5


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

    def resolve(self, name: str, namespace: str) -> list[str]:
        """Look a name up as a pod of a namespace does.

        Args:
            name: Short, partly or fully qualified; a trailing dot skips the search path.
            namespace: Of the pod that asks; empty outside the cluster, where nothing is searched.

        Returns:
            At least one address.

        Raises:
            NoSuchHost: No candidate has an address; ``port`` is 0, the caller knows it.
        """
        for candidate in search(name, namespace):
            found = self._records.get(candidate)
            if found:
                return list(found)
        raise NoSuchHost(name, 0)


def search(name: str, namespace: str) -> list[str]:
    """List the full names tried for a name, in order.

    >>> search("rate", "hotel")[:2]
    ['rate.hotel.svc.cluster.local', 'rate.svc.cluster.local']
    """
    bare = _canonical(name)
    if name.endswith(".") or not namespace:
        return [bare]
    path = [f"{namespace}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN]
    searched = [f"{bare}.{suffix}" for suffix in path]
    return [bare, *searched] if bare.count(".") >= _NDOTS else [*searched, bare]


def _canonical(name: str) -> str:
    return name.rstrip(".").lower()
