"""Family ``scheduling``: nodes have what pods need, but no node may or can take them.

Source: faults.md ``k8s-request-too-big``, ``k8s-taint``, ``k8s-antiaffinity-deadlock``. A selector
that no node matches is ``workload/node-selector``.
"""

from __future__ import annotations

import json
import math

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import (
    Fault,
    condition,
    fetch,
    recycle,
    rolled_out,
)
from aiopslab.faults.workload import TemplateRollout
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import Object
from aiopslab.models.support import simulated
from aiopslab.models.truth import FixStep
from aiopslab.world.kube import quantity
from aiopslab.world.kube.validation.podspec import tolerates

PLATFORM = "platform-bot"


_BEYOND = 1.5
"""How much more than the largest node has."""


class RequestTooBig(TemplateRollout):
    """The template requests more memory than any node has."""

    kind = "scheduling/request-too-big"
    cause = "request_unschedulable"

    class Params(Model):
        """Parameters."""

        gibibytes: int = 24
        """At least; more where a node has as much."""

    params: Params
    _gibibytes: int = 0
    """What is asked for; known once injected."""

    async def inject(self, env: Environment) -> None:
        nodes = [node["status"]["allocatable"]["memory"] for node in await env.kube.list("Node")]
        largest = max(map(quantity.parse, nodes)) / 2**30
        self._gibibytes = max(self.params.gibibytes, math.ceil(float(largest) * _BEYOND))
        await super().inject(env)

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        both = service is not None and {"memory"} <= set(service.resources.requests)
        return both and super().fits(app, component)

    def _spec(self, *, broken: bool) -> Object:
        resources = self.site.app.services[self.site.target].resources
        size = f"{self._gibibytes}Gi"
        request = size if broken else resources.requests["memory"]
        limit = size if broken else resources.limits.get("memory")
        both = {"requests": {"memory": request}, "limits": {"memory": limit}}
        return {"containers": [{"name": self.site.target, "resources": both}]}


class AntiAffinity(TemplateRollout):
    """A rule keeps the pods away from stores, of which every zone has one."""

    kind = "scheduling/anti-affinity"
    support = simulated("machines of a kind cluster are in no zone")
    cause = "node_selector_unsatisfiable"
    fault_type = "Dependency Problem"

    class Params(Model):
        """Parameters."""

        topology: str = "topology.kubernetes.io/zone"

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        # The scheduler spreads: with as many stores as nodes no node is without.
        return super().fits(app, component) and len(app.stores) >= len(app.nodes)

    def _spec(self, *, broken: bool) -> Object:
        if not broken:
            return {"affinity": None}
        stores = {
            "key": "app.kubernetes.io/component",
            "operator": "In",
            "values": ["database", "cache", "queue"],
        }
        term = {
            "labelSelector": {"matchExpressions": [stores]},
            "topologyKey": self.params.topology,
        }
        required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        return {"affinity": {"podAntiAffinity": required}}


class Taint(Fault):
    """All nodes of the pool were dedicated to somebody else; then the target's pods moved."""

    kind = "scheduling/taint"
    support = simulated("machines are shared with whatever else runs on the cluster")
    cause = "node_selector_unsatisfiable"
    system_level = "Virtualization"
    fault_type = "Dependency Problem"

    class Params(Model):
        """Parameters."""

        key: str = "dedicated"
        value: str = "batch"

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.services

    @property
    def _taint(self) -> Object:
        return {"key": self.params.key, "value": self.params.value, "effect": "NoSchedule"}

    async def _taints(self, env: Environment, *, broken: bool) -> None:
        for node in await env.kube.list("Node"):
            kept = [t for t in node["spec"].get("taints") or () if t["key"] != self.params.key]
            taints = [*kept, self._taint] if broken else kept
            await env.kube.patch(
                "Node",
                node["metadata"]["name"],
                {"spec": {"taints": taints or None}},
                type="merge",
                actor=PLATFORM,
            )

    async def inject(self, env: Environment) -> None:
        await self._taints(env, broken=True)
        await recycle(env, self.site.target, actor=PLATFORM)

    async def recover(self, env: Environment) -> None:
        await self._taints(env, broken=False)

    def fix(self) -> list[FixStep]:
        toleration = {**self._taint, "operator": "Equal"}
        patch = {"spec": {"template": {"spec": {"tolerations": [toleration]}}}}
        arguments = {
            "kind": "Deployment",
            "name": self.site.target,
            "patch": json.dumps(patch),
        }
        return [FixStep(tool="k8s_patch", arguments=arguments)]

    def aliases(self) -> list[str]:
        return sorted(n.name for n in self.site.app.nodes)

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        deployment = await fetch(env, "Deployment", self.site.target)
        spec: Object = {} if deployment is None else deployment["spec"]["template"]["spec"]
        open_to = [
            node["metadata"]["name"]
            for node in await env.kube.list("Node")
            if all(
                tolerates(spec.get("tolerations") or (), taint)
                for taint in node["spec"].get("taints") or ()
            )
        ]
        return [
            condition("nodes", bool(open_to), f"nodes open to it: {', '.join(open_to) or 'none'}"),
            await rolled_out(env, "Deployment", self.site.target),
        ]


KINDS = (RequestTooBig, AntiAffinity, Taint)
