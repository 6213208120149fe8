"""Family ``kubernetes``: objects that a clean-up, a copy or an operator left wrong.

What runs goes on until it is replaced or has to look its partner up anew. Source: faults.md
``k8s-cm-missing``, ``k8s-secret-missing``, ``k8s-svc-deleted``, ``k8s-svc-selector-polluted``,
``k8s-finalizer-stuck``.
"""

from __future__ import annotations

import base64
import json
from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import (
    Fault,
    as_declared,
    condition,
    discard,
    edit,
    fetch,
    restart,
    rolled_out,
)
from aiopslab.faults.database import admitted
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.cause import FaultType, SystemLevel
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import Object
from aiopslab.models.support import Support, everywhere
from aiopslab.models.truth import FixStep
from aiopslab.services.manifests import service_objects
from aiopslab.world.kube.objects import clone

NAME = "app.kubernetes.io/name"


def _declared(app: App, component: str, kind: str) -> Object:
    """Return the object of a service as its manifests have it."""
    return next(o for o in service_objects(app, component) if o["kind"] == kind)


def _apply(obj: Object) -> FixStep:
    return FixStep(tool="k8s_apply", arguments={"manifest": json.dumps(obj)})


async def _restore(env: Environment, obj: Object, *, actor: str) -> None:
    """Create an object unless it is there."""
    if await fetch(env, obj["kind"], obj["metadata"]["name"]) is None:
        await env.kube.create(obj, actor=actor)


class _Deleted(Fault):
    """An object of a service is gone."""

    support: ClassVar[Support] = everywhere()
    deleted: str
    """Its kind."""
    system_level: ClassVar[SystemLevel] = "Virtualization"
    fault_type: ClassVar[FaultType] = "Operation Error"
    actor = "config-sync"

    class Params(Model):
        """No parameters."""

    params: Params
    _found: Object | None = None
    """The object as it was; known once injected."""

    @property
    def _object(self) -> Object:
        return self._found or _declared(self.site.app, self.site.target, self.deleted)

    @property
    def _name(self) -> str:
        name: str = self._object["metadata"]["name"]
        return name

    async def inject(self, env: Environment) -> None:
        self._found = await as_declared(env, self.deleted, self._name, self._object)
        await discard(env, self.deleted, self._name, actor=self.actor)

    async def recover(self, env: Environment) -> None:
        await _restore(env, self._object, actor=self.actor)

    def fix(self) -> list[FixStep]:
        return [_apply(self._object)]

    def aliases(self) -> list[str]:
        return [self._name]


class ConfigMapDeleted(_Deleted):
    """The ConfigMap was pruned; it is missed when the pods are replaced."""

    kind = "kubernetes/configmap-deleted"
    cause = "missing_configuration"
    system_level = "Application"
    fault_type = "Misconfiguration"
    deleted = "ConfigMap"

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.services

    async def inject(self, env: Environment) -> None:
        await super().inject(env)
        await restart(env, "Deployment", self.site.target, actor="ci-pipeline")

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        found = await fetch(env, "ConfigMap", self._name)
        lacking = sorted(set(self._object["data"]) - set((found or {}).get("data") or {}))
        detail = f"{self._name} lacks {', '.join(lacking) or 'nothing'}"
        return [
            condition("configuration", not lacking, detail),
            await rolled_out(env, "Deployment", self.site.target),
        ]


class ServiceDeleted(_Deleted):
    """The Service was deleted with what it was taken for; its name no longer resolves."""

    kind = "kubernetes/service-deleted"
    cause = "service_missing"
    deleted = "Service"
    actor = "j.meyer"

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.services

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        found = await fetch(env, "Service", self._name)
        selector = ((found or {}).get("spec") or {}).get("selector") or {}
        ports = [p["port"] for p in ((found or {}).get("spec") or {}).get("ports") or ()]
        met = selector.get(NAME) == self.site.target and (
            self.site.app.services[self.site.target].port in ports
        )
        return [condition("service", met, f"selects {selector or 'nothing'} on {ports or 'none'}")]


class SelectorPolluted(Fault):
    """A copied manifest kept the target's label: its Service also selects a foreign program."""

    kind = "kubernetes/selector-polluted"
    support = everywhere()
    cause = "service_selector_mismatch"
    system_level = "Virtualization"
    fault_type = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        replicas: int = 2
        """Foreign pods."""
        actor: str = "t.lindqvist"

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.services and cls._other(app, component) is not None

    @staticmethod
    def _other(app: App, component: str) -> str | None:
        """Name the program that was deployed: one that serves nothing the target's callers ask."""
        mine = app.services[component]
        return next(
            (
                name
                for name, other in sorted(app.services.items())
                if name != component
                and not set(other.endpoints) & set(mine.endpoints)
                and other.port == mine.port
            ),
            None,
        )

    @property
    def _name(self) -> str:
        return f"{self._other(self.site.app, self.site.target)}-preview"

    async def _copy(self, env: Environment) -> Object:
        """Return the Deployment: everything of the other program but the label."""
        app, other = self.site.app, self._other(self.site.app, self.site.target)
        assert other is not None  # fits
        usual = _declared(app, other, "Deployment")
        copy: Object = clone(await as_declared(env, "Deployment", other, usual))
        labels = {NAME: self.site.target, "app.kubernetes.io/part-of": app.name, "track": "preview"}
        copy["metadata"] = {"name": self._name, "namespace": app.namespace, "labels": labels}
        spec = copy["spec"]
        spec["replicas"] = self.params.replicas
        spec["selector"] = {"matchLabels": {NAME: self.site.target, "track": "preview"}}
        spec["template"]["metadata"] = {"labels": labels}
        return copy

    async def inject(self, env: Environment) -> None:
        await env.kube.create(await self._copy(env), actor=self.params.actor)

    async def recover(self, env: Environment) -> None:
        await discard(env, "Deployment", self._name, actor=self.params.actor)

    def fix(self) -> list[FixStep]:
        arguments = {"kind": "Deployment", "name": self._name}
        return [FixStep(tool="k8s_delete", arguments=arguments)]

    def aliases(self) -> list[str]:
        return [self._name]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        service = await fetch(env, "Service", self.site.target)
        selector = ((service or {}).get("spec") or {}).get("selector") or {}
        foreign = [
            one["metadata"]["name"]
            for kind in ("Deployment", "Pod")
            for one in await env.kube.list(kind, env.namespace)
            if selector.items() <= _labels(one).items()
            and self.site.target not in {c["name"] for c in _pod_spec(one)["containers"]}
        ]
        met = bool(selector) and not foreign
        return [condition("selected", met, f"foreign: {', '.join(foreign) or 'none'}")]


