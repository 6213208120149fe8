"""Family ``quota``: what a namespace may have in all, or a container at most, is too little.

Mechanism: running pods are left alone; the API server refuses the pods that should replace those
that went. Source: faults.md ``k8s-quota``, ``as-no-capacity``.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import (
    Fault,
    condition,
    container_of,
    discard,
    fetch,
    recycle,
    restart,
    rolled_out,
)
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import Object
from aiopslab.models.service import Service
from aiopslab.models.store import Store
from aiopslab.models.support import Support, everywhere
from aiopslab.models.truth import FixStep
from aiopslab.world.kube import quantity
from aiopslab.world.kube.validation.podspec import is_finished, resource_requests

FINANCE = "finops"
"""Sets the bounds."""
PLATFORM = "platform-bot"
"""Replaces pods as part of its rounds."""
_IN_FORCE_S = 5.0
"""After which the API server goes by a new bound."""


class _Bound(Fault):
    """A new object bounds resources; then the target's pods are replaced."""

    support: ClassVar[Support] = everywhere()
    cause = "quota_exceeded"
    system_level = "Virtualization"
    fault_type = "Misconfiguration"
    bound: str
    """Kind of the object."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        return service is not None and bool(service.resources.requests)

    @property
    def _name(self) -> str:
        return f"{self.site.namespace}-{'budget' if self.bound == 'ResourceQuota' else 'bounds'}"

    @abstractmethod
    async def _spec(self, env: Environment) -> Object:
        """Return the spec that is too tight."""

    @abstractmethod
    def _wide(self) -> Object:
        """Return a spec that leaves room."""

    async def inject(self, env: Environment) -> None:
        bound = {
            "apiVersion": "v1",
            "kind": self.bound,
            "metadata": {"name": self._name, "namespace": self.site.namespace},
            "spec": await self._spec(env),
        }
        await env.kube.create(bound, actor=FINANCE)
        await env.advance(_IN_FORCE_S)
        await recycle(env, self.site.target, actor=PLATFORM)

    async def recover(self, env: Environment) -> None:
        await discard(env, self.bound, self._name, actor=FINANCE)
        await restart(env, "Deployment", self.site.target, actor=PLATFORM)

    def fix(self) -> list[FixStep]:
        """Widen it, and restart: who was refused for minutes tries again minutes later."""
        again = {"action": "restart", "kind": "Deployment", "name": self.site.target}
        arguments = {
            "kind": self.bound,
            "name": self._name,
            "patch": json.dumps({"spec": self._wide()}),
            "type": "merge",
        }
        return [
            FixStep(tool="k8s_patch", arguments=arguments),
            FixStep(tool="k8s_rollout", arguments=again),
        ]

    def aliases(self) -> list[str]:
        return [self._name]

    async def _container(self, env: Environment) -> Object | None:
        """Return the target's container as its template has it; None where the target is gone."""
        deployment = await fetch(env, "Deployment", self.site.target)
        return None if deployment is None else container_of(deployment, self.site.target)


class Exceeded(_Bound):
    """A ResourceQuota below what the app uses: pods that go are not replaced."""

    kind = "quota/exceeded"
    bound = "ResourceQuota"

    class Params(Model):
        """Parameters."""

        resource: str = "requests.memory"
        """What is limited."""

    params: Params

    @property
    def _resource(self) -> str:
        return self.params.resource.removeprefix("requests.")

    async def _spec(self, env: Environment) -> Object:
        """Set the limit so that half a pod of the target is all that fits once its pods went."""
        rest, mine = Decimal(0), []
        for pod in await env.kube.list("Pod", env.namespace):
            if is_finished(pod):
                continue
            asked = Decimal(str(resource_requests(pod["spec"]).get(self._resource, 0.0)))
            if pod["metadata"].get("labels", {}).get("app.kubernetes.io/name") == self.site.target:
                mine.append(asked)
            else:
                rest += asked
        hard = rest + (mine[0] / 2 if mine else 0)
        return {"hard": {self.params.resource: quantity.format_resource(self._resource, hard)}}

    def _wide(self) -> Object:
        app = self.site.app
        total = Decimal(0)
        parts: list[Service | Store] = [*app.services.values(), *app.stores.values()]
        for part in parts:
            asked: Mapping[str, str] = part.resources.requests  # type: ignore[assignment]
            total += quantity.parse(asked.get(self._resource, "0")) * part.replicas
        wide = quantity.format_resource(self._resource, total * 2)
        return {"hard": {self.params.resource: wide}}

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        quota = await fetch(env, "ResourceQuota", self._name)
        container = await self._container(env)
        hard = ((quota or {}).get("spec", {}).get("hard") or {}).get(self.params.resource)
        asked = ((container or {}).get("resources", {}).get("requests") or {}).get(self._resource)
        used = sum(
            resource_requests(pod["spec"]).get(self._resource, 0.0)
            for pod in await env.kube.list("Pod", env.namespace)
            if not is_finished(pod)
        )
        room = None if hard is None else float(quantity.parse(hard)) - used
        met = room is None or room >= float(quantity.parse(asked or "0"))
        detail = "no such quota" if room is None else f"{self.params.resource}: {room:g} left"
        return [
            condition("room", met, detail),
            await rolled_out(env, "Deployment", self.site.target),
        ]


class LimitRange(_Bound):
    """A LimitRange whose maximum is below the target's limit: its new pods are refused."""

    kind = "quota/limit-range"
    bound = "LimitRange"

    class Params(Model):
        """Parameters."""

        share: float = 0.6
        """The maximum, as a share of the target's memory limit."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        return service is not None and "memory" in service.resources.limits

    def _maximum(self) -> Decimal:
        limit = self.site.app.services[self.site.target].resources.limits["memory"]
        mebibytes = int(quantity.parse(limit) * Decimal(str(self.params.share)) / 2**20)
        return Decimal(mebibytes * 2**20)

    async def _spec(self, env: Environment) -> Object:
        return {"limits": [{"type": "Container", "max": {"memory": self._text(self._maximum())}}]}

    def _wide(self) -> Object:
        return {
            "limits": [{"type": "Container", "max": {"memory": self._text(Decimal(4 * 2**30))}}]
        }

    @staticmethod
    def _text(size: Decimal) -> str:
        return quantity.format_resource("memory", size)

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        found = await fetch(env, "LimitRange", self._name)
        container = await self._container(env)
        limit = ((container or {}).get("resources", {}).get("limits") or {}).get("memory")
        maxima = [
            item["max"]["memory"]
            for item in (found or {}).get("spec", {}).get("limits") or ()
            if "memory" in (item.get("max") or {})
        ]
        met = all(limit and quantity.parse(limit) <= quantity.parse(m) for m in maxima)
        detail = f"limit {limit}, maximum {', '.join(maxima) or 'none'}"
        return [
            condition("bounds", met, detail),
            await rolled_out(env, "Deployment", self.site.target),
        ]


KINDS = (Exceeded, LimitRange)
