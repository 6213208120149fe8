"""Family ``database``: grants and credentials of PostgreSQL roles.

Grants are changed the way a tidy-up migration does it: as the operator, in SQL. Source: faults.md
``dep-*`` and ``sec-*``; AIOpsLab's ``revoke_auth`` and ``user_unregistered`` families.
"""

from __future__ import annotations

import base64

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, ask, condition, edit, fetch, restart, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import KubeError
from aiopslab.models.signal import Change
from aiopslab.models.step import SqlStep
from aiopslab.models.store import Statement, Store
from aiopslab.models.support import everywhere
from aiopslab.models.truth import FixStep
from aiopslab.services.walk import walk


def database_of(app: App, component: str) -> Store | None:
    """Return the PostgreSQL store of that name."""
    store = app.stores.get(component)
    return store if store is not None and store.kind == "postgres" else None


def clients_of(app: App, store: str) -> list[str]:
    """Name the services whose database this is."""
    return sorted(n for n, s in app.services.items() if s.uses.get("db") == store)


def statements_needed(app: App, store: str) -> list[tuple[str, Statement]]:
    """List (service, statement) of what services that users need run on a database, in order."""
    database = database_of(app, store)
    if database is None:
        return []
    needed = {name for journey in app.journeys for name in app.needs(journey)}
    return [
        (service, database.statements[step.sql])
        for service in clients_of(app, store)
        if service in needed and service in database.users
        for steps in app.services[service].work()
        for step in walk(steps)
        if isinstance(step, SqlStep)
    ]


async def admitted(
    env: Environment, store: str, user: str, password: str, sslmode: str = ""
) -> str:
    """Log in to a database as a client does, over its pod's network.

    Returns:
        Why it is refused, as ``psql`` says; empty if it is not.
    """
    pod = await fetch(env, "Pod", f"{store}-0")
    address = ((pod or {}).get("status") or {}).get("podIP")
    if not address:
        return f"{store}-0 has no address"
    where = f"host={address} port={env.app.stores[store].port}"
    where += f" dbname={env.app.stores[store].database} user={user} password={password}"
    where += f" sslmode={sslmode}" if sslmode else ""
    try:
        done = await env.kube.exec(f"{store}-0", env.namespace, ["psql", where, "-c", "SELECT 1"])
    except KubeError as error:
        return error.message
    return "" if done.code == 0 else (done.stderr or done.stdout).strip().replace("\n", " ")


class RevokedGrant(Fault):
    """A role lost a privilege on the table it reads most."""

    kind = "database/revoked-grant"
    support = everywhere()
    cause = "database_permission_revoked"
    system_level = "Application"
    fault_type = "Authentication Issue"

    class Params(Model):
        """Parameters."""

        privilege: str = "SELECT"
        logged: bool = True
        """Whether the change log has a line about it."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return any(p == "SELECT" for _, _, p in cls._grants(app, component))

    @classmethod
    def _grants(cls, app: App, component: str) -> list[tuple[str, str, str]]:
        """List (role, table, privilege) that a statement of a needed client uses, sorted."""
        store = database_of(app, component)
        if store is None:
            return []
        needed = {name for journey in app.journeys for name in app.needs(journey)}
        used = {(s.table, s.kind) for s in store.statements.values()}
        return sorted(
            (role, table, privilege)
            for role in needed & set(clients_of(app, component)) & set(store.users)
            for table, privileges in store.users[role].grants.items()
            for privilege in privileges
            if (table, privilege) in used
        )

    def _grant(self) -> tuple[str, str]:
        """Return (role, table): the first grant of that privilege."""
        for role, table, privilege in self._grants(self.site.app, self.site.target):
            if privilege == self.params.privilege:
                return role, table
        raise ValueError(f"no role of {self.site.target!r} has {self.params.privilege!r}")

    async def inject(self, env: Environment) -> None:
        role, table = self._grant()
        revoke = f"REVOKE {self.params.privilege} ON {table} FROM {role}"
        await env.substrate.store_admin(self.site.target, revoke)
        if self.params.logged:
            change = Change(
                time=env.now(),
                actor="m.okafor",
                kind="database",
                component=self.site.target,
                summary=f"migration 0047: tidy up roles and privileges on {self.site.target}",
            )
            await env.substrate.record_change(change)

    async def recover(self, env: Environment) -> None:
        await env.substrate.store_admin(self.site.target, self._regrant())

    def _regrant(self) -> str:
        role, table = self._grant()
        return f"GRANT {self.params.privilege} ON {table} TO {role}"

    def fix(self) -> list[FixStep]:
        arguments = {"store": self.site.target, "sql": self._regrant()}
        return [FixStep(tool="sql_query", arguments=arguments)]

    def accepted(self) -> list[tuple[str, str]]:
        return [(c, self.cause) for c in clients_of(self.site.app, self.site.target)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        role, table = self._grant()
        sql = f"SELECT has_table_privilege('{role}', '{table}', '{self.params.privilege}')"
        answer = await ask(env, self.site.target, sql)
        met = "t" in answer.split()
        return [condition("grant", met, f"{self.params.privilege} on {table} for {role}: {met}")]


class RotatedSecret(Fault):
    """A password was rotated in the Secret but not in the database."""

    kind = "database/rotated-secret"
    support = everywhere()
    cause = "credentials_mismatch"
    system_level = "Application"
    fault_type = "Authentication Issue"

    class Params(Model):
        """Parameters."""

        password: str = "q7Rk-2vT9-Lw"
        """The new password."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        store = database_of(app, service.uses.get("db", "")) if service else None
        return store is not None and component in store.users

    @property
    def _store(self) -> str:
        return self.site.app.services[self.site.target].uses["db"]

    _original: str | None = None
    """The password before; known once injected."""

    async def inject(self, env: Environment) -> None:
        secret = await env.kube.get("Secret", f"{self._store}-{self.site.target}", env.namespace)
        self._original = base64.b64decode(secret["data"]["password"]).decode()
        await self._set_secret(env, self.params.password)
        await restart(env, "Deployment", self.site.target, actor="secrets-operator")

    async def recover(self, env: Environment) -> None:
        password = self._original or self.params.password
        await self._set_secret(env, password)
        await env.substrate.store_admin(self._store, self._alter(password))
        await restart(env, "Deployment", self.site.target, actor="secrets-operator")

    async def _set_secret(self, env: Environment, password: str) -> None:
        data = {"password": base64.b64encode(password.encode()).decode()}
        name = f"{self._store}-{self.site.target}"
        await edit(env, "Secret", name, {"data": data}, actor="secrets-operator")

    def _alter(self, password: str) -> str:
        return f"ALTER ROLE {self.site.target} PASSWORD '{password}'"

    def fix(self) -> list[FixStep]:
        arguments = {"store": self._store, "sql": self._alter(self.params.password)}
        return [FixStep(tool="sql_query", arguments=arguments)]

    def accepted(self) -> list[tuple[str, str]]:
        return [(self._store, self.cause)]

    def aliases(self) -> list[str]:
        return [f"{self._store}-{self.site.target}"]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        secret = await fetch(env, "Secret", f"{self._store}-{self.site.target}")
        if secret is None:
            return [condition("secret", False, "the Secret does not exist")]
        password = base64.b64decode(secret["data"]["password"]).decode()
        refused = await admitted(env, self._store, self.site.target, password)
        rolled = await rolled_out(env, "Deployment", self.site.target)
        detail = refused or "the Secret's password is the role's"
        return [condition("credentials", not refused, detail), rolled]


KINDS = (RevokedGrant, RotatedSecret)