def _labels(obj: Object) -> Object:
    """Return the labels of a pod, or of the pods of a workload."""
    carrier = obj["spec"].get("template", obj)
    labels: Object = carrier["metadata"].get("labels") or {}
    return labels


def _pod_spec(obj: Object) -> Object:
    spec: Object = obj["spec"]["template"]["spec"] if "template" in obj["spec"] else obj["spec"]
    return spec


class SecretCorrupted(Fault):
    """A password was encoded twice when its Secret was written; new pods cannot log in."""

    kind = "kubernetes/secret-corrupted"
    support = everywhere()
    cause = "credentials_mismatch"
    system_level = "Application"
    fault_type = "Authentication Issue"
    actor = "secrets-operator"

    class Params(Model):
        """No parameters."""

    params: Params

    _password: str = "unknown"
    """The right one; known once injected."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        store = app.stores.get(service.uses.get("db", "")) if service else None
        return store is not None and store.kind == "postgres" and component in store.users

    @property
    def _store(self) -> str:
        return self.site.app.services[self.site.target].uses["db"]

    @property
    def _secret(self) -> str:
        return f"{self._store}-{self.site.target}"

    async def inject(self, env: Environment) -> None:
        secret = await env.kube.get("Secret", self._secret, env.namespace)
        self._password = base64.b64decode(secret["data"]["password"]).decode()
        await self._write(env, _encoded(_encoded(self._password)))

    async def recover(self, env: Environment) -> None:
        await self._write(env, _encoded(self._password))

    async def _write(self, env: Environment, value: str) -> None:
        patch = {"data": {"password": value}}
        await edit(env, "Secret", self._secret, patch, actor=self.actor, type="merge")
        await restart(env, "Deployment", self.site.target, actor=self.actor)

    def fix(self) -> list[FixStep]:
        patch = json.dumps({"data": {"password": _encoded(self._password)}})
        write = {"kind": "Secret", "name": self._secret, "patch": patch, "type": "merge"}
        again = {"action": "restart", "kind": "Deployment", "name": self.site.target}
        return [
            FixStep(tool="k8s_patch", arguments=write),
            FixStep(tool="k8s_rollout", arguments=again),
        ]

    def accepted(self) -> list[tuple[str, str]]:
        return [(self._store, self.cause)]

    def aliases(self) -> list[str]:
        return [self._secret]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        secret = await fetch(env, "Secret", self._secret)
        if secret is None:
            return [condition("credentials", False, "the Secret does not exist")]
        password = base64.b64decode(secret["data"]["password"]).decode()
        refused = await admitted(env, self._store, self.site.target, password)
        detail = refused or "the Secret's password is the role's"
        return [
            condition("credentials", not refused, detail),
            await rolled_out(env, "Deployment", self.site.target),
        ]


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class FinalizerStuck(Fault):
    """A retired operator's finalizer holds a store's pod: evicted, it never goes."""

    kind = "kubernetes/finalizer-stuck"
    support = everywhere()
    cause = "deletion_blocked"
    system_level = "Virtualization"
    fault_type = "Operation Error"

    class Params(Model):
        """Parameters."""

        finalizer: str = "storage.acme.io/detach"

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.stores

    @property
    def _pod(self) -> str:
        return f"{self.site.target}-0"

    async def inject(self, env: Environment) -> None:
        patch = {"metadata": {"finalizers": [self.params.finalizer]}}
        await edit(env, "Pod", self._pod, patch, actor="storage-operator", type="merge")
        await discard(env, "Pod", self._pod, actor="platform-bot")

    async def recover(self, env: Environment) -> None:
        pod = await fetch(env, "Pod", self._pod)
        if pod is not None and pod["metadata"].get("finalizers"):
            patch = {"metadata": {"finalizers": None}}
            await edit(env, "Pod", self._pod, patch, actor="storage-operator", type="merge")

    def fix(self) -> list[FixStep]:
        arguments = {
            "kind": "Pod",
            "name": self._pod,
            "patch": json.dumps({"metadata": {"finalizers": None}}),
            "type": "merge",
        }
        return [FixStep(tool="k8s_patch", arguments=arguments)]

    def aliases(self) -> list[str]:
        return [self._pod]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        pod = await fetch(env, "Pod", self._pod)
        held = (pod or {}).get("metadata", {}).get("finalizers") or []
        met = pod is not None and self.params.finalizer not in held
        return [
            condition("finalizers", met, f"{self._pod} is held by {', '.join(held) or 'nobody'}"),
            await rolled_out(env, "StatefulSet", self.site.target),
        ]


KINDS = (ConfigMapDeleted, ServiceDeleted, SelectorPolluted, SecretCorrupted, FinalizerStuck)
