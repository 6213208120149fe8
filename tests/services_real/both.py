"""The same requests to both bindings of an app: a simulated world, and processes on real stores.

An app is made settled for that: one replica, nothing left to chance, a line for each request in
the access logs, timeouts that a busy machine does not reach. What it is told then decides what it
does, on either side. A story is chapters; each may break something and asks for something.
"""

from __future__ import annotations

import asyncio
import math
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import yaml
from app_stores import running
from collector import collecting
from real_hosts import client
from services_mini import MiniWorld
from stores import admin
from waiting import until

from aiopslab import content
from aiopslab.load.journeys import Script
from aiopslab.models.app import App
from aiopslab.models.external import Disturbance
from aiopslab.models.network import Links
from aiopslab.seeds import Streams, derive
from aiopslab.services.catalogue import app_dir, load_app
from aiopslab.services.manifests import password
from aiopslab.services.protocols import Request
from aiopslab.services.real.addresses import AddressBook
from aiopslab.services.real.host import ENDPOINT
from aiopslab.services.real.http_client import HttpClient
from aiopslab.services.real.local import LocalApp
from aiopslab.telemetry.patterns import template
from aiopslab.telemetry.rows import SpanRow
from aiopslab.telemetry.store import Store

ROWS = 20_000
PATIENCE = 10
"""Timeouts are so many times as long, unless the story says how long they are."""
SEED = 1
"""What passwords are derived from, in both."""
_EDGE = "198.18.250.11"
_SETTLED_S = 30.0


# -- the app --------------------------------------------------------------------------------------


@contextmanager
def settled(name: str, folder: Path, changes: Mapping[str, Mapping[str, Any]]) -> Iterator[App]:
    """Put a settled copy of an app before the original, for child processes as well."""
    source = app_dir(name)
    data = content.load_yaml(source / "app.yaml")
    for key, service in data["services"].items():
        config = service.setdefault("config", {})
        for setting in [s for s in config if s.endswith("_TIMEOUT_MS")]:
            config[setting] *= PATIENCE
        config |= {"ACCESS_LOG_RATIO": 1, **changes.get(key, {})}
        service["replicas"] = 1
    for store in data["stores"].values():
        for table in store.get("tables", {}).values():
            table["rows"] = min(table["rows"], ROWS)
    copy = folder / "services" / name
    shutil.copytree(source, copy)
    (copy / "app.yaml").write_text(yaml.safe_dump(_certain(data), sort_keys=False), "utf-8")
    with content.searched_first(folder):
        yield load_app(name)


