"""Family ``llm``: decisions of the LLM platform that go wrong: queues, routing, shares, forecasts.

Nothing is slow and nothing is broken; requests wait, bounce or are refused because a policy says
so. Source: llmserve.md LS-01, LS-03, LS-06, LS-07, LS-08, LS-15, LS-18 (QLM, SSJF, FairServe,
SageServe, ModServe).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import condition, fetch
from aiopslab.faults.llm_knobs import Knobs
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.truth import FixStep


class NoParams(Model):
    """No parameters."""


class QueuePolicy(Knobs):
    """Requests are served as they come and batch may use all of it: chat waits behind documents."""

    kind = "llm/queue-policy"
    cause = "queue_policy_misconfigured"
    program = "llm-queue"
    everywhere = True

    Params = NoParams

    def wrong(self) -> Mapping[str, str]:
        return {"QUEUE_POLICY": "fcfs", "QUEUE_INTERACTIVE_RESERVE": "0"}

    def good(self, key: str, value: str | None) -> bool:
        # With a reserve the policy hardly matters; any order will do.
        return key == "QUEUE_POLICY" or (value is not None and _number(value) >= 0.05)


class RoutingPolicy(Knobs):
    """Every engine gets as many requests as the next, though a third of them are half as fast."""

    kind = "llm/routing-policy"
    cause = "routing_policy_misconfigured"
    program = "llm-router"
    Params = NoParams

    def wrong(self) -> Mapping[str, str]:
        return {"ROUTER_POLICY": "round_robin"}

    def fix(self) -> list[FixStep]:
        worked_off = {"seconds": 180.0, "reason": "until the slower engines have caught up"}
        return [*super().fix(), FixStep(tool="wait", arguments=worked_off)]

    def good(self, key: str, value: str | None) -> bool:
        return value == "workload_aware"


class AffinityKey(Knobs):
    """The gateway names the conversation in a header that the router does not know."""

    kind = "llm/affinity-key"
    cause = "routing_affinity_mismatch"
    fault_type = "Code Defect"
    program = "llm-gateway"

    class Params(Model):
        """Parameters."""

        spelling: int = Field(default=0, ge=0, le=3)
        """Which of the names that people give it."""

    params: Params
    spellings: ClassVar[tuple[str, ...]] = (
        "x-conversation-id",
        "x-chat-id",
        "x-thread-id",
        "x-session",
    )

    def wrong(self) -> Mapping[str, str]:
        return {"GATEWAY_SESSION_HEADER": self.spellings[self.params.spelling]}

    def fix(self) -> list[FixStep]:
        worked_off = {"seconds": 300.0, "reason": "until the hot engine has worked off its queue"}
        return [*super().fix(), FixStep(tool="wait", arguments=worked_off)]

    def _router(self) -> str:
        services = self.site.app.services
        return next(n for n, s in sorted(services.items()) if s.program == "llm-router")

    def accepted(self) -> list[tuple[str, str]]:
        return [*super().accepted(), (self._router(), self.cause)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        """Both sides name the same header, or the router does without."""
        names = []
        for component, key in (
            (self.site.target, "GATEWAY_SESSION_HEADER"),
            (self._router(), "ROUTER_AFFINITY_KEY"),
        ):
            config = await fetch(env, "ConfigMap", f"{component}-config")
            names.append((config or {}).get("data", {}).get(key))
        sent, known = names
        met = known == "" or (sent is not None and sent == known)
        return [condition("header", met, f"gateway sends {sent!r}, router reads {known!r}")]


class RegionBounce(Knobs):
    """Regions send requests back to each other, without a limit to how often."""

    kind = "llm/region-bounce"
    cause = "overflow_threshold_misconfigured"
    program = "llm-router"

    class Params(Model):
        """Parameters."""

        overflow: float = 0.08
        """KV usage from which a region sends requests back."""

    params: Params

    def wrong(self) -> Mapping[str, str]:
        return {"ROUTER_HOP_LIMIT": "0"}

    def good(self, key: str, value: str | None) -> bool:
        return value is not None and 1 <= _number(value) <= 3

    def _queues(self) -> list[str]:
        services = self.site.app.services
        return sorted(n for n, s in services.items() if s.program == "llm-queue")

    async def _thresholds(self, env: Environment, value: str) -> None:
        for queue in self._queues():
            await self._set(env, queue, {"QUEUE_REGION_OVERFLOW": value})

    async def inject(self, env: Environment) -> None:
        await self._thresholds(env, f"{self.params.overflow:g}")
        await super().inject(env)

    async def recover(self, env: Environment) -> None:
        await self._thresholds(env, "0.9")
        await super().recover(env)

    def fix(self) -> list[FixStep]:
        patch = json.dumps({"data": {"QUEUE_REGION_OVERFLOW": "0.9"}})
        raised = [
            FixStep(
                tool="k8s_patch",
                arguments={
                    "kind": "ConfigMap", "name": f"{queue}-config", "patch": patch,
                    "type": "merge",
                },
            )
            for queue in self._queues()
        ]  # fmt: skip
        return [*raised, *super().fix()]

    def accepted(self) -> list[tuple[str, str]]:
        return [*super().accepted(), *((queue, self.cause) for queue in self._queues())]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        """Requests may not bounce for ever, or have no reason to."""
        [limit] = await super().postconditions(env)
        low = []
        for queue in self._queues():
            config = await fetch(env, "ConfigMap", f"{queue}-config")
            value = (config or {}).get("data", {}).get("QUEUE_REGION_OVERFLOW", "0")
            low += [f"{queue}={value}"] if _number(value) < 0.5 else []
        met = limit.met or not low
        return [condition("bounce", met, f"hop limit: {limit.detail}; low: {low or 'none'}")]


class ThrottlePolicy(Knobs):
    """Tenants are limited by requests a minute, in the middle of what they do, on idle engines."""

    kind = "llm/throttle-policy"
    cause = "throttle_policy_misconfigured"
    program = "llm-fair-sched"

    class Params(Model):
        """Parameters."""

        rpm: int = 12
        """Requests a minute."""

    params: Params

    def wrong(self) -> Mapping[str, str]:
        return {"FAIR_POLICY": "rpm", "FAIR_RPM": str(self.params.rpm)}

    def good(self, key: str, value: str | None) -> bool:
        return key == "FAIR_RPM" or value == "interaction"


class PredictorArtefact(Knobs):
    """A new artefact of the length predictor has its labels the wrong way round."""

    kind = "llm/predictor-artefact"
    cause = "length_predictor_regression"
    fault_type = "Code Defect"
    program = "llm-len-predictor"
    Params = NoParams

    def wrong(self) -> Mapping[str, str]:
        return {"PRED_VERSION": "v7"}


class EncoderPlacement(Knobs):
    """Images are encoded by the engines, which stand still for everybody meanwhile."""

    kind = "llm/encoder-placement"
    cause = "encoder_colocated"
    fault_type = "Operation Error"
    program = "llm-gateway"
    Params = NoParams

    def wrong(self) -> Mapping[str, str]:
        return {"ENCODER_PLACEMENT": "colocated"}


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return -1.0


KINDS = (
    QueuePolicy, RoutingPolicy, AffinityKey, RegionBounce, ThrottlePolicy, PredictorArtefact,
    EncoderPlacement,
)  # fmt: skip
