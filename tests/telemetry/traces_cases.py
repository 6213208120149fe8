"""A span table of three requests for tests of trace search."""

from __future__ import annotations

from aiopslab.telemetry.spans import SpanTable

START = 1_700_000_000.0


def table() -> SpanTable:
    """Return traces 1 (fine), 2 (slow) and 3 (failed): web calls rate, rate asks its database."""
    spans = SpanTable()
    for trace, ms, error in ((1, 100.0, ""), (2, 900.0, ""), (3, 300.0, "connection refused")):
        at, s = START + 10.0 * trace, ms / 1000.0
        status = 500 if error else 200
        spans.append(
            trace, 4, 3, "rate", "rate-1", "SELECT rates", "client", at + 0.2 * s, at + 0.7 * s,
            error, {"db.system.name": "postgresql", "server.address": "rate-postgres"},
        )  # fmt: skip
        spans.append(
            trace, 3, 2, "rate", "rate-1", "GET /rates", "server", at + 0.15 * s, at + 0.8 * s,
            error, {"http.response.status_code": status, "cached": False},
        )  # fmt: skip
        spans.append(
            trace, 2, 1, "web", "web-1", "GET /rates", "client", at + 0.1 * s, at + 0.9 * s, error,
            {"http.response.status_code": status, "server.address": "rate"},
        )  # fmt: skip
        spans.append(
            trace, 1, 0, "web", "web-1", "GET /hotels", "server", at, at + s, error,
            {"http.response.status_code": status, "http.route": "/hotels"},
        )  # fmt: skip
    return spans
