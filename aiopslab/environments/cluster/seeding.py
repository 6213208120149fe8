"""Bringing the stores of an app on a cluster to what ``app.yaml`` says, from outside.

Databases are filled by ``psql`` in their own containers, which no NetworkPolicy of the app keeps
out; queues over a forwarded port. What is there already stays, so an interrupted run is finished by
the next. Caches hold nothing at start. Not here: the statements (``services.real.table_sql``),
servers that are reached directly (``services.real.seeding``), counting (``cluster.stores``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from aiopslab.environments.cluster.forwarding import forwarded
from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.together import together
from aiopslab.errors import InfraError, PreflightError
from aiopslab.models.app import App
from aiopslab.models.kube import KubeError
from aiopslab.services.real.cells import literal
from aiopslab.services.real.table_sql import SUPERUSER, name, role_sql, table_sql

Password = Callable[[str, str], str]
"""Returns the password of (store, user)."""
_PATIENCE_S = 300.0
"""Longest time that the tables of one store take to fill."""
_USER = "default"
_TRIES, _PAUSE_S = 5, 2.0
_TABLE = """
SELECT to_regclass({text}) IS NULL AS missing \\gset
\\if :missing
BEGIN;
{sql}
COMMIT;
ANALYZE {table};
\\endif
"""


def psql(database: str, *words: str) -> list[str]:
    """Return the command line of the superuser's client in a database's container."""
    return ["psql", "-X", "-q", "-At", "-U", SUPERUSER, "-d", database, *words]


def script(app: App, store: str, passwords: Mapping[str, str]) -> str:
    """Return what ``psql`` is fed to fill a database; connected to ``postgres`` at first."""
    spec = app.stores[store]
    lines = ["\\set ON_ERROR_STOP on"]
    for user in sorted(spec.users):
        known = f"SELECT 1 FROM pg_roles WHERE rolname = {literal(user)}"
        created = role_sql("CREATE", spec, user, passwords[user])
        lines.append(f"SELECT {literal(created)} WHERE NOT EXISTS ({known}) \\gexec")
        lines.append(f"{role_sql('ALTER', spec, user, passwords[user])};")
    database = spec.database or SUPERUSER
    known = f"SELECT 1 FROM pg_database WHERE datname = {literal(database)}"
    created = literal(f"CREATE DATABASE {name(database)}")
    lines.append(f"SELECT {created} WHERE NOT EXISTS ({known}) \\gexec")
    lines.append(f"\\connect {database}")
    for table in sorted(spec.tables):
        sql = ";\n".join([*table_sql(app, store, table), ""])
        quoted = literal(f"public.{name(table)}")
        lines.append(_TABLE.format(text=quoted, sql=sql, table=name(table)))
    return "\n".join([*lines, ""])


async def seed(kube: ClusterKube, app: App, password: Password) -> None:
    """Fill every store of an app, all at a time.

    Args:
        kube: The cluster, as the lab.
        app: The app, as it is called on the cluster.
        password: Of the stores' users.

    Raises:
        InfraError: A store refuses, or does not answer.
    """
    ways = {"postgres": _database, "nats": _queue}
    found = {n: ways[s.kind] for n, s in sorted(app.stores.items()) if s.kind in ways}
    await together({name: fill(kube, app, name, password) for name, fill in found.items()})


async def _database(kube: ClusterKube, app: App, store: str, password: Password) -> None:
    passwords = {user: password(store, user) for user in app.stores[store].users}
    text = script(app, store, passwords)
    for attempt in range(1, _TRIES + 1):
        done = await run(kube, app, store, psql(SUPERUSER), text, timeout_s=_PATIENCE_S)
        if done is None:
            return
        if attempt == _TRIES:
            raise InfraError("seed", f"{store}: {done}")
        # A server that was just made restarts once: what it accepts before, it forgets.
        await asyncio.sleep(_PAUSE_S)


async def run(
    kube: ClusterKube,
    app: App,
    store: str,
    argv: Sequence[str],
    stdin: str = "",
    *,
    timeout_s: float,
) -> str | None:
    """Run a command in a store's container; returns why it failed, None if it did not."""
    try:
        done = await kube.exec(
            f"{store}-0", app.namespace, argv, stdin=stdin, timeout_s=timeout_s
        )  # fmt: skip
    except (KubeError, InfraError) as error:
        return str(error)
    return None if done.code == 0 else (done.stderr or done.stdout).strip()[-500:]


async def _queue(kube: ClusterKube, app: App, store: str, password: Password) -> None:
    try:
        from nats.errors import Error  # noqa: PLC0415 - clients of stores are an extra

        from aiopslab.services.real import seeding  # noqa: PLC0415
    except ImportError as error:
        words = f"the clients of stores are not installed: {error}"
        raise PreflightError(words, hint="pip install 'aiopslab[kind]'") from error
    spec = app.stores[store]
    secret = password(store, _USER) if spec.users else ""
    async with forwarded(kube.connection, app.namespace, f"{store}-0", spec.port) as port:
        try:
            await seeding.seed(app, store, port.address, secret)
        except (OSError, Error) as error:
            why = port.failure or f"{type(error).__name__}: {error}"
            raise InfraError("seed", f"{store}: {why}") from error
