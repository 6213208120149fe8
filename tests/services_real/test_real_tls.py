"""Mutual TLS between real processes: who is let in, what failures are called, rotation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from real_hosts import LOOPBACK, Raw, client, raw_server, server

from aiopslab.services import protocols as p
from aiopslab.services.certificates import KeyPair, authority, issue
from aiopslab.services.protocols import Request, Response, TlsFiles, TlsFilesError
from aiopslab.services.real.clock import WallClock
from aiopslab.services.real.http_server import HttpServer, bind
from aiopslab.services.real.mounted import MountedFiles
from aiopslab.services.real.tls import Identity
from aiopslab.services.tls_manifests import AUTHORITIES_FILE, CERTIFICATE_FILE

SIGNER, STRANGER = authority("Relay Authority"), authority("Relay Authority", 2)
SEAL = Request("GET", "/seal", {}, client="front-0")
DIRECTORIES = [str(Path(file).parent) for file in (CERTIFICATE_FILE, AUTHORITIES_FILE)]


def certificate(
    name: str, signer: KeyPair = SIGNER, *, since_s: float = -60.0, until_s: float = 3600.0
) -> KeyPair:
    now = WallClock().now()
    return issue(signer, name, [name], now + since_s, now + until_s)


class Party:
    """A process with files of its own, which looks at them at every connection."""

    def __init__(self, root: Path, own: KeyPair, trusted: KeyPair = SIGNER) -> None:
        self.root = root
        self.put(own, trusted)
        self.now = 0.0
        files = TlsFiles(AUTHORITIES_FILE, CERTIFICATE_FILE, reload_s=1.0)
        self.identity = Identity(MountedFiles(DIRECTORIES, root), files, self._time)

    def put(self, own: KeyPair, trusted: KeyPair = SIGNER) -> None:
        for name, text in (
            (CERTIFICATE_FILE, own.certificate),
            (CERTIFICATE_FILE.replace(".crt", ".key"), own.key),
            (AUTHORITIES_FILE, trusted.certificate),
        ):
            path = self.root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")

    def _time(self) -> float:
        self.now += 2.0
        return self.now


@asynccontextmanager
async def vault(party: Party) -> AsyncIterator[int]:
    async def handler(request: Request) -> Response:
        return Response(200, request.path)

    listener = bind(LOOPBACK, 0)
    made = HttpServer(handler, party.identity.server())
    await made.open(listener)
    try:
        yield listener.getsockname()[1]
    finally:
        await made.aclose()


async def ask(port: int, party: Party | None, request: Request = SEAL) -> Response | p.NetError:
    """Send a request over a connection of its own."""
    dial = party.identity.client if party else None
    async with client(port, name="vault", dial=dial) as http:
        try:
            return await http.send(request, timeout_s=20)
        except p.NetError as error:
            return error


Make = Callable[..., Party]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def party(name: str, own: KeyPair | None = None, trusted: KeyPair = SIGNER) -> Party:
        return Party(tmp_path / name, own or certificate(name), trusted)

    return party


def test_both_sides_show_a_certificate_and_are_let_in(make: Make) -> None:
    async def scenario() -> None:
        async with vault(make("vault")) as port:
            assert await ask(port, make("front")) == Response(200, "/seal")

    asyncio.run(scenario())


def test_without_a_certificate_only_health_is_answered(make: Make) -> None:
    async def curl(port: int, path: str) -> bytes:
        trust = make("probe").identity.client()
        trust.check_hostname = False
        bare = type(trust)(trust.protocol)
        bare.check_hostname = False
        bare.load_verify_locations(cadata=SIGNER.certificate)
        reader, writer = await asyncio.open_connection(LOOPBACK, port, ssl=bare)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer

    async def scenario() -> None:
        async with vault(make("vault")) as port:
            assert b" 200 OK" in await curl(port, "/healthz")
            refused = await curl(port, "/seal")
            assert b" 400 " in refused
            assert b"No required SSL certificate was sent" in refused

    asyncio.run(scenario())


VERIFY = "tls: failed to verify certificate: x509: "


@pytest.mark.parametrize(
    ("served", "words"),
    [
        (
            lambda: certificate("vault", until_s=-5.0),
            VERIFY + "certificate has expired or is not yet valid",
        ),
        (
            lambda: certificate("vault", since_s=1800.0),
            VERIFY + "certificate has expired or is not yet valid",
        ),
        (lambda: certificate("safe"), VERIFY + "certificate is not valid for vault"),
        (
            lambda: certificate("vault", STRANGER),
            VERIFY + "certificate signed by unknown authority",
        ),
    ],
)
def test_a_server_that_cannot_be_trusted_is_not_spoken_to(
    make: Make, served: Callable[[], KeyPair], words: str
) -> None:
    async def scenario() -> None:
        async with vault(make("vault", served())) as port:
            error = await ask(port, make("front"))
            assert type(error) is p.TlsError
            assert error.detail == words
            assert error.address == f"{LOOPBACK}:{port}"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (
            lambda: certificate("front", STRANGER),
            "remote error: tls: unknown certificate authority",
        ),
        (lambda: certificate("front", until_s=-5.0), "remote error: tls: expired certificate"),
    ],
)
def test_a_client_that_cannot_be_trusted_is_told_so(
    make: Make, shown: Callable[[], KeyPair], words: str
) -> None:
    async def scenario() -> None:
        async with vault(make("vault")) as port:
            error = await ask(port, make("front", shown()))
            assert type(error) is p.TlsError
            assert error.detail == words

    asyncio.run(scenario())


def test_plain_text_to_a_tls_port_is_reset(make: Make) -> None:
    async def scenario() -> None:
        async with vault(make("vault")) as port:
            assert type(await ask(port, None)) is p.ConnectionReset

    asyncio.run(scenario())


def test_tls_to_a_plain_port_is_no_handshake(make: Make) -> None:
    async def scenario() -> None:
        async def handler(request: Request) -> Response:
            return Response(200)

        async with server(handler) as port:
            error = await ask(port, make("front"))
            assert type(error) is p.TlsError
            assert error.detail == "tls: first record does not look like a TLS handshake"

    asyncio.run(scenario())


def test_a_handshake_that_nobody_answers_is_a_connect_timeout(make: Make) -> None:
    async def silent(state: Raw, reader: asyncio.StreamReader, _: object) -> None:
        await reader.read()

    async def scenario() -> None:
        async with (
            raw_server(silent) as peer,
            client(peer.port, dial=make("front").identity.client) as http,
        ):
            with pytest.raises(p.ConnectTimeout):
                await http.send(SEAL, timeout_s=0.3)

    asyncio.run(scenario())


def test_new_connections_follow_the_files_of_both_sides(make: Make) -> None:
    async def scenario() -> None:
        server_side, client_side = make("vault"), make("front")
        async with vault(server_side) as port:
            assert await ask(port, client_side) == Response(200, "/seal")
            # Another authority, at the server first: neither side trusts the other now.
            server_side.put(certificate("vault", STRANGER), STRANGER)
            error = await ask(port, client_side)
            assert type(error) is p.TlsError
            assert error.detail == VERIFY + "certificate signed by unknown authority"
            client_side.put(certificate("front"), STRANGER)
            error = await ask(port, client_side)
            assert type(error) is p.TlsError
            assert error.detail == "remote error: tls: unknown certificate authority"
            client_side.put(certificate("front", STRANGER), STRANGER)
            assert await ask(port, client_side) == Response(200, "/seal")

    asyncio.run(scenario())


def test_files_that_cannot_be_read_later_leave_the_last_good_ones(make: Make) -> None:
    async def scenario() -> None:
        server_side, client_side = make("vault"), make("front")
        async with vault(server_side) as port:
            assert await ask(port, client_side) == Response(200, "/seal")
            (client_side.root / CERTIFICATE_FILE.lstrip("/")).write_text("half a cert", "utf-8")
            (server_side.root / AUTHORITIES_FILE.lstrip("/")).unlink()
            assert await ask(port, client_side) == Response(200, "/seal")

    asyncio.run(scenario())


def test_files_that_cannot_be_read_at_first_are_named(make: Make) -> None:
    party = make("vault")
    (party.root / CERTIFICATE_FILE.lstrip("/")).write_text("no certificate", "utf-8")
    with pytest.raises(
        TlsFilesError, match=f"any PEM data in certificate input: {CERTIFICATE_FILE}"
    ):
        party.identity.server()
    (party.root / AUTHORITIES_FILE.lstrip("/")).unlink()
    with pytest.raises(TlsFilesError, match=f"open {AUTHORITIES_FILE}: no such file"):
        party.identity.server()

    async def scenario() -> None:
        error = await ask(1, party)
        assert type(error) is p.TlsError
        assert error.detail == f"open {AUTHORITIES_FILE}: no such file or directory"

    asyncio.run(scenario())
