"""Which engine a request is sent to: affinity, work, speed, regions.

Requests that carry the affinity key stay with one engine, so that the prefix of the conversation is
found in its cache: rendezvous hashing with weights, so that little moves when an engine comes or
goes (Thaler and Ravishankar 1998). The others go to the engine of their region that the policy
names, or of the least used region when their own is too full. Not here: asking
engines (``router``).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Policy = Literal["round_robin", "least_requests", "workload_aware"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
REFERENCE_MS = 0.095
"""Prefill time per token of the fastest hardware: speed 1."""


@dataclass(slots=True)
class EngineView:
    """What the router knows of an engine."""

    name: str
    region: str
    kv_usage: float = 0.0
    prefill_ms: float = REFERENCE_MS
    """Nominal time per prompt token, as the engine states it."""
    open: bool = False
    requests: int = 0
    """Sent there and not ended."""
    work_ms: float = 0.0
    """Their predicted time of computing."""

    @property
    def speed(self) -> float:
        """Speed relative to the fastest hardware."""
        return REFERENCE_MS / self.prefill_ms


def work_ms(engine: EngineView, prompt: int, predicted: int) -> float:
    """Predict the milliseconds of an engine's time that a request takes."""
    return (prompt * REFERENCE_MS + predicted * 1.5) / engine.speed


class Chooser:
    """Chooses engines.

    Args:
        engines: All of them, in a fixed order.
    """

    def __init__(self, engines: Sequence[EngineView]) -> None:
        self.engines = list(engines)
        self.policy: Policy = "workload_aware"
        self.overflow = 0.7
        self._turn = 0

    def sticky(self, key: str) -> EngineView | None:
        """Return the engine of a conversation; None if no engine is open."""
        candidates = [e for e in self.engines if e.open]
        return max(candidates, key=lambda e: _score(key, e, self._weight(e)), default=None)

    def region(self, home: str, avoid: Sequence[str] = ()) -> str | None:
        """Return the region for a request: its own, unless that is too full or just refused."""
        usage = self.usage()
        if home in usage and home not in avoid and usage[home] <= self.overflow:
            return home
        others = [r for r in usage if r not in avoid] or list(usage)
        return min(others, key=lambda r: (usage[r], r), default=None)

    def usage(self) -> dict[str, float]:
        """Return the mean use of the KV cache by region, of regions with an open engine."""
        found: dict[str, list[float]] = {}
        for engine in self.engines:
            if engine.open:
                found.setdefault(engine.region, []).append(engine.kv_usage)
        return {region: sum(values) / len(values) for region, values in found.items()}

    def stateless(self, region: str, prompt: int, predicted: int) -> EngineView | None:
        """Return the engine of a region for a request without a conversation."""
        candidates = [e for e in self.engines if e.open and e.region == region]
        if not candidates:
            return None
        match self.policy:
            case "round_robin":
                self._turn += 1
                return candidates[self._turn % len(candidates)]
            case "least_requests":
                return min(candidates, key=lambda e: (e.requests, e.name))
            case "workload_aware":
                return min(candidates, key=lambda e: e.work_ms + work_ms(e, prompt, predicted))

    def _weight(self, engine: EngineView) -> float:
        return engine.speed if self.policy == "workload_aware" else 1.0


def _score(key: str, engine: EngineView, weight: float) -> float:
    digest = hashlib.blake2b(f"{key}|{engine.name}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(digest, "big") + 1) / (2**64 + 1)
    return -weight / math.log(uniform)
