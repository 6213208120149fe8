"""Family ``admission``: what stands between a workload and its new pods at the API server.

Pods that run are left alone; those that should replace them are refused, or come out other than
their template. Source: faults.md ``k8s-webhook-outage``, ``k8s-webhook-mutates``,
``ctr-run-as-root-denied``.
"""

from __future__ import annotations

import json
from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import (
    Fault,
    condition,
    discard,
    fetch,
    recycle,
    restart,
    rolled_out,
)
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import KubeError, Object
from aiopslab.models.support import Support, simulated
from aiopslab.models.truth import FixStep
from aiopslab.world.images.podpolicy import IMAGE, PORT
from aiopslab.world.kube import quantity
from aiopslab.world.kube.podsecurity import ENFORCE

NAME = "app.kubernetes.io/name"
POLICY = "pod-policy"
SECURITY = "platform-security"
PLATFORM = "platform-bot"


async def _tried(env: Environment, target: str) -> Object | str:
    """Try, without consequence, to create a pod of a Deployment; return it, or the refusal."""
    deployment = await fetch(env, "Deployment", target)
    if deployment is None:
        return f"Deployment {target} does not exist"
    template = deployment["spec"]["template"]
    meta = {**template["metadata"], "name": f"{target}-admission", "namespace": env.namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}
    try:
        return await env.kube.create(pod, actor=PLATFORM, dry_run=True)
    except KubeError as error:
        return error.message


