"""NetworkPolicies: who may connect to whom.

Semantics of ``networking.k8s.io/v1``: a pod that no policy selects for a direction may do
everything in it; a selected one may do what at least one of its policies allows. Both ends must
agree. Evaluated when a connection is made, as by a data plane with connection tracking:
established connections stay.

Not here: what happens to denied packets (``network``: they vanish).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Literal, Protocol

from aiopslab.world.kube.selectors import Selector, from_object, matches

PolicyObject = Mapping[str, Any]
Transport = Literal["TCP", "UDP"]
Labels = Mapping[str, str]
IPNetwork = IPv4Network | IPv6Network
_NOBODY = IPv4Network("255.255.255.255/32")


class End(Protocol):
    """One end of a connection, as policies see it."""

    @property
    def ip(self) -> str: ...

    @property
    def namespace(self) -> str:
        """Empty for what is no pod."""
        ...

    @property
    def labels(self) -> Mapping[str, str]: ...

    @property
    def port_names(self) -> Mapping[str, int]:
        """Named container ports."""
        ...


@dataclass(frozen=True, slots=True)
class _Ports:
    """One entry of ``ports``; ``first`` None is every port of the transport."""

    transport: str
    first: int | str | None
    last: int | None

    def match(self, end: End, port: int, transport: Transport) -> bool:
        if self.transport != transport:
            return False
        if self.first is None:
            return True
        if isinstance(self.first, str):
            return end.port_names.get(self.first) == port
        return self.first <= port <= (self.last or self.first)


@dataclass(frozen=True, slots=True)
class _Other:
    """One entry of ``from`` or ``to``: a block of addresses, or pods by selectors."""

    block: IPNetwork | None
    excepted: tuple[IPNetwork, ...]
    namespace: str
    namespaces: Selector | None
    pods: Selector | None

    def match(self, end: End, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        if self.block is not None:
            address = ip_address(end.ip)
            return address in self.block and not any(address in e for e in self.excepted)
        if not end.namespace:
            return False
        if self.namespaces is None:
            if end.namespace != self.namespace:
                return False
        elif not matches(self.namespaces, _namespace_labels(end.namespace, namespaces)):
            return False
        return self.pods is None or matches(self.pods, end.labels)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One ingress or egress rule; an empty list allows everything in its dimension."""

    others: tuple[_Other, ...]
    ports: tuple[_Ports, ...]


@dataclass(frozen=True, slots=True)
class _Policy:
    """One policy, compiled."""

    namespace: str
    pods: Selector
    ingress: tuple[_Rule, ...] | None
    """None: the policy does not concern ingress."""
    egress: tuple[_Rule, ...] | None

    def selects(self, end: End) -> bool:
        return end.namespace == self.namespace and matches(self.pods, end.labels)


class PolicySet:
    """All policies of the cluster.

    Args:
        policies: NetworkPolicy objects in wire form.
        namespaces: Labels by namespace; ``kubernetes.io/metadata.name`` is understood anyway.
    """

    __slots__ = ("_known", "_namespaces", "_policies")

    def __init__(
        self,
        policies: Iterable[PolicyObject] = (),
        namespaces: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._policies = [_compile(policy) for policy in policies]
        self._namespaces = namespaces or {}
        self._known: dict[tuple[str, str, int, str], tuple[Labels, Labels, bool]] = {}

    def __bool__(self) -> bool:
        return bool(self._policies)

    def allows(self, source: End, target: End, port: int, transport: Transport = "TCP") -> bool:
        """Return whether a connection from ``source`` to a port of ``target`` may be made."""
        key = (source.ip, target.ip, port, transport)
        known = self._known.get(key)
        # Whoever has the address later, or changes his labels, has other labels.
        if known is not None and known[0] is source.labels and known[1] is target.labels:
            return known[2]
        allowed = self.allows_egress(source, target, port, transport) and self._permitted(
            target, source, target, port, transport, "ingress"
        )
        self._known[key] = (source.labels, target.labels, allowed)
        return allowed

    def allows_egress(
        self, source: End, target: End, port: int, transport: Transport = "TCP"
    ) -> bool:
        """Return whether the source's own policies let the connection out."""
        return self._permitted(source, target, target, port, transport, "egress")

    def _permitted(
        self,
        subject: End,
        other: End,
        target: End,
        port: int,
        transport: Transport,
        direction: Literal["ingress", "egress"],
    ) -> bool:
        selected = False
        for policy in self._policies:
            rules = policy.ingress if direction == "ingress" else policy.egress
            if rules is None or not policy.selects(subject):
                continue
            selected = True
            for rule in rules:
                if rule.ports and not any(p.match(target, port, transport) for p in rule.ports):
                    continue
                if not rule.others or any(o.match(other, self._namespaces) for o in rule.others):
                    return True
        return not selected


def _namespace_labels(name: str, namespaces: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    return {"kubernetes.io/metadata.name": name, **namespaces.get(name, {})}


def _compile(policy: PolicyObject) -> _Policy:
    spec = policy.get("spec") or {}
    namespace = policy["metadata"].get("namespace", "default")
    # As the API server defaults it: ingress always, egress where the policy has egress rules.
    types = spec.get("policyTypes") or (["Ingress"] + (["Egress"] if spec.get("egress") else []))
    return _Policy(
        namespace=namespace,
        pods=from_object(spec.get("podSelector") or {}),
        ingress=_rules(spec.get("ingress"), "from", namespace) if "Ingress" in types else None,
        egress=_rules(spec.get("egress"), "to", namespace) if "Egress" in types else None,
    )


def _rules(
    rules: Sequence[Mapping[str, Any]] | None, key: Literal["from", "to"], namespace: str
) -> tuple[_Rule, ...]:
    return tuple(
        _Rule(
            others=tuple(_other(entry, namespace) for entry in rule.get(key) or ()),
            ports=tuple(
                _Ports(entry.get("protocol", "TCP"), entry.get("port"), entry.get("endPort"))
                for entry in rule.get("ports") or ()
            ),
        )
        for rule in rules or ()
    )


def _other(entry: Mapping[str, Any], namespace: str) -> _Other:
    block = entry.get("ipBlock")
    pods, namespaces = entry.get("podSelector"), entry.get("namespaceSelector")
    return _Other(
        block=_network(block["cidr"]) if block else None,
        excepted=tuple(_network(e) for e in (block or {}).get("except") or ()),
        namespace=namespace,
        namespaces=None if namespaces is None else from_object(namespaces),
        pods=None if pods is None else from_object(pods),
    )


def _network(cidr: str) -> IPNetwork:
    try:
        return ip_network(cidr, strict=False)
    except ValueError:
        # As in a real data plane, a block that cannot be read matches nobody.
        return _NOBODY
