"""Python: logging lines and tracebacks; httpx, psycopg 3, redis-py."""

from __future__ import annotations

from collections.abc import Sequence

from aiopslab.services import protocols as p
from aiopslab.services.config import ConfigError
from aiopslab.services.languages.dialect import Dialect, Fields, Frame, Level, Problem, iso

_PG_CLASSES = {
    "42501": "psycopg.errors.InsufficientPrivilege",
    "42P01": "psycopg.errors.UndefinedTable",
    "57014": "psycopg.errors.QueryCanceled",
    "53100": "psycopg.errors.DiskFull",
    "40P01": "psycopg.errors.DeadlockDetected",
    "55P03": "psycopg.errors.LockNotAvailable",
    "57P01": "psycopg.errors.AdminShutdown",
}


class Python(Dialect):
    """uvicorn and the logging package."""

    def line(
        self, time: float, level: Level, message: str, fields: Fields, trace: str, span: str
    ) -> str:
        stamp = iso(time, " ").replace(".", ",")
        shown = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(level, level)
        tail = "".join(f" {key}={value}" for key, value in fields.items())
        context = f" trace_id={trace} span_id={span}" if trace else ""
        return f"{stamp} {shown} [{self.service}] {message}{tail}{context}"

    def failed(
        self,
        time: float,
        level: Level,
        message: str,
        problem: Problem,
        frames: Sequence[Frame],
        trace: str,
        span: str,
    ) -> str:
        text = self.line(time, level, message, {}, trace, span)
        return f"{text}\n{self.stack(problem, frames)}"

    def fatal(self, time: float, problem: Problem, frames: Sequence[Frame]) -> str:
        return self.stack(problem, frames)

    def _function(self, words: list[str]) -> str:
        return "_".join(words)

    def stack(self, problem: Problem, frames: Sequence[Frame]) -> str:
        package = self.service.replace("-", "_")
        own = [
            f'  File "/app/{package}/{f.module}.py", line {f.line}, in {f.function}' for f in frames
        ]
        last = f"{problem.type}: {problem.message}" if problem.message else problem.type
        return "\n".join(["Traceback (most recent call last):", *own, last])

    def http_problem(self, error: p.NetError, method: str, url: str) -> Problem:
        match error:
            case p.CircuitOpen():
                text = "Timeout not elapsed yet, circuit breaker still open"
                return Problem("pybreaker.CircuitBreakerError", text)
            case p.RequestTimeout():
                return Problem("httpx.ReadTimeout", f"timed out ({method} {url})")
            case p.PoolTimeout():
                return Problem("httpx.PoolTimeout", f"no connection available ({url})")
            case p.ConnectTimeout():
                return Problem("httpx.ConnectTimeout", f"timed out ({url})")
            case p.ConnectionReset():
                return Problem("httpx.ReadError", "[Errno 104] Connection reset by peer")
            case p.NoSuchHost():
                return Problem("httpx.ConnectError", "[Errno -2] Name or service not known")
            case p.TlsError():
                text = f"[SSL: CERTIFICATE_VERIFY_FAILED] {error.detail}"
                return Problem("httpx.ConnectError", text)
            case _:
                return Problem("httpx.ConnectError", "[Errno 111] Connection refused")

    def sql_problem(self, error: p.NetError | p.SqlError, user: str, database: str) -> Problem:
        if isinstance(error, p.SqlError):
            if error.severity == "FATAL":
                text = f"connection failed: FATAL:  {error.message}"
                return Problem("psycopg.OperationalError", text)
            kind = _PG_CLASSES.get(error.sqlstate, "psycopg.errors.DatabaseError")
            return Problem(kind, error.message)
        if isinstance(error, p.PoolTimeout):
            return Problem("psycopg_pool.PoolTimeout", f"couldn't get a connection: {error.detail}")
        if isinstance(error, p.NoSuchHost):
            text = f"failed to resolve host '{error.host}': [Errno -2] Name or service not known"
            return Problem("psycopg.OperationalError", text)
        if isinstance(error, p.ConnectionReset | p.RequestTimeout):
            text = "consuming input failed: server closed the connection unexpectedly"
            return Problem("psycopg.OperationalError", text)
        ip = error.address.rpartition(":")[0] or error.host
        why = "Connection refused" if isinstance(error, p.ConnectionRefused) else "timeout expired"
        text = f'connection failed: connection to server at "{ip}", port {error.port} failed: {why}'
        return Problem("psycopg.OperationalError", text)

    def cache_problem(self, error: Exception) -> Problem:
        base = "redis.exceptions."
        match error:
            case p.RequestTimeout():
                text = f"Timeout reading from {error.host}:{error.port}"
                return Problem(base + "TimeoutError", text)
            case p.PoolTimeout():
                return Problem(base + "ConnectionError", "No connection available.")
            case p.ConnectionRefused():
                text = f"Error 111 connecting to {error.host}:{error.port}. Connection refused."
                return Problem(base + "ConnectionError", text)
            case p.NoSuchHost():
                text = (
                    f"Error -2 connecting to {error.host}:{error.port}. Name or service not known."
                )
                return Problem(base + "ConnectionError", text)
            case p.ConnectTimeout():
                text = f"Timeout connecting to server {error.host}:{error.port}"
                return Problem(base + "TimeoutError", text)
            case p.NetError():
                return Problem(base + "ConnectionError", "Connection closed by server.")
            case _:
                return _reply(str(error))

    def queue_problem(self, error: Exception) -> Problem:
        match error:
            case p.RequestTimeout():
                return Problem("nats.errors.TimeoutError", "nats: timeout")
            case p.ConnectionReset():
                return Problem("nats.errors.ConnectionClosedError", "nats: connection closed")
            case p.NetError():
                text = "nats: no servers available for connection"
                return Problem("nats.errors.NoServersError", text)
            case _:
                return Problem("nats.js.errors.APIError", f"nats: {error}")

    def config_problem(self, error: ConfigError) -> Problem:
        if error.value is None:
            return Problem("KeyError", repr(error.key))
        text = f"{error.key}: expected {error.expected}, got {error.value!r}"
        return Problem("ValueError", text)

    def defect(self, route: str) -> Problem:
        return Problem("AttributeError", "'NoneType' object has no attribute 'get'")


def _reply(text: str) -> Problem:
    """Name the redis-py class of an error reply, which drops the reply's first word."""
    word, _, rest = text.partition(" ")
    kinds = {
        "WRONGPASS": "AuthenticationError",
        "NOAUTH": "AuthenticationError",
        "OOM": "OutOfMemoryError",
        "LOADING": "BusyLoadingError",
        "NOPERM": "NoPermissionError",
    }
    kind = kinds.get(word)
    if kind is None:
        return Problem("redis.exceptions.ResponseError", text)
    return Problem(f"redis.exceptions.{kind}", rest)
