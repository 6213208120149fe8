"""Distractors: true but harmless happenings beside a fault, and in the twin too.

They make "the most recent change" and "the loudest graph" bad answers. Not here: faults, clients
beside the users (``visitors``).
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.errors import UsageError
from aiopslab.faults.base import discard, edit, restart, rolled_out
from aiopslab.models.app import App
from aiopslab.models.external import Disturbance
from aiopslab.models.kube import Object
from aiopslab.models.support import everywhere, simulated
from aiopslab.problems.happening import Happening, Takes
from aiopslab.problems.visitors import LoadTest, OldClient
from aiopslab.services.certificates import authority
from aiopslab.services.tls_manifests import authority_name, tls_data, trust_name
from aiopslab.world.kube.eviction import covers

PATIENCE_S = 120.0
LOOK_S = 2.0


class InnocentRollout(Happening):
    """A service rolls to a newer version without a defect."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return cls._clean(app, component) is not None

    @staticmethod
    def _clean(app: App, component: str) -> str | None:
        service = app.services.get(component)
        releases = sorted(service.releases.items()) if service else []
        return next((v for v, r in releases if r.bug is None and not r.columns), None)

    async def happen(self, env: Environment) -> None:
        image = self.app.services[self.target].image
        ref = f"{image.name}:{self._clean(self.app, self.target)}"
        containers = [{"name": self.target, "image": ref}]
        patch = {"spec": {"template": {"spec": {"containers": containers}}}}
        await edit(env, "Deployment", self.target, patch, actor="ci-pipeline")


class InnocentConfig(Happening):
    """A tunable that hardly matters gets a new value, with a restart."""

    banner = "spring-2026"

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return "LOG_LEVEL" in (app.services[component].config if component in app.services else {})

    async def happen(self, env: Environment) -> None:
        await self._store(env)
        await restart(env, "Deployment", self.target, actor="config-sync")

    async def _store(self, env: Environment) -> None:
        name, patch = f"{self.target}-config", {"data": {"FEATURE_BANNER": self.banner}}
        await edit(env, "ConfigMap", name, patch, actor="config-sync", type="merge")


class StagedConfig(InnocentConfig):
    """A tunable that hardly matters gets a new value, which nobody reads before the next start."""

    banner = "summer-2026"

    async def happen(self, env: Environment) -> None:
        await self._store(env)


class LogLevel(Happening):
    """Somebody turns a service's log to debug: many more lines, nothing else."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return "LOG_LEVEL" in (app.services[component].config if component in app.services else {})

    async def happen(self, env: Environment) -> None:
        patch = {"data": {"LOG_LEVEL": "debug", "ACCESS_LOG_RATIO": "1"}}
        name = f"{self.target}-config"
        await edit(env, "ConfigMap", name, patch, actor="ana.ruiz", type="merge")
        await restart(env, "Deployment", self.target, actor="ana.ruiz")


class CacheRestart(Happening):
    """A cache is restarted for maintenance: it is empty, and fills again within the promise."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.stores and app.stores[component].kind == "valkey"

    async def happen(self, env: Environment) -> None:
        await restart(env, "StatefulSet", self.target, actor="platform-bot")


class NodeDrain(Happening):
    """A node is drained of services for maintenance, within budgets, and stays cordoned."""

    support = simulated("machines are shared with whatever else runs on the cluster")

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in {n.name for n in app.nodes}

    async def happen(self, env: Environment) -> None:
        cordon = {"spec": {"unschedulable": True}}
        await env.kube.patch("Node", self.target, cordon, actor="platform-bot")
        here = await env.kube.list(
            "Pod",
            env.namespace,
            labels="app.kubernetes.io/component=service",
            fields=f"spec.nodeName={self.target}",
        )
        for pod in here:
            await _until(env, partial(_may_go, env, pod))
            name = pod["metadata"]["name"]
            await discard(env, "Pod", name, actor="platform-bot")
            await _until(env, partial(_replaced, env, pod))


