"""What clients and stores say to each other over a ``Connection``: the wire, as dataclasses.

PostgreSQL: the first message of a connection is ``Startup``; the answer is ``Ready``,
``TlsRefused`` or ``PgError``. Then each ``Query`` is answered by ``Rows`` or ``PgError``. An error
of severity ``FATAL`` ends the session: the server closes the connection after it.

Valkey: each ``Cache*`` message or ``CacheCommand`` is answered by ``CacheReply`` or ``CacheErr``.

NATS: ``NatsConnect`` opens a connection. Then ``NatsPublish``, ``NatsBind`` and ``NatsAnswer`` are
answered by ``NatsOk``, ``NatsPull`` by ``NatsBatch``, ``NatsApi`` by ``NatsInfo``; each of them by
``NatsErr`` if it fails.

Not here: what the servers do (``postgres``, ``valkey``, ``nats``), HTTP (``services.protocols``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aiopslab.models.store import Statement
from aiopslab.services.protocols import SslMode
from aiopslab.world.images.nats_consumer import ConsumerConfig, Delivered

# -- PostgreSQL -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Startup:
    """Open a session: start-up packet and password in one."""

    user: str
    password: str
    database: str
    application_name: str = ""
    sslmode: SslMode = "disable"
    """Whether the client asks for TLS first, and whether it goes on where there is none."""


@dataclass(slots=True)
class TlsRefused:
    """The server has no TLS, and the client asked for it: the client hangs up."""


@dataclass(slots=True)
class Ready:
    """The session is open."""

    pid: int
    """Process id of the backend, as in pg_stat_activity."""


@dataclass(slots=True)
class Query:
    """Run a statement of the app, or, with ``statement`` None, the SQL in ``text``."""

    statement: Statement | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    """Values of ``$1``, ``$2``, ... of the statement's text, in order."""
    text: str = ""


@dataclass(slots=True)
class Rows:
    """A statement is done."""

    rows: int
    """Rows returned or touched."""
    columns: Sequence[str] = ()
    """Names, for SQL sent as text that returns rows; an app's statement only counts them."""
    values: Sequence[Sequence[str | None]] = ()
    """Rows in text format; None is NULL."""
    tag: str = ""
    """Command tag, for instance ``UPDATE 1``."""


@dataclass(slots=True)
class PgError:
    """The server's ErrorResponse."""

    sqlstate: str
    message: str
    severity: str = "ERROR"
    """``ERROR``, ``FATAL`` or ``PANIC``."""
    detail: str = ""
    hint: str = ""
    position: int = 0
    """1-based offset into the SQL text; 0 without one."""


# -- Valkey ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class CacheAuth:
    """AUTH: sent first where the server wants a password."""

    password: str
    user: str = "default"


@dataclass(slots=True)
class CacheGet:
    """GET key."""

    key: str


@dataclass(slots=True)
class CacheSet:
    """SET key (a value of ``size`` bytes) [PX ttl]."""

    key: str
    size: int
    ttl_s: float | None = None


@dataclass(slots=True)
class CacheDelete:
    """DEL key."""

    key: str


@dataclass(slots=True)
class CacheCommand:
    """Any other command, as words: what ``valkey-cli`` sends."""

    argv: Sequence[str]


@dataclass(slots=True)
class CacheReply:
    """Success: the value of a GET (None on a miss), ``OK``, or the text of a command's reply."""

    value: str | None = None


@dataclass(slots=True)
class CacheErr:
    """An error reply, its text without the leading dash."""

    text: str


# -- NATS -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class NatsConnect:
    """CONNECT, after the server's INFO."""

    name: str
    """Of the client, as ``/connz`` lists it."""
    password: str = ""


@dataclass(slots=True)
class NatsPublish:
    """PUB to a subject that a stream keeps, with a reply subject for the acknowledgement."""

    subject: str
    params: Mapping[str, str]
    size: int
    id: str = ""
    """``Nats-Msg-Id``."""
    trace_id: int = 0
    span_id: int = 0


@dataclass(slots=True)
class NatsBind:
    """Create a durable consumer, or update the one of that name."""

    stream: str
    config: ConsumerConfig


@dataclass(slots=True)
class NatsPull:
    """Ask for messages; answered when there is one, or empty after ``expires_s``."""

    stream: str
    durable: str
    batch: int
    expires_s: float


@dataclass(slots=True)
class NatsAnswer:
    """Acknowledge a message, refuse it, or give it up."""

    stream: str
    durable: str
    sequence: int
    verb: Literal["ack", "nak", "term"]
    delay_s: float = 0.0
    """Of a nak: pause before the next delivery."""


@dataclass(slots=True)
class NatsApi:
    """A request to ``$JS.API.<verb>``: what the ``nats`` tool sends."""

    verb: str
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class NatsOk:
    """Success: of a publication, the sequence in the stream."""

    stream: str = ""
    sequence: int = 0
    duplicate: bool = False


@dataclass(slots=True)
class NatsBatch:
    """Messages given out."""

    messages: Sequence[Delivered] = ()


@dataclass(slots=True)
class NatsInfo:
    """Reply of the API."""

    body: Mapping[str, Any]


@dataclass(slots=True)
class NatsErr:
    """An error, or that nobody listens (503)."""

    text: str
    """As clients show it behind ``nats: ``."""
    code: int = 0
