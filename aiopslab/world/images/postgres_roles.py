"""Roles and privileges: CREATE, ALTER, DROP ROLE, GRANT and REVOKE."""

from __future__ import annotations

from aiopslab.world.images.messages import PgError, Rows
from aiopslab.world.images.postgres_cluster import PRIVILEGES, Role, TableState
from aiopslab.world.images.postgres_expressions import SqlFailure
from aiopslab.world.images.postgres_functions import require_superuser
from aiopslab.world.images.postgres_server import Database
from aiopslab.world.images.postgres_sessions import Session
from aiopslab.world.images.postgres_syntax import Grant, RoleChange


def change_role(db: Database, session: Session, change: RoleChange) -> Rows:
    """Create, alter or drop roles. Raises SqlFailure 42501, 42704, 42710 or 2BP01."""
    roles = db.cluster.roles
    own_password = change.names == [session.role.name] and change.password is not None
    if not own_password:
        require_superuser(session, f"permission denied to {change.verb.lower()} role")
    for name in change.names:
        if change.verb == "CREATE":
            if name in roles:
                raise SqlFailure(PgError("42710", f'role "{name}" already exists'))
            roles[name] = Role(name, login=False, oid=db.cluster.take_oid())
        elif name not in roles:
            if change.if_exists:
                continue
            raise SqlFailure(PgError("42704", f'role "{name}" does not exist'))
        if change.verb == "DROP":
            _drop_role(db, name)
        else:
            _alter_role(roles[name], change)
    return Rows(0, tag=f"{change.verb} ROLE")


def _alter_role(role: Role, change: RoleChange) -> None:
    if change.clear_password or change.password is not None:
        role.password = change.password
    if change.login is not None:
        role.login = change.login
    if change.superuser is not None:
        role.superuser = change.superuser
    if change.connection_limit is not None:
        role.connection_limit = change.connection_limit


def _drop_role(db: Database, name: str) -> None:
    owned = [table.name for _, table in sorted(db.cluster.tables.items()) if table.acl.get(name)]
    if owned:
        raise SqlFailure(
            PgError(
                "2BP01",
                f'role "{name}" cannot be dropped because some objects depend on it',
                detail="\n".join(f"privileges for table {table}" for table in owned),
            )
        )
    del db.cluster.roles[name]


def grant(db: Database, session: Session, statement: Grant) -> Rows:
    """Grant or revoke. Raises SqlFailure 42501, 42601, 42704 or 42P01."""
    verb = "REVOKE" if statement.revoke else "GRANT"
    for name in statement.roles:
        if name != "public" and name not in db.cluster.roles:
            raise SqlFailure(PgError("42704", f'role "{name}" does not exist'))
    if statement.on == "DATABASE":
        require_superuser(session, f"permission denied for database {statement.names[0]}")
        for name in statement.roles:
            revoked = db.cluster.connect_revoked
            (revoked.add if statement.revoke else revoked.discard)(name)
    elif statement.on != "SCHEMA":
        names = statement.names if statement.on == "TABLE" else sorted(db.cluster.tables)
        for table in [db.table(name) for name in names]:
            require_superuser(session, f"permission denied for table {table.name}")
            _grant_on(table, statement)
    return Rows(0, tag=verb)


def _grant_on(table: TableState, statement: Grant) -> None:
    everything = statement.privileges == ["ALL"]
    privileges = set(PRIVILEGES) if everything else set(statement.privileges)
    unknown = sorted(privileges - set(PRIVILEGES))
    if unknown:
        raise SqlFailure(PgError("42601", f'unrecognized privilege type "{unknown[0].lower()}"'))
    for role in statement.roles:
        granted = table.acl.setdefault(role, set())
        if statement.revoke:
            granted -= privileges
        else:
            granted |= privileges
        if not granted:
            del table.acl[role]
