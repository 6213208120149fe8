"""Family ``automation``: a scheduled job that does its work at the wrong time, again and again.

What an operator repairs by hand is undone at the next full minute, unless the job is stopped first.
Source: faults.md ``chg-automation-bug``, ``ctr-kill-loop``; hard pattern 15 of incidents.md.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from datetime import UTC, datetime
from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, discard, edit, fetch, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import Object
from aiopslab.models.support import Support, everywhere
from aiopslab.models.truth import FixStep
from aiopslab.world.images.kubectl import IMAGE
from aiopslab.world.kube.controllers import cron

_RBAC = "rbac.authorization.k8s.io"
QUIET_S = 1800.0
"""A job whose next run is further away than this does not keep anybody from working."""


class _Scheduled(Fault):
    """A CronJob in the app's namespace that acts on the target."""

    support: ClassVar[Support] = everywhere(
        "the job runs kubectl's image, which the cluster must be able to pull"
    )
    cause = "automation_disrupts"
    system_level = "Virtualization"
    fault_type = "Operation Error"
    suffix: str
    note: str
    """What its owner wrote about it."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.services

    @property
    def _name(self) -> str:
        return f"{self.site.target}-{self.suffix}"

    @property
    def _replicas(self) -> int:
        return self.site.app.services[self.site.target].replicas

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the arguments of kubectl."""

    @abstractmethod
    def _rules(self) -> list[Object]:
        """Return what its account may do."""

    @abstractmethod
    def _schedule(self, now: float) -> str:
        """Return the schedule that hits the present."""

    def _labels(self) -> dict[str, str]:
        return {
            "app.kubernetes.io/name": self._name,
            "app.kubernetes.io/part-of": self.site.app.name,
            "app.kubernetes.io/component": "job",
        }

    def _account(self) -> list[Object]:
        """Return the account that the job acts as, and what it may do."""
        space, name = self.site.namespace, self._name
        metadata = {"name": name, "namespace": space, "labels": self._labels()}
        role = {"apiGroup": _RBAC, "kind": "Role", "name": name}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": space}
        version = f"{_RBAC}/v1"
        return [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {
                "apiVersion": version, "kind": "Role", "metadata": metadata,
                "rules": self._rules(),
            },
            {
                "apiVersion": version, "kind": "RoleBinding", "metadata": metadata,
                "roleRef": role, "subjects": [subject],
            },
        ]  # fmt: skip

    def _cron_job(self, now: float) -> Object:
        labels = self._labels()
        container = {
            "name": "kubectl",
            "image": IMAGE,
            "command": ["kubectl", *self._command()],
            "resources": {
                "requests": {"cpu": "10m", "memory": "32Mi"},
                "limits": {"cpu": "100m", "memory": "64Mi"},
            },
        }
        pod = {
            "restartPolicy": "Never",
            "serviceAccountName": self._name,
            "containers": [container],
        }
        template = {"metadata": {"labels": labels}, "spec": pod}
        return {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {
                "name": self._name,
                "namespace": self.site.namespace,
                "labels": labels,
                "annotations": {"description": self.note},
            },
            "spec": {
                "schedule": self._schedule(now),
                "concurrencyPolicy": "Forbid",
                "successfulJobsHistoryLimit": 2,
                "failedJobsHistoryLimit": 1,
                "jobTemplate": {"spec": {"backoffLimit": 0, "template": template}},
            },
        }

    async def inject(self, env: Environment) -> None:
        for obj in (*self._account(), self._cron_job(env.now())):
            await env.kube.create(obj, actor="platform-bot")

    async def recover(self, env: Environment) -> None:
        for kind in ("CronJob", "RoleBinding", "Role", "ServiceAccount"):
            await discard(env, kind, self._name, actor="platform-bot")

    def _stop(self) -> FixStep:
        patch = json.dumps({"spec": {"suspend": True}})
        arguments = {"kind": "CronJob", "name": self._name, "patch": patch, "type": "merge"}
        return FixStep(tool="k8s_patch", arguments=arguments)

    def fix(self) -> list[FixStep]:
        return [self._stop()]

    def aliases(self) -> list[str]:
        return [self._name]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        job = await fetch(env, "CronJob", self._name)
        pause = float("inf")
        if job is not None and not job["spec"].get("suspend"):
            due = cron.parse(job["spec"]["schedule"]).after(env.now())
            pause = float("inf") if due is None else due - env.now()
        detail = f"next run in {pause:.0f} s" if pause < float("inf") else "it will not run"
        return [
            condition("job", pause > QUIET_S, detail),
            await rolled_out(env, "Deployment", self.site.target),
        ]


class KillLoop(_Scheduled):
    """A job that recycles pods once a night runs every minute, and takes all of them at once."""

    kind = "automation/kill-loop"
    suffix = "recycler"
    note = "Recycle the pods once a night so that they start the day with fresh caches"

    class Params(Model):
        """No parameters."""

    params: Params

    def _command(self) -> list[str]:
        selector = f"app.kubernetes.io/name={self.site.target}"
        return ["delete", "pods", "-l", selector, "--grace-period=1"]

    def _rules(self) -> list[Object]:
        verbs = ["get", "list", "watch", "delete"]
        return [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]

    def _schedule(self, now: float) -> str:
        return "* 4 * * *" if datetime.fromtimestamp(now, UTC).hour == 4 else "*/1 * * * *"


class AfterHours(_Scheduled):
    """A job that saves money after hours has its window in the wrong time zone."""

    kind = "automation/after-hours"
    suffix = "after-hours"
    note = "Nobody books then: keep it at zero replicas outside business hours"

    class Params(Model):
        """Parameters."""

        hours: int = 4
        """How long the window goes on."""

    params: Params

    def _command(self) -> list[str]:
        return ["scale", f"deployment/{self.site.target}", "--replicas=0"]

    def _rules(self) -> list[Object]:
        scaled = ["deployments", "deployments/scale"]
        return [{"apiGroups": ["apps"], "resources": scaled, "verbs": ["get", "update", "patch"]}]

    def _schedule(self, now: float) -> str:
        hour = datetime.fromtimestamp(now, UTC).hour
        window = sorted({(hour + i) % 24 for i in range(-1, self.params.hours)})
        return f"* {','.join(map(str, window))} * * *"

    async def recover(self, env: Environment) -> None:
        await super().recover(env)
        patch = {"spec": {"replicas": self._replicas}}
        await edit(env, "Deployment", self.site.target, patch, actor="platform-bot")

    def fix(self) -> list[FixStep]:
        again = {"kind": "Deployment", "name": self.site.target, "replicas": self._replicas}
        return [self._stop(), FixStep(tool="k8s_scale", arguments=again)]


KINDS = (KillLoop, AfterHours)
