"""The global router: which region and engine a request goes to, and again if a region refuses.

It polls the queue managers every second for the state of their engines (``routing`` decides on
that), asks the length predictor, and passes the stream through. A region that is too full answers
with a redirect; each costs a round trip between regions. Not here: queues, engines.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from aiopslab.services.config import Config
from aiopslab.services.exchange import RequestFailed
from aiopslab.services.languages import Problem
from aiopslab.services.llm.process import Call, LlmProcess
from aiopslab.services.llm.routing import POLICIES, Chooser, EngineView, Policy, work_ms
from aiopslab.services.protocols import Counter, Response

_POLL_S = 1.0
_REDIRECT = 307
_LOOP_GUARD = 64
"""Redirects after which a request fails even without a hop limit (a proxy's own guard)."""
_DEFAULT_PREDICTION = 150


@dataclass(frozen=True, slots=True)
class Settings:
    """Keys of the router."""

    policy: Policy
    affinity_key: str
    """Header that names the conversation; empty: no affinity."""
    overflow: float
    hop_limit: int
    """Redirects a request may take; 0: no limit."""
    region_rtt_s: float
    log_ratio: float

    @classmethod
    def read(cls, config: Config) -> Settings:
        """Read the keys; raises ConfigError."""
        return cls(
            policy=config.choice("ROUTER_POLICY", "workload_aware", POLICIES),
            affinity_key=config.text("ROUTER_AFFINITY_KEY", "x-session-id"),
            overflow=config.number("ROUTER_REGION_OVERFLOW", 0.7),
            hop_limit=config.integer("ROUTER_HOP_LIMIT", 1),
            region_rtt_s=config.seconds("ROUTER_REGION_RTT_MS", 60),
            log_ratio=config.number("DECISION_LOG_RATIO", 0.1),
        )


class Router(LlmProcess):
    """Serves ``POST /v1/route``."""

    def prepare(self, config: Config) -> None:
        self._queues = {region_of(q): q for q in self.callees("llm-queue")}
        [self._predictor] = self.callees("llm-len-predictor")
        engines = [e for q in self._queues.values() for e in self.app.services[q].calls]
        self._views = {e: EngineView(e, region_of(e)) for e in sorted(engines)}
        self._chooser = Chooser(list(self._views.values()))
        self._tokens = 0
        self._redirects: dict[tuple[str, str], Counter] = {}
        self.route("POST", "/v1/route", self._route)
        self.route("POST", "/v1/stats", self._stats, traced=False)
        for name, view in self._views.items():
            self._gauges(name, view)
        self.host.spawn(self._watch())

    def _gauges(self, name: str, view: EngineView) -> None:
        gauge = self.instruments.gauge
        gauge("llmserve_router_outstanding_requests", lambda: float(view.requests), engine=name)
        gauge("llmserve_router_score", lambda: round(view.work_ms, 3), engine=name)

    def apply(self, config: Config) -> None:
        self.settings = Settings.read(config)
        self._chooser.policy = self.settings.policy
        self._chooser.overflow = self.settings.overflow

    def status(self) -> dict[str, object]:
        return {
            "policy": self.settings.policy,
            "engines": {
                e.name: {"open": e.open, "kv": round(e.kv_usage, 3), "requests": e.requests}
                for e in self._chooser.engines
            },
        }

    async def _watch(self) -> None:
        while True:
            await self._poll()
            await self.host.clock.sleep(_POLL_S)

    async def _poll(self) -> None:
        for region, queue in self._queues.items():
            found = await self.ask(queue, "/v1/stats")
            engines = found.get("engines") if found else None
            for view in self._chooser.engines:
                if view.region == region:
                    _update(view, engines.get(view.name) if isinstance(engines, dict) else None)

    async def _stats(self, call: Call) -> Response:
        return Response(200, json.dumps({"usage": self._chooser.usage(), "tokens": self._tokens}))

    # -- requests ---------------------------------------------------------------------------------

    async def _route(self, call: Call) -> Response:
        predicted = await self._predict(call)
        self._tokens += call.number("prompt_tokens") + predicted
        key = self.settings.affinity_key
        avoid: list[str] = []
        hops = 0
        while True:
            engine = self._choose(call, predicted, avoid, sticky=bool(key) and not hops)
            response = await self._forward(call, engine, predicted, hops)
            if response.status != _REDIRECT:
                return response
            hops += 1
            self._redirected(call, engine.region, hops)
            avoid = [engine.region]
            if hops >= _LOOP_GUARD:
                raise RequestFailed(508, Problem("508", "too many redirects between regions"))
            await self.host.clock.sleep(self.settings.region_rtt_s)

    async def _predict(self, call: Call) -> int:
        try:
            tokens = {"reply_tokens": call.params.get("reply_tokens", "1")}
            answer = await self.call(self._predictor, "/v1/predict", call.x, tokens)
        except RequestFailed:
            return _DEFAULT_PREDICTION
        return int(json.loads(answer.body)["tokens"])

    def _choose(self, call: Call, predicted: int, avoid: list[str], *, sticky: bool) -> EngineView:
        start = self.now()
        chooser, params = self._chooser, call.params
        wants_session = sticky and params.get("session")
        if wants_session:
            engine = chooser.sticky(params.get(self.settings.affinity_key, ""))
        else:
            region = chooser.region(params.get("region", ""), avoid)
            prompt = call.number("prompt_tokens")
            engine = chooser.stateless(region, prompt, predicted) if region else None
        if engine is None:
            raise RequestFailed(503, Problem("503", "no engine is open"))
        self.span(
            call.x, "route", start, self.now(),
            {"llmserve.region": engine.region, "llmserve.engine": engine.name},
        )  # fmt: skip
        if self.host.random.random() < self.settings.log_ratio:
            fields: dict[str, str | int] = {
                "engine": engine.name,
                "region": engine.region,
                "policy": "affinity" if wants_session else self.settings.policy,
                "predicted_tokens": predicted,
            }
            self.journal.write("INFO", "routed", fields, call.x)
        return engine

    async def _forward(self, call: Call, engine: EngineView, predicted: int, hops: int) -> Response:
        work = work_ms(engine, call.number("prompt_tokens"), predicted)
        params = {**call.params, "engine": engine.name, "predicted": str(predicted)}
        limit = self.settings.hop_limit
        if limit and hops >= limit:
            params["final"] = "true"
        engine.requests += 1
        engine.work_ms += work
        try:
            return await self.call(
                self._queues[engine.region], "/v1/enqueue", call.x, params, call.emit
            )
        finally:
            engine.requests -= 1
            engine.work_ms = max(0.0, engine.work_ms - work)

    def _redirected(self, call: Call, region: str, hops: int) -> None:
        counter = self._redirects.get((region, ""))
        if counter is None:
            counter = self.telemetry.counter("llmserve_region_redirects_total", from_region=region)
            self._redirects[region, ""] = counter
        counter.add()
        if self.host.random.random() < self.settings.log_ratio:
            fields: dict[str, str | int] = {"from": region, "hops": hops}
            self.journal.write("INFO", "region is full, redirected", fields, call.x)


def region_of(component: str) -> str:
    """Return the region in the name of a queue manager or an engine.

    >>> region_of("queue-mgr-east"), region_of("engine-east-0")
    ('east', 'east')
    """
    head, _, last = component.rpartition("-")
    return head.rpartition("-")[2] if last.isdigit() else last


def _update(view: EngineView, found: object) -> None:
    """Enter what a queue manager said of an engine; silence closes it."""
    if not isinstance(found, dict):
        view.open = False
        return
    view.open = bool(found.get("open"))
    view.kv_usage = float(found.get("kv_usage", 0.0))
    view.prefill_ms = float(found.get("prefill_ms", view.prefill_ms))