class PodSecurity(Fault):
    """The namespace enforces a security standard that its workloads do not meet."""

    kind = "admission/pod-security"
    support = simulated("on a cluster the app's programs meet the standard already")
    cause = "security_policy_denied"
    system_level = "Virtualization"
    fault_type = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        level: str = "restricted"

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.services

    async def _enforce(self, env: Environment, level: str | None) -> None:
        patch = {"metadata": {"labels": {ENFORCE: level}}}
        name = self.site.namespace
        await env.kube.patch("Namespace", name, patch, type="merge", actor=SECURITY)

    async def inject(self, env: Environment) -> None:
        await self._enforce(env, self.params.level)
        await recycle(env, self.site.target, actor=PLATFORM)

    async def recover(self, env: Environment) -> None:
        await self._enforce(env, None)
        # Who was refused for minutes tries again minutes later.
        await restart(env, "Deployment", self.site.target, actor=PLATFORM)

    def fix(self) -> list[FixStep]:
        container = {
            "name": self.site.target,
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        pod = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        spec = {"securityContext": pod, "containers": [container]}
        arguments = {
            "kind": "Deployment",
            "name": self.site.target,
            "patch": json.dumps({"spec": {"template": {"spec": spec}}}),
        }
        return [FixStep(tool="k8s_patch", arguments=arguments)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        tried = await _tried(env, self.site.target)
        refused = tried if isinstance(tried, str) else ""
        return [
            condition("admitted", not refused, refused or "a new pod is admitted"),
            await rolled_out(env, "Deployment", self.site.target),
        ]


class _Webhook(Fault):
    """A policy webhook in the app's namespace; then the target's pods are replaced."""

    support: ClassVar[Support] = simulated("the webhook is a program of the simulated world")
    system_level = "Virtualization"
    configuration: str
    """Kind of the webhook's configuration."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.services

    def _environment(self) -> dict[str, str]:
        """Return the rules of the policy."""
        return {"REQUIRED_LABEL": "app.kubernetes.io/part-of"}

    def _target_port(self) -> int:
        """Return where its Service sends the API server."""
        return PORT

    def _labels(self) -> dict[str, str]:
        return {NAME: POLICY, "app.kubernetes.io/part-of": self.site.app.name}

    def _deployment(self) -> Object:
        labels = self._labels()
        container = {
            "name": POLICY,
            "image": IMAGE,
            "ports": [{"name": "webhook", "containerPort": PORT}],
            "env": [{"name": k, "value": v} for k, v in self._environment().items()],
            "readinessProbe": {"tcpSocket": {"port": PORT}},
            "resources": {
                "requests": {"cpu": "20m", "memory": "32Mi"},
                "limits": {"cpu": "100m", "memory": "64Mi"},
            },
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": POLICY, "namespace": self.site.namespace, "labels": labels},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {NAME: POLICY}},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }

    def _service(self) -> Object:
        port = {
            "name": "webhook",
            "port": 443,
            "protocol": "TCP",
            "targetPort": self._target_port(),
        }
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": POLICY, "namespace": self.site.namespace, "labels": self._labels(),
            },
            "spec": {"selector": {NAME: POLICY}, "ports": [port]},
        }  # fmt: skip

    def _configuration(self) -> Object:
        """Concern the app's own pods, and not the policy's, which could never start otherwise."""
        service = {"namespace": self.site.namespace, "name": POLICY, "path": "/pods", "port": 443}
        others = {"key": NAME, "operator": "NotIn", "values": [POLICY]}
        hook = {
            "name": f"pods.{POLICY}.{self.site.app.name}.example",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "timeoutSeconds": 5,
            "clientConfig": {"service": service},
            "namespaceSelector": {"matchLabels": {"app.kubernetes.io/part-of": self.site.app.name}},
            "objectSelector": {"matchExpressions": [others]},
            "rules": [
                {
                    "operations": ["CREATE"],
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "resources": ["pods"],
                    "scope": "Namespaced",
                }
            ],
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": self.configuration,
            "metadata": {"name": f"{self.site.app.name}-{POLICY}"},
            "webhooks": [hook],
        }

    async def inject(self, env: Environment) -> None:
        for obj in (self._deployment(), self._service()):
            await env.kube.create(obj, actor=SECURITY)
        await env.advance(12.0)  # its pod gets ready before it is asked
        await env.kube.create(self._configuration(), actor=SECURITY)
        await recycle(env, self.site.target, actor=PLATFORM)

    async def recover(self, env: Environment) -> None:
        name = self._configuration()["metadata"]["name"]
        await discard(env, self.configuration, name, actor=SECURITY)
        for kind in ("Service", "Deployment"):
            await discard(env, kind, POLICY, actor=SECURITY)

    def aliases(self) -> list[str]:
        return [POLICY, f"{self.site.app.name}-{POLICY}"]


class WebhookOutage(_Webhook):
    """A webhook that must be asked is behind a Service with a wrong port: no pod is admitted."""

    kind = "admission/webhook-outage"
    cause = "admission_webhook_failing"
    fault_type = "Dependency Problem"
    configuration = "ValidatingWebhookConfiguration"

    class Params(Model):
        """Parameters."""

        port: int = 9443
        """Where the Service sends what should reach the program."""

    params: Params

    def _target_port(self) -> int:
        return self.params.port

    def fix(self) -> list[FixStep]:
        port = {"name": "webhook", "port": 443, "protocol": "TCP", "targetPort": PORT}
        arguments = {
            "kind": "Service",
            "name": POLICY,
            "patch": json.dumps({"spec": {"ports": [port]}}),
            "type": "merge",
        }
        return [FixStep(tool="k8s_patch", arguments=arguments)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        tried = await _tried(env, self.site.target)
        refused = tried if isinstance(tried, str) else ""
        return [
            condition("admitted", not refused, refused or "a new pod is admitted"),
            await rolled_out(env, "Deployment", self.site.target),
        ]


class WebhookRewrites(_Webhook):
    """A webhook lowers the CPU limits of new pods; the template says something else."""

    kind = "admission/webhook-rewrites"
    cause = "admission_mutation"
    fault_type = "Misconfiguration"
    configuration = "MutatingWebhookConfiguration"

    class Params(Model):
        """Parameters."""

        millicores: int = 60
        """Most that a container gets."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        return service is not None and "cpu" in service.resources.limits

    def _cap(self) -> str:
        return f"{self.params.millicores}m"

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "CPU_CAP": self._cap()}

    async def recover(self, env: Environment) -> None:
        await super().recover(env)
        await recycle(env, self.site.target, actor=PLATFORM)

    def fix(self) -> list[FixStep]:
        again = {"action": "restart", "kind": "Deployment", "name": self.site.target}
        return [
            FixStep(tool="k8s_set_env", arguments={"name": POLICY, "variables": ["CPU_CAP-"]}),
            FixStep(tool="wait", arguments={"seconds": 30, "reason": "the policy rolls out"}),
            FixStep(tool="k8s_rollout", arguments=again),
        ]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        tried = await _tried(env, self.site.target)
        pods = await env.kube.list("Pod", env.namespace, labels=f"{NAME}={self.site.target}")
        limits = [_cpu(p) for p in [*pods, *([] if isinstance(tried, str) else [tried])]]
        bad = quantity.parse(self._cap())
        met = bool(limits) and not isinstance(tried, str)
        met = met and all(limit is None or quantity.parse(limit) > bad for limit in limits)
        spoken = ", ".join(str(limit) for limit in limits)
        return [
            condition("limits", met, f"CPU limits of pods, and of one tried: {spoken or 'none'}"),
            await rolled_out(env, "Deployment", self.site.target),
        ]


def _cpu(pod: Object) -> str | None:
    """Return the CPU limit of a pod's first container."""
    limits = pod["spec"]["containers"][0].get("resources", {}).get("limits") or {}
    value: str | None = limits.get("cpu")
    return value


KINDS = (PodSecurity, WebhookOutage, WebhookRewrites)
