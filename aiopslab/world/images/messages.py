"""What clients and stores say to each other over a ``Connection``: the wire, as dataclasses.

PostgreSQL: the first message of a connection is ``Startup``; the answer is ``Ready`` or
``PgError``. Then each ``Query`` is answered by ``Rows`` or ``PgError``. An error of severity
``FATAL`` ends the session: the server closes the connection after it.

Valkey: each ``Cache*`` message or ``CacheCommand`` is answered by ``CacheReply`` or ``CacheErr``.

Not here: what the servers do (``postgres``, ``valkey``), HTTP (``services.protocols``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiopslab.models.store import Statement

# -- PostgreSQL -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Startup:
    """Open a session: start-up packet and password in one."""

    user: str
    password: str
    database: str
    application_name: str = ""


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
