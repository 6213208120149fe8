"""The PostgreSQL image: sessions, rights, limits, locks, disk, restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Bench

from aiopslab.models.store import Store
from aiopslab.services.protocols import ConnectionReset
from aiopslab.world.connection import Connection
from aiopslab.world.container import Container
from aiopslab.world.disk import Volume
from aiopslab.world.images.messages import PgError, Query, Ready, Rows, Startup
from aiopslab.world.images.postgres import DATA, Postgres
from aiopslab.world.images.postgres_expressions import SqlFailure
from aiopslab.world.netns import Netns

ENV = {"ROLE_RATE_PASSWORD": "secret", "ROLE_REPORT_PASSWORD": "other", "POSTGRES_DB": "rates"}


class Server:
    """A running server and a way to talk to it."""

    def __init__(self, bench: Bench, store: Store, volume: Volume, **spec: Any) -> None:
        self.bench = bench
        self.store = store
        self.program = Postgres(store)
        self.box: Container = bench.run(
            "rate-postgres", self.program, env=ENV, volumes={DATA: volume}, **spec
        )
        self.client: Netns = bench.client()
        bench.pass_time(10.0)

    async def dial(self, user: str = "rate", password: str = "secret") -> Connection:
        connection = await self.client.connect("rate-postgres", 5432, timeout_s=1.0)
        answer = await connection.call(Startup(user, password, "rates", "api"), timeout_s=5.0)
        assert isinstance(answer, Ready), answer
        return connection

    async def startup(self, user: str, password: str, database: str = "rates") -> PgError | Ready:
        connection = await self.client.connect("rate-postgres", 5432, timeout_s=1.0)
        answer = await connection.call(Startup(user, password, database), timeout_s=5.0)
        assert isinstance(answer, PgError | Ready)
        return answer

    async def run(self, connection: Connection, name: str, **params: str) -> Rows | PgError:
        query = Query(self.store.statements[name], params)
        answer = await connection.call(query, timeout_s=60.0)
        assert isinstance(answer, Rows | PgError)
        return answer

    def psql(self, sql: str) -> str:
        out, err, _ = self.bench.sh(self.box, "psql", "-At", "-c", sql)
        return out + err

    def log(self) -> str:
        return "\n".join(line for _, line in self.box.log_lines())


@pytest.fixture
def volume() -> Volume:
    return Volume(2**30)


@pytest.fixture
def server(bench: Bench, store: Store, volume: Volume) -> Server:
    return Server(bench, store, volume)


def test_statements_of_the_app_run_and_change_rows(server: Server) -> None:
    async def scenario() -> None:
        connection = await server.dial()
        assert await server.run(connection, "by_hotel", hotel="7") == Rows(3, tag="SELECT")
        assert await server.run(connection, "add", price="1") == Rows(1, tag="INSERT")

    server.bench.do(scenario())
    assert server.program.rows() == {"rates": 5001}
    assert server.psql("SELECT count(*) FROM rates") == "5001\n"


@pytest.mark.parametrize(
    ("user", "password", "database", "sqlstate", "message"),
    [
        ("rate", "wrong", "rates", "28P01", 'password authentication failed for user "rate"'),
        ("ghost", "x", "rates", "28P01", 'password authentication failed for user "ghost"'),
        ("rate", "secret", "nope", "3D000", 'database "nope" does not exist'),
    ],
)
def test_a_session_is_refused_with_the_servers_words(
    server: Server, user: str, password: str, database: str, sqlstate: str, message: str
) -> None:
    answer = server.bench.do(server.startup(user, password, database))
    assert isinstance(answer, PgError)
    assert (answer.sqlstate, answer.message, answer.severity) == (sqlstate, message, "FATAL")
    assert f"FATAL:  {message}" in server.log()


def test_a_role_that_may_not_log_in_is_refused(server: Server) -> None:
    assert server.psql("ALTER ROLE rate NOLOGIN") == "ALTER ROLE\n"
    answer = server.bench.do(server.startup("rate", "secret"))
    assert isinstance(answer, PgError)
    assert answer.message == 'role "rate" is not permitted to log in'


def test_connections_run_out_for_users_before_superusers(server: Server) -> None:
    async def scenario() -> list[str]:
        for _ in range(9):
            await server.dial()
        answers = [await server.startup("rate", "secret") for _ in range(2)]
        return [a.message for a in answers if isinstance(a, PgError)]

    reserved = "remaining connection slots are reserved for roles with the SUPERUSER attribute"
    assert server.bench.do(scenario()) == [reserved] * 2
    assert server.psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'rate'") == "9\n"


def test_a_roles_connection_limit_counts_its_own_sessions(server: Server) -> None:
    async def scenario() -> PgError | Ready:
        await server.dial("report", "other")
        return await server.startup("report", "other")

    answer = server.bench.do(scenario())
    assert isinstance(answer, PgError)
    assert answer.message == 'too many connections for role "report"'


def test_a_closed_connection_gives_its_slot_back(server: Server) -> None:
    async def scenario() -> None:
        for _ in range(30):
            connection = await server.dial()
            connection.close()
            await asyncio.sleep(0.01)

    server.bench.do(scenario())


def test_a_revoked_grant_denies_and_a_grant_restores(server: Server) -> None:
    async def insert() -> Rows | PgError:
        return await server.run(await server.dial(), "add", price="1")

    assert server.psql("REVOKE INSERT ON rates FROM rate") == "REVOKE\n"
    answer = server.bench.do(insert())
    assert isinstance(answer, PgError)
    assert (answer.sqlstate, answer.message) == ("42501", "permission denied for table rates")
    assert server.psql("GRANT INSERT ON rates TO rate") == "GRANT\n"
    assert server.bench.do(insert()) == Rows(1, tag="INSERT")


def test_a_changed_password_counts_for_new_sessions_only(server: Server) -> None:
    async def scenario() -> tuple[Rows | PgError, PgError | Ready]:
        connection = await server.dial()
        await server.program.admin("ALTER ROLE rate PASSWORD 'new'")
        return await server.run(connection, "by_hotel", h="1"), await server.startup(
            "rate", "secret"
        )

    old, new = server.bench.do(scenario())
    assert isinstance(old, Rows)
    assert isinstance(new, PgError)


def test_rows_locked_by_a_transaction_block_others_until_it_ends(server: Server) -> None:
    bench = server.bench

    async def scenario() -> float:
        holder, waiter = await server.dial(), await server.dial()
        await holder.call(Query(text="BEGIN"), timeout_s=1.0)
        await server.run(holder, "book", price="1", hotel="7")
        waiting = asyncio.ensure_future(server.run(waiter, "book", price="2", hotel="7"))
        other = await server.run(await server.dial(), "book", price="2", hotel="8")
        assert isinstance(other, Rows)
        await asyncio.sleep(3.0)
        assert not waiting.done()
        found = await server.program.admin(
            "SELECT wait_event_type, cardinality(pg_blocking_pids(pid)) FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock'"
        )
        assert "Lock" in found
        assert "1 row" in found
        await holder.call(Query(text="COMMIT"), timeout_s=1.0)
        began = bench.loop.time()
        assert isinstance(await waiting, Rows)
        return bench.loop.time() - began

    assert bench.do(scenario()) < 1.0


def test_terminating_a_backend_frees_what_it_held(server: Server) -> None:
    async def scenario() -> None:
        holder, waiter = await server.dial(), await server.dial()
        await holder.call(Query(text="BEGIN; LOCK TABLE rates"), timeout_s=1.0)
        waiting = asyncio.ensure_future(server.run(waiter, "by_hotel", hotel="7"))
        await asyncio.sleep(1.0)
        await server.program.admin(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE state = 'idle in transaction'"
        )
        assert isinstance(await waiting, Rows)
        with pytest.raises(ConnectionReset):
            await holder.call(Query(text="SELECT 1"), timeout_s=1.0)

    server.bench.do(scenario())


def test_slow_statements_are_logged_with_their_duration(server: Server) -> None:
    server.psql("ALTER SYSTEM SET log_min_duration_statement = '2ms'; SELECT pg_reload_conf()")

    async def scenario() -> None:
        connection = await server.dial()
        for _ in range(5):
            await server.run(connection, "book", price="1", hotel="7")

    server.bench.do(scenario())
    assert "ms  statement: UPDATE rates SET price = $1 WHERE hotel_id = $2" in server.log()


def test_statement_timeout_cancels(server: Server) -> None:
    async def scenario() -> Rows | PgError:
        holder, waiter = await server.dial(), await server.dial()
        await holder.call(Query(text="BEGIN; LOCK TABLE rates"), timeout_s=1.0)
        await waiter.call(Query(text="SET statement_timeout = '500ms'"), timeout_s=1.0)
        return await server.run(waiter, "by_hotel", hotel="7")

    answer = server.bench.do(scenario())
    assert isinstance(answer, PgError)
    assert answer.message == "canceling statement due to statement timeout"


def test_a_failed_transaction_ignores_commands_until_rollback(server: Server) -> None:
    async def scenario() -> list[str]:
        connection = await server.dial()
        answers = []
        for sql in ("BEGIN", "SELECT * FROM nope", "SELECT 1", "COMMIT", "SELECT 1"):
            answer = await connection.call(Query(text=sql), timeout_s=1.0)
            answers.append(answer.sqlstate if isinstance(answer, PgError) else answer.tag)
        return answers

    assert server.bench.do(scenario()) == ["BEGIN", "42P01", "25P02", "ROLLBACK", "SELECT 1"]


def test_a_dropped_index_makes_queries_scan_the_table(
    bench: Bench, make_store: Callable[..., Store], volume: Volume
) -> None:
    tables = {"rates": {"rows": 400_000, "columns": {"id": "bigint", "hotel_id": "integer"}}}
    server = Server(bench, make_store(tables=tables), volume)

    async def timed() -> float:
        connection = await server.dial()
        began = bench.loop.time()
        await server.run(connection, "by_hotel", hotel="7")
        return bench.loop.time() - began

    fast = bench.do(timed())
    assert "Index Scan" in server.psql("EXPLAIN SELECT * FROM rates WHERE hotel_id = 7")
    assert server.psql("DROP INDEX rates_hotel_id_idx") == "DROP INDEX\n"
    assert "Seq Scan" in server.psql("EXPLAIN SELECT * FROM rates WHERE hotel_id = 7")
    assert bench.do(timed()) > fast + 0.05


def test_a_full_disk_refuses_rows_and_then_stops_the_server(
    bench: Bench, store: Store, volume: Volume
) -> None:
    server = Server(bench, store, volume)
    volume.write("core.1", volume.available)

    async def fill() -> PgError:
        connection = await server.dial()
        for _ in range(200):
            answer = await server.run(connection, "add", price="1")
            if isinstance(answer, PgError):
                return answer
        raise AssertionError("the disk never filled")

    answer = bench.do(fill())
    assert answer.sqlstate == "53100"
    assert answer.message.startswith("could not extend file")
    rows = server.program.rows()["rates"]

    async def update() -> None:
        connection = await server.dial("rate", "secret")
        while True:
            await connection.call(Query(text="UPDATE rates SET price = 1"), timeout_s=9.0)

    with pytest.raises(ConnectionReset):
        bench.do(update())
    bench.pass_time(1.0)
    assert server.box.exit is not None
    assert server.box.exit.code == 1
    assert "PANIC:  could not write to file" in server.log()
    assert server.program.rows()["rates"] == rows


def test_data_and_roles_survive_a_restart_and_a_crash_needs_recovery(
    bench: Bench, store: Store, volume: Volume
) -> None:
    first = Server(bench, store, volume)
    first.psql("DELETE FROM rates WHERE id <= 100; ALTER ROLE rate PASSWORD 'new'")
    first.box.kill()
    first.box.netns.close()
    second = Server(bench, store, volume)
    assert "automatic recovery in progress" in second.log()
    assert second.program.rows() == {"rates": 4900}
    assert isinstance(bench.do(second.startup("rate", "new")), Ready)


def test_shutdown_tells_clients_and_ends_clean(server: Server) -> None:
    connection = server.bench.do(server.dial())
    server.box.terminate()
    server.bench.pass_time(1.0)
    assert server.box.exit is not None
    assert server.box.exit.code == 0
    assert connection.closed
    assert "received fast shutdown request" in server.log()


def test_a_server_that_is_starting_says_so(bench: Bench, store: Store, volume: Volume) -> None:
    program = Postgres(store)
    box = bench.run("rate-postgres", program, env=ENV, volumes={DATA: volume})
    bench.pass_time(0.5)
    out, err, code = bench.sh(box, "psql", "-c", "select 1")
    assert (out, code) == ("", 2)
    assert "the database system is starting up" in err
    with pytest.raises(SqlFailure, match="starting up"):
        bench.do(program.admin("SELECT 1"))


def test_backends_hold_memory(server: Server) -> None:
    before = server.box.memory.working_set
    server.bench.do(server.dial())
    assert server.box.memory.working_set - before == 5 * 2**20


def test_a_mounted_configuration_wins_and_a_wrong_value_stops_the_server(
    bench: Bench, store: Store, volume: Volume
) -> None:
    conf = {"/etc/postgresql/postgresql.conf": "max_connections = 40  # more\n"}
    server = Server(bench, store, volume, files=conf)
    assert server.psql("SHOW max_connections") == "40\n"
    server.psql("ALTER SYSTEM SET work_mem = '8MB'; SELECT pg_reload_conf()")
    assert server.psql("SHOW work_mem") == "8MB\n"
    server.box.kill()
    server.box.netns.close()
    wrong = {"/etc/postgresql/postgresql.conf": "max_connections = lots\n"}
    broken = Server(bench, store, volume, files=wrong)
    assert broken.box.exit is not None
    assert 'invalid value for parameter "max_connections": "lots"' in broken.log()


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("SELECT id FROM rates ORDER BY id DESC LIMIT 2", "5000\n4999\n"),
        ("SELECT count(*) FROM rates WHERE id BETWEEN 1 AND 10", "10\n"),
        ("INSERT INTO rates (hotel_id) VALUES (3), (4)", "INSERT 0 2\n"),
        ("UPDATE rates SET price = price + 1 WHERE id = 3", "UPDATE 1\n"),
        ("DELETE FROM rates WHERE id IN (1, 2, 99999)", "DELETE 2\n"),
        ("TRUNCATE rates", "TRUNCATE TABLE\n"),
        ("SELECT rolname FROM pg_roles WHERE rolsuper", "postgres\n"),
        ("SELECT nope FROM rates", 'ERROR:  column "nope" does not exist\n'),
        ("SELECT * FROM nope", 'ERROR:  relation "nope" does not exist\n'),
        ("SELECT nope()", "ERROR:  function nope() does not exist\n"),
        ("CREATE ROLE rate", 'ERROR:  role "rate" already exists\n'),
        ("DROP ROLE nobody", 'ERROR:  role "nobody" does not exist\n'),
        ("DROP ROLE rate", "because some objects depend on it"),
        ("GRANT SELECT ON rates TO nobody", 'ERROR:  role "nobody" does not exist\n'),
        ("SHOW nothing", 'unrecognized configuration parameter "nothing"'),
        ("SET max_connections = 5", "cannot be changed without restarting the server"),
        ("LOCK TABLE rates", "can only be used in transaction blocks"),
        (
            "SELECT privilege_type FROM information_schema.role_table_grants "
            "WHERE grantee = 'report'",
            "SELECT\n",
        ),
        (
            "SELECT a.usename, count(l.pid) FROM pg_stat_activity a "
            "LEFT JOIN pg_locks l ON l.pid = a.pid GROUP BY a.usename",
            "postgres|0\n",
        ),
    ],
)
def test_psql_answers_as_the_real_one(server: Server, sql: str, shown: str) -> None:
    assert shown in server.psql(sql)


def test_psql_shows_where_a_syntax_error_is(server: Server) -> None:
    _, err, code = server.bench.sh(server.box, "psql", "-c", "SELECT 1 FRM rates WHERE")
    assert code == 1
    assert err.splitlines() == [
        'ERROR:  syntax error at or near "rates"',
        "LINE 1: SELECT 1 FRM rates WHERE",
        "                     ^",
    ]


@pytest.mark.parametrize("command", ["\\l", "\\du", "\\dt", "\\dp", "\\d rates", "\\di"])
def test_backslash_commands_list_things(server: Server, command: str) -> None:
    out, err, code = server.bench.sh(server.box, "psql", "-c", command)
    assert (err, code) == ("", 0)
    assert "rate" in out


def test_psql_over_the_network_needs_the_password(server: Server) -> None:
    words = ("psql", "-h", "rate-postgres", "-U", "rate", "-c", "SELECT current_user")
    _, err, code = server.bench.sh(server.box, *words)
    assert code == 2
    assert 'password authentication failed for user "rate"' in err
    url = "postgresql://rate:secret@rate-postgres/rates"
    out, _, code = server.bench.sh(server.box, "psql", url, "-Atc", "SELECT current_user")
    assert (out, code) == ("rate\n", 0)


def test_metrics_follow_the_server(server: Server) -> None:
    server.bench.do(server.dial())
    values = dict(zip(*_collected(server), strict=True))
    assert values["pg_up{}"] == 1.0
    assert values["pg_stat_activity_count{datname=rates,state=idle}"] == 1.0
    assert values["pg_settings_max_connections{}"] == 12.0


def _collected(server: Server) -> tuple[list[str], list[float]]:
    registry = server.box.metrics
    names = [
        f"{name}{{{','.join(f'{k}={v}' for k, v in labels)}}}" for name, labels in registry.series()
    ]
    return names, list(registry.collect())


def test_two_worlds_of_one_seed_behave_alike(store: Store) -> None:
    def life() -> list[tuple[float, str]]:
        server = Server(Bench(seed=5), store, Volume(2**30))

        async def scenario() -> None:
            connection = await server.dial()
            for index in range(20):
                await server.run(connection, "book", price="1", hotel=str(index))
            await server.startup("rate", "bad")

        server.bench.do(scenario())
        return server.box.log_lines()

    assert life() == life()
