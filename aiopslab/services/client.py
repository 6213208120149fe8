"""Calling another service: attempts, retries with backoff and full jitter, breaker, spans.

A ``ServiceClient`` is one target under one ``ClientPolicy``; an ``Operation`` is one method and
path of it. Not here: the connection pool and one attempt's wire (``protocols.Http``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiopslab.services.breaker import Breaker
from aiopslab.services.config import ClientPolicy
from aiopslab.services.exchange import Exchange, RequestFailed
from aiopslab.services.instruments import Durations, Instruments
from aiopslab.services.journal import Journal
from aiopslab.services.languages import Dialect, Frame, Problem
from aiopslab.services.protocols import (
    CircuitOpen,
    ConnectionRefused,
    ConnectTimeout,
    Host,
    NetError,
    NoSuchHost,
    PoolStats,
    PoolTimeout,
    Request,
    RequestTimeout,
    Response,
    TlsFiles,
)

_UNAVAILABLE = 503
"""With 429, the status that another attempt may cure: the request was turned away unserved."""
_TOO_MANY = 429
_BACKOFF_CAP_S = 5.0


@dataclass(slots=True)
class Operation:
    """One method and path of a target, with what its spans and metrics share."""

    method: str
    path: str
    name: str
    """Of its spans."""
    url: str
    durations: Durations
    frames: list[Frame]
    attributes: dict[int, dict[str, str | int]] = field(default_factory=dict)
    """Span attributes by status."""

    @property
    def repeatable(self) -> bool:
        """Whether a request may be sent again although it may have been served."""
        return self.method != "POST"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is called: the component's name, and how it is spoken to."""

    name: str
    tls: TlsFiles | None = None
    outside: bool = False
    """A party outside the cluster: spans name its host, and the component as ``peer.service``."""


class _Failure(Exception):
    """An attempt failed; carries what the caller sees and whether to try again."""

    def __init__(self, failed: RequestFailed, *, again: bool) -> None:
        super().__init__(str(failed))
        self.failed = failed
        self.again = again


