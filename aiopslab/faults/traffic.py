"""Family ``traffic``: demand that the deployed capacity does not serve.

More users than ever, or one client that takes everything; nothing in the cluster changed. Source:
faults.md ``load-flash-crowd``, ``load-abusive-client``; hard pattern 1 of incidents.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, container_of, fetch, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.journey import Journey
from aiopslab.models.kube import Object
from aiopslab.models.step import reach
from aiopslab.models.support import everywhere, simulated
from aiopslab.models.truth import FixStep
from aiopslab.world.kube import quantity
from aiopslab.world.policy import PolicySet


class Surge(Fault):
    """A campaign brings more users of one journey than the target's replicas serve."""

    kind = "traffic/surge"
    support = everywhere()
    cause = "traffic_surge"
    system_level = "Application"
    fault_type = "Operation Error"

    class Params(Model):
        """Parameters."""

        journey: str = ""
        """Which journey grows; empty: the busiest that needs the target."""
        factor: float = 4.0
        """Of its usual rate."""

    params: Params
    _on: bool = False
    """While the campaign runs; before and after, usual capacity is enough."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.services and any(component in app.needs(j) for j in app.journeys)

    @property
    def _journey(self) -> str:
        able = [j for j in sorted(self.site.app.journeys) if self.site.target in self._needs(j)]
        return self.params.journey or max(able, key=lambda j: self.site.app.journeys[j].rate)

    def _needs(self, journey: str) -> list[str]:
        return list(self.site.app.needs(journey))

    async def inject(self, env: Environment) -> None:
        await env.traffic.scale(self.params.factor, journey=self._journey)
        self._on = True

    async def recover(self, env: Environment) -> None:
        await env.traffic.scale(1.0, journey=self._journey)
        self._on = False

    def fix(self) -> list[FixStep]:
        services = self.site.app.services
        wanted = {self.site.target: services[self.site.target].replicas * 2}
        entry = self.site.app.journeys[self._journey].entry
        wanted.setdefault(entry, services[entry].replicas + 1)
        return [
            FixStep(tool="k8s_scale", arguments={"name": name, "replicas": replicas})
            for name, replicas in wanted.items()
        ]

    def accepted(self) -> list[tuple[str, str]]:
        return [(self.site.app.journeys[self._journey].entry, self.cause)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        deployment = await fetch(env, "Deployment", self.site.target)
        have = _cores(deployment, self.site.target) if deployment else 0.0
        service = self.site.app.services[self.site.target]
        limit = service.resources.limits.get("cpu", "0")
        usual = float(quantity.parse(limit)) * service.replicas
        met = not self._on or have >= usual * 1.4
        detail = f"{self.site.target} may use {have:.2f} cores, usually {usual:.2f}"
        return [
            condition("capacity", met, detail),
            await rolled_out(env, "Deployment", self.site.target),
        ]


def _cores(deployment: Object, name: str) -> float:
    """Return the cores that all replicas together may use; without a limit, many."""
    limit = container_of(deployment, name).get("resources", {}).get("limits", {}).get("cpu")
    replicas = int(deployment["spec"].get("replicas", 1))
    return replicas * (float(quantity.parse(limit)) if limit else 4.0)


@dataclass(frozen=True, slots=True)
class _Caller:
    """A client outside, as policies see it."""

    ip: str
    namespace: str = ""

    @property
    def labels(self) -> dict[str, str]:
        return {}

    @property
    def port_names(self) -> dict[str, int]:
        return {}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A pod of the entry service, as policies see it."""

    namespace: str
    labels: dict[str, str]
    ip: str = ""

    @property
    def port_names(self) -> dict[str, int]:
        return {}


class AbusiveClient(Fault):
    """One client outside asks one page of the entry service far more often than all users."""

    kind = "traffic/abusive-client"
    support = simulated("users come from one pod, so no policy can tell them apart by address")
    cause = "abusive_client"
    system_level = "Application"
    fault_type = "Operation Error"

    class Params(Model):
        """Parameters."""

        address: str = "198.18.66.23"
        rate: float = 45.0
        """Requests per second."""
        journey: str = ""
        """Whose first request it sends; empty: the one that calls fewest others."""

    params: Params
    _on: bool = False
    """While it sends."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in {j.entry for j in app.journeys.values()}

    @property
    def _journey(self) -> str:
        def calls(name: str) -> tuple[int, str]:
            journey = self.site.app.journeys[name]
            steps = self.site.app.services[journey.entry].endpoints[journey.steps[0].request]
            return len(reach(steps).calls), name

        entered = [n for n, j in self.site.app.journeys.items() if j.entry == self.site.target]
        return self.params.journey or min(entered, key=calls)

    async def inject(self, env: Environment) -> None:
        copied = self.site.app.journeys[self._journey]
        crawler = Journey(
            entry=copied.entry,
            rate=self.params.rate,
            steps=copied.steps[:1],
            params=copied.params,
            timeout_s=10.0,
        )
        await env.traffic.visitor(self.params.address, crawler)
        self._on = True

    async def recover(self, env: Environment) -> None:
        await env.traffic.visitor(self.params.address, None)
        self._on = False

    def fix(self) -> list[FixStep]:
        block = {"ipBlock": {"cidr": "0.0.0.0/0", "except": [f"{self.params.address}/32"]}}
        policy = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"{self.site.target}-edge", "namespace": self.site.namespace},
            "spec": {
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": self.site.target}},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [block]}],
            },
        }
        return [FixStep(tool="k8s_apply", arguments={"manifest": json.dumps(policy)})]

    def accepted(self) -> list[tuple[str, str]]:
        journey = self.site.app.journeys[self._journey]
        steps = self.site.app.services[journey.entry].endpoints[journey.steps[0].request]
        called = {call.split(" ", 1)[0] for call in reach(steps).calls}
        return [(c, self.cause) for c in sorted(called & set(self.site.app.services))]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        policies = PolicySet(await env.kube.list("NetworkPolicy", env.namespace))
        labels = {"app.kubernetes.io/name": self.site.target}
        deployment = await fetch(env, "Deployment", self.site.target)
        if deployment is not None:
            labels = deployment["spec"]["template"]["metadata"]["labels"]
        port = self.site.app.services[self.site.target].port
        entry = _Entry(env.namespace, labels)
        admitted = policies.allows(_Caller(self.params.address), entry, port)
        met = not self._on or not admitted
        detail = f"{self.params.address} may{'' if admitted else ' not'} reach {self.site.target}"
        return [condition("client", met, detail)]


KINDS: tuple[type[Fault], ...] = (AbusiveClient, Surge)
