"""Family ``partner``: a party outside the cluster behaves worse than its contract says.

Nobody of the app can repair the partner; what can be repaired is that users suffer from it. The
reference fix routes to the secondary provider where there is one, and else switches off the flag
that does without the partner. Source: faults.md ``dep-3p-slow-or-down``, ``dep-3p-429``.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, fetch
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.external import Disturbance
from aiopslab.models.support import Support, everywhere
from aiopslab.models.truth import FixStep
from aiopslab.services.config import address, prefix
from aiopslab.services.flags import map_name


class _Disturbed(Fault):
    """A partner whose ``Disturbance`` is not neutral."""

    support: ClassVar[Support] = everywhere(
        "the partner is a program of ours in a namespace of its own"
    )
    cause = "partner_degraded"
    system_level = "Application"
    fault_type = "Dependency Problem"

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        if component not in app.externals or not _callers(app, component):
            return False
        return _secondary(app, component) is not None or bool(app.externals[component].without)

    @abstractmethod
    def _disturbance(self) -> Disturbance:
        """Return how it behaves."""

    async def inject(self, env: Environment) -> None:
        await env.substrate.partner(self.site.target, self._disturbance())

    async def recover(self, env: Environment) -> None:
        await env.substrate.partner(self.site.target, Disturbance())

    def fix(self) -> list[FixStep]:
        app, partner = self.site.app, self.site.target
        secondary = _secondary(app, partner)
        if secondary is None:
            patch = json.dumps({"data": {app.externals[partner].without: "false"}})
            return [_patch(map_name(app.name), patch)]
        patch = json.dumps({"data": {f"{prefix(partner)}_ADDR": address(app, secondary)}})
        steps = [_patch(f"{caller}-config", patch) for caller in _callers(app, partner)]
        for caller in _callers(app, partner):
            again = {"action": "restart", "kind": "Deployment", "name": caller}
            steps.append(FixStep(tool="k8s_rollout", arguments=again))
        return steps

    def aliases(self) -> list[str]:
        spec = self.site.app.externals[self.site.target]
        return [spec.host, spec.provider]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        """Look whether the partner behaves again, or no caller depends on it as it did."""
        app, partner = self.site.app, self.site.target
        if not (await env.substrate.disturbance(partner)).troubles():
            return [condition("partner", True, "the partner behaves")]
        flags = await fetch(env, "ConfigMap", map_name(app.name))
        without = app.externals[partner].without
        if without and (flags or {}).get("data", {}).get(without) == "false":
            return [condition("partner", True, f"{without} is off")]
        exposed = [c for c in _callers(app, partner) if not await self._shielded(env, c)]
        detail = f"depend on {partner} as before: {', '.join(exposed) or 'none'}"
        return [condition("partner", not exposed, detail)]

    async def _shielded(self, env: Environment, caller: str) -> bool:
        """Say whether a caller goes elsewhere, or gives up early under a breaker."""
        config = await fetch(env, "ConfigMap", f"{caller}-config")
        data: dict[str, str] = (config or {}).get("data", {})
        key = prefix(self.site.target)
        elsewhere = data.get(f"{key}_ADDR") != address(self.site.app, self.site.target)
        return elsewhere or data.get(f"{key}_BREAKER_ERRORS", "0") != "0"


class Slow(_Disturbed):
    """The partner answers many times slower."""

    kind = "partner/slow"

    class Params(Model):
        """Parameters."""

        factor: float = 40.0
        """Answers take this many times as long."""

    params: Params

    def _disturbance(self) -> Disturbance:
        return Disturbance(latency_factor=self.params.factor)


class Failing(_Disturbed):
    """The partner answers a share of requests with 503."""

    kind = "partner/failing"

    class Params(Model):
        """Parameters."""

        share: float = 0.6
        """Share of requests."""

    params: Params

    def _disturbance(self) -> Disturbance:
        return Disturbance(error_rate=self.params.share)


class RateLimited(_Disturbed):
    """The partner admits fewer requests than before and answers the rest with 429."""

    kind = "partner/rate-limited"
    cause = "partner_rate_limited"

    class Params(Model):
        """Parameters."""

        per_s: float = 0.3
        """Requests a second that it still admits."""

    params: Params

    def _disturbance(self) -> Disturbance:
        return Disturbance(per_s=self.params.per_s)


def _callers(app: App, partner: str) -> list[str]:
    return sorted(name for name, s in app.services.items() if partner in s.depends_on())


def _secondary(app: App, partner: str) -> str | None:
    found = sorted(name for name, spec in app.externals.items() if spec.replaces == partner)
    return found[0] if found else None


def _patch(name: str, patch: str) -> FixStep:
    arguments = {"kind": "ConfigMap", "name": name, "patch": patch, "type": "merge"}
    return FixStep(tool="k8s_patch", arguments=arguments)


KINDS = (Slow, Failing, RateLimited)
