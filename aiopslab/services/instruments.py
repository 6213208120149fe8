"""Metrics of one process, under the names OpenTelemetry's conventions have in Prometheus.

Instruments are looked up once per label set and kept. Not here: when they are read (scraping).
"""

from __future__ import annotations

from collections.abc import Callable

from aiopslab.services.protocols import Counter, Histogram, PoolStats, Telemetry

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Bucket bounds that the HTTP and database conventions recommend."""


QUEUE_SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)
"""Bucket bounds of waiting times in a queue."""


class Durations:
    """A duration histogram with fixed labels, and labels by outcome.

    An outcome is an HTTP status, ``""`` for success without one, or the type of an error. As the
    conventions have it, a status from ``error_from`` on is an ``error_type`` too.
    """

    __slots__ = ("_error_from", "_labels", "_name", "_series", "_telemetry")

    def __init__(
        self, telemetry: Telemetry, name: str, *, error_from: int = 400, **labels: str
    ) -> None:
        self._telemetry = telemetry
        self._name = name
        self._error_from = error_from
        self._labels = labels
        self._series: dict[str | int, Histogram] = {}

    def observe(self, outcome: str | int, seconds: float) -> None:
        """Count a duration."""
        series = self._series.get(outcome)
        if series is None:
            labels = self._labels | self._labels_of(outcome)
            series = self._telemetry.histogram(self._name, SECONDS, **labels)
            self._series[outcome] = series
        series.observe(seconds)

    def _labels_of(self, outcome: str | int) -> dict[str, str]:
        if isinstance(outcome, str):
            return {"error_type": outcome} if outcome else {}
        labels = {"http_response_status_code": str(outcome)}
        if outcome >= self._error_from:
            labels["error_type"] = str(outcome)
        return labels


class Instruments:
    """Makes the instruments of one process."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def server(self, method: str, route: str) -> Durations:
        """Durations of served requests by status."""
        return Durations(
            self._telemetry,
            "http_server_request_duration_seconds",
            error_from=500,
            http_request_method=method,
            http_route=route,
        )

    def client(self, target: str, method: str) -> Durations:
        """Durations of requests to a target by outcome."""
        return Durations(
            self._telemetry,
            "http_client_request_duration_seconds",
            http_request_method=method,
            server_address=target,
        )

    def database(self, system: str, store: str, operation: str) -> Durations:
        """Durations of database operations by outcome."""
        return Durations(
            self._telemetry,
            "db_client_operation_duration_seconds",
            db_system_name=system,
            server_address=store,
            db_operation_name=operation,
        )

    def sends(self, store: str, subject: str) -> Durations:
        """Durations of publications by outcome."""
        return Durations(
            self._telemetry,
            "messaging_client_operation_duration_seconds",
            messaging_system="nats",
            messaging_operation_name="publish",
            messaging_destination_name=subject,
            server_address=store,
        )

    def processing(self, stream: str, group: str) -> Durations:
        """Durations of work on messages by outcome."""
        return Durations(
            self._telemetry,
            "messaging_process_duration_seconds",
            messaging_system="nats",
            messaging_destination_name=stream,
            messaging_consumer_group_name=group,
        )

    def received(self, stream: str, group: str) -> Counter:
        """Count messages given to this process."""
        return self._telemetry.counter(
            "messaging_client_consumed_messages_total",
            messaging_system="nats",
            messaging_destination_name=stream,
            messaging_consumer_group_name=group,
        )

    def delays(self, stream: str, group: str) -> Histogram:
        """Seconds from the publication of a message to the begin of work on it."""
        return self._telemetry.histogram(
            "messaging_queue_delay_seconds",
            QUEUE_SECONDS,
            messaging_system="nats",
            messaging_destination_name=stream,
            messaging_consumer_group_name=group,
        )

    def lookups(self, store: str) -> tuple[Counter, Counter]:
        """Counters of cache hits and misses."""
        count = self._telemetry.counter
        return (
            count("cache_requests_total", server_address=store, result="hit"),
            count("cache_requests_total", server_address=store, result="miss"),
        )

    def retries(self, target: str) -> Counter:
        """Count requests sent again."""
        return self._telemetry.counter("http_client_retries_total", server_address=target)

    def gauge(self, name: str, read: Callable[[], float], **labels: str) -> None:
        """Register a gauge."""
        self._telemetry.gauge(name, read, **labels)

    def breaker(self, target: str, state: Callable[[], str]) -> None:
        """One gauge per state of a breaker, 1 for the current one."""
        for name in ("closed", "half_open", "open"):

            def read(name: str = name) -> float:
                return float(state() == name)

            self.gauge("circuit_breaker_state", read, server_address=target, state=name)

    def pool(self, kind: str, target: str, stats: Callable[[], PoolStats]) -> None:
        """Gauges of a connection pool; ``kind`` is ``db_client`` or ``http_client``."""
        base = f"{kind}_connection"
        labels = {"pool_name": target}
        self.gauge(f"{base}_count", lambda: stats().used, state="used", **labels)
        self.gauge(f"{base}_count", lambda: stats().idle, state="idle", **labels)
        self.gauge(f"{base}_pending_requests", lambda: stats().pending, **labels)
        self.gauge(f"{base}_max", lambda: stats().size, **labels)
