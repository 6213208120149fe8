"""Family ``llm``: a tenant that takes what the others need, because nothing limits it.

Its requests are legitimate, one by one; there are too many of them. Source: llmserve.md LS-05
(FairServe). Not here: policies that refuse the wrong ones (``llm_scheduling``).
"""

from __future__ import annotations

import json

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, edit, fetch
from aiopslab.faults.llm_knobs import FOLLOWED
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.journey import Journey, JourneyStep
from aiopslab.models.support import simulated
from aiopslab.models.truth import FixStep

_QUOTA = 0.5
"""Requests per second that its contract gives the tenant."""
_LIMITS = "GATEWAY_TENANT_LIMITS"


class TenantStorm(Fault):
    """A tenant's pipeline was told to send everything at once, and no limit is set for it."""

    kind = "llm/tenant-storm"
    support = simulated("llmserve is tied to machines with GPUs, which are simulated")
    cause = "tenant_limit_missing"
    system_level = "Application"
    fault_type = "Operation Error"

    class Params(Model):
        """Parameters."""

        tenant: str = "acme-etl"
        rate: float = 6.0
        """Requests per second."""
        address: str = "198.18.66.41"

    params: Params
    _on: bool = False
    """While it sends more than its contract says."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        return service is not None and service.program == "llm-gateway"

    async def inject(self, env: Environment) -> None:
        step = JourneyStep(
            request="POST /v1/chat/completions",
            params={
                "tenant": self.params.tenant,
                "app": "etl",
                "tier": "normal",
                "region": {"choice": ["east", "west", "central"]},
                "prompt_tokens": {"int": [1500, 3500]},
                "reply_tokens": {"int": [150, 450]},
            },
        )
        pipeline = Journey(
            entry=self.site.target, rate=self.params.rate, steps=[step], timeout_s=120.0
        )
        await env.traffic.visitor(self.params.address, pipeline)
        self._on = True

    async def recover(self, env: Environment) -> None:
        await env.traffic.visitor(self.params.address, None)
        limits = {_LIMITS: str(self.site.app.services[self.site.target].config[_LIMITS])}
        name = f"{self.site.target}-config"
        await edit(env, "ConfigMap", name, {"data": limits}, actor="config-sync", type="merge")
        self._on = False

    def fix(self) -> list[FixStep]:
        limits = {_LIMITS: f"{self.params.tenant}={_QUOTA:g}"}
        arguments = {
            "kind": "ConfigMap", "name": f"{self.site.target}-config", "type": "merge",
            "patch": json.dumps({"data": limits}),
        }  # fmt: skip
        worked_off = {"seconds": 90.0, "reason": "until what was admitted before is done"}
        return [
            FixStep(tool="k8s_patch", arguments=arguments),
            FOLLOWED,
            FixStep(tool="wait", arguments=worked_off),
        ]

    def accepted(self) -> list[tuple[str, str]]:
        services = self.site.app.services
        shares = [n for n, s in sorted(services.items()) if s.program == "llm-fair-sched"]
        return [*((name, self.cause) for name in shares), (self.site.target, "abusive_client")]

    def aliases(self) -> list[str]:
        return [self.params.tenant, f"{self.site.target}-config"]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        """The tenant has a limit, and not nothing: it pays for its quota."""
        config = await fetch(env, "ConfigMap", f"{self.site.target}-config")
        text = str((config or {}).get("data", {}).get(_LIMITS, ""))
        limit = _limit(text, self.params.tenant)
        met = not self._on or (limit is not None and 0.0 < limit <= self.params.rate / 2.0)
        return [condition("limit", met, f"limits: {text or 'none'}")]


def _limit(text: str, tenant: str) -> float | None:
    """Read a tenant's limit; None where there is none that can be read."""
    for part in text.split(","):
        name, _, number = part.partition("=")
        if name.strip() == tenant:
            try:
                return float(number)
            except ValueError:
                return None
    return None


KINDS: tuple[type[Fault], ...] = (TenantStorm,)
