"""Fair shares: weighted service counters of tenants, and when a request is turned away.

As FairServe has it: every tenant's counter grows with the tokens it is served, divided by its
weight, and decays. Three policies: ``rpm`` counts requests a minute; ``tokens`` turns tenants away
that took more than their share; ``interaction`` does so only while the engines are overloaded, and
never in the middle of an interaction whose earlier calls were served. Not here: the server.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, get_args

Policy = Literal["rpm", "tokens", "interaction"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
_HALF_LIFE_S = 60.0
SHARE_FACTOR = 2.0
"""A tenant is over its share from this multiple of the mean counter on."""


@dataclass(slots=True)
class Tenant:
    """What is known of one tenant."""

    weight: float = 1.0
    counter: float = 0.0
    updated_at: float = 0.0
    requests: deque[float] = field(default_factory=deque)
    """Instants of the past minute's requests."""

    def decay(self, now: float) -> None:
        """Let the counter fade to now."""
        self.counter *= 0.5 ** ((now - self.updated_at) / _HALF_LIFE_S)
        self.updated_at = now


@dataclass(slots=True)
class Shares:
    """Counters of all tenants and the policy over them."""

    policy: Policy = "interaction"
    rpm: int = 30
    """``rpm``: requests a minute that a tenant may send."""
    overload_kv: float = 0.85
    """``interaction``: use of the KV cache from which engines count as overloaded."""
    weights: dict[str, float] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    kv_usage: float = 0.0
    """Highest use of the KV cache by region, as last heard."""

    def tenant(self, name: str) -> Tenant:
        """Return a tenant, made on first sight."""
        found = self.tenants.get(name)
        if found is None:
            found = self.tenants[name] = Tenant()
        found.weight = self.weights.get(name, 1.0)
        return found

    def refusal(self, name: str, call: int, now: float) -> str | None:
        """Return why a request is turned away, or None; counts it towards the minute if not.

        Args:
            name: The tenant.
            call: Number of the call within its interaction, from 1.
            now: Unix seconds.
        """
        tenant = self.tenant(name)
        match self.policy:
            case "rpm":
                while tenant.requests and tenant.requests[0] <= now - 60.0:
                    tenant.requests.popleft()
                if len(tenant.requests) >= self.rpm * tenant.weight:
                    return "rpm"
                tenant.requests.append(now)
                return None
            case "tokens":
                return "tokens" if self._over(tenant, now) else None
            case "interaction":
                overloaded = self.kv_usage >= self.overload_kv
                if overloaded and call <= 1 and self._over(tenant, now):
                    return "overload"
                return None

    def charge(self, name: str, tokens: float, now: float) -> None:
        """Add served tokens to a tenant's counter."""
        tenant = self.tenant(name)
        tenant.decay(now)
        tenant.counter += tokens / tenant.weight

    def _over(self, tenant: Tenant, now: float) -> bool:
        for other in self.tenants.values():
            other.decay(now)
        mean = sum(t.counter for t in self.tenants.values()) / len(self.tenants)
        return tenant.counter > SHARE_FACTOR * mean > 0.0
