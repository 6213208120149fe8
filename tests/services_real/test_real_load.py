"""All of an app as local processes on real stores, with users: promises kept, graph as written."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any

import pytest
from app_stores import cut, running
from collector import Collector, collecting
from waiting import until

from aiopslab.load.generator import Generator
from aiopslab.load.real import HttpUsers, WallLoop, offer
from aiopslab.load.slis import Slis
from aiopslab.models.app import App
from aiopslab.models.evidence import SliWindow
from aiopslab.models.step import CacheStep, CallStep, PublishStep, SqlStep, Step
from aiopslab.seeds import Streams
from aiopslab.services.catalogue import load_app
from aiopslab.services.manifests import password
from aiopslab.services.real.addresses import AddressBook
from aiopslab.services.real.clock import WallClock
from aiopslab.services.real.host import ENDPOINT
from aiopslab.services.real.local import LOOPBACK, LocalApp
from aiopslab.services.walk import walk

SECONDS = 15.0
SESSIONS_PER_S = 3.0
PATIENCE = 10
"""Timeouts are so many times as long: what is tested is not how busy the machine is."""
LONGEST_S = 200.0


def patient(app: App) -> App:
    """Return the app with longer timeouts between its services, and its users."""
    services = {
        name: service.model_copy(
            update={
                "config": {
                    key: value * PATIENCE if key.endswith("_TIMEOUT_MS") else value
                    for key, value in service.config.items()
                }
            }
        )
        for name, service in app.services.items()
    }
    rate = SESSIONS_PER_S / len(app.journeys)
    journeys = {
        name: journey.model_copy(update={"timeout_s": journey.timeout_s * PATIENCE, "rate": rate})
        for name, journey in app.journeys.items()
    }
    return app.model_copy(update={"services": services, "journeys": journeys})


def edges(app: App) -> set[tuple[str, str]]:
    """Return who calls whom, as the app says; partners in reserve are called by nobody."""
    found = set()
    for name, service in app.services.items():
        bodies: list[Iterable[Step]] = [
            *service.endpoints.values(),
            *(consumer.steps for consumer in service.consumers.values()),
        ]
        for step in (step for body in bodies for step in walk(body)):
            match step:
                case CallStep(call=call):
                    found.add((name, call.split()[0]))
                case SqlStep():
                    found.add((name, service.uses["db"]))
                case CacheStep():
                    found.add((name, service.uses["cache"]))
                case PublishStep():
                    found.add((name, service.uses["queue"]))
                case _:
                    pass
    return found


def observed(collector: Collector) -> set[tuple[str, str]]:
    graph = collector.store.spans.service_graph(0.0, math.inf)
    return {(caller, callee) for caller, callee, *_ in graph}


def spans_of(collector: Collector, kind: str) -> int:
    spans = collector.store.spans
    return int((spans.columns()["kind"] == spans.strings.get(kind, -1)).sum())


def worked_off(app: App, collector: Collector) -> bool:
    """Say whether each consumer has worked on each message: documents come through the queue."""
    consumers = sum(len(service.consumers) for service in app.services.values())
    return spans_of(collector, "consumer") == consumers * spans_of(collector, "producer")


async def under_load(name: str) -> tuple[App, list[SliWindow], Collector]:
    """Run an app with users for some seconds; return what they and the telemetry saw."""
    app = patient(load_app(name))
    loop, slis = asyncio.get_running_loop(), Slis(app.slos)
    begin = loop.time()
    async with (
        collecting() as collector,
        running(cut(app), partial(password, 0)) as book,
        LocalApp(
            app,
            known=AddressBook(book),
            env={"SHUTDOWN_DELAY_MS": "0", ENDPOINT: collector.url},
        ) as local,
    ):
        entries = {j.entry for j in app.journeys.values()}
        urls = {e: f"http://{LOOPBACK}:{local.services[e].port}" for e in entries}
        async with HttpUsers(urls) as users:
            generator = Generator(users, loop, Streams(7), app.journeys, app.load, slis)
            await offer(generator, SECONDS)
        # Orders are worked on for a while after customers have their documents.
        await until(lambda: edges(app) <= observed(collector))
        await until(lambda: worked_off(app, collector))
    return app, slis.window(begin, loop.time()), collector


def in_real_time(work: Coroutine[Any, Any, tuple[App, list[SliWindow], Collector]]) -> Any:
    """Run on a loop whose time is that of users."""

    async def bounded() -> Any:
        async with asyncio.timeout(LONGEST_S):
            return await work

    with asyncio.Runner(loop_factory=lambda: WallLoop(WallClock().now())) as runner:
        return runner.run(bounded())


@pytest.mark.parametrize("name", ["hotel", "shop"])
def test_users_of_the_real_app_are_served_as_promised(name: str) -> None:
    app, windows, collector = in_real_time(under_load(name))
    assert {window.journey for window in windows} == set(app.slos)
    for window in windows:
        assert window.offered, window
        assert window.succeeded / window.offered >= window.slo_success, window
    assert observed(collector) == edges(app)
    documents = [w.succeeded for w in windows if w.journey == "order-documents"]
    assert sum(documents) <= spans_of(collector, "producer")
    assert worked_off(app, collector)