def _certain(node: Any) -> Any:
    """Return the same with every probability of a condition at one."""
    if isinstance(node, list):
        return [_certain(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {key: _certain(value) for key, value in node.items()}
    if isinstance(when := found.get("when"), dict) and "probability" in when:
        when["probability"] = 1.0
    return found


# -- the story ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chapter:
    """Something that happens to the app, and what is asked for afterwards."""

    title: str
    asked: Sequence[tuple[str, str, Mapping[str, str]]]
    """Method, path and parameters."""
    sql: tuple[str, str] = ("", "")
    """A database, and what its operator does to it."""
    partner: tuple[str, Disturbance] | None = None
    links: Links | None = None
    """What is not as usual on ways from now on."""
    ended: str = ""
    """A service whose process is told to end, and with it whoever answers under its name."""


def journeys(app: App, sessions: int) -> list[tuple[str, str, Mapping[str, str]]]:
    """Draw what users ask for, session by session; status pages come last."""
    streams = Streams(11)
    first, last = [], []
    for name, journey in app.journeys.items():
        script = Script(name, journey, streams)
        for _ in range(sessions):
            for visit in script.session():
                part = last if visit.poll else first
                part.append((visit.method, visit.path, visit.params))
    return [*first, *last]


@dataclass
class Heard:
    """What one side answered and wrote."""

    statuses: list[tuple[str, str, int]] = field(default_factory=list)
    """Chapter, request and status."""
    latencies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds by request, of the first chapter."""
    store: Store = field(default_factory=Store)

    def shapes(self, story: Sequence[Chapter]) -> dict[str, list[list[str]]]:
        """Return the tree of spans of each request, by chapter."""
        found: dict[str, list[list[str]]] = {}
        for index, (chapter, _) in enumerate(_requests(story)):
            rows = self.store.spans.trace(f"{_trace(index):032x}")
            found.setdefault(chapter.title, []).append(_tree(rows, f"{_parent(index):016x}"))
        return found

    def templates(self, app: App) -> Counter[tuple[str, str, str]]:
        """Count the lines of the app's services by service, severity and template."""
        rows, _ = self.store.logs.search(start=0.0, end=math.inf, limit=10**6)
        return Counter(
            (row.service, row.severity, masked(row.line))
            for row in rows
            if row.service in app.services
        )

    def spans(self, kind: str) -> int:
        table = self.store.spans
        return int((table.columns()["kind"] == table.strings.get(kind, -1)).sum())


def _trace(index: int) -> int:
    return derive(SEED, "trace", index)


def _parent(index: int) -> int:
    return derive(SEED, "parent", index)


def _requests(story: Sequence[Chapter]) -> Iterator[tuple[Chapter, Request]]:
    index = 0
    for chapter in story:
        for method, path, params in chapter.asked:
            yield chapter, Request(method, path, params, _trace(index), _parent(index), _EDGE)
            index += 1


def _tree(rows: Sequence[SpanRow], parent: str) -> list[str]:
    """Return spans below a parent as lines, indented, children in an order of their own."""
    trees = [
        [f"{row.service} {row.kind} {row.name}: {masked(row.error) or 'ok'} {_told(row)}",
         *(f"  {line}" for line in _tree(rows, row.span_id))]
        for row in rows
        if row.parent_id == parent
    ]  # fmt: skip
    return [line for tree in sorted(trees) for line in tree]


def _told(row: SpanRow) -> str:
    """Return the attributes of a span, times as such; ``otel.*`` is how it travelled."""
    return " ".join(
        f"{key}={value if isinstance(value, int) and not key.endswith('_ms') else masked(value)}"
        for key, value in sorted(row.attributes.items())
        if not key.startswith("otel.")
    )


def masked(value: object) -> str:
    """Return the template of a text; an id that happens to have no letters is still an id."""
    return template(str(value)).replace("<hex>", "<num>")


# -- the two sides --------------------------------------------------------------------------------


class Side(Protocol):
    """One binding, running."""

    heard: Heard

    async def send(self, request: Request) -> tuple[int, float]:
        """Return status and seconds."""
        ...

    async def begin(self, chapter: Chapter) -> None:
        """Let happen what happens."""
        ...

    async def settle(self) -> None:
        """Wait for the work that requests leave behind."""
        ...


async def tell(side: Side, story: Sequence[Chapter]) -> None:
    """Tell a story to one side."""
    begun: set[str] = set()
    for chapter, request in _requests(story):
        if chapter.title not in begun:
            await side.begin(chapter)
            begun.add(chapter.title)
        name = f"{request.method} {request.path}"
        if request.path in STATUS_PAGES:
            await side.settle()
        status, seconds = await side.send(request)
        side.heard.statuses.append((chapter.title, name, status))
        if len(begun) == 1:
            side.heard.latencies[name].append(seconds)
    await side.settle()


STATUS_PAGES = ("/order",)
"""What they say depends on work that is done later."""


def simulated(app: App, story: Sequence[Chapter]) -> Heard:
    """Tell a story to a simulated world."""
    world = MiniWorld(app, seed=SEED)
    side = _Simulated(app, world)
    world.run_for(_SETTLED_S)
    world.loop.run_until_complete(tell(side, story))
    for name in app.services:
        for box in world.boxes[name]:
            if box.exit is None:
                box.terminate()
    world.run_for(_SETTLED_S)
    return side.heard


class _Simulated:
    def __init__(self, app: App, world: MiniWorld) -> None:
        self.heard = Heard(store=world.store)
        self._world = world
        self._entry = next(iter(app.journeys.values())).entry
        self._host = f"{self._entry}.{app.namespace}.svc.cluster.local"
        self._port = app.services[self._entry].port
        self._shaped: list[tuple[str, str]] = []
        self._edge = world.network.netns(_EDGE, namespace="", component="edge", labels={}, node="")

    async def send(self, request: Request) -> tuple[int, float]:
        now = self._world.loop.time
        connection = await self._edge.connect(self._host, self._port, timeout_s=60.0)
        start = now()
        response = await connection.call(request, timeout_s=60.0)
        connection.close()
        return response.status, now() - start

    async def begin(self, chapter: Chapter) -> None:
        store, sql = chapter.sql
        if sql:
            await self._world.registry.admin(store, sql)
        if chapter.partner:
            name, disturbance = chapter.partner
            self._world.parties[name].disturb(disturbance)
        if chapter.links is not None:
            for source, target in self._shaped:
                self._world.network.shape(source, target)
            self._shaped = [(s, t) for s, found in chapter.links.pairs.items() for t in found]
            for source, target in self._shaped:
                shape = chapter.links.pairs[source][target]
                self._world.network.shape(source, target, **shape.model_dump())
        for box in self._world.boxes.get(chapter.ended, []):
            box.terminate()
            await box.wait()

    async def settle(self) -> None:
        await asyncio.sleep(_SETTLED_S)


async def real(app: App, story: Sequence[Chapter]) -> Heard:
    """Tell a story to processes on real stores; ends when all has been exported."""
    heard = Heard()
    entry = next(iter(app.journeys.values())).entry
    async with collecting() as collector, running(app, partial(password, SEED)) as book:
        heard.store = collector.store
        env = {"SHUTDOWN_DELAY_MS": "0", ENDPOINT: collector.url}
        async with (
            LocalApp(app, seed=SEED, known=AddressBook(book), env=env) as local,
            client(local.services[entry].port) as http,
        ):
            await tell(_Real(app, heard, local, book, http), story)
    return heard


class _Real:
    def __init__(
        self, app: App, heard: Heard, local: LocalApp, book: Mapping[Any, Any], http: HttpClient
    ) -> None:
        self.heard = heard
        self._app = app
        self._local = local
        self._book = book
        self._http = http

    async def send(self, request: Request) -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        response = await self._http.send(request, timeout_s=60.0)
        return response.status, loop.time() - start

    async def begin(self, chapter: Chapter) -> None:
        store, sql = chapter.sql
        if sql:
            spec = self._app.stores[store]
            connection = await admin(self._book[store, spec.port], spec.database)
            await connection.execute(sql)
            await connection.close()
        if chapter.partner:
            name, disturbance = chapter.partner
            self._local.disturbance(name).write_text(disturbance.model_dump_json(), "utf-8")
        if chapter.links is not None:
            self._local.links.write_text(chapter.links.model_dump_json(), "utf-8")
        if chapter.ended:
            child = self._local.services[chapter.ended].process
            child.terminate()
            await child.wait()

    async def settle(self) -> None:
        consumers = sum(len(service.consumers) for service in self._app.services.values())
        if consumers:
            await until(
                lambda: (
                    self.heard.spans("consumer") >= consumers * self.heard.spans("producer")
                    and self.heard.spans("producer")
                )
            )
