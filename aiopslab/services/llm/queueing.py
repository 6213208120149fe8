"""Virtual queues before engines: who is sent next, under which policy.

Every engine has a queue of its own. A request leaves it when the engine has room in its *window*:
prompt tokens that were sent and not computed yet. Policies: ``fcfs`` (arrival), ``edf`` (earliest
deadline by class), ``ssjf`` (shortest predicted answer first), ``slo`` (least slack: deadline minus
the predicted time). Whoever has waited longer than the ageing time goes first, whatever the policy.
A reserve keeps part of the window free of the batch class.

Not here: sending (``queue_mgr``), what the engine does with it (``batching``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Policy = Literal["fcfs", "edf", "ssjf", "slo"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
TIERS = ("interactive", "normal", "batch")
DEADLINE_S: Mapping[str, float] = {"interactive": 1.5, "normal": 15.0, "batch": 120.0}
"""Time to the first token that each class is promised."""
_TOKEN_S = 0.04
"""Rough time of a decoded token, for slack."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One request in a queue."""

    engine: str
    tier: str
    prompt: int
    predicted: int
    arrived_at: float
    go: Callable[[], None]
    """Called when it is its turn."""
    sent: bool = False
    gone: bool = False

    @property
    def deadline(self) -> float:
        """When the first token is due (unix seconds)."""
        return self.arrived_at + DEADLINE_S.get(self.tier, DEADLINE_S["normal"])


@dataclass(slots=True)
class Rules:
    """Settings of the queues of one region."""

    policy: Policy = "ssjf"
    aging_s: float = 30.0
    """0: nobody is preferred for having waited."""
    reserve: float = 0.6
    """Part of every window that the batch class may not use."""
    window_tokens: int = 4096
    max_in_flight: int = 64
    """Requests at one engine."""


@dataclass(slots=True)
class Lane:
    """The queue of one engine and what is at it."""

    waiting: list[Ticket] = field(default_factory=list)
    uncomputed: dict[Ticket, None] = field(default_factory=dict)
    """Sent, without a first token so far."""
    in_flight: int = 0
    open: bool = True
    """Whether the engine takes requests."""

    def window(self, tier: str | None = None) -> int:
        """Return the prompt tokens sent and not computed yet, of one class or all."""
        return sum(t.prompt for t in self.uncomputed if tier is None or t.tier == tier)


class Queues:
    """The virtual queues of one region.

    Args:
        engines: Their names.
        now: The clock.
    """

    def __init__(self, engines: list[str], now: Callable[[], float]) -> None:
        self.rules = Rules()
        self.lanes = {engine: Lane() for engine in engines}
        self._now = now

    def enter(self, ticket: Ticket) -> None:
        """Queue a request and send whoever can be sent."""
        self.lanes[ticket.engine].waiting.append(ticket)
        self.pump(ticket.engine)

    def computed(self, ticket: Ticket) -> None:
        """Note a request's first token: its prompt no longer counts."""
        self.lanes[ticket.engine].uncomputed.pop(ticket, None)
        self.pump(ticket.engine)

    def leave(self, ticket: Ticket) -> None:
        """Note that a request has ended, or given up waiting."""
        if ticket.gone:
            return
        ticket.gone = True
        lane = self.lanes[ticket.engine]
        if ticket.sent:
            lane.in_flight -= 1
            lane.uncomputed.pop(ticket, None)
        elif ticket in lane.waiting:
            lane.waiting.remove(ticket)
        self.pump(ticket.engine)

    def pump(self, engine: str) -> None:
        """Send requests while the engine has room."""
        lane = self.lanes[engine]
        while lane.waiting and (ticket := self._next(lane)) is not None:
            lane.waiting.remove(ticket)
            lane.uncomputed[ticket] = None
            lane.in_flight += 1
            ticket.sent = True
            ticket.go()

    def move(self, engine: str) -> None:
        """Let who waits for an engine that takes nothing wait for another one, if there is one."""
        there = [e for e, lane in self.lanes.items() if lane.open and e != engine]
        while there and self.lanes[engine].waiting:
            ticket = self.lanes[engine].waiting.pop(0)
            ticket.engine = min(there, key=lambda e: (len(self.lanes[e].waiting), e))
            self.enter(ticket)

    def depth(self, tier: str, engine: str) -> int:
        """Count who waits."""
        return sum(t.tier == tier for t in self.lanes[engine].waiting)

    def oldest_s(self, tier: str) -> float:
        """Return how long the first of a class has waited."""
        now = self._now()
        ages = [
            now - t.arrived_at for q in self.lanes.values() for t in q.waiting if t.tier == tier
        ]
        return max(ages, default=0.0)

    def _next(self, lane: Lane) -> Ticket | None:
        rules = self.rules
        if not lane.open or lane.in_flight >= rules.max_in_flight:
            return None
        fit = [t for t in lane.waiting if self._allowed(lane, t)]
        return min(fit, key=self._rank) if fit else None

    def _allowed(self, lane: Lane, ticket: Ticket) -> bool:
        """Say whether the class may use the window now.

        The batch class has its part, or one prompt where that is longer; the others see no more of
        its prompts than that part.
        """
        size = self.rules.window_tokens
        part = (1.0 - self.rules.reserve) * size
        batch = lane.window("batch")
        others = lane.window() - batch
        if ticket.tier == "batch" and self.rules.reserve > 0.0 and batch:
            return batch + ticket.prompt <= part
        if self.rules.reserve > 0.0:
            batch = min(batch, int(part))
        return batch + others < size

    def _rank(self, ticket: Ticket) -> tuple[float, float]:
        now, rules, arrived = self._now(), self.rules, ticket.arrived_at
        if rules.aging_s > 0.0 and now - arrived > rules.aging_s:
            return (-1.0, arrived)
        match rules.policy:
            case "fcfs":
                return (0.0, arrived)
            case "edf":
                return (0.0, ticket.deadline)
            case "ssjf":
                return (0.0, float(ticket.predicted))
            case "slo":
                return (0.0, ticket.deadline - ticket.predicted * _TOKEN_S)
