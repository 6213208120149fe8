"""Java: logback lines and stack traces; java.net.http, HikariCP with pgjdbc, Lettuce."""

from __future__ import annotations

from collections.abc import Sequence

from aiopslab.services import protocols as p
from aiopslab.services.config import ConfigError
from aiopslab.services.languages.dialect import (
    Dialect,
    Fields,
    Frame,
    Level,
    Problem,
    camel,
    iso,
)

_PSQL = "org.postgresql.util.PSQLException"
_CONNECT = "java.net.ConnectException"


class Java(Dialect):
    """Spring Boot's habits."""

    def line(
        self, time: float, level: Level, message: str, fields: Fields, trace: str, span: str
    ) -> str:
        context = f"[{trace},{span}] " if trace else ""
        tail = "".join(f" {key}={value}" for key, value in fields.items())
        name = f"c.e.{self.service.replace('-', '')}.{camel(self.service)}Service"
        shown = "ERROR" if level == "FATAL" else level
        return f"{iso(time)}Z {shown:>5} 1 --- [{self.service}] {context}{name} : {message}{tail}"

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
        return f"{text}\n\n{self.stack(problem, frames)}"

    def fatal(self, time: float, problem: Problem, frames: Sequence[Frame]) -> str:
        head = self.line(time, "ERROR", "Application run failed", {}, "", "")
        return f"{head}\n\n{self.stack(problem, frames)}"

    def stack(self, problem: Problem, frames: Sequence[Frame]) -> str:
        package = f"com.example.{self.service.replace('-', '')}"
        own = [
            f"\tat {package}.{camel(f.module)}.{f.function}({camel(f.module)}.java:{f.line})"
            for f in reversed(frames)
        ]
        below = [
            "\tat org.springframework.web.servlet.DispatcherServlet.doDispatch("
            "DispatcherServlet.java:1089)",
            "\tat java.base/java.lang.Thread.run(Thread.java:1583)",
        ]
        return "\n".join([f"{problem.type}: {problem.message}", *own, *below])

    def http_problem(self, error: p.NetError, method: str, url: str) -> Problem:
        match error:
            case p.CircuitOpen():
                return Problem(
                    "io.github.resilience4j.circuitbreaker.CallNotPermittedException",
                    f"CircuitBreaker '{error.host}' is OPEN and does not permit further calls",
                )
            case p.RequestTimeout():
                return Problem("java.net.http.HttpTimeoutException", "request timed out")
            case p.PoolTimeout():
                return Problem(
                    "org.apache.hc.core5.http.ConnectionRequestTimeoutException",
                    f"Timeout waiting for connection from pool (route {url})",
                )
            case _:
                return _net(error)

    def sql_problem(self, error: p.NetError | p.SqlError, user: str, database: str) -> Problem:
        match error:
            case p.SqlError(severity="FATAL"):
                return Problem(_PSQL, f"FATAL: {error.message}")
            case p.SqlError():
                return Problem(_PSQL, f"ERROR: {error.message}")
            case p.PoolTimeout():
                return Problem(
                    "java.sql.SQLTransientConnectionException",
                    f"HikariPool-1 - Connection is not available, {error.detail}",
                )
            case p.RequestTimeout():
                return Problem(_PSQL, "An I/O error occurred while sending to the backend.")
            case p.ConnectionRefused():
                return Problem(
                    _PSQL,
                    f"Connection to {error.host}:{error.port} refused. Check that the hostname "
                    "and port are correct and that the postmaster is accepting TCP/IP "
                    "connections.",
                )
            case p.ConnectionReset():
                return Problem(_PSQL, "An I/O error occurred while sending to the backend.")
            case _:
                return Problem(_PSQL, "The connection attempt failed.")

    def cache_problem(self, error: Exception) -> Problem:
        lettuce = "io.lettuce.core.Redis"
        if isinstance(error, p.RequestTimeout | p.PoolTimeout):
            return Problem(f"{lettuce}CommandTimeoutException", "Command timed out")
        if isinstance(error, p.NetError):
            text = f"Unable to connect to {error.host}/<unresolved>:{error.port}"
            return Problem(f"{lettuce}ConnectionException", text)
        return Problem(f"{lettuce}CommandExecutionException", str(error))

    def queue_problem(self, error: Exception) -> Problem:
        if isinstance(error, p.RequestTimeout):
            text = "Timeout or no response waiting for NATS JetStream server"
            return Problem("java.io.IOException", text)
        if isinstance(error, p.ConnectionReset):
            return Problem("java.lang.IllegalStateException", "Connection is Closed")
        if isinstance(error, p.NetError):
            text = f"Unable to connect to NATS servers: [nats://{error.host}:{error.port}]"
            return Problem("java.io.IOException", text)
        return Problem("io.nats.client.JetStreamApiException", str(error))

    def config_problem(self, error: ConfigError) -> Problem:
        if error.value is None:
            text = f"Could not resolve placeholder '{error.key}' in value \"${{{error.key}}}\""
            return Problem("java.lang.IllegalArgumentException", text)
        text = f'For input string: "{error.value}" ({error.key}: expected {error.expected})'
        return Problem("java.lang.NumberFormatException", text)

    def defect(self, route: str) -> Problem:
        text = 'Cannot invoke "java.util.Map.get(Object)" because "context" is null'
        return Problem("java.lang.NullPointerException", text)


def _net(error: p.NetError) -> Problem:
    match error:
        case p.NoSuchHost():
            return Problem("java.net.UnknownHostException", error.host)
        case p.ConnectionRefused():
            return Problem(_CONNECT, f"Connection refused: {error.host}/{error.address}")
        case p.ConnectTimeout():
            return Problem("java.net.http.HttpConnectTimeoutException", "HTTP connect timed out")
        case p.TlsError():
            text = f"PKIX path validation failed: {error.detail}"
            return Problem("javax.net.ssl.SSLHandshakeException", text)
        case p.ConnectionReset():
            return Problem("java.net.SocketException", "Connection reset")
        case _:
            return Problem("java.io.IOException", str(error))
