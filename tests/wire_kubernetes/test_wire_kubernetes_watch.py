"""Watches over HTTP: what a change is to a selector, bookmarks, where they begin and end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import pytest
from api_served import DEPLOYMENTS, MAPS, TABLE, Api, config_map, hotel
from streams_served import HandGate

from aiopslab.wire.identity import administrator
from aiopslab.wire.kubernetes.app import kubernetes_app
from aiopslab.wire.kubernetes.streams.streaming import LiveResponse

DONE = {"k8s.io/initial-events-end": "true"}


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    api = Api(hotel(seconds=10.0))
    yield api
    api.close()


@pytest.fixture
def revision(api: Api) -> str:
    return str(api.get(MAPS)["metadata"]["resourceVersion"])


def change(api: Api, name: str, *patches: dict[str, Any]) -> None:
    """Create a ConfigMap, patch it, delete it."""
    api.sim.world.api.create(config_map(name, a="1"), actor="tester")
    for patch in patches:
        api.sim.world.api.patch(
            "ConfigMap", name, patch, namespace="hotel", type="merge", actor="t"
        )
    api.sim.world.api.delete("ConfigMap", name, "hotel", actor="tester")


def labelled(**labels: Any) -> dict[str, Any]:
    return {"metadata": {"labels": labels}}


def told(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(e["type"], e["object"]["metadata"].get("name", "")) for e in events]


def test_changes_after_a_revision_are_told_in_order(api: Api, revision: str) -> None:
    change(api, "one", {"data": {"a": "2"}})
    events = api.watch(MAPS, resourceVersion=revision, timeoutSeconds=1)
    assert told(events) == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]
    revisions = [int(e["object"]["metadata"]["resourceVersion"]) for e in events]
    assert revisions == sorted(set(revisions))
    assert [e["object"]["data"]["a"] for e in events] == ["1", "2", "2"]
    assert {e["object"]["kind"] for e in events} == {"ConfigMap"}


def test_other_namespaces_and_names_are_left_out(api: Api, revision: str) -> None:
    change(api, "two")
    elsewhere = MAPS.replace("hotel", "kube-system")
    assert api.watch(elsewhere, resourceVersion=revision, timeoutSeconds=1) == []
    query = {"resourceVersion": revision, "timeoutSeconds": 1}
    assert api.watch(MAPS, fieldSelector="metadata.name=three", **query) == []
    assert len(api.watch(MAPS, fieldSelector="metadata.name=two", **query)) == 2
    assert len(api.watch("/api/v1/configmaps", **query)) == 2


def test_a_selector_sees_objects_come_and_go(api: Api, revision: str) -> None:
    change(api, "tagged", labelled(tier="x"), {"data": {"a": "9"}}, labelled(tier=None))
    events = api.watch(MAPS, labelSelector="tier=x", resourceVersion=revision, timeoutSeconds=1)
    assert [e["type"] for e in events] == ["ADDED", "MODIFIED", "DELETED"]
    # What left the selection is shown as it was in it.
    assert events[-1]["object"]["metadata"]["labels"] == {"tier": "x"}


@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}])
def test_without_a_revision_it_begins_with_what_there_is(api: Api, query: dict[str, str]) -> None:
    events = api.watch(DEPLOYMENTS, timeoutSeconds=1, **query)
    there = [item["metadata"]["name"] for item in api.get(DEPLOYMENTS)["items"]]
    assert [name for kind, name in told(events) if kind == "ADDED"][: len(there)] == there


def test_initial_events_end_with_a_bookmark_that_says_so(api: Api) -> None:
    events = api.watch(
        DEPLOYMENTS,
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
        timeoutSeconds=1,
    )
    at = next(i for i, e in enumerate(events) if e["type"] == "BOOKMARK")
    mark = events[at]["object"]
    assert mark["metadata"]["annotations"] == DONE
    assert mark["kind"] == "Deployment"
    assert at == len(api.get(DEPLOYMENTS)["items"])
    assert all(e["type"] == "ADDED" for e in events[:at])


def test_initial_events_need_a_match_of_revisions(api: Api) -> None:
    status = api.refused(422, "GET", DEPLOYMENTS, watch="1", sendInitialEvents="true")
    assert "resourceVersionMatch" in status["message"]


def test_the_last_bookmark_is_a_place_to_go_on_from(api: Api, revision: str) -> None:
    query = {"resourceVersion": revision, "allowWatchBookmarks": "true", "timeoutSeconds": 1}
    mark = api.watch(MAPS, **query)[-1]
    assert mark["type"] == "BOOKMARK"
    change(api, "later")
    place = mark["object"]["metadata"]["resourceVersion"]
    events = api.watch(MAPS, resourceVersion=place, timeoutSeconds=1)
    assert told(events) == [("ADDED", "later"), ("DELETED", "later")]


def test_a_revision_that_is_forgotten_ends_the_watch_with_410_in_the_stream(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.sim.world.api.store.history, "_kept", 3)
    change(api, "loud", *({"data": {"n": str(turn)}} for turn in range(8)))
    (event,) = api.watch(MAPS, resourceVersion="1", timeoutSeconds=1)
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert event["object"]["message"].startswith("too old resource version: 1 (")


def test_a_watched_table_defines_its_columns_once(api: Api, revision: str) -> None:
    change(api, "shown")
    events = api.watch(MAPS, resourceVersion=revision, timeoutSeconds=1, accept=TABLE)
    assert [e["type"] for e in events] == ["ADDED", "DELETED"]
    assert {e["object"]["kind"] for e in events} == {"Table"}
    assert [len(e["object"]["rows"]) for e in events] == [1, 1]
    assert events[0]["object"]["columnDefinitions"][0]["name"] == "Name"
    assert events[1]["object"]["columnDefinitions"] is None
    assert events[0]["object"]["rows"][0]["cells"][:2] == ["shown", 1]


def test_a_bookmark_of_a_table_shows_nothing(api: Api) -> None:
    events = api.watch(
        DEPLOYMENTS,
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
        timeoutSeconds=1,
        accept=TABLE,
    )
    mark = next(e["object"] for e in events if e["type"] == "BOOKMARK")
    (row,) = mark["rows"]
    assert set(row["cells"]) == {""}
    assert row["object"]["metadata"]["annotations"] == DONE


@pytest.mark.parametrize(
    ("code", "query"),
    [
        (400, {"resourceVersion": "abc"}),
        (400, {"labelSelector": "a in"}),
        (400, {"fieldSelector": "nothing.such=1"}),
        (400, {"timeoutSeconds": "soon"}),
    ],
)
def test_a_watch_that_cannot_be_read_is_refused(api: Api, code: int, query: dict[str, str]) -> None:
    api.refused(code, "GET", DEPLOYMENTS, watch="true", **query)


def test_time_out_is_counted_on_the_clusters_clock(api: Api) -> None:
    before = api.sim.now()
    api.watch(MAPS, timeoutSeconds=7)
    assert 7.0 <= api.sim.now() - before <= 8.0


def test_a_watch_takes_one_turn_however_long_it_lasts(api: Api) -> None:
    api.calls.clear()
    api.watch(MAPS, timeoutSeconds=20)
    assert len(api.calls) == 1


# -- a client that reads as it comes --------------------------------------------------------------


class Reader:
    """Reads an answer line by line while it is sent; leaves when told to."""

    def __init__(self, api: Api, gate: HandGate, path: str, query: str) -> None:
        self.lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gone = asyncio.Event()
        app = kubernetes_app(api.sim.world, gate, env=api.sim)
        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(),
            "root_path": "", "query_string": query.encode(), "headers": [], "scheme": "https",
            "identity": administrator(),
        }  # fmt: skip
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        for line in message.get("body", b"").splitlines():
            self.lines.put_nowait(json.loads(line))

    def leave(self) -> None:
        self._gone.set()


def reading(api: Api, scene: Callable[[HandGate, Reader], Any]) -> None:
    async def play() -> None:
        gate = HandGate(api.sim)
        revision = api.sim.world.api.revision
        reader = Reader(api, gate, MAPS, f"watch=1&resourceVersion={revision}")
        try:
            await scene(gate, reader)
        finally:
            reader.leave()
            await reader.task

    asyncio.run(play())


def test_a_change_is_told_while_the_watch_is_open(api: Api) -> None:
    async def scene(gate: HandGate, reader: Reader) -> None:
        await gate.after(2)
        change(api, "live")
        assert told([await reader.lines.get(), await reader.lines.get()]) == [
            ("ADDED", "live"),
            ("DELETED", "live"),
        ]

    reading(api, scene)


def test_a_client_that_leaves_lets_no_more_time_pass(api: Api) -> None:
    async def scene(gate: HandGate, reader: Reader) -> None:
        await gate.after(2)
        reader.leave()
        await reader.task
        moves = gate.moves
        for _ in range(20):
            await asyncio.sleep(0)
        assert gate.moves == moves

    reading(api, scene)


def test_watches_end_when_the_gate_closes(api: Api) -> None:
    async def scene(gate: HandGate, reader: Reader) -> None:
        await gate.after(1)
        gate.closing.set()
        await reader.task

    reading(api, scene)


def test_watches_end_when_the_budget_is_used_up(api: Api) -> None:
    async def play() -> None:
        gate = HandGate(api.sim, budget=3)
        reader = Reader(api, gate, MAPS, f"watch=1&resourceVersion={api.sim.world.api.revision}")
        await reader.task

    asyncio.run(play())


def test_what_goes_wrong_while_sending_is_not_swallowed() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise RuntimeError("broken")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await LiveResponse(broken())(scope, receive, send)

    async def ask() -> None:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
            await client.get("/")

    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(ask())
