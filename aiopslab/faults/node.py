"""Family ``node``: what happens below the pods, on one machine.

A tenant outside the app takes its processors, its uplink loses packets, or its clock goes wrong;
the figures of the pods on it look idle. Nobody of the app may touch nodes, so the reference fix is
to leave. Source: faults.md ``node-cpu-noisy-neighbour``, ``node-nic-degraded``,
``node-clock-skew``; incidents.md CR-01 and section 1, patterns 11 and 12.
"""

from __future__ import annotations

import json
from abc import ABC

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import KubeError, Object
from aiopslab.models.support import simulated
from aiopslab.models.truth import FixStep
from aiopslab.services.tokens import token_services
from aiopslab.world.kube.validation.podspec import is_finished


class Machine(Fault, ABC):
    """Something is wrong with a node; what can be done is to run elsewhere."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return any(n.name == component for n in app.nodes)

    def place(self) -> tuple[str, list[str]]:
        """Return the node label, and its values, that the app must leave."""
        return "kubernetes.io/hostname", [self.site.target]

    def nodes(self) -> list[str]:
        """Name the nodes of that place, sorted."""
        return [self.site.target]

    def fix(self) -> list[FixStep]:
        key, values = self.place()
        expression: Object = {"key": key, "operator": "NotIn", "values": values}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
        spec = {"template": {"spec": {"affinity": {"nodeAffinity": required}}}}
        patch = json.dumps({"spec": spec})
        app = self.site.app
        workloads = [("Deployment", n) for n in sorted(app.services)]
        workloads += [("StatefulSet", n) for n in sorted(app.stores)]
        return [
            FixStep(tool="k8s_patch", arguments={"kind": kind, "name": name, "patch": patch})
            for kind, name in workloads
        ]

    def aliases(self) -> list[str]:
        return [f"node/{self.site.target}"]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        pods = await env.kube.list("Pod", env.namespace)
        # Users do not wait for scheduled work; its pods come and go wherever there is room.
        there = sorted(
            p["metadata"]["name"]
            for p in pods
            if p["spec"].get("nodeName") in self.nodes()
            and (labels := p["metadata"].get("labels", {})).get("app.kubernetes.io/name")
            in self.site.app.components()
            and "job-name" not in labels
        )
        where = ", ".join(self.nodes())
        return [condition("moved", not there, f"still on {where}: {there or 'none'}")]

    async def undone(self, env: Environment) -> list[CheckResult]:
        """Nothing but the app's health: on a sound node its pods may stay where they are."""
        return []


class NoisyNeighbour(Machine):
    """A batch tenant without a limit lands on the target node."""

    kind = "node/noisy-neighbour"
    support = simulated("a kind cluster has one machine; there is none to move to")
    cause = "noisy_neighbour"
    system_level = "Virtualization"
    fault_type = "Operation Error"

    class Params(Model):
        """Parameters."""

        threads: float = 48.0
        """Runnable threads of the tenant."""
        tenant: str = "batch-x"

    params: Params

    async def inject(self, env: Environment) -> None:
        await env.substrate.neighbour(
            self.site.target, name=self.params.tenant, threads=self.params.threads
        )

    async def recover(self, env: Environment) -> None:
        await env.substrate.neighbour(self.site.target, name=self.params.tenant, threads=0)

    def aliases(self) -> list[str]:
        return [*super().aliases(), self.params.tenant]


class UplinkDegraded(Machine):
    """The uplink of the target node loses and delays packets; inside the node all is well."""

    kind = "node/uplink-degraded"
    support = simulated("a kind cluster has one machine; there is none to move to")
    cause = "network_latency"
    system_level = "Hardware"
    fault_type = "Network/Storage Issue"

    class Params(Model):
        """Parameters."""

        loss: float = 0.1
        """Share of packets lost in each direction."""
        delay_ms: float = 8.0
        """Added in each direction."""

    params: Params

    async def inject(self, env: Environment) -> None:
        delay_s = self.params.delay_ms / 1000.0
        await env.substrate.uplink(self.site.target, delay_s=delay_s, loss=self.params.loss)

    async def recover(self, env: Environment) -> None:
        await env.substrate.uplink(self.site.target)


class ClockAhead(Machine):
    """Time synchronisation of the target node ended; its clock runs away from the others'."""

    kind = "node/clock-ahead"
    support = simulated("containers share the clock of their host")
    cause = "clock_skew"
    system_level = "Operating System"
    fault_type = "Operation Error"

    class Params(Model):
        """Parameters."""

        seconds: float = 90.0
        """How far the clock is ahead."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return super().fits(app, component) and bool(token_services(app))

    async def inject(self, env: Environment) -> None:
        await env.substrate.clock(self.site.target, ahead_s=self.params.seconds)

    async def recover(self, env: Environment) -> None:
        await env.substrate.clock(self.site.target, ahead_s=0.0)


class Down(Fault):
    """The machine lost its power: its pods are gone, and nobody was told.

    Deployments get over it once the node's pods are evicted, after five minutes; the pods of
    StatefulSets are not replaced before somebody says that they will not come back.
    """

    kind = "node/down"
    support = simulated("nobody can switch a machine off through a cluster")
    cause = "node_failure"
    system_level = "Hardware"
    fault_type = "Dependency Problem"

    class Params(Model):
        """No parameters."""

    params: Params

    _pods: tuple[str, ...] = ()
    """Pods that were on it; known once injected."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return any(n.name == component for n in app.nodes)

    async def inject(self, env: Environment) -> None:
        here = await env.kube.list("Pod", env.namespace, fields=f"spec.nodeName={self.site.target}")
        self._pods = tuple(sorted(p["metadata"]["name"] for p in here if not is_finished(p)))
        await env.substrate.power(self.site.target, on=False)

    async def recover(self, env: Environment) -> None:
        await env.substrate.power(self.site.target, on=True)

    def fix(self) -> list[FixStep]:
        # Before the node is given up, new pods could be sent there again.
        given_up = {"seconds": 45, "reason": "the node is given up"}
        return [FixStep(tool="wait", arguments=given_up)] + [
            FixStep(tool="k8s_delete", arguments={"kind": "Pod", "name": name, "grace_s": 0})
            for name in self._pods or ("none",)
        ]

    def aliases(self) -> list[str]:
        return [f"node/{self.site.target}"]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        lost = []
        here = await env.kube.list("Pod", env.namespace, fields=f"spec.nodeName={self.site.target}")
        for pod in here:
            name = pod["metadata"]["name"]
            try:
                await env.kube.logs(name, env.namespace, tail=1)
            except KubeError as error:
                if error.code >= 500:
                    lost.append(name)
        detail = f"out of reach on {self.site.target}: {', '.join(lost) or 'none'}"
        ready = [
            await rolled_out(env, kind, name)
            for kind, names in (
                ("Deployment", self.site.app.services), ("StatefulSet", self.site.app.stores)
            )
            for name in sorted(names)
        ]  # fmt: skip
        return [condition("reachable", not lost, detail), *(c for c in ready if not c.met)]


KINDS = (NoisyNeighbour, UplinkDegraded, ClockAhead, Down)