class ServiceClient:
    """Calls one target service."""

    def __init__(
        self, peer: Peer, policy: ClientPolicy, host: Host, dialect: Dialect, journal: Journal
    ) -> None:
        self.peer = peer
        self.target = target = peer.name
        self.policy = policy
        self._timeout_s = policy.timeout_s
        self._http = host.http(
            policy.host, policy.port, pool=policy.pool, tls=peer.tls, max_age_s=policy.max_age_s
        )
        self._clock = host.clock
        self._now = host.clock.now
        self._random: random.Random = host.random
        self._telemetry = host.telemetry
        self._name = host.name
        self._dialect = dialect
        self._journal = journal
        self._instruments = Instruments(host.telemetry)
        self._retried = self._instruments.retries(target)
        self._breaker = Breaker(policy.breaker_errors, policy.breaker_open_s)
        if policy.breaker_errors:
            self._instruments.breaker(target, lambda: self._breaker.state)
        self._instruments.pool("http_client", target, self._http.stats)

    def stats(self) -> PoolStats:
        """Return the state of the connection pool."""
        return self._http.stats()

    def operation(self, method: str, path: str) -> Operation:
        """Prepare a method and path."""
        module = f"{self.target}_client"
        return Operation(
            method=method,
            path=path,
            name=f"{method} {path}",
            url=self._url(path),
            durations=self._instruments.client(self.target, method),
            frames=[self._dialect.frame(module, f"{method.lower()}{path}")],
        )

    def _url(self, path: str) -> str:
        scheme, usual = ("https", 443) if self.peer.tls else ("http", 80)
        port = "" if self.policy.port == usual else f":{self.policy.port}"
        return f"{scheme}://{self.policy.host}{port}{path}"

    async def call(
        self,
        operation: Operation,
        x: Exchange,
        params: Mapping[str, str],
        on_part: Callable[[], None] | None = None,
    ) -> Response:
        """Send a request, again where the policy says so; ``on_part``: a streamed answer begins.

        Raises:
            RequestFailed: No attempt succeeded.
        """
        attempt = 0
        while True:
            try:
                return await self._attempt(operation, x, params, attempt, on_part)
            except _Failure as failure:
                if not failure.again or attempt >= self.policy.retries:
                    raise failure.failed from None
                problem = failure.failed.problem
            attempt += 1
            self._retried.add()
            fields: dict[str, str | int] = {"attempt": attempt, "error": problem.message}
            self._journal.write("WARN", f"retrying request to {self.target}", fields, x)
            doubled = self.policy.backoff_s * 2.0 ** min(attempt - 1, 60)
            ceiling = min(doubled, _BACKOFF_CAP_S)
            await self._clock.sleep(self._random.uniform(0.0, ceiling))

    async def _attempt(
        self,
        operation: Operation,
        x: Exchange,
        params: Mapping[str, str],
        attempt: int,
        on_part: Callable[[], None] | None,
    ) -> Response:
        start = self._now()
        if not self._breaker.allows(start):
            raise self._rejected(operation)
        span_id = self._telemetry.new_span_id()
        request = Request(operation.method, operation.path, params, x.trace_id, span_id, self._name)
        try:
            response = await self._http.send(request, timeout_s=self._timeout_s, on_part=on_part)
        except NetError as error:
            problem = self._dialect.http_problem(error, operation.method, operation.url)
            self._record(operation, x, span_id, start, problem, 0, attempt)
            self._count_failure()
            failed = RequestFailed(_status_of(error), problem, operation.frames)
            raise _Failure(failed, again=_again(error, operation)) from error
        except BaseException:
            self._breaker.cancelled()
            raise
        status = response.status
        if status < 400:
            self._breaker.succeeded()
            self._record(operation, x, span_id, start, None, status, attempt)
            return response
        problem = Problem(str(status), f"{operation.method} {operation.url}: status {status}")
        self._record(operation, x, span_id, start, problem, status, attempt)
        if status < 500 and not self.peer.outside:
            self._breaker.succeeded()
            raise RequestFailed(status, problem, operation.frames)
        # What a partner refuses, too many requests above all, is no mistake of our own caller.
        self._count_failure()
        unserved = status in (_UNAVAILABLE, _TOO_MANY)
        failed = RequestFailed(_UNAVAILABLE if unserved else 502, problem, operation.frames)
        raise _Failure(failed, again=unserved)

    def _rejected(self, operation: Operation) -> _Failure:
        error = CircuitOpen(self.target, self.policy.port)
        problem = self._dialect.http_problem(error, operation.method, operation.url)
        operation.durations.observe(problem.type, 0.0)
        return _Failure(RequestFailed(503, problem, operation.frames), again=False)

    def _count_failure(self) -> None:
        before = self._breaker.state
        self._breaker.failed(self._now())
        if self._breaker.state == "open" and before != "open":
            fields: dict[str, str | int] = {
                "target": self.target,
                "open_ms": round(self.policy.breaker_open_s * 1000),
            }
            self._journal.write("WARN", f"circuit breaker for {self.target} opened", fields)

    def _record(
        self,
        operation: Operation,
        x: Exchange,
        span_id: int,
        start: float,
        problem: Problem | None,
        status: int,
        attempt: int,
    ) -> None:
        """Write the client span and the duration of one attempt; ``status`` 0: no answer."""
        if not x.trace_id:
            return  # a poll for state: neither traced nor counted
        end = self._now()
        attributes = operation.attributes.get(status)
        if attributes is None:
            attributes = {
                "http.request.method": operation.method,
                "url.full": operation.url,
                "server.address": self.policy.host if self.peer.outside else self.target,
                "server.port": self.policy.port,
            }
            if self.peer.outside:
                attributes["peer.service"] = self.target
            if status:
                attributes["http.response.status_code"] = status
            operation.attributes[status] = attributes
        if problem is not None:
            attributes = attributes | {"error.type": problem.type}
        if attempt:
            attributes = attributes | {"http.request.resend_count": attempt}
        self._telemetry.span(
            x.trace_id, span_id, x.span_id, operation.name, "client", start, end,
            problem.message if problem else "", attributes,
        )  # fmt: skip
        operation.durations.observe(status or (problem.type if problem else ""), end - start)


def _status_of(error: NetError) -> int:
    return 504 if isinstance(error, RequestTimeout | ConnectTimeout) else 503


def _again(error: NetError, operation: Operation) -> bool:
    """Say whether to try again: what was never sent, and what may be repeated."""
    if isinstance(error, ConnectionRefused | ConnectTimeout | NoSuchHost):
        return True
    return operation.repeatable and not isinstance(error, PoolTimeout)
