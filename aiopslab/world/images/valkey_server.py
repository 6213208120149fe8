"""A running Valkey server: clients, authentication, commands of people and messages of the app.

Not here: the key space (``valkey_keys``), the process around it (``valkey``).
"""

from __future__ import annotations

import contextlib
import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiopslab.models.base import parse_size
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
from aiopslab.world.images.valkey_info import info
from aiopslab.world.images.valkey_keys import POLICIES, Keys, OutOfMemory

COMMAND_S = 12e-6
"""CPU seconds of a simple command: parse, look up, reply, two system calls."""
_BYTE_S = 0.4e-9
NOAUTH = "NOAUTH Authentication required."
WRONGPASS = "WRONGPASS invalid username-password pair or user is disabled."
OOM = "OOM command not allowed when used memory > 'maxmemory'."
_DEFAULTS = {
    "appendonly": "no", "databases": "16", "maxclients": "10000", "maxmemory": "0",
    "maxmemory-policy": "noeviction", "port": "6379", "requirepass": "", "save": "",
    "slowlog-log-slower-than": "10000", "timeout": "0",
}  # fmt: skip
_FIXED = ("port", "databases")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
Message = CacheAuth | CacheCommand | CacheDelete | CacheGet | CacheSet


@dataclass(slots=True, eq=False)
class Client:
    """A connection."""

    id: int
    address: str
    connected: float
    authenticated: bool
    last_used: float
    last_command: str = "NULL"
    user: str = "default"


class CommandError(Exception):
    """An error reply; the message is its text."""