class RestartOneByOne(Happening):
    """Every service is restarted, each after the one before is back; the target is the first."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.services

    async def happen(self, env: Environment) -> None:
        others = [s for s in sorted(self.app.services) if s != self.target]
        for name in [self.target, *others]:
            await restart(env, "Deployment", name, actor="platform-bot")
            await _until(env, partial(_complete, env, name))


async def _until(env: Environment, holds: Callable[[], Awaitable[bool]]) -> None:
    """Let time pass until something holds, as a careful operator waits; two minutes at most."""
    deadline = env.now() + PATIENCE_S
    while env.now() < deadline and not await holds():
        await env.advance(LOOK_S)


async def _complete(env: Environment, deployment: str) -> bool:
    return (await rolled_out(env, "Deployment", deployment)).met


async def _may_go(env: Environment, pod: Object) -> bool:
    """Say whether every disruption budget that covers a pod lets it go."""
    budgets = await env.kube.list("PodDisruptionBudget", env.namespace)
    mine = [b for b in budgets if covers(b, pod)]
    return all(int(b.get("status", {}).get("disruptionsAllowed", 0)) > 0 for b in mine)


async def _replaced(env: Environment, pod: Object) -> bool:
    """Say whether the workload of a pod that went is complete again."""
    return await _complete(env, pod["metadata"]["labels"]["app.kubernetes.io/name"])


class LoadSpike(Happening):
    """More users than usual; the target names the journeys' entry, the factor is ``factor``.

    With ``journey`` only that one gets more.
    """

    takes: ClassVar[Takes] = {"factor": float, "journey": str}

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in {j.entry for j in app.journeys.values()}

    async def happen(self, env: Environment) -> None:
        factor = float(self.params.get("factor", 1.3))
        await env.traffic.scale(factor, journey=self.params.get("journey"))


class PartnerAnnouncement(Happening):
    """A partner announces a maintenance for a later hour."""

    takes: ClassVar[Takes] = {"in_hours": float}

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.externals and app.externals[component].status_page is not None

    async def happen(self, env: Environment) -> None:
        begins_at = env.now() + float(self.params.get("in_hours", 5)) * 3600.0
        await env.substrate.announce(self.target, begins_at=begins_at, lasts_s=1800.0)


class PartnerDegraded(Happening):
    """A partner that users can do without answers some of the requests with errors."""

    support = everywhere("the partner is a program of ours in a namespace of its own")
    takes: ClassVar[Takes] = {"share": float}

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        called = any(component in s.depends_on() for s in app.services.values())
        return component in app.externals and called and not _needed(app, component)

    async def happen(self, env: Environment) -> None:
        share = float(self.params.get("share", 0.03))
        await env.substrate.partner(self.target, Disturbance(error_rate=share))


class JobByHand(Happening):
    """A scheduled job is started by hand, with ``rounds`` rounds: a batch is made up for."""

    takes: ClassVar[Takes] = {"rounds": int}

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.jobs

    async def happen(self, env: Environment) -> None:
        """Do what ``kubectl create job NAME-manual --from=cronjob/NAME`` does."""
        template = (await env.kube.get("CronJob", self.target, env.namespace))["spec"][
            "jobTemplate"
        ]
        spec = copy.deepcopy(template["spec"])
        job = self.app.jobs[self.target]
        rounds = {"name": "JOB_ROUNDS", "value": str(self.params.get("rounds", job.rounds))}
        for container in spec["template"]["spec"]["containers"]:
            others = [v for v in container.get("env", []) if v["name"] != "JOB_ROUNDS"]
            container["env"] = [*others, rounds]
        meta = {
            "name": f"{self.target}-manual",
            "namespace": env.namespace,
            "labels": template["metadata"]["labels"],
            "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
        }
        made = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}
        await env.kube.create(made, actor=self.app.owners[job.owner].oncall)


class JobInterrupted(JobByHand):
    """A job started by hand loses its pod ``after`` seconds in, and the next pod finishes it."""

    takes: ClassVar[Takes] = {**JobByHand.takes, "after": float}

    async def happen(self, env: Environment) -> None:
        """Start it, and evict its pod as a platform does that needs the place."""
        await super().happen(env)
        await env.advance(float(self.params.get("after", 30.0)))
        labels = f"batch.kubernetes.io/job-name={self.target}-manual"
        for pod in await env.kube.list("Pod", env.namespace, labels=labels):
            if pod.get("status", {}).get("phase") == "Running":
                await discard(env, "Pod", pod["metadata"]["name"], actor="platform-bot")


class EngineCordoned(Happening):
    """An inference engine is taken out of its queue for maintenance; the others carry its load."""

    support = simulated("llmserve is tied to machines with GPUs, which are simulated")

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        return service is not None and service.program == "llm-engine"

    async def happen(self, env: Environment) -> None:
        services = self.app.services
        queues = [n for n, s in services.items() if s.program == "llm-queue"]
        mine = next(q for q in sorted(queues) if self.target in services[q].calls)
        patch = {"data": {"QUEUE_CORDONED": self.target}}
        actor = self.app.owners[services[self.target].owner].oncall
        await edit(env, "ConfigMap", f"{mine}-config", patch, actor=actor, type="merge")


class AuthorityRenewed(Happening):
    """The app's authority gets a new key: first everybody trusts it, then it signs."""

    support = everywhere("the renewal is done by a program of ours")
    _SPREAD_S = 120.0
    """Until every process trusts the new key."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return app.tls is not None and component in app.services and app.services[component].tls

    async def happen(self, env: Environment) -> None:
        assert self.app.tls is not None, "fits says so"
        actor = "platform-security"
        old, new = (authority(self.app.tls.authority, n) for n in (1, 2))
        bundle = {"data": {"ca.crt": old.certificate + new.certificate}}
        trust = trust_name(self.app.name)
        await edit(env, "ConfigMap", trust, bundle, actor=actor, type="merge")
        await env.advance(self._SPREAD_S)
        data = {"data": tls_data(new)}
        signer = authority_name(self.app.name)
        await edit(env, "Secret", signer, data, actor=actor, type="merge")


def _needed(app: App, component: str) -> bool:
    return any(component in app.needs(journey) for journey in app.journeys)


KINDS: dict[str, type[Happening]] = {
    "change/innocent-rollout": InnocentRollout,
    "certificate/authority-renewed": AuthorityRenewed,
    "change/innocent-config": InnocentConfig,
    "change/staged-config": StagedConfig,
    "change/log-level": LogLevel,
    "cache/restart": CacheRestart,
    "load/spike": LoadSpike,
    "traffic/load-test": LoadTest,
    "traffic/old-client": OldClient,
    "job/by-hand": JobByHand,
    "job/interrupted": JobInterrupted,
    "llm/engine-cordoned": EngineCordoned,
    "partner/announcement": PartnerAnnouncement,
    "partner/degraded": PartnerDegraded,
    "change/restart-one-by-one": RestartOneByOne,
    "node/drain": NodeDrain,
}


def find(kind: str) -> type[Happening]:
    """Return the class of a distractor kind."""
    if kind not in KINDS:
        raise UsageError(f"unknown distractor kind {kind!r}", hint=f"known: {sorted(KINDS)}")
    return KINDS[kind]
