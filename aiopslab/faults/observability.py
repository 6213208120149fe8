"""Family ``observability``: the application is fine, what watches it is not.

Users notice nothing; dashboards and alerts do. Source: faults.md ``obs-scrape-broken``.
"""

from __future__ import annotations

import json

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, container_of, edit, fetch, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.support import simulated
from aiopslab.models.truth import FixStep
from aiopslab.world.discovery import PORT, SCRAPE

PIPELINE = "ci-pipeline"


class ScrapePort(Fault):
    """Metrics are scraped on a port where nobody serves them: the target looks down."""

    kind = "observability/scrape-port"
    support = simulated("metrics come over OTLP there; nobody scrapes the app")
    cause = "monitoring_broken"
    system_level = "Application"
    fault_type = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        port: int = 9464

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.services

    def _patch(self, value: str | None) -> dict[str, object]:
        return {"spec": {"template": {"metadata": {"annotations": {PORT: value}}}}}

    async def inject(self, env: Environment) -> None:
        patch = self._patch(str(self.params.port))
        await edit(env, "Deployment", self.site.target, patch, actor=PIPELINE)

    async def recover(self, env: Environment) -> None:
        await edit(env, "Deployment", self.site.target, self._patch(None), actor=PIPELINE)

    def fix(self) -> list[FixStep]:
        arguments = {
            "kind": "Deployment",
            "name": self.site.target,
            "patch": json.dumps(self._patch(None)),
        }
        return [FixStep(tool="k8s_patch", arguments=arguments)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        deployment = await fetch(env, "Deployment", self.site.target)
        rolled = await rolled_out(env, "Deployment", self.site.target)
        if deployment is None:
            return [condition("scrape", False, "the Deployment does not exist"), rolled]
        wish = deployment["spec"]["template"]["metadata"].get("annotations") or {}
        ports = container_of(deployment, self.site.target).get("ports", [])
        served = {str(p["containerPort"]) for p in ports}
        met = wish.get(SCRAPE) != "false" and wish.get(PORT, min(served, default="")) in served
        return [condition("scrape", met, f"annotations {wish}, ports {sorted(served)}"), rolled]


KINDS: tuple[type[Fault], ...] = (ScrapePort,)
