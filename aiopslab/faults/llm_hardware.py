"""Family ``llm``: the machine hall. Power and cooling of GPU nodes, which no agent can repair.

The nodes of a row share a power feed, those of an aisle their cooling. What can be done is to take
the load off the engines that suffer. Conditions are modelled (``services.llm.gpu``). Source:
llmserve.md LS-12 and LS-13 (TAPAS).
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, fetch
from aiopslab.faults.llm_knobs import FOLLOWED
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.support import Support, simulated
from aiopslab.models.truth import FixStep


class _Hall(Fault):
    """A condition of the nodes that share a row or an aisle."""

    support: ClassVar[Support] = simulated(
        "llmserve is tied to machines with GPUs, which are simulated"
    )
    system_level = "Hardware"
    group: ClassVar[str]
    """Label whose nodes suffer together."""
    reading: ClassVar[str]
    """The condition that changes."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        node = next((n for n in app.nodes if n.name == component), None)
        return node is not None and cls.group in node.labels

    def nodes(self) -> list[str]:
        """Name the nodes that suffer, sorted."""
        nodes = {n.name: n for n in self.site.app.nodes}
        place = nodes[self.site.target].labels[self.group]
        return sorted(n for n, spec in nodes.items() if spec.labels.get(self.group) == place)

    def engines(self) -> list[str]:
        """Name the engines on those nodes, sorted."""
        nodes = self.nodes()
        return sorted(n for n, s in self.site.app.services.items() if s.node in nodes)

    def queues(self) -> dict[str, list[str]]:
        """Map queue managers to their engines among those that suffer."""
        engines, services = self.engines(), self.site.app.services
        found = {
            name: [e for e in service.calls if e in engines]
            for name, service in sorted(services.items())
            if service.program == "llm-queue"
        }
        return {name: mine for name, mine in found.items() if mine}

    @abstractmethod
    def value(self, node: str) -> float:
        """Return the condition of a node."""

    async def inject(self, env: Environment) -> None:
        for node in self.nodes():
            await env.substrate.hardware(node, self.reading, self.value(node))

    async def recover(self, env: Environment) -> None:
        for node in self.nodes():
            await env.substrate.hardware(node, self.reading, None)

    def fix(self) -> list[FixStep]:
        cordons = [
            FixStep(
                tool="k8s_patch",
                arguments={
                    "kind": "ConfigMap", "name": f"{queue}-config", "type": "merge",
                    "patch": json.dumps({"data": {"QUEUE_CORDONED": ",".join(engines)}}),
                },
            )
            for queue, engines in self.queues().items()
        ]  # fmt: skip
        return [*cordons, FOLLOWED]

    def accepted(self) -> list[tuple[str, str]]:
        places = [*self.nodes(), *self.engines()]
        return [(place, self.cause) for place in places if place != self.site.target]

    def aliases(self) -> list[str]:
        label = next(n for n in self.site.app.nodes if n.name == self.site.target)
        return [f"node/{self.site.target}", label.labels[self.group]]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        """No engine on those nodes is given requests: cordoned at its queue, or drained."""
        checks = []
        for queue, engines in self.queues().items():
            config = await fetch(env, "ConfigMap", f"{queue}-config")
            named = (config or {}).get("data", {}).get("QUEUE_CORDONED", "")
            cordoned = {name.strip() for name in named.split(",")}
            for engine in engines:
                met = engine in cordoned or await self._drained(env, engine)
                detail = "takes nothing new" if met else "is given requests"
                checks.append(condition(f"off:{engine}", met, f"{engine} {detail}"))
        return checks

    async def _drained(self, env: Environment, engine: str) -> bool:
        """Ask every pod of an engine for its state."""
        labels = f"app.kubernetes.io/name={engine}"
        states = []
        for pod in await env.kube.list("Pod", env.namespace, labels=labels):
            if pod.get("status", {}).get("phase") != "Running":
                continue
            argv = ["llmctl", "status"]
            answer = await env.kube.exec(pod["metadata"]["name"], env.namespace, argv)
            states.append('"draining"' in answer.stdout)
        return bool(states) and all(states)

    async def undone(self, env: Environment) -> list[CheckResult]:
        """Nothing but the app's health: the hall is as it was, and engines may take requests."""
        return []


class PowerCap(_Hall):
    """A breaker was derated: the GPUs of a row may draw less, and prompts take longer."""

    kind = "llm/power-cap"
    cause = "accelerator_power_capped"
    fault_type = "Operation Error"
    group = "row"
    reading = "power_cap_watts"

    class Params(Model):
        """Parameters."""

        share: float = 0.6
        """Cap as a part of what a GPU draws at most."""

    params: Params

    def value(self, node: str) -> float:
        labels = next(n for n in self.site.app.nodes if n.name == node).labels
        peak = 700.0 if labels.get("accelerator") == "h100" else 400.0
        return round(peak * self.params.share)


class CoolingLoss(_Hall):
    """Fans of an aisle failed: warm air, and GPUs that protect themselves."""

    kind = "llm/cooling-loss"
    cause = "accelerator_cooling_failure"
    fault_type = "Dependency Problem"
    group = "aisle"
    reading = "inlet_celsius"

    class Params(Model):
        """Parameters."""

        rise: float = 17.0
        """Degrees above what reaches the GPUs otherwise."""

    params: Params

    def value(self, node: str) -> float:
        spec = next(n for n in self.site.app.nodes if n.name == node)
        return spec.hardware[self.reading] + self.params.rise


KINDS = (PowerCap, CoolingLoss)
