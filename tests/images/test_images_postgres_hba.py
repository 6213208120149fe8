"""The PostgreSQL image: who may connect over the network, encrypted or not."""

from __future__ import annotations

import pytest
from conftest import Bench
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.models.store import Store
from aiopslab.services.protocols import SqlError, SslMode, TlsError
from aiopslab.world.container import Container
from aiopslab.world.disk import Volume
from aiopslab.world.images.app_clients import SqlClient
from aiopslab.world.images.messages import PgError, Query, Ready, Rows, Startup, TlsRefused
from aiopslab.world.images.postgres import DATA, Postgres
from aiopslab.world.images.postgres_hba import METHODS, TYPES, Hba, HbaError, Record, load

ENV = {"ROLE_RATE_PASSWORD": "secret", "POSTGRES_DB": "rates"}
CONF, HBA = "/etc/postgresql/postgresql.conf", "/etc/postgresql/pg_hba.conf"
SSL = "ssl = on\nssl_cert_file = '/etc/ssl/certs/ssl-cert-snakeoil.pem'\n"
ADDRESS = "198.19.9.7"


class Server:
    """A server with configuration files, and clients of it."""

    def __init__(self, bench: Bench, store: Store, hba: str | None, *, ssl: bool = True) -> None:
        self.bench = bench
        files = {CONF: (SSL if ssl else "") + f"hba_file = '{HBA}'\n"}
        if hba is not None:
            files[HBA] = hba
        self.box: Container = bench.run(
            "rate-postgres", Postgres(store), env=ENV, volumes={DATA: Volume(2**30)}, files=files
        )
        self.client = bench.client()
        bench.pass_time(10.0)

    def connect(self, sslmode: str, password: str = "secret") -> object:
        """Return what a client with this ``sslmode`` is told."""
        startup = Startup("rate", password, "rates", "api", sslmode)  # type: ignore[arg-type]

        async def scenario() -> object:
            connection = await self.client.connect("rate-postgres", 5432, timeout_s=1.0)
            answer: object = await connection.call(startup, timeout_s=5.0)
            connection.close()
            return answer

        return self.bench.do(scenario())

    def psql(self, *words: str) -> str:
        out, err, _ = self.bench.sh(self.box, "psql", "-At", *words)
        return out + err

    def log(self) -> str:
        return "\n".join(line for _, line in self.box.log_lines())


def test_a_server_that_admits_tls_only_refuses_a_plain_client_and_says_why(
    bench: Bench, store: Store
) -> None:
    server = Server(bench, store, "hostssl all all all scram-sha-256\n")
    text = (
        f'no pg_hba.conf entry for host "{server.client.ip}", user "rate", database "rates", '
        "no encryption"
    )
    assert server.connect("disable") == PgError("28000", text, "FATAL")
    assert f"FATAL:  {text}" in server.log()


@pytest.mark.parametrize("sslmode", ["prefer", "require"])
def test_a_client_that_encrypts_is_admitted_and_still_needs_its_password(
    bench: Bench, store: Store, sslmode: str
) -> None:
    server = Server(bench, store, "# only these\nhostssl all all all scram-sha-256\n")
    assert isinstance(server.connect(sslmode), Ready)
    refused = server.connect(sslmode, password="wrong")
    assert isinstance(refused, PgError)
    assert refused.sqlstate == "28P01"
    assert f'{HBA}" line 2: "hostssl all all all scram-sha-256"' in server.log()


def test_a_client_that_insists_on_tls_leaves_a_server_without_it(
    bench: Bench, store: Store
) -> None:
    server = Server(bench, store, "host all all all scram-sha-256\n", ssl=False)
    assert server.connect("require") == TlsRefused()
    assert isinstance(server.connect("prefer"), Ready)
    assert isinstance(server.connect("disable"), Ready)


def test_the_operator_gets_in_by_the_socket_whatever_the_file_says(
    bench: Bench, store: Store
) -> None:
    server = Server(bench, store, "host all all all reject\n")
    assert server.psql("-c", "SELECT 1") == "1\n"
    refused = server.connect("require")
    assert isinstance(refused, PgError)
    assert refused.message.startswith("pg_hba.conf rejects connection for host")


def test_a_changed_file_counts_from_the_next_reload(bench: Bench, store: Store) -> None:
    server = Server(bench, store, "hostssl all all all scram-sha-256\n")
    server.box.files[HBA] = "host all all all scram-sha-256\n"
    assert isinstance(server.connect("disable"), PgError)
    server.psql("-c", "SELECT pg_reload_conf()")
    assert isinstance(server.connect("disable"), Ready)


def test_a_reload_of_a_broken_file_keeps_the_one_before(bench: Bench, store: Store) -> None:
    server = Server(bench, store, "hostssl all all all scram-sha-256\n")
    server.box.files[HBA] = "hots all all all scram-sha-256\n"
    server.psql("-c", "SELECT pg_reload_conf()")
    assert isinstance(server.connect("require"), Ready)
    assert 'invalid connection type "hots"' in server.log()


