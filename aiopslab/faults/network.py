"""Family ``network``: paths between services.

A NetworkPolicy lets packets vanish: callers hang until their deadline, nobody refuses. Source:
faults.md ``net-policy-deny``, ``net-latency-edge``.
"""

from __future__ import annotations

import json

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, Site, condition, fetch
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import KubeError, Object
from aiopslab.models.support import everywhere
from aiopslab.models.truth import FixStep

ACTOR = "platform-security"


class PolicyDenied(Fault):
    """A new ingress policy forgets one of the component's clients."""

    kind = "network/policy-denied"
    support = everywhere("the cluster's network must enforce policies, as kind's does")
    cause = "network_policy_denied"
    system_level = "Virtualization"
    fault_type = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        allowed: str = "gateway"
        """The only client that the policy admits: one that does not exist."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return any(component in s.depends_on() for s in app.services.values())

    @property
    def _name(self) -> str:
        return f"{self.site.target}-ingress"

    def _policy(self) -> Object:
        def pods(name: str) -> Object:
            return {"matchLabels": {"app.kubernetes.io/name": name}}

        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": self._name, "namespace": self.site.namespace},
            "spec": {
                "podSelector": pods(self.site.target),
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": pods(self.params.allowed)}]}],
            },
        }

    async def inject(self, env: Environment) -> None:
        await env.kube.create(self._policy(), actor=ACTOR)

    async def recover(self, env: Environment) -> None:
        try:
            await env.kube.delete("NetworkPolicy", self._name, env.namespace, actor=ACTOR)
        except KubeError as error:
            if error.reason != "NotFound":
                raise

    def fix(self) -> list[FixStep]:
        part = {"matchLabels": {"app.kubernetes.io/part-of": self.site.app.name}}
        patch = json.dumps({"spec": {"ingress": [{"from": [{"podSelector": part}]}]}})
        arguments = {
            "kind": "NetworkPolicy",
            "name": self._name,
            "patch": patch,
            "type": "merge",
        }
        return [FixStep(tool="k8s_patch", arguments=arguments)]

    def aliases(self) -> list[str]:
        return [self._name]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        found = await env.kube.list("NetworkPolicy", env.namespace)
        same = [p for p in found if p["metadata"]["name"] == self._name]
        met = not same or same[0]["spec"] != self._policy()["spec"]
        return [condition("policy", met, "the policy still denies" if not met else "not in force")]


class GrayReplica(Fault):
    """The path of one replica loses packets; the others and every average look fine."""

    kind = "network/gray-replica"
    support = everywhere("loss and delay are made where the app program dials")
    cause = "network_latency"
    system_level = "Hardware"
    fault_type = "Network/Storage Issue"

    class Params(Model):
        """Parameters."""

        loss: float = 0.3
        """Share of packets lost in each direction."""

    params: Params

    def __init__(self, site: Site, params: Model) -> None:
        super().__init__(site, params)
        self._pod = ""
        """The replica, once it is struck."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        """Only entries: users open so many connections that some are sure to lead there."""
        service = app.services.get(component)
        entries = {journey.entry for journey in app.journeys.values()}
        return service is not None and service.replicas > 1 and component in entries

    async def inject(self, env: Environment) -> None:
        labels = f"app.kubernetes.io/name={self.site.target}"
        pods = await env.kube.list("Pod", env.namespace, labels=labels)
        running = [p for p in pods if p["status"].get("podIP")]
        self._pod = min(p["metadata"]["name"] for p in running)
        await env.substrate.pod_path(self._pod, loss=self.params.loss)

    async def recover(self, env: Environment) -> None:
        if await fetch(env, "Pod", self._pod) is not None:
            await env.substrate.pod_path(self._pod)
        self._pod = ""

    def fix(self) -> list[FixStep]:
        again = {"action": "restart", "kind": "Deployment", "name": self.site.target}
        return [FixStep(tool="k8s_rollout", arguments=again)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        there = bool(self._pod) and await fetch(env, "Pod", self._pod) is not None
        return [condition("replaced", not there, f"{self._pod or 'nobody'} is affected")]


KINDS = (PolicyDenied, GrayReplica)
