"""Family ``config``, second part: how a service calls others, and how many it serves at once.

Deadlines, breakers, workers, addresses; and values that are not where one looks: hidden
by the workload's environment, or different from replica to replica. Source: faults.md
``app-missing-deadline``, ``app-threadpool-exhausted``,
``app-circuit-stuck-open``, ``app-wrong-endpoint``, ``app-env-shadowed``, ``app-config-drift``.
"""

from __future__ import annotations

from pydantic import Field

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import (
    Fault,
    condition,
    container_of,
    edit,
    fetch,
    restart,
    rolled_out,
    until_rolled_out,
)
from aiopslab.faults.config import PIPELINE, Value
from aiopslab.models.app import App
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import KubeError
from aiopslab.models.support import everywhere
from aiopslab.models.truth import FixStep
from aiopslab.services.config import prefix, settings, targets


class WorkersTooFew(Value):
    """The worker pool is smaller than the concurrency: requests queue while the CPU idles."""

    kind = "config/workers-too-few"
    cause = "worker_pool_too_small"
    suffix = "WORKERS"


class MissingDeadline(Value):
    """A call has no deadline any more; it hurts as soon as what it calls is slow.

    Target is the caller; the key should be one of a dependency that it could do without.
    """

    kind = "config/missing-deadline"
    cause = "missing_deadline"
    suffix = "_TIMEOUT_MS"

    class Params(Value.Params):
        """Parameters."""

        value: int = Field(default=0)
        """0: none."""

    params: Params

    @classmethod
    def _keys(cls, app: App, component: str) -> list[str]:
        service = app.services.get(component)
        called = {f"{prefix(t)}{cls.suffix}" for t in targets(app, component)} if service else set()
        return [key for key in super()._keys(app, component) if key in called]


class WrongEndpoint(Value):
    """The address of a dependency names a host that does not exist."""

    kind = "config/wrong-endpoint"
    cause = "wrong_endpoint"
    suffix = "_ADDR"

    class Params(Value.Params):
        """Parameters."""

        ending: str = "-v2"
        """Appended to the host's name."""

    params: Params

    @classmethod
    def _keys(cls, app: App, component: str) -> list[str]:
        service = app.services.get(component)
        called = targets(app, component) if service else []
        return [f"{prefix(t)}_ADDR" for t in called if t in app.services]

    def _wrong(self) -> str:
        right = settings(self.site.app, self.site.target)[self._key]
        host, colon, port = right.partition(":")  # DB_HOST has no port
        return f"{host}{self.params.ending}{colon}{port}"


class BreakerStuck(Value):
    """A breaker opens at the first failure and stays open for hours; a short outage did that."""

    kind = "config/breaker-stuck"
    support = everywhere("the short disturbance is made where the app program dials")
    cause = "circuit_breaker_stuck"
    suffix = "_BREAKER_ERRORS"

    class Params(Value.Params):
        """Parameters."""

        value: int = Field(default=1)
        """Failures that open it."""
        open_s: int = 14400
        """Seconds that it stays open."""
        outage_s: float = 8.0
        """How long the dependency was out of reach, once."""

    params: Params

    @property
    def _callee(self) -> str:
        stem = self._key.removesuffix(self.suffix)
        called = targets(self.site.app, self.site.target)
        return next(t for t in called if prefix(t) == stem)

    def _wrong_data(self) -> dict[str, str | None]:
        open_key = f"{self._key.removesuffix('ERRORS')}OPEN_MS"
        return {self._key: self._wrong(), open_key: str(self.params.open_s * 1000)}

    async def inject(self, env: Environment) -> None:
        await super().inject(env)
        await until_rolled_out(env, "Deployment", self.site.target)
        here, there = self.site.target, self._callee
        await env.substrate.link(here, there, cut=True)
        await env.advance(self.params.outage_s)
        await env.substrate.link(here, there)

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        checks = await super().postconditions(env)
        if checks[0].met:
            return checks
        # One that closes again by itself is as good, however few failures open it.
        config = await fetch(env, "ConfigMap", self._map) or {}
        open_key = f"{self._key.removesuffix('ERRORS')}OPEN_MS"
        open_ms = str(config.get("data", {}).get(open_key, "5000"))
        met = open_ms.isdecimal() and int(open_ms) <= 60_000
        return [condition("value", met, f"{open_key} is {open_ms}"), checks[1]]


