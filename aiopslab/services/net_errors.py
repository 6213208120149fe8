"""The exceptions that clients see, whatever surrounds them; ``protocols`` hands them on.

``services.languages`` prints them the way each language's client would. Not here: who raises which
(the bindings).
"""

from __future__ import annotations


class NetError(Exception):
    """A client could not get an answer.

    Args:
        host: Name the client asked for.
        port: Port the client asked for.
        address: ``ip:port`` once resolved, else empty.
    """

    reason = "network error"

    def __init__(self, host: str, port: int, address: str = "", detail: str = "") -> None:
        super().__init__(detail or f"{self.reason}: {host}:{port}")
        self.host = host
        self.port = port
        self.address = address
        self.detail = detail


class NoSuchHost(NetError):
    """The name does not resolve."""

    reason = "no such host"


class ConnectionRefused(NetError):
    """Nobody listens there, or a Service has no ready endpoint."""

    reason = "connection refused"


class ConnectionReset(NetError):
    """The peer went away in the middle."""

    reason = "connection reset by peer"


class ConnectTimeout(NetError):
    """The connection was not made in time: packets vanish."""

    reason = "i/o timeout"


class RequestTimeout(NetError):
    """Connected, but no answer within the caller's deadline."""

    reason = "deadline exceeded"


class TlsError(NetError):
    """The handshake failed; ``detail`` says why (expired, unknown authority, ...)."""

    reason = "tls handshake failed"


class PoolTimeout(NetError):
    """No pooled connection became free in time."""

    reason = "connection pool exhausted"


class CircuitOpen(NetError):
    """The client's breaker is open; nothing was sent."""

    reason = "circuit breaker open"


class TlsFilesError(Exception):
    """A certificate or a bundle of authorities is missing or no PEM; the text says which."""


class SqlError(Exception):
    """The database answered with an error.

    Args:
        sqlstate: Five characters, for instance ``42501``.
        message: Primary message as PostgreSQL words it.
        severity: ``ERROR`` or ``FATAL``.
    """

    def __init__(self, sqlstate: str, message: str, severity: str = "ERROR") -> None:
        super().__init__(f"{severity}: {message} (SQLSTATE {sqlstate})")
        self.sqlstate = sqlstate
        self.message = message
        self.severity = severity


class CacheError(Exception):
    """The cache answered with an error; the text is Valkey's (``WRONGPASS ...``, ``OOM ...``)."""
