"""What an existing Prometheus, Loki and Jaeger have of one app, by the HTTP APIs they share.

Rows as the store takes them: rounds of samples, lines, spans. Not here: keeping them
(``byo.telemetry``), judging whether it is enough (``byo.check``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from aiopslab.errors import InfraError
from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.samples import NAME
from aiopslab.telemetry.severity import severity_of

STAGE = "telemetry"
LINES = 5000
"""Lines asked of Loki at a time, its own limit by default."""
TRACES = 1000
"""Traces asked of Jaeger at a time; where there are more, the time is halved."""
SHORTEST_S = 0.05
_TIMEOUT_S = 30.0
_SERVICE = ("service", "service_name", "app_kubernetes_io_name", "app", "job")
"""Labels of a log stream that may say the service, in this order."""
_LEVEL = ("detected_level", "level", "severity")
_LEVELS = {
    "debug": "DEBUG", "trace": "DEBUG", "info": "INFO", "warn": "WARN", "warning": "WARN",
    "error": "ERROR", "fatal": "FATAL", "critical": "FATAL",
}  # fmt: skip
_OF_TRACING = ("span.kind", "otel.status_code", "otel.status_description", "error")


@dataclass(frozen=True, slots=True)
class Urls:
    """Where an existing monitoring stack answers; base URLs, credentials may be in them."""

    prometheus: str
    loki: str
    jaeger: str


@dataclass(frozen=True, slots=True)
class Line:
    """One log line."""

    time: float
    labels: Mapping[str, str]
    text: str

    @property
    def service(self) -> str:
        """Who wrote it; empty if no label says so."""
        return next((self.labels[name] for name in _SERVICE if self.labels.get(name)), "")

    @property
    def severity(self) -> str:
        """How grave it is, by a label or by its text."""
        said = next((self.labels[name] for name in _LEVEL if self.labels.get(name)), "")
        return _LEVELS.get(said.lower()) or severity_of(self.text)


@dataclass(frozen=True, slots=True)
class Span:
    """One span, as ``spans.SpanTable.append`` takes it."""

    trace: int
    id: int
    parent: int
    service: str
    pod: str
    name: str
    kind: str
    start: float
    end: float
    error: str
    attributes: dict[str, str | int | float]


class Source:
    """One HTTP API that answers in JSON.

    Args:
        url: Its base.
        client: Makes the client; another one in tests.
    """

    def __init__(self, url: str, client: Callable[[], httpx2.AsyncClient] | None = None) -> None:
        self._url = url.rstrip("/")
        self._client = client or (lambda: httpx2.AsyncClient(timeout=_TIMEOUT_S))

    async def get(self, path: str, **params: Any) -> Any:
        """Ask for JSON.

        Raises:
            InfraError: There was no answer, or a refusal.
        """
        url = f"{self._url}{path}"
        shown = httpx2.URL(url).copy_with(username=None, password=None)
        try:
            async with self._client() as client:
                answer = await client.get(url, params=params)
        except httpx2.HTTPError as error:
            raise InfraError(STAGE, f"{shown}: {type(error).__name__}: {error}") from None
        if answer.status_code >= 400:
            raise InfraError(STAGE, f"{shown}: {answer.status_code} {answer.text[:200]}")
        try:
            return answer.json()
        except (ValueError, json.JSONDecodeError) as error:
            raise InfraError(STAGE, f"{shown}: the answer is no JSON: {error}") from None


def _shaped(found: Any, url: str) -> Any:
    if not isinstance(found, dict) or "data" not in found:
        raise InfraError(STAGE, f"{url}: the answer has no data")
    return found["data"]


# -- Prometheus ------------------------------------------------------------------------------


async def rounds(
    source: Source, selector: str, start: float, end: float, step: float
) -> list[tuple[Labels, list[tuple[float, float]]]]:
    """Return the series that a selector finds, sampled at every step."""
    data = _shaped(
        await source.get("/api/v1/query_range", query=selector, start=start, end=end, step=step),
        "Prometheus",
    )
    found = []
    for series in data.get("result") or ():
        labels: Labels = tuple(sorted((str(k), str(v)) for k, v in series["metric"].items()))
        points = [(float(time), float(value)) for time, value in series["values"]]
        found.append((labels, points))
    return found


async def present(source: Source, selector: str, at: float) -> list[dict[str, str]]:
    """Return the labels of the series that a selector finds at a time."""
    data = _shaped(await source.get("/api/v1/query", query=selector, time=at), "Prometheus")
    return [{str(k): str(v) for k, v in s["metric"].items()} for s in data.get("result") or ()]


def name_of(labels: Labels) -> tuple[str, Labels]:
    """Return the metric's name and the other labels."""
    return dict(labels).get(NAME, ""), tuple(pair for pair in labels if pair[0] != NAME)


