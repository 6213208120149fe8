"""What every fault is: typed parameters, injection, recovery, labels, a fix, a post-condition.

A fault changes what a real mistake or mishap would change, through the Environment, as an
ordinary actor (a pipeline, a colleague, a tenant). It never creates an object that names it.
Families are this module's neighbours, one file each; ``registry`` finds a kind by name. Not here:
which incident uses a fault, and when (``problems``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.cause import FaultType, SystemLevel
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import KubeError, Object
from aiopslab.models.support import Support
from aiopslab.models.truth import FixStep, RootCause
from aiopslab.world.kube.revisions import restart_patch
from aiopslab.world.kube.snapshot import declared

_POLL_S = 5.0


@dataclass(frozen=True, slots=True)
class Site:
    """Where a fault strikes: the app and the target component."""

    app: App
    target: str

    @property
    def namespace(self) -> str:
        """The app's namespace."""
        return self.app.namespace


class Fault(ABC):
    """One injected fault. Subclasses set the class variables and implement the abstract part.

    Args:
        site: App and target component.
        params: The kind's parameters, already drawn.
    """

    kind: ClassVar[str]
    """``family/kind``."""
    cause: ClassVar[str]
    """Cause kind of the diagnosis vocabulary."""
    system_level: ClassVar[SystemLevel]
    fault_type: ClassVar[FaultType]
    support: ClassVar[Support]
    """Where its mechanism exists, and what of it is modelled on a cluster."""
    Params: ClassVar[type[Model]]

    def __init__(self, site: Site, params: Model) -> None:
        self.site = site
        self.params = params

    @classmethod
    @abstractmethod
    def fits(cls, app: App, component: str) -> bool:
        """Say whether the fault can strike this component."""

    @abstractmethod
    async def inject(self, env: Environment) -> None:
        """Break it."""

    @abstractmethod
    async def recover(self, env: Environment) -> None:
        """Undo the injection exactly, whatever an agent did meanwhile."""

    @abstractmethod
    def fix(self) -> list[FixStep]:
        """Return the reference fix, as calls of the agent's tools."""

    @abstractmethod
    async def postconditions(self, env: Environment) -> list[CheckResult]:
        """Look whether the cause is gone, not only its symptom."""

    async def undone(self, env: Environment) -> list[CheckResult]:
        """Look whether ``recover`` undid it.

        As the post-conditions say, except where these ask for an agent's way round a cause that is
        out of its reach: such a fault says for itself what must hold, beside the app's health.
        """
        return await self.postconditions(env)

    def root_cause(self) -> RootCause:
        """Return the labels; override ``accepted`` for what is equally right."""
        return RootCause(
            component=self.site.target,
            cause=self.cause,
            system_level=self.system_level,
            fault_type=self.fault_type,
            accepted=self.accepted(),
            aliases=self.aliases(),
        )

    def accepted(self) -> list[tuple[str, str]]:
        """Return further (component, cause) pairs that are equally right."""
        return []

    def aliases(self) -> list[str]:
        """Return other names of the component."""
        return []


def condition(id: str, met: bool, detail: str) -> CheckResult:
    """Build a check result."""
    return CheckResult(id=id, met=met, detail=detail)


async def fetch(env: Environment, kind: str, name: str) -> Object | None:
    """Get an object of the app's namespace, or None where an agent deleted it."""
    try:
        return await env.kube.get(kind, name, env.namespace)
    except KubeError as error:
        if error.reason == "NotFound":
            return None
        raise


async def as_declared(env: Environment, kind: str, name: str, otherwise: Object) -> Object:
    """Return an object as somebody declared it, to be made again; where there is none, another."""
    found = await fetch(env, kind, name)
    return otherwise if found is None else declared(found)


async def edit(
    env: Environment, kind: str, name: str, patch: Any, *, actor: str, type: Any = "strategic"
) -> Object:
    """Patch an object of the app's namespace as somebody."""
    return await env.kube.patch(kind, name, patch, namespace=env.namespace, type=type, actor=actor)


def container_of(obj: Object, name: str) -> Object:
    """Return the container of that name (or the first) in a workload's template."""
    containers: list[Object] = obj["spec"]["template"]["spec"]["containers"]
    return next((c for c in containers if c["name"] == name), containers[0])


async def rolled_out(env: Environment, kind: str, name: str) -> CheckResult:
    """Check that a workload's current revision is completely rolled out and ready.

    As ``kubectl rollout status`` does: pods of an older revision must be gone, or an old pod that
    is ready would hide a new one that is not.
    """
    obj = await fetch(env, kind, name)
    if obj is None:
        return condition(f"rolled-out:{name}", False, f"{kind} {name} does not exist")
    want = obj["spec"].get("replicas", 1)
    status = obj.get("status", {})
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    seen = status.get("observedGeneration", 0) >= obj["metadata"].get("generation", 0)
    old = status.get("replicas", 0) - updated
    met = bool(seen and want > 0 and ready >= want and updated >= want and old <= 0)
    detail = f"{ready} ready, {updated} updated and {old} old of {want} wanted"
    return condition(f"rolled-out:{name}", met, detail)


async def until_rolled_out(
    env: Environment, kind: str, name: str, *, patience_s: float = 120.0
) -> None:
    """Let time pass until a rollout is complete, as a pipeline that waits for it does."""
    deadline = env.now() + patience_s
    while env.now() < deadline and not (await rolled_out(env, kind, name)).met:
        await env.advance(_POLL_S)


async def restart(env: Environment, kind: str, name: str, *, actor: str) -> None:
    """Do what ``kubectl rollout restart`` does."""
    await edit(env, kind, name, restart_patch(env.now()), actor=actor)


async def recycle(env: Environment, component: str, *, actor: str) -> None:
    """Delete the pods of a component at once, as node maintenance or a bulk command does."""
    label = f"app.kubernetes.io/name={component}"
    for pod in await env.kube.list("Pod", env.namespace, labels=label):
        await discard(env, "Pod", pod["metadata"]["name"], actor=actor)


async def discard(
    env: Environment, kind: str, name: str, *, actor: str, namespace: str | None = None
) -> None:
    """Delete an object (of the app's namespace by default) unless it is gone already."""
    try:
        await env.kube.delete(kind, name, namespace or env.namespace, actor=actor)
    except KubeError as error:
        if error.reason != "NotFound":
            raise


async def ask(env: Environment, store: str, command: str) -> str:
    """Ask a store as its operator, for a post-condition; empty where it does not answer.

    A store that is down at the end is what was made of it, not a failure of the lab.
    """
    try:
        return await env.substrate.store_admin(store, command)
    except InfraError:
        return ""
