"""What migrations and imports do to a database: columns, sequences, indexes, statistics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import Bench

from aiopslab.models.store import Store
from aiopslab.world.container import Container
from aiopslab.world.disk import Volume
from aiopslab.world.images.messages import PgError, Query, Rows, Startup
from aiopslab.world.images.postgres import DATA, Postgres

ENV = {"ROLE_RATE_PASSWORD": "secret", "POSTGRES_DB": "rates"}


class Database:
    """A running server with one session of the app."""

    def __init__(self, bench: Bench, store: Store) -> None:
        self.bench = bench
        self.store = store
        volumes = {DATA: Volume(2**30)}
        program = Postgres(store)
        self.box: Container = bench.run("rate-postgres", program, env=ENV, volumes=volumes)
        bench.pass_time(10.0)
        client = bench.client()

        async def dial() -> None:
            self._session = await client.connect("rate-postgres", 5432, timeout_s=1.0)
            await self._session.call(Startup("rate", "secret", "rates"), timeout_s=5.0)

        bench.do(dial())

    def psql(self, sql: str) -> str:
        out, err, _ = self.bench.sh(self.box, "psql", "-At", "-c", sql)
        return (out + err).strip()

    def app(self, name: str) -> str:
        """Run a statement of the app; return its SQLSTATE, or 'ok'."""

        async def run() -> Rows | PgError:
            query = Query(self.store.statements[name], {"a": "1"})
            answer: Rows | PgError = await self._session.call(query, timeout_s=60.0)
            return answer

        answer = self.bench.do(run())
        return answer.sqlstate if isinstance(answer, PgError) else "ok"


@pytest.fixture
def database(bench: Bench, make_store: Callable[..., Store]) -> Database:
    columns = {"id": "bigint", "hotel_id": "integer", "price": "numeric"}
    rates = {"rows": 5000, "columns": columns, "sequence": "integer"}
    return Database(bench, make_store(tables={"rates": rates}))


def test_a_used_up_sequence_fails_inserts_and_nothing_else(database: Database) -> None:
    assert database.psql("SELECT setval('rates_id_seq', 2147483646)") == "2147483646"
    assert [database.app("add") for _ in range(3)] == ["ok", "2200H", "2200H"]
    assert database.app("by_hotel") == "ok"
    last = "SELECT last_value, max_value FROM pg_sequences WHERE sequencename = 'rates_id_seq'"
    assert database.psql(last) == "2147483647|2147483647"
    assert database.psql("SELECT max(id) FROM rates") == "2147483647"
    assert database.psql("ALTER SEQUENCE rates_id_seq AS bigint") == "ALTER SEQUENCE"
    assert database.app("add") == "ok"
    assert database.psql("SELECT max(id) FROM rates") == "2147483648"


def test_a_sequence_cannot_be_bounded_below_what_it_gave_out(database: Database) -> None:
    assert "cannot be greater than MAXVALUE" in database.psql(
        "ALTER SEQUENCE rates_id_seq MAXVALUE 100"
    )
    assert "out of range" in database.psql("ALTER SEQUENCE rates_id_seq MAXVALUE 9999999999")
    assert database.psql("ALTER SEQUENCE rates_id_seq NO MAXVALUE RESTART WITH 9000") == (
        "ALTER SEQUENCE"
    )
    assert database.psql("SELECT nextval('rates_id_seq')") == "9000"


def test_a_statement_that_names_a_renamed_column_fails_until_it_has_its_name_back(
    database: Database,
) -> None:
    assert database.psql("ALTER TABLE rates RENAME COLUMN price TO amount") == "ALTER TABLE"
    assert database.app("by_hotel") == "42703"
    assert "amount" in database.psql("SELECT column_name FROM information_schema.columns")
    assert database.psql("ALTER TABLE rates RENAME COLUMN amount TO price") == "ALTER TABLE"
    assert database.app("by_hotel") == "ok"


def test_columns_come_and_go_and_change_type(database: Database) -> None:
    for action in ("ADD COLUMN note text", "ALTER COLUMN note TYPE varchar", "DROP COLUMN note"):
        assert database.psql(f"ALTER TABLE rates {action}") == "ALTER TABLE"
    assert "does not exist" in database.psql("ALTER TABLE rates DROP COLUMN note")
    assert "already exists" in database.psql("ALTER TABLE rates ADD COLUMN price numeric")


def test_without_statistics_the_index_is_not_used(database: Database) -> None:
    plan = "EXPLAIN SELECT price FROM rates WHERE hotel_id = 7"
    assert database.psql(plan).startswith("Index Scan using rates_hotel_id_idx")
    database.psql("SELECT pg_clear_relation_stats('public', 'rates')")
    assert database.psql(plan).startswith("Seq Scan on rates")
    tuples = "SELECT reltuples FROM pg_class WHERE relname = 'rates'"
    assert database.psql(tuples) == "-1"
    assert database.psql("VACUUM ANALYZE rates") == "VACUUM"
    assert database.psql(plan).startswith("Index Scan")
    assert database.psql(tuples) == "5000"