# -- Loki ------------------------------------------------------------------------------


async def lines(source: Source, selector: str, start: float, end: float) -> list[Line]:
    """Return the lines of ``[start, end)``, oldest first.

    Raises:
        InfraError: No answer, or more lines at one instant than can be asked for.
    """
    found: list[Line] = []
    at, until = round(start * 1e9), round(end * 1e9)
    while at < until:
        page = await _page(source, selector, at, until)
        if len(page) < LINES:
            found += [line for _, line in page]
            break
        # The last instant of a full page may go on in the next one.
        last = page[-1][0]
        if last == at:
            raise InfraError(STAGE, f"Loki has more than {LINES} lines at one instant")
        found += [line for time, line in page if time < last]
        at = last
    return found


async def _page(source: Source, selector: str, start: int, end: int) -> list[tuple[int, Line]]:
    data = _shaped(
        await source.get(
            "/loki/api/v1/query_range", query=selector, start=start, end=end, limit=LINES,
            direction="forward",
        ),
        "Loki",
    )  # fmt: skip
    found = [
        (int(time), Line(int(time) / 1e9, stream["stream"], str(text)))
        for stream in data.get("result") or ()
        for time, text, *_ in stream["values"]
    ]
    return sorted(found, key=lambda entry: entry[0])


async def logged(source: Source, selector: str, start: float, end: float) -> set[str]:
    """Return the services that have streams in a window."""
    path = "/loki/api/v1/series"
    window = {"start": round(start * 1e9), "end": round(end * 1e9)}
    found = _shaped(await source.get(path, **{"match[]": selector}, **window), "Loki")
    return {Line(0.0, labels, "").service for labels in found or ()} - {""}


# -- Jaeger ------------------------------------------------------------------------------


async def traced(source: Source) -> list[str]:
    """Return the services that have spans."""
    return sorted(str(name) for name in _shaped(await source.get("/api/services"), "Jaeger") or ())


async def spans(source: Source, service: str, start: float, end: float) -> list[Span]:
    """Return the spans of the traces of a service in a window."""
    data = _shaped(
        await source.get(
            "/api/traces", service=service, start=round(start * 1e6), end=round(end * 1e6),
            limit=TRACES, lookback="custom",
        ),
        "Jaeger",
    )  # fmt: skip
    if len(data or ()) >= TRACES and end - start > SHORTEST_S:
        middle = (start + end) / 2.0
        first = await spans(source, service, start, middle)
        return first + await spans(source, service, middle, end)
    return [span for trace in data or () for span in _spans(trace)]


def _spans(trace: Mapping[str, Any]) -> Iterator[Span]:
    processes = trace.get("processes") or {}
    for span in trace.get("spans") or ():
        process = processes.get(span.get("processID")) or {}
        tags = _tags(span.get("tags") or ())
        start = float(span["startTime"]) / 1e6
        failed = tags.get("error") in (True, "true") or tags.get("otel.status_code") == "ERROR"
        said = str(tags.get("otel.status_description") or tags.get("error.type") or "error")
        yield Span(
            trace=int(str(span["traceID"]), 16),
            id=int(str(span["spanID"]), 16),
            parent=_parent(span.get("references") or ()),
            service=str(process.get("serviceName") or ""),
            pod=str(_tags(process.get("tags") or ()).get("k8s.pod.name") or ""),
            name=str(span.get("operationName") or ""),
            kind=str(tags.get("span.kind") or "internal"),
            start=start,
            end=start + float(span["duration"]) / 1e6,
            error=said if failed else "",
            attributes={k: _scalar(v) for k, v in tags.items() if k not in _OF_TRACING},
        )


def _parent(references: Sequence[Mapping[str, Any]]) -> int:
    above = [r for r in references if r.get("refType") == "CHILD_OF"]
    return int(str(above[0]["spanID"]), 16) if above else 0


def _tags(tags: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {str(tag["key"]): tag.get("value") for tag in tags}


def _scalar(value: Any) -> str | int | float:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str | int | float) else str(value)
