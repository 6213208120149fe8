"""Node: pino JSON lines with ``err.stack``; undici, node-postgres, ioredis."""

from __future__ import annotations

import json
from collections.abc import Sequence

from aiopslab.services import protocols as p
from aiopslab.services.config import ConfigError
from aiopslab.services.languages.dialect import Dialect, Fields, Frame, Level, Problem

_LEVELS = {"DEBUG": 20, "INFO": 30, "WARN": 40, "ERROR": 50, "FATAL": 60}


class Node(Dialect):
    """Fastify's habits."""

    def line(
        self, time: float, level: Level, message: str, fields: Fields, trace: str, span: str
    ) -> str:
        return json.dumps(self._record(time, level, fields, trace, span) | {"msg": message})

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
        err = {
            "type": problem.type,
            "message": problem.message,
            "stack": self.stack(problem, frames),
        }
        record = self._record(time, level, {}, trace, span)
        return json.dumps(record | {"err": err, "msg": message})

    def fatal(self, time: float, problem: Problem, frames: Sequence[Frame]) -> str:
        return f"{self.stack(problem, frames)}\n\nNode.js v22.11.0"

    def stack(self, problem: Problem, frames: Sequence[Frame]) -> str:
        own = [
            f"    at {f.function} (/app/src/{f.module}.js:{f.line}:{f.line % 40 + 7})"
            for f in reversed(frames)
        ]
        below = "    at process.processTicksAndRejections (node:internal/process/task_queues:105:5)"
        return "\n".join([f"{problem.type}: {problem.message}", *own, below])

    def http_problem(self, error: p.NetError, method: str, url: str) -> Problem:
        match error:
            case p.CircuitOpen():
                return Problem("EOPENBREAKER", "Breaker is open")
            case p.RequestTimeout():
                return Problem("TimeoutError", "The operation was aborted due to timeout")
            case p.PoolTimeout():
                return Problem("TimeoutError", f"request queue timeout for {url}")
            case _:
                return _net(error)

    def sql_problem(self, error: p.NetError | p.SqlError, user: str, database: str) -> Problem:
        if isinstance(error, p.SqlError):
            return Problem("error", f"{error.message} (code {error.sqlstate})")
        if isinstance(error, p.PoolTimeout):
            return Problem("Error", "timeout exceeded when trying to connect")
        if isinstance(error, p.RequestTimeout):
            return Problem("Error", "Query read timeout")
        if isinstance(error, p.ConnectionReset):
            return Problem("Error", "Connection terminated unexpectedly")
        return _net(error)

    def cache_problem(self, error: Exception) -> Problem:
        if isinstance(error, p.RequestTimeout | p.PoolTimeout):
            return Problem("Error", "Command timed out")
        if isinstance(error, p.NetError):
            return _net(error)
        return Problem("ReplyError", str(error))

    def queue_problem(self, error: Exception) -> Problem:
        if isinstance(error, p.RequestTimeout):
            return Problem("TimeoutError", "timeout")
        if isinstance(error, p.ConnectionReset):
            return Problem("ClosedConnectionError", "closed connection")
        if isinstance(error, p.NetError):
            return _net(error)
        return Problem("JetStreamApiError", str(error))

    def config_problem(self, error: ConfigError) -> Problem:
        if error.value is None:
            return Problem("Error", f"env must have required property '{error.key}'")
        text = f"env/{error.key} must be {error.expected} (received {json.dumps(error.value)})"
        return Problem("Error", text)

    def defect(self, route: str) -> Problem:
        return Problem("TypeError", "Cannot read properties of undefined (reading 'items')")

    def _record(
        self, time: float, level: Level, fields: Fields, trace: str, span: str
    ) -> dict[str, object]:
        record: dict[str, object] = {
            "level": _LEVELS[level],
            "time": round(time * 1000),
            "name": self.service,
            **fields,
        }
        if trace:
            record |= {"trace_id": trace, "span_id": span}
        return record


def _net(error: p.NetError) -> Problem:
    match error:
        case p.NoSuchHost():
            return Problem("ENOTFOUND", f"getaddrinfo ENOTFOUND {error.host}")
        case p.ConnectionRefused():
            return Problem("ECONNREFUSED", f"connect ECONNREFUSED {error.address}")
        case p.ConnectTimeout():
            return Problem("ETIMEDOUT", f"connect ETIMEDOUT {error.address}")
        case p.TlsError():
            return Problem("CERT_ERROR", error.detail)
        case p.ConnectionReset():
            return Problem("ECONNRESET", "read ECONNRESET")
        case _:
            return Problem("Error", str(error))