class Shadowed(Value):
    """A variable of the container hides the ConfigMap's value, which looks right."""

    kind = "config/shadowed"
    cause = "configuration_shadowed"
    suffix = "_TIMEOUT_MS"

    class Params(Value.Params):
        """Parameters."""

        value: int = Field(default=4)
        """What the variable says."""
        actor: str = "j.meyer"

    params: Params

    async def _variable(self, env: Environment, entry: dict[str, str]) -> None:
        containers = [{"name": self.site.target, "env": [entry]}]
        patch = {"spec": {"template": {"spec": {"containers": containers}}}}
        await edit(env, "Deployment", self.site.target, patch, actor=self.params.actor)

    async def inject(self, env: Environment) -> None:
        await self._variable(env, {"name": self._key, "value": str(self.params.value)})

    async def recover(self, env: Environment) -> None:
        await self._variable(env, {"name": self._key, "$patch": "delete"})

    def fix(self) -> list[FixStep]:
        arguments = {"name": self.site.target, "variables": [f"{self._key}-"]}
        return [FixStep(tool="k8s_set_env", arguments=arguments)]

    def aliases(self) -> list[str]:
        return []

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        deployment = await fetch(env, "Deployment", self.site.target)
        env_now = container_of(deployment, self.site.target).get("env", []) if deployment else []
        now = next((e.get("value") for e in env_now if e["name"] == self._key), None)
        met = deployment is not None and now != self._wrong()
        value = condition("value", met, f"the container's {self._key} is {now!r}")
        return [value, await rolled_out(env, "Deployment", self.site.target)]


class Drift(Value):
    """One replica runs with a value that the ConfigMap no longer holds.

    Somebody tried a value, a pod was replaced just then, the value was taken back; nobody
    restarted the pod.
    """

    kind = "config/drift"
    cause = "configuration_drift"
    fault_type = "Operation Error"
    suffix = "_TIMEOUT_MS"

    class Params(Value.Params):
        """Parameters."""

        value: int = Field(default=3)
        """What was tried."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        return service is not None and service.replicas >= 2 and super().fits(app, component)

    async def inject(self, env: Environment) -> None:
        await self._write(env, self._wrong_data())
        pods = await env.kube.list("Pod", env.namespace, labels=self._labels)
        names = [pod["metadata"]["name"] for pod in pods]
        await env.kube.delete("Pod", min(names), env.namespace, actor="descheduler")
        deadline = env.now() + self._START_S
        while env.now() < deadline and (self._wrong() or "") not in await self._values(env):
            await env.advance(1.0)
        await self._write(env, self._right_data())

    _START_S = 60.0
    """In which the new pod's container has read its environment."""

    @property
    def _labels(self) -> str:
        return f"app.kubernetes.io/name={self.site.target}"

    async def _write(self, env: Environment, data: dict[str, str | None]) -> None:
        await edit(env, "ConfigMap", self._map, {"data": data}, actor=PIPELINE, type="merge")

    async def recover(self, env: Environment) -> None:
        await self._write(env, self._right_data())
        await restart(env, "Deployment", self.site.target, actor=PIPELINE)

    def fix(self) -> list[FixStep]:
        again = {"action": "restart", "kind": "Deployment", "name": self.site.target}
        return [FixStep(tool="k8s_rollout", arguments=again)]

    def accepted(self) -> list[tuple[str, str]]:
        return []

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        values = await self._values(env)
        wrong = self._wrong() or ""
        met = bool(values) and wrong not in values
        value = condition("value", met, f"{self._key} in the pods: {sorted(values)}")
        return [value, await rolled_out(env, "Deployment", self.site.target)]

    async def _values(self, env: Environment) -> list[str]:
        """Read the value in every container that runs."""
        found = []
        for pod in await env.kube.list("Pod", env.namespace, labels=self._labels):
            name = pod["metadata"]["name"]
            try:
                done = await env.kube.exec(name, env.namespace, ["printenv", self._key])
            except KubeError:
                continue  # it does not run: it has no value
            found.append(done.stdout.strip())
        return found


KINDS: tuple[type[Fault], ...] = (
    BreakerStuck, Drift, MissingDeadline, Shadowed, WorkersTooFew, WrongEndpoint,
)  # fmt: skip
