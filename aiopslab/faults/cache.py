"""Family ``cache``: a cache that holds too little, or nothing, so the database behind it works.

Source: faults.md ``dep-cache-*``; hard pattern 3 (stampede) of incidents.md.
"""

from __future__ import annotations

import base64
import json

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, ask, condition, edit, fetch, restart, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model, parse_size
from aiopslab.models.evidence import CheckResult
from aiopslab.models.signal import Change
from aiopslab.models.support import everywhere
from aiopslab.models.truth import FixStep


class Undersized(Fault):
    """``maxmemory`` was cut and the keys were flushed with it."""

    kind = "cache/undersized"
    support = everywhere()
    cause = "cache_undersized"
    system_level = "Application"
    fault_type = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        kibibytes: int = 1400
        """The new ``maxmemory``."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        store = app.stores.get(component)
        return store is not None and store.kind == "valkey" and "maxmemory" in store.config

    async def inject(self, env: Environment) -> None:
        await env.substrate.store_admin(self.site.target, self._set(self.params.kibibytes * 1024))
        await env.substrate.store_admin(self.site.target, "FLUSHALL")
        change = Change(
            time=env.now(),
            actor="t.lindqvist",
            kind="config",
            component=self.site.target,
            summary=f"{self.site.target}: memory right-sizing, round 2",
        )
        await env.substrate.record_change(change)

    async def recover(self, env: Environment) -> None:
        await env.substrate.store_admin(self.site.target, self._set(self._declared()))

    def _declared(self) -> int:
        return parse_size(str(self.site.app.stores[self.site.target].config["maxmemory"]))

    def _set(self, size: int) -> str:
        return f"CONFIG SET maxmemory {size}"

    def fix(self) -> list[FixStep]:
        arguments = {"store": self.site.target, "command": self._set(self._declared())}
        return [FixStep(tool="cache_command", arguments=arguments)]

    def accepted(self) -> list[tuple[str, str]]:
        return [(self.site.target, "cache_flushed")]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        answer = await ask(env, self.site.target, "CONFIG GET maxmemory")
        if not answer:
            return [condition("maxmemory", False, "the cache does not answer")]
        size = int(answer.split()[-1])
        met = size == 0 or size > self.params.kibibytes * 1024 * 4
        return [condition("maxmemory", met, f"maxmemory is {size} bytes")]


class NoEviction(Fault):
    """Memory is full of an import's keys and the policy evicts nothing: every write is refused."""

    kind = "cache/no-eviction"
    support = everywhere()
    cause = "cache_policy_wrong"
    system_level = "Application"
    fault_type = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        prefix: str = "export"
        """Keys of the import are called ``<prefix>:<n>``."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        policy = (
            app.stores[component].config.get("maxmemory-policy", "")
            if fills(app, component)
            else ""
        )
        return str(policy).startswith("allkeys")

    def _exports(self) -> list[str]:
        """Name the keys of the import, a mebibyte each: a little more than there is room for."""
        memory = parse_size(str(self.site.app.stores[self.site.target].config["maxmemory"]))
        return [f"{self.params.prefix}:{i}" for i in range(memory // 2**20 + 2)]

    async def _admin(self, env: Environment, command: str) -> str:
        return await env.substrate.store_admin(self.site.target, command)

    async def inject(self, env: Environment) -> None:
        for key in self._exports():
            await self._admin(env, f"SETRANGE {key} {2**20 - 1} x")
        await self._admin(env, "CONFIG SET maxmemory-policy noeviction")
        await _note(env, self.site.target, "t.lindqvist", "keep exports until they are fetched")

    async def recover(self, env: Environment) -> None:
        await self._admin(env, self._set())
        await self._admin(env, f"UNLINK {' '.join(self._exports())}")

    def _set(self) -> str:
        policy = self.site.app.stores[self.site.target].config["maxmemory-policy"]
        return f"CONFIG SET maxmemory-policy {policy}"

    def fix(self) -> list[FixStep]:
        arguments = {"store": self.site.target, "command": self._set()}
        return [FixStep(tool="cache_command", arguments=arguments)]

    def accepted(self) -> list[tuple[str, str]]:
        return [(self.site.target, "cache_undersized")]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        policy = (await ask(env, self.site.target, "CONFIG GET maxmemory-policy")).split()
        left = await ask(env, self.site.target, f"EXISTS {' '.join(self._exports())}")
        keys = left.split()
        met = bool(policy) and (policy[-1] != "noeviction" or keys[-1:] == ["0"])
        return [
            condition("policy", met, f"the policy is {policy[-1:]}, exports there: {keys[-1:]}")
        ]


class RotatedPassword(Fault):
    """The cache got a new password; its clients were restarted with the old one."""

    kind = "cache/rotated-password"
    support = everywhere()
    cause = "credentials_mismatch"
    system_level = "Application"
    fault_type = "Authentication Issue"

    class Params(Model):
        """Parameters."""

        password: str = "nW5-vLr2-Qe"
        """The new password."""

    params: Params
    _original: str | None = None
    """The password before; known once injected."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return fills(app, component) and "default" in app.stores[component].users

    @property
    def _secret(self) -> str:
        return f"{self.site.target}-default"

    def _clients(self) -> list[str]:
        return clients_of(self.site.app, self.site.target)

    async def _known(self, env: Environment) -> str | None:
        secret = await fetch(env, "Secret", self._secret)
        return base64.b64decode(secret["data"]["password"]).decode() if secret else None

    async def inject(self, env: Environment) -> None:
        self._original = await self._known(env)
        await self._require(env, self.params.password)
        for client in self._clients():
            await restart(env, "Deployment", client, actor="secrets-operator")

    async def recover(self, env: Environment) -> None:
        password = self._original or self.params.password
        await edit(env, "Secret", self._secret, self._data(password), actor="secrets-operator")
        await self._require(env, password)
        for client in self._clients():
            await restart(env, "Deployment", client, actor="secrets-operator")

    async def _require(self, env: Environment, password: str) -> None:
        command = f"CONFIG SET requirepass {password}"
        await env.substrate.store_admin(self.site.target, command)

    @staticmethod
    def _data(password: str) -> dict[str, dict[str, str]]:
        return {"data": {"password": base64.b64encode(password.encode()).decode()}}

    def fix(self) -> list[FixStep]:
        secret = {
            "kind": "Secret",
            "name": self._secret,
            "patch": json.dumps(self._data(self.params.password)),
            "type": "merge",
        }
        again = [
            {"action": "restart", "kind": "Deployment", "name": client}
            for client in self._clients()
        ]
        return [
            FixStep(tool="k8s_patch", arguments=secret),
            *(FixStep(tool="k8s_rollout", arguments=step) for step in again),
        ]

    def accepted(self) -> list[tuple[str, str]]:
        return [(client, self.cause) for client in self._clients()]

    def aliases(self) -> list[str]:
        return [self._secret]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        answer = (await ask(env, self.site.target, "CONFIG GET requirepass")).split()
        known = await self._known(env)
        met = known is not None and answer[-1:] == [known]
        detail = "the Secret's password is the cache's" if met else "Secret and cache disagree"
        rolled = [await rolled_out(env, "Deployment", client) for client in self._clients()]
        return [condition("credentials", met, detail), *rolled]


def fills(app: App, component: str) -> bool:
    """Say whether a component is a cache of a service that users need."""
    store = app.stores.get(component)
    needed = {name for journey in app.journeys for name in app.needs(journey)}
    return store is not None and store.kind == "valkey" and component in needed


def clients_of(app: App, store: str) -> list[str]:
    """Name the services whose cache this is."""
    return sorted(n for n, s in app.services.items() if s.uses.get("cache") == store)


async def _note(env: Environment, store: str, actor: str, summary: str) -> None:
    change = Change(
        time=env.now(), actor=actor, kind="config", component=store, summary=f"{store}: {summary}"
    )
    await env.substrate.record_change(change)


KINDS: tuple[type[Fault], ...] = (NoEviction, RotatedPassword, Undersized)
