"""Family ``database``, second part: sessions of PostgreSQL: how many may come, who stays too long.

Limits are changed where operators change them (``postgresql.conf``, ``ALTER ROLE``); the others
are people and tools outside the app. Source: faults.md ``dep-db-max-connections``,
``dep-db-lock``; AIOpsLab's ``user_unregistered``.
"""

from __future__ import annotations

import base64
import json
import re
from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, ask, condition, edit, fetch, restart, rolled_out
from aiopslab.faults.database import clients_of, database_of, statements_needed
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.signal import Change
from aiopslab.models.support import Support, everywhere
from aiopslab.models.truth import FixStep

PLATFORM = "platform-bot"
_RESERVED = 3
"""``superuser_reserved_connections``."""


def _sql(store: str, sql: str) -> FixStep:
    return FixStep(tool="sql_query", arguments={"store": store, "sql": sql})


class _OfStore(Fault):
    """Strikes a PostgreSQL store that users need."""

    support: ClassVar[Support] = everywhere()
    system_level = "Application"

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return bool(statements_needed(app, component))

    async def _note(self, env: Environment, actor: str, summary: str) -> None:
        change = Change(
            time=env.now(),
            actor=actor,
            kind="database",
            component=self.site.target,
            summary=summary,
        )
        await env.substrate.record_change(change)

    async def _admin(self, env: Environment, sql: str) -> str:
        return await env.substrate.store_admin(self.site.target, sql)


class MaxConnections(_OfStore):
    """``max_connections`` was lowered below what the clients' pools use."""

    kind = "database/max-connections"
    cause = "too_many_connections"
    fault_type = "Dependency Problem"

    class Params(Model):
        """Parameters."""

        value: int = 5
        """The new limit; three of it are for superusers."""

    params: Params

    @property
    def _map(self) -> str:
        return f"{self.site.target}-config"

    def _right(self) -> int:
        return int(str(self.site.app.stores[self.site.target].config.get("max_connections", 100)))

    def _conf(self, text: str, value: int) -> str:
        rest = [x for x in text.splitlines() if not x.startswith("max_connections")]
        return "\n".join([*rest, f"max_connections = {value}"]) + "\n"

    async def _set(self, env: Environment, value: int) -> None:
        config = await fetch(env, "ConfigMap", self._map) or {"data": {}}
        text = self._conf(config["data"].get("postgresql.conf", ""), value)
        patch = {"data": {"postgresql.conf": text}}
        await edit(env, "ConfigMap", self._map, patch, actor=PLATFORM, type="merge")
        await restart(env, "StatefulSet", self.site.target, actor=PLATFORM)

    async def inject(self, env: Environment) -> None:
        await self._set(env, self.params.value)

    async def recover(self, env: Environment) -> None:
        await self._set(env, self._right())

    def fix(self) -> list[FixStep]:
        return [
            _sql(self.site.target, f"ALTER SYSTEM SET max_connections = {self._right()}"),
            FixStep(
                tool="k8s_rollout",
                arguments={
                    "action": "restart", "kind": "StatefulSet", "name": self.site.target,
                },
            ),
        ]  # fmt: skip

    def aliases(self) -> list[str]:
        return [self._map]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        config = await fetch(env, "ConfigMap", self._map) or {"data": {}}
        written = re.search(r"max_connections\s*=\s*(\d+)", str(config["data"]))
        answer = await ask(env, self.site.target, "SHOW max_connections")
        found = re.search(r"^\s*(\d+)\s*$", answer, re.MULTILINE)
        now = int(found.group(1)) if found else 0
        met = now > self.params.value * 2
        detail = f"max_connections is {now}, written is {written.group(1) if written else 'none'}"
        return [condition("limit", met, detail), await self._up(env)]

    async def _up(self, env: Environment) -> CheckResult:
        return await rolled_out(env, "StatefulSet", self.site.target)


