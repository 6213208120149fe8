"""The fair scheduler: admits requests by tenant before they are routed.

The shares themselves are ``fairness``. It hears from the router how full the engines are.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiopslab.services.config import Config, ConfigError
from aiopslab.services.llm.fairness import POLICIES, Policy, Shares
from aiopslab.services.llm.process import Call, LlmProcess
from aiopslab.services.protocols import Counter, Response

_POLL_S = 2.0
_REPLY_WEIGHT = 2.0
"""Generated tokens count twice, as in the prices of most platforms."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Keys of the fair scheduler."""

    policy: Policy
    rpm: int
    overload_kv: float
    weights: dict[str, float]

    @classmethod
    def read(cls, config: Config) -> Settings:
        """Read the keys; raises ConfigError."""
        return cls(
            policy=config.choice("FAIR_POLICY", "interaction", POLICIES),
            rpm=config.integer("FAIR_RPM", 30, least=1),
            overload_kv=config.number("FAIR_OVERLOAD_KV", 0.85),
            weights=weights(config, "FAIR_WEIGHTS"),
        )


def weights(config: Config, key: str) -> dict[str, float]:
    """Read ``name=number,name=number``; raises ConfigError."""
    text = config.text(key, "")
    found = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, number = part.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise ConfigError(key, text, "name=number, separated by commas") from None
    return found


class FairSched(LlmProcess):
    """Answers ``POST /v1/admit``."""

    def prepare(self, config: Config) -> None:
        self.shares = Shares()
        [self._router] = self.callees("llm-router")
        self._throttled: dict[tuple[str, str], Counter] = {}
        self._known: set[str] = set()
        self.route("POST", "/v1/admit", self._admit)
        self.host.spawn(self._watch())

    def apply(self, config: Config) -> None:
        settings = Settings.read(config)
        self.shares.policy = settings.policy
        self.shares.rpm = settings.rpm
        self.shares.overload_kv = settings.overload_kv
        self.shares.weights = settings.weights

    def status(self) -> dict[str, object]:
        return {
            "policy": self.shares.policy,
            "kv_usage": round(self.shares.kv_usage, 3),
            "wsc": {n: round(t.counter) for n, t in sorted(self.shares.tenants.items())},
        }

    async def _watch(self) -> None:
        """Hear from the router how full the regions are."""
        while True:
            await self.host.clock.sleep(_POLL_S)
            found = await self.ask(self._router, "/v1/stats")
            usage = found.get("usage") if found else None
            if isinstance(usage, dict):
                self.shares.kv_usage = max(map(float, usage.values()), default=0.0)

    async def _admit(self, call: Call) -> Response:
        tenant = call.params.get("tenant", "")
        call.attributes["llmserve.tenant"] = tenant
        now = self.now()
        if tenant not in self._known:
            self._known.add(tenant)
            entry = self.shares.tenant(tenant)
            self.instruments.gauge("llmserve_wsc_counter", lambda: entry.counter, tenant=tenant)
        reason = self.shares.refusal(tenant, call.number("call", 1), now)
        if reason is not None:
            self._throttle(call, tenant, reason)
            return Response(200, f"refused: {reason}")
        tokens = call.number("prompt_tokens") + _REPLY_WEIGHT * call.number("reply_tokens")
        self.shares.charge(tenant, tokens, now)
        return Response(200, "admitted")

    def _throttle(self, call: Call, tenant: str, reason: str) -> None:
        counter = self._throttled.get((tenant, reason))
        if counter is None:
            counter = self.telemetry.counter(
                "llmserve_throttle_total", tenant=tenant, reason=reason
            )
            self._throttled[tenant, reason] = counter
        counter.add()
        fields = {"tenant": tenant, "reason": reason, "call": call.params.get("call", "1")}
        self.journal.write("WARN", "request throttled", fields, call.x)
