"""The Valkey image: a container that runs a cache, and ``valkey-cli``.

Configuration comes from the arguments (``valkey-server --maxmemory 64mb ...``); a key space lives
in memory alone and is empty after a restart. Not here: commands (``valkey_server``).
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence

from aiopslab.models.kube import ExecResult
from aiopslab.models.store import Store
from aiopslab.pauses import pause
from aiopslab.services.config import as_text
from aiopslab.services.protocols import NetError, NoSuchHost
from aiopslab.world.connection import Connection, Peer
from aiopslab.world.container import Container
from aiopslab.world.images.messages import (
    CacheAuth,
    CacheCommand,
    CacheDelete,
    CacheErr,
    CacheGet,
    CacheReply,
    CacheSet,
)
from aiopslab.world.images.postgres_values import timestamp
from aiopslab.world.images.valkey_keys import OutOfMemory
from aiopslab.world.images.valkey_server import OOM, CacheServer, Client, CommandError

_START_S = 0.4
_REAP_S = 0.1
"""``hz 10``: active expiry runs ten times a second."""


class Valkey:
    """The program of a Valkey container.

    Args:
        store: The app's definition of this store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.server: CacheServer | None = None
        """The server while it is up."""

    async def run(self, box: Container) -> int:
        """Serve until SIGTERM; return the exit code."""
        config = _arguments(box.args) or {k: as_text(v) for k, v in self._store.config.items()}
        config.setdefault("port", str(self._store.port))
        version = self._store.image.version
        _log(box, "oO0OoO0OoO0Oo Valkey is starting oO0OoO0OoO0Oo")
        _log(box, f"Valkey version={version}, bits=64, commit=00000000, modified=0, pid=1")
        await asyncio.sleep(_START_S)
        try:
            server = CacheServer(box, config)
        except (CommandError, ValueError) as error:
            _log(box, f"*** FATAL CONFIG FILE ERROR (Version {version}) *** {error}", "FATAL")
            return 1
        self.server = server
        listener = box.netns.listen(int(config["port"]), self._handle)
        _export(box, server)
        _log(box, "Ready to accept connections tcp")
        reaper = box.spawn(_reap(server))
        try:
            await box.terminating.wait()
        finally:
            self.server = None
            reaper.cancel()
            listener.close()
        _log(box, "Received SIGTERM scheduling shutdown...")
        _log(box, "Valkey is now ready to exit, bye bye...")
        return 0

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None:
        """Run ``valkey-cli`` (or ``redis-cli``)."""
        if argv[0].rpartition("/")[2] not in ("valkey-cli", "redis-cli"):
            return None
        return await _cli(box, argv[1:], stdin)

    async def admin(self, command: str) -> str:
        """Run a command as the operator does, already authenticated.

        Raises:
            CommandError: The server is down or answered with an error.
        """
        if self.server is None:
            raise CommandError("LOADING Valkey is loading the dataset in memory")
        now = self.server.loop.time()
        operator = Client(2, "127.0.0.1:0", now, True, now)
        try:
            return self.server.command(operator, shlex.split(command)) or ""
        except OutOfMemory as error:
            raise CommandError(OOM) from error

    def rows(self) -> dict[str, int]:
        """A cache holds nothing durable."""
        return {}

    async def _handle(self, message: object, peer: Peer) -> CacheReply | CacheErr | None:
        server = self.server
        if server is None:
            peer.abort()
            return None
        if not isinstance(peer.session, Client):
            admitted = server.admit(peer.address)
            if admitted is None:
                peer.close()
                return CacheErr("ERR max number of clients reached")
            peer.session = admitted
            peer.on_close(lambda: server.forget(admitted))
        client: Client = peer.session
        if not isinstance(message, CacheAuth | CacheCommand | CacheDelete | CacheGet | CacheSet):
            return CacheErr("ERR Protocol error: unexpected message")
        return await server.serve(client, message)


async def _reap(server: CacheServer) -> None:
    while True:
        await pause(server.loop, _REAP_S)
        server.keys.reap(server.loop.time())


def _log(box: Container, message: str, severity: str = "INFO") -> None:
    stamp = timestamp(box.loop.time()).strftime("%d %b %Y %H:%M:%S.%f")[:-3]
    box.log(f"1:M {stamp} * {message}", severity=severity)