class ConnectionsHeld(_OfStore):
    """A reporting tool dials without a bound; after a restart of the server it was there first.

    Its pool is larger than the server's limit and it dials again whenever it is thrown out.
    """

    kind = "database/connections-held"
    support = everywhere("the tool is a pod in a namespace of its own")
    cause = "too_many_connections"
    fault_type = "Dependency Problem"

    class Params(Model):
        """Parameters."""

        role: str = "reporting"
        application: str = "Metabase"
        address: str = "198.18.250.61"
        password: str = "g2-Wuxt-71Kp"

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        store = database_of(app, component)
        # Where a policy admits the app alone, nobody else can dial.
        guarded = {i.target for i in app.intent.invariants if i.kind == "object_exists"}
        named = f"NetworkPolicy/{component}" in guarded
        return store is not None and super().fits(app, component) and not named

    def _sessions(self) -> int:
        config = self.site.app.stores[self.site.target].config
        return int(str(config.get("max_connections", 100))) + 20

    async def _tool(self, env: Environment, sessions: int) -> None:
        await env.substrate.tool(
            self.site.target,
            application=self.params.application,
            user=self.params.role,
            password=self.params.password,
            address=self.params.address,
            sessions=sessions,
        )

    async def inject(self, env: Environment) -> None:
        role, password = self.params.role, self.params.password
        tables = ", ".join(sorted(self.site.app.stores[self.site.target].tables))
        await self._admin(env, f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        await self._admin(env, f"GRANT SELECT ON {tables} TO {role}")
        await self._note(env, "d.brandt", f"read access for {role} dashboards")
        await self._tool(env, self._sessions())
        await restart(env, "StatefulSet", self.site.target, actor=PLATFORM)

    async def recover(self, env: Environment) -> None:
        await self._tool(env, 0)
        role, tables = self.params.role, ", ".join(sorted(self._tables()))
        known = f"SELECT count(*) FROM pg_roles WHERE rolname = '{role}'"
        if "1" in (await self._admin(env, known)).split():
            await self._admin(env, f"REVOKE ALL ON {tables} FROM {role}")
            await self._admin(env, f"DROP ROLE {role}")

    def _tables(self) -> list[str]:
        return list(self.site.app.stores[self.site.target].tables)

    def fix(self) -> list[FixStep]:
        role = self.params.role
        return [
            _sql(self.site.target, f"ALTER ROLE {role} CONNECTION LIMIT 4"),
            _sql(
                self.site.target,
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'",
            ),
        ]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        sql = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{self.params.role}'"
        answer = await ask(env, self.site.target, sql)
        found = re.search(r"^\s*(\d+)\s*$", answer, re.MULTILINE)
        sessions = int(found.group(1)) if found else 999
        met = sessions <= self._sessions() // 4
        return [condition("sessions", met, f"{sessions} sessions of {self.params.role}")]


class RoleLimit(_OfStore):
    """A role got a connection limit that its pools do not fit into."""

    kind = "database/role-limit"
    cause = "too_many_connections"
    fault_type = "Dependency Problem"

    class Params(Model):
        """Parameters."""

        limit: int = 1

    params: Params

    def _role(self) -> str:
        return statements_needed(self.site.app, self.site.target)[0][0]

    async def inject(self, env: Environment) -> None:
        role = self._role()
        await self._admin(env, f"ALTER ROLE {role} CONNECTION LIMIT {self.params.limit}")
        ends = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
        await self._admin(env, ends)
        await self._note(env, "m.okafor", f"{self.site.target}: baseline for database roles")

    async def recover(self, env: Environment) -> None:
        await self._admin(env, f"ALTER ROLE {self._role()} CONNECTION LIMIT -1")

    def fix(self) -> list[FixStep]:
        return [_sql(self.site.target, f"ALTER ROLE {self._role()} CONNECTION LIMIT -1")]

    def accepted(self) -> list[tuple[str, str]]:
        return [(self._role(), self.cause)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        sql = f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{self._role()}'"
        answer = await ask(env, self.site.target, sql)
        found = re.search(r"^\s*(-?\d+)\s*$", answer, re.MULTILINE)
        limit = int(found.group(1)) if found else 0
        met = limit < 0 or limit >= 10
        return [condition("limit", met, f"connection limit of {self._role()} is {limit}")]


class ForgottenTransaction(_OfStore):
    """A colleague's session holds a lock in a transaction that nobody ends."""

    kind = "database/forgotten-transaction"
    cause = "lock_contention"
    fault_type = "Operation Error"

    class Params(Model):
        """Parameters."""

        table: str = ""
        """The table; empty: the one that the first needed statement uses."""
        mode: str = "ACCESS EXCLUSIVE"
        application: str = "psql"

    params: Params

    def _table(self) -> str:
        needed = statements_needed(self.site.app, self.site.target)
        return self.params.table or needed[0][1].table

    async def inject(self, env: Environment) -> None:
        lock = f"BEGIN; LOCK TABLE {self._table()} IN {self.params.mode} MODE"
        await env.substrate.terminal(self.site.target, lock, application=self.params.application)

    def _held(self) -> str:
        return (
            "FROM pg_stat_activity WHERE state = 'idle in transaction' "
            f"AND application_name = '{self.params.application}'"
        )

    async def recover(self, env: Environment) -> None:
        await self._admin(env, f"SELECT pg_terminate_backend(pid) {self._held()}")

    def fix(self) -> list[FixStep]:
        return [_sql(self.site.target, f"SELECT pg_terminate_backend(pid) {self._held()}")]

    def accepted(self) -> list[tuple[str, str]]:
        return [(c, self.cause) for c in clients_of(self.site.app, self.site.target)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        answer = await ask(env, self.site.target, f"SELECT count(*) {self._held()}")
        met = "0" in answer.split()
        return [condition("transaction", met, "ended" if met else "still open, or no answer")]


class RoleDropped(_OfStore):
    """The role that a service logs in with was removed."""

    kind = "database/role-dropped"
    cause = "database_role_missing"
    fault_type = "Network/Storage Issue"

    class Params(Model):
        """Parameters."""

        password: str = "Kd4-pTz8-Rw"
        """What the reference fix gives the role; it tells the service by its Secret."""

    params: Params
    _original: str | None = None
    """The password before; known once injected."""

    def _role(self) -> str:
        return statements_needed(self.site.app, self.site.target)[0][0]

    @property
    def _secret(self) -> str:
        return f"{self.site.target}-{self._role()}"

    def _grants(self) -> dict[str, list[str]]:
        grants = self.site.app.stores[self.site.target].users[self._role()].grants
        return {table: list(privileges) for table, privileges in sorted(grants.items())}

    def _create(self, password: str) -> list[str]:
        role = self._role()
        return [
            f"CREATE ROLE {role} LOGIN PASSWORD '{password}'",
            *(f"GRANT {', '.join(p)} ON {t} TO {role}" for t, p in self._grants().items()),
        ]

    async def inject(self, env: Environment) -> None:
        secret = await env.kube.get("Secret", self._secret, env.namespace)
        self._original = base64.b64decode(secret["data"]["password"]).decode()
        role = self._role()
        for table in self._grants():
            await self._admin(env, f"REVOKE ALL ON {table} FROM {role}")
        await self._admin(env, f"DROP ROLE {role}")
        ends = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
        await self._admin(env, ends)
        await self._note(env, "m.okafor", f"{self.site.target}: remove roles without an owner")

    async def recover(self, env: Environment) -> None:
        password = self._original or self.params.password
        known = f"SELECT count(*) FROM pg_roles WHERE rolname = '{self._role()}'"
        create, *grants = self._create(password)
        if "1" in (await self._admin(env, known)).split():
            create = f"ALTER ROLE {self._role()} LOGIN PASSWORD '{password}'"
        for sql in (create, *grants):
            await self._admin(env, sql)
        await edit(env, "Secret", self._secret, self._data(password), actor="secrets-operator")
        await restart(env, "Deployment", self._role(), actor="secrets-operator")

    @staticmethod
    def _data(password: str) -> dict[str, dict[str, str]]:
        return {"data": {"password": base64.b64encode(password.encode()).decode()}}

    def fix(self) -> list[FixStep]:
        again = {"action": "restart", "kind": "Deployment", "name": self._role()}
        secret = {
            "kind": "Secret",
            "name": self._secret,
            "patch": json.dumps(self._data(self.params.password)),
            "type": "merge",
        }
        return [
            *(_sql(self.site.target, sql) for sql in self._create(self.params.password)),
            FixStep(tool="k8s_patch", arguments=secret),
            FixStep(tool="k8s_rollout", arguments=again),
        ]

    def accepted(self) -> list[tuple[str, str]]:
        return [(self._role(), self.cause)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        known = f"SELECT count(*) FROM pg_roles WHERE rolname = '{self._role()}'"
        met = "1" in (await ask(env, self.site.target, known)).split()
        role = condition("role", met, f"role {self._role()} {'exists' if met else 'is missing'}")
        return [role, await rolled_out(env, "Deployment", self._role())]


KINDS: tuple[type[Fault], ...] = (
    ConnectionsHeld, ForgottenTransaction, MaxConnections, RoleDropped, RoleLimit,
)  # fmt: skip
