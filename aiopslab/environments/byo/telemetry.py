"""The Environment's ``Telemetry`` on a monitoring stack that is there already.

What Prometheus, Loki and Jaeger have of the app is copied, window by window, into a store of our
own; so every question of the contract is answered, SQL and files included, by the code that answers
for the simulated world, and our alert rules are evaluated on it. Events, changes and posts, which
no such stack knows of, are asked of who does (``News``), or told (``record_change``). Not here: the
APIs (``byo.sources``), whether the stack has what is needed (``byo.check``).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from aiopslab.environments.byo.sources import (
    STAGE,
    Line,
    Source,
    Span,
    Urls,
    lines,
    name_of,
    rounds,
    spans,
    traced,
)
from aiopslab.environments.refreshed_telemetry import RefreshedTelemetry
from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.models.signal import Change, Event, StatusPost
from aiopslab.telemetry.rules import EVALUATE_S, RuleEvaluator, load_rules
from aiopslab.telemetry.samples import SCRAPE_S
from aiopslab.telemetry.store import Store

N = TypeVar("N", Event, Change, StatusPost)
LAG_S = 2 * SCRAPE_S
"""Seconds that samples may take until Prometheus has them."""
LATE_S = 30.0
"""Seconds for which lines and spans are looked for again, because they may come late."""
FRESH_S = 2.0
"""Seconds for which the copy is new enough to answer from."""
OF_CLUSTER = '{__name__=~"node_.+|kube_node_.+|up",namespace=""}'


class News(Protocol):
    """Who knows what happened: the observer, for instance (``cluster.telemetry``)."""

    async def events(
        self, *, namespace: str, name: str = "", warnings_only: bool = False, since: float
    ) -> list[Event]: ...

    async def changes(self, *, component: str = "", since: float) -> list[Change]: ...

    async def status_posts(self, *, partner: str = "", since: float) -> list[StatusPost]: ...


class ByoTelemetry(RefreshedTelemetry):
    """Copies what an existing monitoring stack has of one app.

    Args:
        urls: Where it answers.
        app: The app, with the namespace it is in.
        now: Unix seconds of the environment's clock.
        since: Copy from here on.
        news: Knows events, changes and posts; None: nobody does.
        sources: Makes the clients of Prometheus, Loki and Jaeger; others in tests.
    """

    def __init__(
        self,
        urls: Urls,
        app: App,
        *,
        now: Callable[[], float],
        since: float,
        news: News | None = None,
        sources: Callable[[str], Source] = Source,
    ) -> None:
        store = Store()
        rules = RuleEvaluator(store, load_rules(j.entry for j in app.journeys.values()))
        super().__init__(now, store, rules)
        self._clock = now
        self._copied = store
        self._evaluator = rules
        self._prometheus = sources(urls.prometheus)
        self._loki = sources(urls.loki)
        self._jaeger = sources(urls.jaeger)
        self._news = news
        self._selector = f'{{namespace="{app.namespace}"}}'
        self._services = {*app.services, *app.stores}
        self._namespace = app.namespace
        self._since = since
        self._sampled = math.floor(since / SCRAPE_S) * SCRAPE_S
        self._logged = self._traced = self._seen = since
        self._lines: set[tuple[float, str, str]] = set()
        self._spans: dict[tuple[int, int], float] = {}
        self._told: set[Event | Change | StatusPost] = set()
        self._refreshed_at: float | None = None

    async def refresh(self, *, anyway: bool = False) -> None:
        at = self._clock()
        if not anyway and self._refreshed_at is not None and at - self._refreshed_at < FRESH_S:
            return
        # Set first: who asks meanwhile is answered from what there is.
        self._refreshed_at = at
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._samples(at))
                tasks.create_task(self._log(at))
                tasks.create_task(self._trace(at))
                tasks.create_task(self._happened(at))
        except ExceptionGroup as group:
            self._refreshed_at = None
            first = group.exceptions[0]
            if isinstance(first, InfraError):
                raise first from None
            if not isinstance(first, KeyError | TypeError | ValueError):
                raise
            raise InfraError(STAGE, f"an answer is malformed: {first!r}") from None

    def record_change(self, change: Change) -> None:
        """Enter a change; nobody else knows of any."""
        self._copied.change(change)

    def record_post(self, post: StatusPost) -> None:
        """Enter what a partner published on its status page."""
        self._copied.post(post)

    async def _samples(self, at: float) -> None:
        """Copy whole rounds, those that Prometheus must have by now."""
        last = math.floor((at - LAG_S) / SCRAPE_S) * SCRAPE_S
        first = self._sampled + SCRAPE_S
        if last < first:
            return
        found = []
        for selector in (self._selector, OF_CLUSTER):
            found += await rounds(self._prometheus, selector, first, last, SCRAPE_S)
        table = self._copied.samples
        by_time: dict[float, list[tuple[int, float]]] = {}
        for labels, points in found:
            column = table.column(*name_of(labels))
            for time, value in points:
                by_time.setdefault(time, []).append((column, value))
        for time in (first + i * SCRAPE_S for i in range(round((last - first) / SCRAPE_S) + 1)):
            row = table.row(time)
            for column, value in by_time.get(time, ()):
                row[column] = value
            if time % EVALUATE_S == 0:
                self._evaluator.evaluate(time)
        self._sampled = last

    async def _log(self, at: float) -> None:
        start = max(self._since, self._logged - LATE_S)
        found = await lines(self._loki, self._selector, start, at)
        new = [line for line in found if self._is_new(line)]
        for line in new:
            self._copied.log(
                line.time, line.service, line.labels.get("namespace", self._namespace),
                line.labels.get("pod", ""), line.labels.get("container", ""), line.severity,
                line.text, _trace_id(line),
            )  # fmt: skip
        self._logged = at
        self._lines = {key for key in self._lines if key[0] >= at - 2 * LATE_S}

    def _is_new(self, line: Line) -> bool:
        key = (line.time, line.labels.get("pod", ""), line.text)
        if key in self._lines:
            return False
        self._lines.add(key)
        return True

    async def _trace(self, at: float) -> None:
        start = max(self._since, self._traced - LATE_S)
        services = self._services.intersection(await traced(self._jaeger))
        found: dict[tuple[int, int], Span] = {}
        for service in sorted(services):
            for span in await spans(self._jaeger, service, start, at):
                found[span.trace, span.id] = span
        for key, span in sorted(found.items(), key=lambda item: (item[1].end, item[0])):
            if key not in self._spans:
                self._spans[key] = span.end
                self._copied.span(
                    span.trace, span.id, span.parent, span.service, span.pod, span.name,
                    span.kind, span.start, span.end, span.error, span.attributes,
                )  # fmt: skip
        self._traced = at
        oldest = at - 10 * LATE_S
        self._spans = {key: end for key, end in self._spans.items() if end >= oldest}

    async def _happened(self, at: float) -> None:
        if self._news is None:
            return
        since = max(self._since, self._seen - LATE_S)
        for event in self._new(await self._news.events(namespace=self._namespace, since=since)):
            self._copied.event(event)
        for change in self._new(await self._news.changes(since=since)):
            self._copied.change(change)
        for post in self._new(await self._news.status_posts(since=since)):
            self._copied.post(post)
        self._seen = at

    def _new(self, found: Sequence[N]) -> list[N]:
        """Return what was not copied yet."""
        new = [one for one in found if one not in self._told]
        self._told.update(new)
        return new


def _trace_id(line: Line) -> int:
    text = line.labels.get("trace_id", "")
    try:
        return int(text, 16) if text else 0
    except ValueError:
        return 0