class CacheServer:
    """A server that is up.

    Args:
        box: The container it runs in.
        config: Parameters given at start.
    """

    def __init__(self, box: Container, config: dict[str, str]) -> None:
        self.box = box
        self.loop = box.loop
        self.started = self.loop.time()
        self.keys = Keys(box.streams("valkey", "sample"))
        self.config = _DEFAULTS | {"port": config.get("port", "6379")}
        self.clients: dict[int, Client] = {}
        self.commands = 0
        self.rejected = 0
        self.peak = 0
        self._next_client = 3
        for name, value in config.items():
            self.configure(name, value)
        self._account()

    def configure(self, name: str, value: str) -> None:
        """Set a parameter.

        Raises:
            CommandError: It is unknown or the value does not fit.
        """
        if name not in self.config:
            raise CommandError("ERR Unknown option or number of arguments for CONFIG SET")
        failed = f"ERR CONFIG SET failed (possibly related to argument '{name}') - "
        if name == "maxmemory":
            self.keys.maxmemory = _memory(value, failed)
            value = str(self.keys.maxmemory)
            if self.keys.maxmemory and self.keys.policy != "noeviction":
                # A bound below what the server itself needs is taken too; writes then fail.
                with contextlib.suppress(OutOfMemory):
                    self.keys.evict(self.loop.time())
        elif name == "maxmemory-policy":
            if value not in POLICIES:
                raise CommandError(failed + "argument(s) must be one of the following: "
                                   + ", ".join(POLICIES))  # fmt: skip
            self.keys.policy = value
        elif name in ("maxclients", "port", "timeout"):
            least = int(name == "maxclients")
            if not _WHOLE.fullmatch(value) or not least <= int(value) < 2**32:
                raise CommandError(failed + f"argument must be between {least} and 4294967295")
        self.config[name] = value

    def admit(self, address: str) -> Client | None:
        """Open a client; None when there are too many."""
        if len(self.clients) >= int(self.config["maxclients"]):
            self.rejected += 1
            return None
        now = self.loop.time()
        client = Client(self._next_client, address, now, not self.config["requirepass"], now)
        self._next_client += 1
        self.clients[client.id] = client
        return client

    def forget(self, client: Client) -> None:
        """A client is gone."""
        self.clients.pop(client.id, None)

    async def serve(self, client: Client, message: Message) -> CacheReply | CacheErr:
        """Answer one message."""
        self.commands += 1
        client.last_used = self.loop.time()
        size = message.size if isinstance(message, CacheSet) else 0
        await self.box.burn(COMMAND_S + size * _BYTE_S)
        try:
            return CacheReply(self._do(client, message))
        except CommandError as error:
            return CacheErr(str(error))
        except OutOfMemory:
            return CacheErr(OOM)
        finally:
            self._account()

    def command(self, client: Client, argv: Sequence[str]) -> str | None:
        """Run a command given as words; None is a nil reply.

        Raises:
            CommandError: An error reply.
            OutOfMemory: ``maxmemory``.
        """
        name = argv[0].upper()
        known = _COMMANDS.get(name)
        if known is None:
            args = " ".join(f"'{word}'" for word in argv[1:])
            tail = f"{args} " if args else ""
            raise CommandError(f"ERR unknown command '{argv[0]}', with args beginning with: {tail}")
        least, most, run = known
        if not least <= len(argv) - 1 <= most:
            raise CommandError(f"ERR wrong number of arguments for '{name.lower()}' command")
        if not client.authenticated and name not in ("AUTH", "QUIT"):
            raise CommandError(NOAUTH)
        client.last_command = name.lower()
        return run(self, client, list(argv[1:]))

    def _do(self, client: Client, message: Message) -> str | None:
        if isinstance(message, CacheAuth):
            return self.authenticate(client, message.password, message.user)
        if not client.authenticated:
            raise CommandError(NOAUTH)
        now = self.loop.time()
        match message:
            case CacheGet(key):
                client.last_command = "get"
                entry = self.keys.get(key, now)
                return None if entry is None else entry.text or "1"
            case CacheSet(key, size, ttl_s):
                client.last_command = "set"
                self.keys.set(key, size, ttl_s, now)
                return "OK"
            case CacheDelete(key):
                client.last_command = "del"
                return str(int(self.keys.delete(key, now)))
            case CacheCommand(argv):
                return self.command(client, argv)

    def authenticate(self, client: Client, password: str, user: str = "default") -> str:
        """AUTH. Raises CommandError."""
        wanted = self.config["requirepass"]
        if not wanted and user == "default":
            raise CommandError(
                "ERR AUTH <password> called without any password configured for the default "
                "user. Are you sure your configuration is correct?"
            )
        if user != "default" or password != wanted:
            raise CommandError(WRONGPASS)
        client.authenticated = True
        return "OK"

    def _account(self) -> None:
        used = self.keys.used
        self.peak = max(self.peak, used)
        # The resident set exceeds used memory by allocator and code, a few percent in practice.
        self.box.memory.hold("valkey", 6_000_000 + used * 108 // 100 + len(self.clients) * 20_480)


def _memory(value: str, failed: str) -> int:
    units = {"b": "", "k": "k", "kb": "Ki", "m": "M", "mb": "Mi", "g": "G", "gb": "Gi"}
    digits = value.rstrip("bBkKmMgG")
    unit = value[len(digits) :].lower()
    try:
        return parse_size(digits + units[unit] if unit else value)
    except (ValueError, KeyError, OverflowError) as error:
        raise CommandError(failed + "argument must be a memory value") from error


# -- commands -------------------------------------------------------------------------------------

_Run = Callable[[CacheServer, Client, list[str]], str | None]


def _get(server: CacheServer, _client: Client, args: list[str]) -> str | None:
    entry = server.keys.get(args[0], server.loop.time())
    if entry is None:
        return None
    return entry.text if entry.text is not None else f"<{entry.size} bytes>"


def _set(server: CacheServer, _client: Client, args: list[str]) -> str:
    ttl: float | None = None
    match [word.upper() for word in args[2:]]:
        case []:
            pass
        case ["EX", count] if _WHOLE.fullmatch(count) and int(count) > 0:
            ttl = float(count)
        case ["PX", count] if _WHOLE.fullmatch(count) and int(count) > 0:
            ttl = int(count) / 1000.0
        case _:
            raise CommandError("ERR syntax error")
    server.keys.set(args[0], len(args[1].encode()), ttl, server.loop.time(), text=args[1])
    return "OK"


def _auth(server: CacheServer, client: Client, args: list[str]) -> str:
    return server.authenticate(client, args[-1], args[0] if len(args) == 2 else "default")


def _del(server: CacheServer, _client: Client, args: list[str]) -> str:
    now = server.loop.time()
    return _integer(sum(server.keys.delete(key, now) for key in args))


def _exists(server: CacheServer, _client: Client, args: list[str]) -> str:
    now = server.loop.time()
    return _integer(sum(server.keys.peek(key, now) is not None for key in args))


def _ttl(server: CacheServer, _client: Client, args: list[str]) -> str:
    now = server.loop.time()
    entry = server.keys.peek(args[0], now)
    if entry is None:
        return _integer(-2)
    return _integer(-1 if entry.expires == float("inf") else round(entry.expires - now))


def _expire(server: CacheServer, _client: Client, args: list[str]) -> str:
    if not _WHOLE.fullmatch(args[1]):
        raise CommandError("ERR value is not an integer or out of range")
    return _integer(server.keys.expire(args[0], float(args[1]), server.loop.time()))


def _config(server: CacheServer, _client: Client, args: list[str]) -> str:
    match [args[0].upper(), *args[1:]]:
        case ["GET", *patterns] if patterns:
            found = [
                line
                for name, value in sorted(server.config.items())
                if any(fnmatch.fnmatchcase(name, pattern.lower()) for pattern in patterns)
                for line in (name, value)
            ]
            return "\n".join(found)
        case ["SET", name, value]:
            if name.lower() in _FIXED:
                raise CommandError(
                    f"ERR CONFIG SET failed (possibly related to argument '{name}') - "
                    "can't set immutable config"
                )
            server.configure(name.lower(), value)
            return "OK"
        case ["RESETSTAT"]:
            keys = server.keys
            keys.hits = keys.misses = keys.evicted = keys.expired = server.commands = 0
            return "OK"
    raise CommandError(f"ERR unknown subcommand '{args[0]}'. Try CONFIG HELP.")


def _flush(server: CacheServer, _client: Client, _args: list[str]) -> str:
    server.keys.clear()
    return "OK"


def _client(server: CacheServer, client: Client, args: list[str]) -> str:
    now = server.loop.time()
    match args[0].upper():
        case "LIST":
            return "\n".join(
                f"id={c.id} addr={c.address} name= age={int(now - c.connected)} "
                f"idle={int(now - c.last_used)} db=0 user={c.user} cmd={c.last_command}"
                for c in server.clients.values()
            )
        case "ID":
            return _integer(client.id)
    raise CommandError(f"ERR unknown subcommand '{args[0]}'. Try CLIENT HELP.")


def _scan(server: CacheServer, _client: Client, args: list[str]) -> str:
    if not _WHOLE.fullmatch(args[0]) or int(args[0]) < 0:
        raise CommandError("ERR invalid cursor")
    options = dict(zip([word.upper() for word in args[1::2]], args[2::2], strict=False))
    count = options.get("COUNT", "10")
    if not _WHOLE.fullmatch(count) or int(count) < 1:
        raise CommandError("ERR value is not an integer or out of range")
    names = [key for key, _ in server.keys.scan(server.loop.time())]
    start, stop = int(args[0]), int(args[0]) + int(count)
    page = [n for n in names[start:stop] if fnmatch.fnmatchcase(n, options.get("MATCH", "*"))]
    return "\n".join([str(stop) if stop < len(names) else "0", *page])


def _keys(server: CacheServer, _client: Client, args: list[str]) -> str:
    names = [key for key, _ in server.keys.scan(server.loop.time())]
    return "\n".join(name for name in names if fnmatch.fnmatchcase(name, args[0]))


def _memory_usage(server: CacheServer, _client: Client, args: list[str]) -> str | None:
    if args[0].upper() != "USAGE" or len(args) < 2:
        raise CommandError(f"ERR unknown subcommand '{args[0]}'. Try MEMORY HELP.")
    entry = server.keys.peek(args[1], server.loop.time())
    return None if entry is None else _integer(entry.size + len(args[1]) + 96)


def _set_range(server: CacheServer, _client: Client, args: list[str]) -> str:
    """SETRANGE key offset value: what is missing before the offset is filled up."""
    if not _WHOLE.fullmatch(args[1]) or int(args[1]) < 0:
        raise CommandError("ERR value is not an integer or out of range")
    now, end = server.loop.time(), int(args[1]) + len(args[2].encode())
    if end > 512 * 2**20:
        raise CommandError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    entry = server.keys.peek(args[0], now)
    size = end if entry is None else max(entry.size, end)
    server.keys.set(args[0], size, None, now)
    return _integer(size)


def _acl(_server: CacheServer, client: Client, args: list[str]) -> str:
    match args[0].upper():
        case "WHOAMI":
            return client.user
        case "LIST":
            return "user default on sanitize-payload ~* &* +@all"
    raise CommandError(f"ERR unknown subcommand '{args[0]}'. Try ACL HELP.")


def _slowlog(_server: CacheServer, _client: Client, args: list[str]) -> str:
    match args[0].upper():
        case "GET":
            return ""
        case "LEN":
            return _integer(0)
        case "RESET":
            return "OK"
    raise CommandError(f"ERR unknown subcommand '{args[0]}'. Try SLOWLOG HELP.")


def _integer(value: int) -> str:
    return f"(integer) {value}"


_MANY = 10_000
_COMMANDS: dict[str, tuple[int, int, _Run]] = {
    "ACL": (1, 3, _acl),
    "AUTH": (1, 2, _auth),
    "CLIENT": (1, 5, _client),
    "CONFIG": (1, _MANY, _config),
    "DBSIZE": (0, 0, lambda s, _c, _a: _integer(len(s.keys))),
    "DEL": (1, _MANY, _del),
    "ECHO": (1, 1, lambda _s, _c, a: a[0]),
    "EXISTS": (1, _MANY, _exists),
    "EXPIRE": (2, 3, _expire),
    "FLUSHALL": (0, 1, _flush),
    "FLUSHDB": (0, 1, _flush),
    "GET": (1, 1, _get),
    "INFO": (0, 5, lambda s, _c, a: info(s, a)),
    "KEYS": (1, 1, _keys),
    "MEMORY": (1, 4, _memory_usage),
    "PERSIST": (1, 1, lambda s, _c, a: _integer(s.keys.expire(a[0], None, s.loop.time()))),
    "PING": (0, 1, lambda _s, _c, a: a[0] if a else "PONG"),
    "SCAN": (1, 7, _scan),
    "SET": (2, 5, _set),
    "SETRANGE": (3, 3, _set_range),
    "SLOWLOG": (1, 2, _slowlog),
    "TTL": (1, 1, _ttl),
    "UNLINK": (1, _MANY, _del),
}
"""Name to least and most arguments, and what it does."""
