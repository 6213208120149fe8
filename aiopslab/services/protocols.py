"""What the app program needs of its surroundings, as small protocols.

The program is written once against these. Two bindings implement them: the simulated world
(``world.images.app``) and, in containers, real HTTP, SQL, cache and queue clients. Nothing here
knows which. The exceptions are what clients see; ``services.languages`` prints them the way each
language's client would.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from aiopslab.services.cluster import Cluster
from aiopslab.services.messaging import Queue
from aiopslab.services.net_errors import CacheError as CacheError
from aiopslab.services.net_errors import CircuitOpen as CircuitOpen
from aiopslab.services.net_errors import ConnectionRefused as ConnectionRefused
from aiopslab.services.net_errors import ConnectionReset as ConnectionReset
from aiopslab.services.net_errors import ConnectTimeout as ConnectTimeout
from aiopslab.services.net_errors import NetError as NetError
from aiopslab.services.net_errors import NoSuchHost as NoSuchHost
from aiopslab.services.net_errors import PoolTimeout as PoolTimeout
from aiopslab.services.net_errors import RequestTimeout as RequestTimeout
from aiopslab.services.net_errors import SqlError as SqlError
from aiopslab.services.net_errors import TlsError as TlsError
from aiopslab.services.net_errors import TlsFilesError as TlsFilesError

# -- requests -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Request:
    """An HTTP request as the program handles it."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    trace_id: int = 0
    """W3C trace id (128 bit); 0 starts a new trace."""
    parent_id: int = 0
    """W3C span id of the caller (64 bit)."""
    client: str = ""
    """Address of the peer."""
    emit: Callable[[], None] | None = None
    """For the handler: send the first part of a streamed answer to the client."""


@dataclass(slots=True)
class Response:
    """An HTTP response."""

    status: int
    body: str = ""
    close: bool = False
    """The server is ending: the client must not reuse the connection (``Connection: close``)."""
    pauses: tuple[tuple[float, int], ...] = ()
    """Of a streamed answer: pauses between its parts as (at most so many seconds, how often)."""


@dataclass(slots=True)
class SqlResult:
    """Rows a statement returned or touched."""

    rows: int


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Connections of a pool right now."""

    used: int
    idle: int
    pending: int
    """Callers that wait for a connection."""
    size: int
    """Upper bound of used and idle together."""


# -- the surroundings -----------------------------------------------------------------------------


class Clock(Protocol):
    """Time."""

    def now(self) -> float:
        """Return unix seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def alarm(self) -> Alarm:
        """Make a sleep that can be ended early."""
        ...


class Alarm(Protocol):
    """A sleep that somebody else can end."""

    async def wait(self, seconds: float | None) -> bool:
        """Sleep, None for ever; return whether it was rung. A ring while awake is kept."""
        ...

    def ring(self) -> None:
        """End the sleep."""
        ...


class CpuTime(Protocol):
    """The processor share of this process."""

    async def burn(self, seconds: float) -> None:
        """Use CPU seconds; takes longer when throttled or crowded."""
        ...


class Memory(Protocol):
    """The memory of this process; growing beyond the limit kills it."""

    def hold(self, label: str, size: int) -> None:
        """Set how many bytes are held under a label."""
        ...

    def used(self) -> int:
        """Return the bytes held under all labels."""
        ...


HEALTH = ("/healthz", "/readyz")
"""Paths that a server answers to whoever asks."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where a process finds what it needs for TLS, among its mounted files."""

    authorities: str = ""
    """Bundle of authorities to trust; empty: those that every machine trusts."""
    certificate: str = ""
    """Its own certificate; empty: it shows none."""
    reload_s: float = 0.0
    """Pause between two looks at changed files; 0: they are read once, at first use."""


class Http(Protocol):
    """A client for one target service, without policy: one attempt, one deadline."""

    async def send(
        self,
        request: Request,
        *,
        timeout_s: float,
        on_part: Callable[[], None] | None = None,
    ) -> Response:
        """Send a request over a pooled connection.

        Args:
            request: What to send.
            timeout_s: Seconds until the whole answer must be there.
            on_part: Called when the first part of a streamed answer arrives.

        Raises:
            NetError: No answer; which subclass says why.
        """
        ...

    def stats(self) -> PoolStats:
        """Return the state of the connection pool."""
        ...


class Sql(Protocol):
    """A pool of connections to one database, as one user."""

    async def execute(
        self, statement: str, params: Mapping[str, str], *, timeout_s: float, keep: bool = False
    ) -> SqlResult:
        """Run a named statement; ``keep`` leaks the connection (a defect of a release).

        Raises:
            NetError: The database could not be reached, or the pool is exhausted.
            SqlError: It answered with an error.
        """
        ...

    async def keep(self, least: int) -> None:
        """Open connections until so many exist. Raises NetError or SqlError."""
        ...

    def stats(self) -> PoolStats:
        """Return the state of the connection pool."""
        ...


