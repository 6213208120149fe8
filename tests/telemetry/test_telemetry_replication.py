"""Copies of stores: fed in any pieces, at any moment, they are the original to the letter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.environments.sim import Sim
from aiopslab.models.signal import Change, Event, StatusPost
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app
from aiopslab.telemetry.replication.feed import Feed, StaleCursor
from aiopslab.telemetry.replication.parts import Cursor, Part, PartError
from aiopslab.telemetry.replication.replica import Replica
from aiopslab.telemetry.rules import Rule, RuleEvaluator, RuleGroup
from aiopslab.telemetry.samples import NOT_A_NUMBER, Target
from aiopslab.telemetry.store import Store

RULES = [
    RuleGroup(
        name="g",
        file="rules/g.yaml",
        rules=[
            Rule(record="load:max", expr="max(load)"),
            Rule(alert="High", expr="load > 5", labels={"severity": "page"}),
            Rule.model_validate({"alert": "Long", "expr": "load > 2", "for": "60s"}),
            Rule(alert="Twice", expr='{__name__=~"load|rest"} > 0'),
        ],
    )
]


class Original:
    """A store that things happen to."""

    def __init__(self) -> None:
        self.store = Store()
        self.rules = RuleEvaluator(self.store, RULES)
        self.time = 1000.0
        self.targets: dict[str, Target] = {}

    def span(self, number: int, text: str) -> None:
        attributes: dict[str, str | int | float] | None
        attributes = {"n": number, "x": number / 3.0, "t": text} if number % 2 else None
        self.store.span(
            number + 1 << 70 | 1, number + 1, number % 3, text, "pod", f"op {text}", "server",
            self.time, self.time + number, text if number % 4 == 0 else "", attributes,
        )  # fmt: skip

    def line(self, number: int, text: str) -> None:
        self.store.log(self.time, "svc", "ns", text, "c", "WARN", f"{text} {number}", number)

    def round(self, number: int, text: str) -> None:
        self.time += 5.0
        target = self.targets.get(text)
        if target is None:
            target = self.targets[text] = self.store.target({"job": "j", "instance": text})
        columns = [target.column("load", ()), target.column("rest", (("n", str(number)),))]
        target.write(self.time, columns, [float(number), NOT_A_NUMBER if number % 5 == 0 else 1.5])

    def again(self, number: int, text: str) -> None:
        """Write to the round that is under way, to a series that may be new."""
        target = self.store.target({"job": "k", "instance": text})
        target.write(self.time, [target.column("load", ())], [float(number)])

    def evaluate(self, number: int, text: str) -> None:
        self.time += 1.0
        self.rules.evaluate(self.time)

    def record(self, number: int, text: str) -> None:
        self.store.event(
            Event(
                time=self.time,
                type="Normal",
                reason="R",
                namespace="ns",
                kind="Pod",
                name=text,
                message=text,
                component="kubelet",
                count=number + 1,
            )
        )
        self.store.change(
            Change(time=self.time, actor="me", kind="scale", component=text, summary=f"{number}")
        )
        self.store.post(
            StatusPost(time=self.time, partner=text, provider="p", state="resolved", text=text)
        )


Act = Callable[[Original, int, str], None]
ACTS: list[Act] = [
    Original.span, Original.line, Original.round, Original.again, Original.evaluate,
    Original.record,
]  # fmt: skip
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.sampled_from(["a", "b", "", "long " * 30]) | st.text(CHARACTERS, max_size=5)
STEPS = st.lists(
    st.tuples(st.sampled_from(ACTS), st.integers(0, 12), TEXTS, st.sampled_from([0, 1, 2])),
    max_size=60,
)


def moved(feed: Feed, replica: Replica) -> bool:
    """Bring one part over as bytes; whether there is more."""
    cursor = Cursor.read(str(replica.cursor))
    part = Part.unpack(feed.since(cursor).pack())
    replica.take(part)
    return part.more


def follow(feed: Feed, replica: Replica) -> None:
    while moved(feed, replica):
        pass


def content(store: Store, rules: Any) -> dict[str, Any]:
    """Return all that a store and its rules are made of."""
    spans, logs, samples = store.spans, store.logs, store.samples
    columns = {f"s.{n}": spans.columns()[n] for n in ("trace", "start", "end", "attributes")}
    columns |= {f"s.{n}": spans.columns()[n] for n in ("service", "pod", "span", "error")}
    columns |= {f"l.{n}": logs.columns()[n] for n in ("time", "stream", "severity", "size")}
    columns |= {"times": samples.times(), "values": samples.values().view(np.uint64)}
    return {
        "columns": {name: array.tolist() for name, array in columns.items()},
        "texts": [spans.strings.decoded(), logs.strings.decoded(), logs.lines],
        "coded": [repr(spans.attributes.decoded()), spans.traces.decoded(), logs.streams.decoded()],
        "series": samples.labels,
        "records": [store.event_records(), store.change_records(), store.posts()],
        "alerts": [store.alert_transitions(), rules.alerts(include_resolved=True)],
        "groups": rules.groups(),
        "seen": repr(store.promql.instant('{__name__=~".+"}', 1100.0)),
    }


@given(STEPS, st.integers(1, 5))
def test_a_copy_is_the_original_however_it_was_fed(
    steps: list[tuple[Act, int, str, int]], most: int
) -> None:
    original, replica = Original(), Replica()
    feed = Feed(original.store, original.rules, "e1", most=most)
    for act, number, text, parts in steps:
        act(original, number, text)
        for _ in range(parts):
            moved(feed, replica)
    follow(feed, replica)
    assert content(replica.store, replica.rules) == content(original.store, original.rules)
    late = Replica()
    follow(feed, late)
    assert content(late.store, late.rules) == content(original.store, original.rules)


def test_a_part_without_news_is_small_and_changes_nothing() -> None:
    original, replica = Original(), Replica()
    original.round(3, "a")
    feed = Feed(original.store, original.rules, "e1")
    follow(feed, replica)
    cursor = replica.cursor
    data = feed.since(cursor).pack()
    assert len(data) < 1000
    replica.take(Part.unpack(data))
    assert replica.cursor == cursor


def test_a_cursor_of_another_store_or_of_a_future_is_refused() -> None:
    original = Original()
    feed = Feed(original.store, original.rules, "e2")
    for cursor in (Cursor("e1"), Cursor("e2", spans=1), Cursor("e2", rounds=5), Cursor("", logs=9)):
        with pytest.raises(StaleCursor):
            feed.since(cursor)


def test_a_part_that_does_not_follow_is_refused() -> None:
    original, replica = Original(), Replica()
    original.span(1, "a")
    part = Feed(original.store, original.rules, "e1").since(Cursor())
    replica.take(part)
    with pytest.raises(PartError, match="does not follow"):
        replica.take(part)


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_a_broken_part_is_told_from_a_whole_one(noise: bytes, at: int, byte: int) -> None:
    original = Original()
    original.round(3, "a")
    original.span(1, "a")
    data = bytearray(Feed(original.store, original.rules, "e1").since(Cursor()).pack())
    with pytest.raises(PartError):
        Part.unpack(noise)
    with pytest.raises(PartError):
        Part.unpack(bytes(data[: at % len(data)]))
    if data[at % len(data)] != byte:
        data[at % len(data)] = byte
        # The checksum of the compression speaks; only the two bytes of its header have leeway.
        if at % len(data) > 1:
            with pytest.raises(PartError):
                Part.unpack(bytes(data))


@given(
    st.text(max_size=80) | st.lists(st.integers(), max_size=16).map(lambda n: "~".join(map(str, n)))
)
def test_what_is_no_cursor_is_refused_or_read_as_it_stands(text: str) -> None:
    try:
        cursor = Cursor.read(text)
    except PartError:
        return
    assert Cursor.read(str(cursor)) == cursor


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    app = load_app("hotel")
    key = world_key(app, 5)
    sim = Sim(app, key.seed, epoch=key.epoch, load=0.5)
    sim.boot()
    yield sim
    asyncio.run(sim.aclose())


def test_a_copy_of_a_running_world_writes_the_same_files(sim: Sim, tmp_path: Path) -> None:
    world, replica = sim.world, Replica()
    feed = Feed(world.store, world.rules, "w")
    for seconds in (1.0, 7.5, 20.0, 31.0, 60.0):
        sim.run_for(seconds)
        follow(feed, replica)
    mine = replica.store.write_parquet(tmp_path / "copy")
    theirs = world.store.write_parquet(tmp_path / "world")
    assert [p.read_bytes() for p in mine] == [p.read_bytes() for p in theirs]
    assert replica.rules.groups() == world.rules.groups()
    assert replica.store.spans.service_graph(0, sim.now()) == world.store.spans.service_graph(
        0, sim.now()
    )
