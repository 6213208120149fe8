"""Go: zap JSON lines, errors wrapped in sentences, panics only at start."""

from __future__ import annotations

import json
from collections.abc import Sequence

from aiopslab.services import protocols as p
from aiopslab.services.config import ConfigError
from aiopslab.services.languages.dialect import Dialect, Fields, Frame, Level, Problem, iso

_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


class Go(Dialect):
    """net/http, pgx v5, go-redis, nats.go."""

    def line(
        self, time: float, level: Level, message: str, fields: Fields, trace: str, span: str
    ) -> str:
        record: dict[str, str | int | float] = {
            "level": level.lower(),
            "ts": f"{iso(time)}Z",
            "logger": self.service,
            "msg": message,
            **fields,
        }
        if trace:
            record |= {"trace_id": trace, "span_id": span}
        return _ENCODE(record)

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
        fields = {
            "error": problem.message,
            "stacktrace": self.stack(problem, frames),
        }
        return self.line(time, level, message, fields, trace, span)

    def fatal(self, time: float, problem: Problem, frames: Sequence[Frame]) -> str:
        panic = f"panic: {problem.message}\n\ngoroutine 1 [running]:\n"
        return panic + self.stack(problem, frames) + "\nexit status 2"

    def stack(self, problem: Problem, frames: Sequence[Frame]) -> str:
        return "\n".join(
            f"{self.service}/internal/{f.module}.{f.function}\n"
            f"\t/src/internal/{f.module}/{f.module}.go:{f.line}"
            for f in reversed(frames)
        )

    def http_problem(self, error: p.NetError, method: str, url: str) -> Problem:
        if isinstance(error, p.CircuitOpen):
            return Problem("gobreaker.ErrOpenState", "circuit breaker is open")
        where = f'{method.capitalize()} "{url}": '
        if isinstance(error, p.RequestTimeout | p.PoolTimeout):
            text = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return Problem("context.deadlineExceededError", where + text)
        return Problem(_type(error), where + _dial(error))

    def sql_problem(self, error: p.NetError | p.SqlError, user: str, database: str) -> Problem:
        if isinstance(error, p.PoolTimeout):
            text = "acquire connection from pool: context deadline exceeded"
            return Problem("context.deadlineExceededError", text)
        if isinstance(error, p.RequestTimeout):
            return Problem("context.deadlineExceededError", "timeout: context deadline exceeded")
        if isinstance(error, p.NetError):
            text = f"failed to connect to `user={user} database={database}`: {_dial(error)}"
            return Problem("*pgconn.ConnectError", text)
        text = f"{error.severity}: {error.message} (SQLSTATE {error.sqlstate})"
        if error.severity == "FATAL":
            at = f"failed to connect to `user={user} database={database}`: "
            return Problem("*pgconn.ConnectError", f"{at}server error: {text}")
        return Problem("*pgconn.PgError", text)

    def cache_problem(self, error: Exception) -> Problem:
        if isinstance(error, p.PoolTimeout):
            return Problem("redis.PoolTimeout", "redis: connection pool timeout")
        if isinstance(error, p.RequestTimeout):
            text = f"read tcp {error.address}: i/o timeout"
            return Problem("*net.OpError", text)
        if isinstance(error, p.NetError):
            return Problem(_type(error), _dial(error))
        return Problem("redis.Error", str(error))

    def queue_problem(self, error: Exception) -> Problem:
        if isinstance(error, p.RequestTimeout):
            return Problem("nats.ErrTimeout", "nats: timeout")
        if isinstance(error, p.ConnectionReset):
            return Problem("nats.ErrConnectionClosed", "nats: connection closed")
        if isinstance(error, p.NetError):
            return Problem(_type(error), _dial(error))
        return Problem("*nats.APIError", f"nats: {error}")

    def config_problem(self, error: ConfigError) -> Problem:
        if error.value is None:
            text = f'env: required environment variable "{error.key}" is not set'
        else:
            text = (
                f'env: parse error on field "{error.key}": {error.expected} expected, '
                f'got "{error.value}"'
            )
        return Problem("env.AggregateError", text)

    def defect(self, route: str) -> Problem:
        text = "runtime error: invalid memory address or nil pointer dereference"
        return Problem("runtime.Error", text)


def _type(error: p.NetError) -> str:
    return "*net.DNSError" if isinstance(error, p.NoSuchHost) else "*net.OpError"


def _dial(error: p.NetError) -> str:
    match error:
        case p.NoSuchHost():
            return f"dial tcp: lookup {error.host} on 198.18.0.10:53: no such host"
        case p.ConnectionRefused():
            return f"dial tcp {error.address}: connect: connection refused"
        case p.ConnectTimeout():
            return f"dial tcp {error.address}: i/o timeout"
        case p.TlsError():
            return f"tls: failed to verify certificate: {error.detail}"
        case p.ConnectionReset():
            return f"read tcp {error.address}: read: connection reset by peer"
        case _:
            return str(error)