def _arguments(args: Sequence[str]) -> dict[str, str]:
    """Read ``--name value`` pairs."""
    found: dict[str, str] = {}
    name = ""
    for word in args:
        if word.startswith("--"):
            name = word[2:]
            found[name] = ""
        elif name:
            found[name] = f"{found[name]} {word}".strip()
    return found


def _export(box: Container, server: CacheServer) -> None:
    """Register what redis_exporter would, read from the live server at each scrape."""
    keys = server.keys
    gauge = box.metrics.gauge
    gauge("redis_up", lambda: 1.0)
    gauge("redis_uptime_in_seconds", lambda: server.loop.time() - server.started)
    gauge("redis_keyspace_hits_total", lambda: float(keys.hits))
    gauge("redis_keyspace_misses_total", lambda: float(keys.misses))
    gauge("redis_evicted_keys_total", lambda: float(keys.evicted))
    gauge("redis_expired_keys_total", lambda: float(keys.expired))
    gauge("redis_memory_used_bytes", lambda: float(keys.used))
    gauge("redis_memory_max_bytes", lambda: float(keys.maxmemory))
    gauge("redis_connected_clients", lambda: float(len(server.clients)))
    gauge("redis_rejected_connections_total", lambda: float(server.rejected))
    gauge("redis_commands_processed_total", lambda: float(server.commands))
    gauge("redis_db_keys", lambda: float(len(keys)), db="db0")


# -- valkey-cli -----------------------------------------------------------------------------------


async def _cli(box: Container, words: Sequence[str], stdin: str) -> ExecResult:
    """Run one invocation; over the network, also to its own server."""
    host, port, password, user = "127.0.0.1", 6379, "", "default"
    rest = list(words)
    while rest and rest[0].startswith("-"):
        flag = rest.pop(0)
        if flag in ("--raw", "--no-raw", "--no-auth-warning"):
            continue
        if flag not in ("-h", "-p", "-a", "--pass", "--user", "-n", "-u") or not rest:
            message = f"Unrecognized option or bad number of args for: '{flag}'\n"
            return ExecResult("", message, 1)
        value = rest.pop(0)
        match flag:
            case "-h":
                host = value
            case "-p" if value.isdecimal():
                port = int(value)
            case "-a" | "--pass":
                password = value
            case "--user" | "-u":
                user = value
    try:
        commands = [rest] if rest else [shlex.split(line) for line in stdin.splitlines() if line]
    except ValueError:
        return ExecResult("Invalid argument(s)\n", "", 1)
    place = f"{host}:{port}"
    try:
        connection = await box.netns.connect(host, port, timeout_s=10.0)
    except NoSuchHost:
        message = f"Could not connect to Valkey at {place}: Name or service not known\n"
        return ExecResult("", message, 1)
    except NetError as error:
        reason = error.reason[:1].upper() + error.reason[1:]
        return ExecResult("", f"Could not connect to Valkey at {place}: {reason}\n", 1)
    try:
        return await _converse(connection, commands, password, user)
    except NetError:
        return ExecResult("", "Error: Server closed the connection\n", 1)
    finally:
        connection.close()


async def _converse(
    connection: Connection, commands: Sequence[Sequence[str]], password: str, user: str
) -> ExecResult:
    out, err = "", ""
    if password:
        err = (
            "Warning: Using a password with '-a' or '-u' option on the command line interface "
            "may not be safe.\n"
        )
        answer = await connection.call(CacheAuth(password, user), timeout_s=10.0)
        if isinstance(answer, CacheErr):
            err += f"AUTH failed: {answer.text}\n"
    for argv in commands:
        if not argv:
            continue
        answer = await connection.call(CacheCommand(argv), timeout_s=10.0)
        if isinstance(answer, CacheErr):
            out += f"(error) {answer.text}\n"
        else:
            if not isinstance(answer, CacheReply):
                # Something else listens there, a database for instance.
                err += 'Error: Protocol error, got "E" as reply type byte\n'
                return ExecResult(out, err, 1)
            out += ("(nil)" if answer.value is None else answer.value) + "\n"
    return ExecResult(out, err, 0)
