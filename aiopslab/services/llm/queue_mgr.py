"""The queue manager of a region: holds requests until an engine has room, ordered by a policy.

It polls its engines every second, keeps one virtual queue for each (``queueing``) and passes the
stream through. A region whose engines are too full sends requests back to the router, if that
leaves it a choice. Not here: which engine (``routing``), how engines work (``batching``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

from aiopslab.services.config import Config
from aiopslab.services.exchange import RequestFailed
from aiopslab.services.languages import Problem
from aiopslab.services.llm.gateway import TTFT_BUCKETS
from aiopslab.services.llm.process import Call, LlmProcess
from aiopslab.services.llm.queueing import POLICIES, TIERS, Policy, Queues, Rules, Ticket
from aiopslab.services.protocols import Response

_POLL_S = 1.0
_REDIRECT = 307
_SILENT_POLLS = 5
"""Polls without any answer after which an engine counts as gone with all it had."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Keys of a queue manager."""

    rules: Rules
    overflow: float
    """Use of the region's KV cache from which requests are sent back to the router."""
    cordoned: tuple[str, ...]
    """Engines that get no further requests."""

    @classmethod
    def read(cls, config: Config) -> Settings:
        """Read the keys; raises ConfigError."""
        policy: Policy = config.choice("QUEUE_POLICY", "ssjf", POLICIES)
        rules = Rules(
            policy=policy,
            aging_s=config.number("QUEUE_AGING_S", 30.0),
            reserve=config.number("QUEUE_INTERACTIVE_RESERVE", 0.6),
            window_tokens=config.integer("QUEUE_WINDOW_TOKENS", 4096, least=1),
            max_in_flight=config.integer("QUEUE_MAX_IN_FLIGHT", 64, least=1),
        )
        named = config.text("QUEUE_CORDONED", "")
        cordoned = tuple(sorted(filter(None, (n.strip() for n in named.split(",")))))
        return cls(rules, config.number("QUEUE_REGION_OVERFLOW", 0.9), cordoned)


class QueueManager(LlmProcess):
    """Serves ``POST /v1/enqueue``."""

    def prepare(self, config: Config) -> None:
        self._engines = self.callees("llm-engine")
        self._stats: dict[str, dict[str, object]] = {}
        self._silent = dict.fromkeys(self._engines, 0)
        self._at: dict[str, dict[asyncio.Timeout, None]] = {e: {} for e in self._engines}
        self.queues = Queues(self._engines, self.now)
        self.route("POST", "/v1/enqueue", self._enqueue)
        self.route("POST", "/v1/stats", self._answer_stats, traced=False)
        self._wait = self.telemetry.histogram("llmserve_queue_wait_seconds", TTFT_BUCKETS)
        for tier in TIERS:
            self._gauges(tier)
        self.host.spawn(self._watch())

    def _gauges(self, tier: str) -> None:
        gauge, labels = self.instruments.gauge, {"class": tier}
        gauge("llmserve_queue_oldest_age_seconds", lambda: self.queues.oldest_s(tier), **labels)
        for engine in self._engines:

            def depth(engine: str = engine) -> float:
                return float(self.queues.depth(tier, engine))

            gauge("llmserve_queue_depth", depth, vq=engine, **labels)

    def apply(self, config: Config) -> None:
        self.settings = Settings.read(config)
        self.queues.rules = self.settings.rules
        self._open()

    def status(self) -> dict[str, object]:
        return {
            "policy": self.settings.rules.policy,
            "interactive_reserve": self.settings.rules.reserve,
            "cordoned": list(self.settings.cordoned),
            "queues": {
                engine: {"waiting": len(lane.waiting), "in_flight": lane.in_flight}
                for engine, lane in self.queues.lanes.items()
            },
        }

    async def _watch(self) -> None:
        while True:
            await self._poll()
            await self.host.clock.sleep(_POLL_S)

    async def _poll(self) -> None:
        for engine in self._engines:
            found = None
            try:
                found = await self.hear(engine, "/v1/stats")
                self._silent[engine] = 0
            except TimeoutError:
                self._silent[engine] += 1
                if self._silent[engine] == _SILENT_POLLS:
                    self._give_up(engine)
            self._stats[engine] = found or {"state": "unreachable"}
        self._open()

    def _give_up(self, engine: str) -> None:
        """Fail what is at an engine whose machine says nothing any more; nobody will answer it."""
        self.journal.write(
            "ERROR", f"{engine} is silent, its requests fail", {"count": len(self._at[engine])}
        )
        now = asyncio.get_running_loop().time()
        for patience in self._at[engine]:
            patience.reschedule(now)

    def _open(self) -> None:
        for engine, lane in self.queues.lanes.items():
            state = self._stats.get(engine, {}).get("state")
            lane.open = state == "serving" and engine not in self.settings.cordoned
            self.queues.pump(engine)
        for engine, lane in self.queues.lanes.items():
            if not lane.open:
                self.queues.move(engine)

    async def _answer_stats(self, call: Call) -> Response:
        engines = {
            engine: {**found, "open": self.queues.lanes[engine].open}
            for engine, found in self._stats.items()
        }
        return Response(200, json.dumps({"engines": engines}))

    # -- requests ---------------------------------------------------------------------------------

    async def _enqueue(self, call: Call) -> Response:
        if self._full() and call.params.get("final") != "true":
            return Response(_REDIRECT, "region is full")
        engine = call.params.get("engine", "")
        if engine not in self.queues.lanes:
            raise RequestFailed(400, Problem("400", f"engine {engine!r} is not of this region"))
        return await self._send(call, engine)

    def _full(self) -> bool:
        usage = [float(str(f.get("kv_usage", 0.0))) for f in self._stats.values()]
        return bool(usage) and sum(usage) / len(usage) > self.settings.overflow

    async def _send(self, call: Call, engine: str) -> Response:
        turn = self.host.clock.alarm()
        ticket = Ticket(
            engine=engine,
            tier=call.params.get("tier", "normal"),
            prompt=call.number("prompt_tokens", 1),
            predicted=call.number("predicted", 150),
            arrived_at=self.now(),
            go=turn.ring,
        )

        def first() -> None:
            self.queues.computed(ticket)
            call.emit()

        self.queues.enter(ticket)
        try:
            await turn.wait(None)
            engine = ticket.engine
            waited = self.now() - ticket.arrived_at
            self._wait.observe(waited)
            attributes: dict[str, str | int | float] = {
                "llmserve.class": ticket.tier,
                "llmserve.engine": engine,
                "llmserve.predicted_tokens": ticket.predicted,
            }
            self.span(call.x, "queue", ticket.arrived_at, self.now(), attributes)
            return await self._complete(engine, call, first)
        finally:
            self.queues.leave(ticket)

    async def _complete(self, engine: str, call: Call, first: Callable[[], None]) -> Response:
        """Have an engine answer; it fails when the engine is given up."""
        patience = asyncio.timeout(None)
        try:
            async with patience:
                self._at[engine][patience] = None
                return await self.call(engine, "/v1/completions", call.x, call.params, first)
        except TimeoutError:
            raise RequestFailed(502, Problem("502", f"{engine} is gone")) from None
        finally:
            self._at[engine].pop(patience, None)
