"""Family ``service``: the Service object sends traffic where nobody answers.

Mechanism: kube-proxy's table follows the Service and its EndpointSlices, so new connections are
refused while pods stay Running and Ready. Source: faults.md ``k8s-svc-*``.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, edit, fetch
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.support import Support, everywhere
from aiopslab.models.truth import FixStep

PIPELINE = "ci-pipeline"


class _ServiceFault(Fault):
    """A Service whose spec was edited."""

    support: ClassVar[Support] = everywhere()
    system_level = "Virtualization"
    fault_type = "Misconfiguration"

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.services

    @abstractmethod
    def _wrong(self) -> dict[str, object]:
        """Return the patch that breaks the Service."""

    @abstractmethod
    def _right(self) -> dict[str, object]:
        """Return the patch that mends it."""

    async def inject(self, env: Environment) -> None:
        await edit(env, "Service", self.site.target, self._wrong(), actor=PIPELINE, type="merge")

    async def recover(self, env: Environment) -> None:
        await edit(env, "Service", self.site.target, self._right(), actor=PIPELINE, type="merge")

    def fix(self) -> list[FixStep]:
        arguments = {
            "kind": "Service",
            "name": self.site.target,
            "patch": json.dumps(self._right()),
            "type": "merge",
        }
        return [FixStep(tool="k8s_patch", arguments=arguments)]


class TargetPort(_ServiceFault):
    """The Service forwards to a port where no container listens."""

    kind = "service/target-port"
    cause = "service_port_mismatch"

    class Params(Model):
        """Parameters."""

        port: int = 9090
        """The wrong target port."""

    params: Params

    def _port(self) -> int:
        return self.site.app.services[self.site.target].port

    def _ports(self, target: int) -> dict[str, object]:
        port = {"name": "http", "port": self._port(), "protocol": "TCP", "targetPort": target}
        return {"spec": {"ports": [port]}}

    def _wrong(self) -> dict[str, object]:
        return self._ports(self.params.port)

    def _right(self) -> dict[str, object]:
        return self._ports(self._port())

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        service = await fetch(env, "Service", self.site.target)
        targets = [p.get("targetPort") for p in service["spec"]["ports"]] if service else []
        met = any(t in (self._port(), "http") for t in targets)
        return [condition("target-port", met, f"targetPort {targets}, container {self._port()}")]


class Selector(_ServiceFault):
    """The Service selects no pod."""

    kind = "service/selector"
    cause = "service_selector_mismatch"

    class Params(Model):
        """Parameters."""

        label: str = "app.kubernetes.io/component"
        value: str = "backend-v2"

    params: Params

    def _wrong(self) -> dict[str, object]:
        return {"spec": {"selector": {self.params.label: self.params.value}}}

    def _right(self) -> dict[str, object]:
        return {"spec": {"selector": {self.params.label: None}}}

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        pods = await env.kube.list(
            "Pod", env.namespace, labels=f"app.kubernetes.io/name={self.site.target}"
        )
        service = await fetch(env, "Service", self.site.target)
        selector = (service or {}).get("spec", {}).get("selector") or {}
        chosen = [p for p in pods if selector.items() <= p["metadata"].get("labels", {}).items()]
        met = bool(selector and chosen)
        return [condition("selector", met, f"selects {len(chosen)} of {len(pods)} pods")]


KINDS = (TargetPort, Selector)
