"""The edge gateway: the OpenAI-like API that tenants call.

It knows API keys by tenant, limits those that have a limit, asks the fair scheduler, encodes images
and hands the request to the router; what comes back is streamed on. Not here: shares
(``fairness``), where a request goes (``routing``).
"""

from __future__ import annotations

from dataclasses import dataclass

from aiopslab.services.config import Config
from aiopslab.services.exchange import Exchange
from aiopslab.services.llm.fair_sched import weights
from aiopslab.services.llm.process import Call, LlmProcess
from aiopslab.services.protocols import Counter, Histogram, Response

TTFT_BUCKETS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
E2E_BUCKETS = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
_FORWARDED = (
    "tenant", "app", "tier", "prompt_tokens", "reply_tokens", "session", "shared_tokens", "region",
    "call",
)  # fmt: skip
_REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Settings:
    """Keys of the gateway."""

    session_header: str
    """Header in which the conversation is named to the router."""
    tenant_limits: dict[str, float]
    """Requests per second by tenant; tenants that are not named have no limit."""
    encode: str
    """``dedicated``: images are encoded by the encoder pool; ``colocated``: by the engines."""

    @classmethod
    def read(cls, config: Config) -> Settings:
        """Read the keys; raises ConfigError."""
        return cls(
            session_header=config.text("GATEWAY_SESSION_HEADER", "x-session-id"),
            tenant_limits=weights(config, "GATEWAY_TENANT_LIMITS"),
            encode=config.choice("ENCODER_PLACEMENT", "dedicated", ("dedicated", "colocated")),
        )


class Bucket:
    """A token bucket that holds two seconds' worth."""

    __slots__ = ("at", "level", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.level = max(1.0, 2.0 * rate)
        self.at = now

    def take(self, now: float) -> bool:
        """Take one token, if there is one."""
        self.level = min(max(1.0, 2.0 * self.rate), self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level < 1.0:
            return False
        self.level -= 1.0
        return True


class Gateway(LlmProcess):
    """Serves ``POST /v1/chat/completions``."""

    request_cpu_s = 0.002

    def prepare(self, config: Config) -> None:
        self._buckets: dict[str, Bucket] = {}
        [self._scheduler] = self.callees("llm-fair-sched")
        [self._router] = self.callees("llm-router")
        [self._encoder] = self.callees("llm-encoder")
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._ttft: dict[str, Histogram] = {}
        self._e2e: dict[str, Histogram] = {}
        self.route("POST", "/v1/chat/completions", self._complete)

    def apply(self, config: Config) -> None:
        self.settings = Settings.read(config)
        now = self.now()
        self._buckets = {t: Bucket(r, now) for t, r in self.settings.tenant_limits.items()}

    async def _complete(self, call: Call) -> Response:
        params = call.params
        tenant, app = params.get("tenant", "anonymous"), params.get("app", "unknown")
        call.attributes |= {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": params.get("model", "llm-70b"),
            "llmserve.tenant": tenant,
            "llmserve.app": app,
        }
        status = 500
        try:
            response = await self._serve(call, tenant, app)
            status = response.status
        finally:
            self._count(tenant, app, status)
        if status < 400:
            self._histogram(self._e2e, "llmserve_gateway_e2e_seconds", E2E_BUCKETS, app).observe(
                self.now() - call.at
            )
        return response

    async def _serve(self, call: Call, tenant: str, app: str) -> Response:
        bucket = self._buckets.get(tenant)
        if bucket is not None and not bucket.take(self.now()):
            return Response(429, "tenant limit reached")
        start = self.now()
        forwarded = {k: v for k in _FORWARDED if (v := call.params.get(k))}
        admission = await self.call(self._scheduler, "/v1/admit", call.x, forwarded)
        self.span(call.x, "admission", start, self.now())
        if admission.body.startswith(_REFUSED):
            return Response(429, admission.body)
        if images := call.number("images"):
            if self.settings.encode == "dedicated":
                await self._encode(call, images)
            else:
                forwarded["images"] = str(images)
        if session := call.params.get("session"):
            forwarded[self.settings.session_header] = session

        def first() -> None:
            self._histogram(self._ttft, "llmserve_gateway_ttft_seconds", TTFT_BUCKETS, app).observe(
                self.now() - call.at
            )
            call.emit()

        return await self.call(self._router, "/v1/route", call.x, forwarded, first)

    async def _encode(self, call: Call, images: int) -> None:
        start = self.now()
        x = Exchange(call.x.trace_id, call.x.span_id, {})
        await self.call(self._encoder, "/v1/encode", x, {"images": str(images)})
        self.span(call.x, "encode", start, self.now(), {"llmserve.images": images})

    def _count(self, tenant: str, app: str, status: int) -> None:
        counter = self._counters.get((tenant, app, status))
        if counter is None:
            counter = self.telemetry.counter(
                "llmserve_gateway_requests_total", tenant=tenant, app=app, code=str(status)
            )
            self._counters[tenant, app, status] = counter
        counter.add()

    def _histogram(
        self, known: dict[str, Histogram], name: str, buckets: tuple[float, ...], app: str
    ) -> Histogram:
        found = known.get(app)
        if found is None:
            found = known[app] = self.telemetry.histogram(name, buckets, app=app)
        return found