class Cache(Protocol):
    """A client for one cache."""

    async def get(self, key: str, *, timeout_s: float) -> str | None:
        """Read a key; None on a miss. Raises NetError or CacheError."""
        ...

    async def set(self, key: str, size: int, ttl_s: float | None, *, timeout_s: float) -> None:
        """Write ``size`` bytes. Raises NetError or CacheError."""
        ...

    async def delete(self, key: str, *, timeout_s: float) -> None:
        """Remove a key. Raises NetError or CacheError."""
        ...

    def stats(self) -> PoolStats:
        """Return the state of the connection pool."""
        ...


Handler = Callable[[Request], Awaitable[Response]]
SslMode = Literal["disable", "prefer", "require"]
SSL_MODES: tuple[SslMode, ...] = ("disable", "prefer", "require")


class Telemetry(Protocol):
    """Where spans, log lines and metrics of this process go."""

    def new_trace_id(self) -> int:
        """Return a fresh trace id."""
        ...

    def new_span_id(self) -> int:
        """Return a fresh span id."""
        ...

    def span(
        self,
        trace_id: int,
        span_id: int,
        parent_id: int,
        name: str,
        kind: str,
        start: float,
        end: float,
        error: str,
        attributes: Mapping[str, str | int | float] | None,
    ) -> None:
        """Record a finished span.

        ``kind`` is server, client, internal, producer or consumer; ``error`` is '' if ok.
        """
        ...

    def log(self, line: str, severity: str, trace_id: int, span_id: int) -> None:
        """Write a line to standard output; severity is DEBUG, INFO, WARN, ERROR or FATAL."""
        ...

    def histogram(self, name: str, buckets: tuple[float, ...], **labels: str) -> Histogram:
        """Return the histogram of that name and labels, created on first use."""
        ...

    def counter(self, name: str, **labels: str) -> Counter:
        """Return the counter of that name and labels, created on first use."""
        ...

    def gauge(self, name: str, read: Callable[[], float], **labels: str) -> None:
        """Register a gauge, read at scrape time."""
        ...


class Histogram(Protocol):
    """A cumulative histogram."""

    def observe(self, value: float, count: int = 1) -> None:
        """Count a value, ``count`` times."""
        ...


class Counter(Protocol):
    """A monotonic counter."""

    def add(self, value: float = 1.0) -> None:
        """Count."""
        ...


class Listening(Protocol):
    """An open port."""

    def close(self) -> None:
        """Accept nothing further; requests in flight go on."""
        ...


class Host(Protocol):
    """Everything together: one process of one service, wherever it runs."""

    name: str
    """Host name: the pod's name."""
    env: Mapping[str, str]
    """Effective environment, ConfigMaps and Secrets included."""
    files: Mapping[str, str]
    """Mounted files, path to text; the content changes in place."""
    hardware: Mapping[str, float]
    """Conditions of the machine below, as its sensors would tell; empty where none are known."""
    clock: Clock
    cpu: CpuTime
    cluster: Cluster
    memory: Memory
    telemetry: Telemetry
    random: random.Random

    def http(
        self, host: str, port: int, *, pool: int, tls: TlsFiles | None = None, max_age_s: float
    ) -> Http:
        """Open a client for a target; connections older than ``max_age_s`` are replaced."""
        ...

    def sql(
        self, host: str, port: int, *, user: str, password: str, database: str, pool: int,
        pool_timeout_s: float, sslmode: SslMode = "disable",
    ) -> Sql:  # fmt: skip
        """Open a connection pool; ``sslmode`` says whether its connections use TLS."""
        ...

    def cache(
        self, host: str, port: int, *, password: str, pool: int, pool_timeout_s: float
    ) -> Cache:
        """Open a cache client."""
        ...

    def queue(self, host: str, port: int, *, password: str) -> Queue:
        """Open a queue client."""
        ...

    async def listen(
        self, port: int, handler: Handler, *, tls: TlsFiles | None = None
    ) -> Listening:
        """Accept requests on a port from now on, one task a request.

        With ``tls`` clients must show a certificate, except for health checks.

        Raises:
            TlsFilesError: The certificate or the bundle cannot be read.
        """
        ...

    async def terminated(self) -> None:
        """Return when the process is told to end (SIGTERM)."""
        ...

    def spawn(self, job: Coroutine[None, None, None]) -> None:
        """Run something beside the server, ended with the process."""
        ...
