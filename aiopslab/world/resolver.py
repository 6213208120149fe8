"""How a pod looks names up: its ``/etc/hosts`` and ``/etc/resolv.conf``, from its pod spec.

``dnsPolicy: ClusterFirst`` asks the cluster's DNS server along the search path, ``Default`` asks
the node's own, which knows the world outside and nothing of the cluster, ``None`` has only what
``dnsConfig`` says. ``hostAliases`` answer before any server. Source: the Kubernetes
documentation, "DNS for Services and Pods". Not here: the records (``dns``), caches and policies
(``netns``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiopslab.world.dns import ADDRESS, DOMAIN, NDOTS

NODE_SERVER = "198.18.0.2"
"""What the nodes' own ``resolv.conf`` names; it knows no name of the cluster."""


@dataclass(frozen=True, slots=True)
class Resolver:
    """Where and how one pod asks."""

    server: str = ADDRESS
    """Address of the first name server; empty: there is none, so nothing but aliases resolves."""
    search: tuple[str, ...] = ()
    ndots: int = 1
    """Names with fewer dots are tried along the search path first."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """Name to address, of ``hostAliases``."""

    @property
    def knows_cluster(self) -> bool:
        """Whether the names of Services exist for it."""
        return self.server == ADDRESS

    def candidates(self, name: str) -> list[str]:
        """List the full names tried for a name, in order.

        >>> of_namespace("hotel").candidates("rate")[:2]
        ['rate.hotel.svc.cluster.local', 'rate.svc.cluster.local']
        """
        bare = name.rstrip(".").lower()
        if name.endswith("."):
            return [bare]
        searched = [f"{bare}.{suffix}" for suffix in self.search]
        return [bare, *searched] if bare.count(".") >= self.ndots else [*searched, bare]

    def resolv_conf(self) -> str:
        """Return the text of ``/etc/resolv.conf``."""
        lines = [f"search {' '.join(self.search)}"] if self.search else []
        lines += [f"nameserver {self.server}"] if self.server else []
        lines += [f"options ndots:{self.ndots}"] if self.ndots != 1 else []
        return "".join(f"{line}\n" for line in lines)

    def host_lines(self) -> str:
        """Return what ``hostAliases`` add to ``/etc/hosts``."""
        return "".join(f"{ip}\t{name}\n" for name, ip in self.hosts.items())


OUTSIDE = Resolver()
"""Of nodes and clients outside: full names, of the cluster too, as its edge publishes them."""


def of_namespace(namespace: str) -> Resolver:
    """Return the resolver of ``ClusterFirst`` pods; of an empty namespace the one outside."""
    if not namespace:
        return OUTSIDE
    path = (f"{namespace}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN)
    return Resolver(ADDRESS, path, NDOTS)


def of_pod(spec: Mapping[str, Any], namespace: str) -> Resolver:
    """Return the resolver that a pod spec asks for."""
    policy, config = spec.get("dnsPolicy", "ClusterFirst"), spec.get("dnsConfig") or {}
    base = of_namespace(namespace)
    if policy == "Default":
        base = Resolver(NODE_SERVER)
    elif policy == "None":
        base = Resolver("")
    servers: Sequence[str] = config.get("nameservers") or ()
    options = {o["name"]: o.get("value") for o in config.get("options") or ()}
    return Resolver(
        server=base.server or next(iter(servers), ""),
        search=(*base.search, *config.get("searches", ())),
        ndots=int(options.get("ndots") or base.ndots),
        hosts={
            name.lower(): alias["ip"]
            for alias in spec.get("hostAliases") or ()
            for name in alias.get("hostnames") or ()
        },
    )
