"""Asynchronous work from end to end: publish, work, confirm, give up, and what is written of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from services_async import TEXT, make_parcel
from services_mini import MiniWorld

from aiopslab.errors import ContentError
from aiopslab.models.evidence import SliWindow
from aiopslab.services import catalogue
from aiopslab.world.container import Container

WORKER = "packer"


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A content root with the app in it; returns its app.yaml."""
    path = tmp_path / "services" / "parcel" / "app.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(TEXT, encoding="utf-8")
    monkeypatch.setenv("AIOPSLAB_CONTENT", str(tmp_path))
    return path


def drive(
    seconds: float = 60.0, worker: dict[str, str] | None = None, version: str = "1.0.0"
) -> MiniWorld:
    world = MiniWorld(make_parcel(), changes={WORKER: worker or {}}, versions={WORKER: version})
    world.run_for(5.0)
    world.load.start()
    world.run_for(seconds)
    return world


def sli(world: MiniWorld, name: str, over: float = 30.0, until: float = 0.0) -> SliWindow:
    now = world.loop.time() - until
    return next(w for w in world.slis.window(now - over, now) if w.journey == name)


def lines(box: Container) -> str:
    return "\n".join(text for _, text in box.log_lines())


def metric(box: Container, name: str, **labels: str) -> float:
    values = zip(box.metrics.series(), box.metrics.collect(), strict=True)
    return sum(v for (n, pairs), v in values if n == name and labels.items() <= dict(pairs).items())


def test_orders_are_confirmed_later_and_both_promises_are_kept(content: Path) -> None:
    world = drive()
    assert sli(world, "order").met
    confirmed = sli(world, "order-confirmed", until=10.0)
    assert confirmed.met
    assert confirmed.p95_ms is not None


def test_work_that_stands_still_breaks_the_promise_of_completion_and_no_other(
    content: Path,
) -> None:
    world = drive(worker={"CONFIRM_SUBJECT": "orders.packed"})
    assert sli(world, "order", until=25.0).met
    assert sli(world, "order-confirmed", until=25.0).succeeded == 0
    box = world.boxes["parcel-nats"][0]
    stored = metric(box, "jetstream_stream_total_messages", stream_name="ORDERS")
    assert stored == pytest.approx(4 * 60, abs=4)
    assert metric(box, "jetstream_consumer_num_pending") == 0  # it asks for other messages


def test_one_trace_goes_from_the_request_through_the_queue_to_the_work(content: Path) -> None:
    world = drive(20.0)
    spans = world.store.frame("spans")
    work = spans[spans["kind"] == "consumer"].iloc[0]
    sent = spans[spans["span_id"] == work["parent_id"]].iloc[0]
    served = spans[spans["span_id"] == sent["parent_id"]].iloc[0]
    assert (served["kind"], sent["kind"]) == ("server", "producer")
    assert (served["name"], sent["name"]) == ("POST /orders", "publish orders.placed")
    assert work["name"] == "process orders.placed"
    assert len({served["trace_id"], sent["trace_id"], work["trace_id"]}) == 1
    assert work["start"] >= sent["start"]


def test_a_message_that_always_fails_is_given_up_and_filed(content: Path) -> None:
    world = drive(20.0, version="1.1.0")
    box = world.boxes["parcel-nats"][0]
    assert metric(box, "jetstream_stream_total_messages", stream_name="DEAD") > 0
    assert metric(box, "jetstream_stream_total_messages", stream_name="ORDERS") < 40
    text = lines(world.boxes[WORKER][0])
    assert "delivery 4" in text
    assert "giving up on message 1 after 5" in text


def test_a_queue_that_is_gone_fails_requests_and_logs_say_so(content: Path) -> None:
    world = drive(20.0)
    box = world.boxes["parcel-nats"][0]
    box.kill()
    world.run_for(20.0)
    assert sli(world, "order", over=15.0, until=4.0).succeeded == 0
    assert "POST /orders failed with status 503" in "".join(map(lines, world.boxes["web"]))
    assert "fetch of messages failed" in lines(world.boxes[WORKER][0])


def test_a_worker_that_is_told_to_end_gives_back_what_it_did_not_begin(content: Path) -> None:
    world = drive(1.0, worker={"CONFIRM_BATCH": "50", "CONFIRM_CONCURRENCY": "1"})
    world.load.scale(5.0)
    world.run_for(20.0)
    box = world.boxes[WORKER][0]
    box.terminate()
    world.run_for(5.0)
    nats = world.boxes["parcel-nats"][0]
    assert box.exit is not None
    assert box.exit.code == 0
    assert metric(nats, "jetstream_consumer_num_ack_pending") > 1
    assert metric(nats, "jetstream_consumer_num_waiting") == 0
    account = nats.program._engine.account  # type: ignore[union-attr]
    (consumer,) = account.of("ORDERS")
    assert all(entry.due for entry in consumer.pending.values())


@pytest.mark.parametrize(
    ("old", "new", "complaint", "hint"),
    [
        ("stream: ORDERS", "stream: ORDER", "unknown stream 'ORDER'", "ORDERS"),
        ("subject: orders.placed\n", "subject: order.placed\n", "keeps nothing under", "ORDERS"),
        ("subject: orders.placed, size", "subject: order.placed, size", "no stream of", "orders.>"),
        ('params: {order: "{order}"}, id', 'params: {odrer: "{order}"}, id', "needs 'order'", ""),
        ("dead_letter: dead.orders", "dead_letter: died.orders", "no stream keeps", "dead.>"),
        ("service: packer", "service: paker", "unknown service 'paker'", "packer"),
        ('schedule: "*/2 * * * *"', 'schedule: "*/2 * *"', "five fields", ""),
        ("parcel-{round}", "parcel-{order}", "no round of a job gives {order}", ""),
        ("sli: order-confirmed", "sli: order-confirmd", "promise for sli", "order-confirmed"),
        ('PARCELS: {subjects: ["parcels.>"]', 'PARCELS: {subjects: ["*.>"]', "overlaps", ""),
        ("uses: {queue: parcel-nats, cache: parcel-valkey}\n    endpoints",
         "uses: {queue: parcel-valkey, cache: parcel-valkey}\n    endpoints", "is not a nats", ""),
    ],
)  # fmt: skip
def test_a_mistake_in_asynchronous_work_names_its_place(
    content: Path, old: str, new: str, complaint: str, hint: str
) -> None:
    assert TEXT.count(old) == 1, old
    content.write_text(TEXT.replace(old, new), encoding="utf-8")
    with pytest.raises(ContentError) as caught:
        catalogue.load_app("parcel")
    assert complaint in str(caught.value)
    assert hint in f"{caught.value} {caught.value.hint}"


def test_a_journey_that_waits_for_work_needs_the_workers(content: Path) -> None:
    app = catalogue.load_app("parcel")
    assert app.needs("order") == {"web", "packer", "parcel-nats", "parcel-valkey"}