@pytest.mark.parametrize("hba", [None, "", "host all all all secret-handshake\n"])
def test_a_server_whose_file_cannot_be_loaded_does_not_start(
    bench: Bench, store: Store, hba: str | None
) -> None:
    server = Server(bench, store, hba)
    assert server.box.exit is not None
    assert server.box.exit.code == 1
    assert f"FATAL:  could not load {HBA}" in server.log()


def test_a_server_without_its_certificate_does_not_start(bench: Bench, store: Store) -> None:
    box = bench.run(
        "rate-postgres", Postgres(store), env=ENV, volumes={DATA: Volume(2**30)},
        files={CONF: "ssl = on\n"},
    )  # fmt: skip
    bench.pass_time(10.0)
    assert box.exit is not None
    lines = [line for _, line in box.log_lines()]
    assert any('could not load server certificate file "server.crt"' in line for line in lines)


def test_psql_over_the_network_encrypts_where_it_can_unless_told_otherwise(
    bench: Bench, store: Store
) -> None:
    server = Server(bench, store, "hostssl all all all scram-sha-256\n")
    where = "host=rate-postgres user=rate password=secret dbname=rates"
    assert server.psql("-d", where, "-c", "SELECT 1") == "1\n"
    refused = server.psql("-d", f"{where} sslmode=disable", "-c", "SELECT 1")
    assert refused.strip().endswith("no encryption")


@pytest.mark.parametrize(
    ("sslmode", "ssl", "problem"),
    [
        ("require", False, "server refused TLS connection"),
        ("disable", True, "no encryption (SQLSTATE 28000)"),
        ("require", True, ""),
        ("prefer", True, ""),
    ],
)
def test_a_service_gets_what_its_mode_and_the_server_agree_on(
    bench: Bench, store: Store, sslmode: SslMode, ssl: bool, problem: str
) -> None:
    server = Server(bench, store, f"{'hostssl' if ssl else 'host'} all all all md5\n", ssl=ssl)
    place = ("rate-postgres", 5432)
    startup = Startup("rate", "secret", "rates", "rate", sslmode)
    client = SqlClient(server.box, place, startup, store.statements, 2, 1.0)

    async def scenario() -> str:
        try:
            done = await client.execute("by_hotel", {"hotel": "7"}, timeout_s=1.0)
        except (SqlError, TlsError) as error:
            return str(error)
        assert done.rows == 3
        return ""

    assert bench.do(scenario()).endswith(problem)
    assert bool(problem) == (client.stats().idle == 0)


def test_without_a_file_of_its_own_a_server_admits_everybody_with_a_password() -> None:
    plain = Startup("rate", "secret", "rates")
    for encrypted in (False, True):
        assert isinstance(Hba().admit(plain, ADDRESS, encrypted=encrypted), Record)


def test_the_first_record_that_fits_decides() -> None:
    hba = load(HBA, "host rates rate 198.19.0.0/16 reject\nhost all all all trust\n")
    assert isinstance(hba.admit(Startup("rate", "", "rates"), ADDRESS, encrypted=False), PgError)
    other = hba.admit(Startup("report", "", "rates"), ADDRESS, encrypted=False)
    assert isinstance(other, Record)
    assert (other.line, other.method) == (2, "trust")


WORDS = st.sampled_from(
    [*TYPES, *METHODS, "all", "rate", "rates", "10.0.0.0/8", "198.19.0.0/16", "#", "no,such", ""]
)


@given(st.lists(st.lists(WORDS, max_size=6), max_size=6), st.booleans())
def test_any_file_is_loaded_or_refused_and_never_admits_by_a_line_of_another_kind(
    lines: list[list[str]], encrypted: bool
) -> None:
    try:
        hba = load(HBA, "\n".join(" ".join(line) for line in lines))
    except HbaError:
        return
    found = hba.admit(Startup("rate", "secret", "rates"), ADDRESS, encrypted=encrypted)
    if isinstance(found, Record):
        assert found.type in ("host", "hostssl" if encrypted else "hostnossl")
        assert found.method != "reject"
    else:
        assert found.severity == "FATAL"


def test_rows_come_over_an_encrypted_connection(bench: Bench, store: Store) -> None:
    server = Server(bench, store, "hostssl all all all scram-sha-256\n")

    async def scenario() -> object:
        connection = await server.client.connect("rate-postgres", 5432, timeout_s=1.0)
        await connection.call(Startup("rate", "secret", "rates", sslmode="require"), timeout_s=5.0)
        query = Query(store.statements["by_hotel"], {"hotel": "7"})
        return await connection.call(query, timeout_s=5.0)

    assert bench.do(scenario()) == Rows(3, tag="SELECT")
