"""A small log table for LogQL tests: three apps that write JSON, logfmt and plain text."""

from __future__ import annotations

from aiopslab.telemetry.logs import LogTable

START = 1_700_000_000.0


def log(
    table: LogTable, at: float, line: str, *, app: str = "geo", pod: str = "", level: str = "INFO"
) -> None:
    table.append(START + at, app, "hotel", pod or f"{app}-1", app, level, line, 0xABC, 0)


def table() -> LogTable:
    """Return 60 s of lines: geo each second (JSON), rate each 2 s (logfmt), db each 5 s (text)."""
    found = LogTable()
    for n in range(60):
        status = 500 if n % 10 == 9 else 200
        log(
            found, n,
            f'{{"msg":"served","status":{status},"ms":{n}.5,"path":"/nearby",'
            f'"user":{{"id":{n % 3}}},"tags":["a","b{n}"]}}',
            pod=f"geo-{n % 2}", level="ERROR" if status == 500 else "INFO",
        )  # fmt: skip
        if n % 2 == 0:
            log(found, n + 0.5, f'level=info msg="price found" took={n}ms size={n}KB', app="rate")
        if n % 5 == 0:
            log(found, n + 0.25, f"LOG:  checkpoint {n} done by 10.0.0.{n}", app="db", level="WARN")
    return found
