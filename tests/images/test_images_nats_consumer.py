"""The state machine of a durable consumer: nothing is lost, nothing comes back, bounds hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aiopslab.models.queue import Stream, matches, overlap
from aiopslab.world.images.nats_account import MAX_DELIVERIES, Account, ApiError
from aiopslab.world.images.nats_consumer import ConsumerConfig, ConsumerState, Delivered
from aiopslab.world.images.nats_stream import Stored

WORK = {"subjects": ["orders.>"], "retention": "workqueue"}
SUBJECTS = ("orders.placed", "orders.paid")


def account(**stream: object) -> Account:
    made = Account(None, 2**30, 2**20)
    made.add_stream("ORDERS", Stream.model_validate({**WORK, **stream}), 0.0)
    return made


def put(queue: Account, subject: str = "orders.placed", now: float = 0.0, id: str = "") -> int:
    stored = queue.publish(Stored(0, subject, {"n": "1"}, 100, now, id), now)
    assert stored is not None
    return stored[1]


def consumer(queue: Account, **config: object) -> ConsumerState:
    base = {"durable": "packer", "ack_wait_s": 10.0}
    return queue.add_consumer("ORDERS", ConsumerConfig(**{**base, **config}), 0.0)  # type: ignore[arg-type]


class Deliveries(RuleBasedStateMachine):
    """Any order of publications, deliveries, answers and time."""

    @initialize(
        wait=st.floats(0.5, 20.0), most=st.sampled_from([-1, 1, 2, 5]),
        bound=st.integers(1, 6), pauses=st.lists(st.floats(0.1, 5.0), max_size=3),
        only=st.sampled_from(["", "orders.placed", "orders.*"]),
    )  # fmt: skip
    def start(self, wait: float, most: int, bound: int, pauses: list[float], only: str) -> None:
        self.now = 0.0
        self.queue = account()
        self.most, self.bound, self.only = most, bound, only
        self.consumer = consumer(
            self.queue, ack_wait_s=wait, max_deliver=most, max_ack_pending=bound,
            backoff_s=tuple(pauses), filter_subject=only,
        )  # fmt: skip
        self.wanted: set[int] = set()
        self.done: set[int] = set()
        self.counts: dict[int, int] = {}
        self.floor = 0

    @property
    def stream(self):  # type: ignore[no-untyped-def]
        return self.queue.streams["ORDERS"]

    @rule(subject=st.sampled_from(SUBJECTS))
    def publish(self, subject: str) -> None:
        number = put(self.queue, subject, self.now)
        if not self.only or matches(self.only, subject):
            self.wanted.add(number)

    @rule()
    def take(self) -> None:
        before = self.consumer.next_seq
        given_out = self.queue.take(self.consumer, self.now)
        if given_out is None:
            return
        number = given_out.message.sequence
        assert number in self.wanted
        assert number not in self.done
        self.counts[number] = self.counts.get(number, 0) + 1
        assert given_out.delivery == self.counts[number]
        assert self.most < 0 or given_out.delivery <= self.most
        if given_out.delivery == 1:
            assert number >= before, "new messages are given out in order"
            assert len(self.consumer.pending) <= self.bound
            assert not any(p.due for p in self.consumer.pending.values()), "what is due goes first"

    @precondition(lambda self: self.consumer.pending)
    @rule(data=st.data(), verb=st.sampled_from(["ack", "ack", "nak", "late", "term"]))
    def answer(self, data: st.DataObject, verb: str) -> None:
        number = data.draw(st.sampled_from(sorted(self.consumer.pending)))
        match verb:
            case "ack":
                assert self.queue.ack(self.consumer, number, self.now)
                self.done.add(number)
            case "term":
                assert self.queue.term(self.consumer, number, self.now)
                self.done.add(number)
            case "nak":
                assert self.consumer.nak(number, 0.0, self.now)
            case _:
                assert self.consumer.nak(number, 3.0, self.now)

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def answer_again(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.done)))
        assert not self.queue.ack(self.consumer, number, self.now)

    @rule(seconds=st.floats(0.01, 30.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "queue"):
            return
        new = {n for n in self.wanted if n >= self.consumer.next_seq}
        places = [new, set(self.consumer.pending), set(self.consumer.exhausted), self.done]
        assert set().union(*places) == self.wanted
        assert sum(map(len, places)) == len(self.wanted)
        assert self.queue.lost["ORDERS"] == 0
        assert self.done.isdisjoint(self.stream.messages)
        assert self.wanted - self.done <= set(self.stream.messages)

    @invariant()
    def figures_agree(self) -> None:
        if not hasattr(self, "queue"):
            return
        new = sum(n >= self.consumer.next_seq for n in self.wanted)
        assert self.consumer.num_pending(self.stream) == new
        assert self.consumer.num_ack_pending == len(self.consumer.pending)
        assert self.floor <= self.consumer.ack_floor
        assert all(number > self.consumer.ack_floor for number in self.consumer.pending)
        self.floor = self.consumer.ack_floor
        assert self.stream.bytes == sum(m.bytes for m in self.stream.messages.values())


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def drain(queue: Account, one: ConsumerState, now: float) -> list[tuple[int, int]]:
    found: list[Delivered] = []
    while (given_out := queue.take(one, now)) is not None:
        found.append(given_out)
    return [(each.message.sequence, each.delivery) for each in found]


def test_a_message_that_is_not_acknowledged_in_time_comes_again_before_new_ones() -> None:
    queue = account()
    one = consumer(queue)
    for _ in range(3):
        put(queue)
    assert queue.take(one, 0.0) is not None
    assert queue.take(one, 1.0) is not None
    queue.ack(one, 2, 1.5)
    assert drain(queue, one, 10.5) == [(1, 2), (3, 1)]
    assert one.num_redelivered == 1


def test_a_message_that_always_fails_stands_in_front_of_the_others() -> None:
    queue = account()
    one = consumer(queue, max_ack_pending=1)
    for _ in range(5):
        put(queue)
    for delivery in range(1, 50):
        given_out = queue.take(one, float(delivery))
        assert given_out is not None
        assert (given_out.message.sequence, given_out.delivery) == (1, delivery)
        one.nak(1, 0.0, float(delivery))
    assert one.num_pending(queue.streams["ORDERS"]) == 4


def test_the_last_delivery_is_followed_by_an_advisory_and_the_message_stays() -> None:
    queue = account()
    queue.add_stream("ADVISORIES", Stream(subjects=[f"{MAX_DELIVERIES}.>"]), 0.0)
    one = consumer(queue, max_deliver=2)
    put(queue)
    assert drain(queue, one, 0.0) == [(1, 1)]
    assert drain(queue, one, 11.0) == [(1, 2)]
    assert drain(queue, one, 22.0) == []
    assert one.exhausted == {1: 2}
    (advisory,) = queue.streams["ADVISORIES"].messages.values()
    assert advisory.params["stream_seq"] == "1"
    assert advisory.subject.endswith("MAX_DELIVERIES.ORDERS.packer")
    assert 1 in queue.streams["ORDERS"].messages


def test_backoff_replaces_the_wait_delivery_by_delivery() -> None:
    queue = account()
    one = consumer(queue, backoff_s=(1.0, 5.0))
    put(queue)
    times, now = [], 0.0
    for _ in range(4):
        assert queue.take(one, now) is not None
        due = one.next_deadline()
        assert due is not None
        times.append(due - now)
        now = due
    assert times == [1.0, 5.0, 5.0, 5.0]


def test_a_changed_policy_keeps_the_position() -> None:
    queue = account()
    one = consumer(queue)
    for _ in range(3):
        put(queue)
    queue.take(one, 0.0)
    same = consumer(queue, ack_wait_s=1.0)
    assert same is one
    assert drain(queue, one, 0.0) == [(2, 1), (3, 1)]


@pytest.mark.parametrize("retention", ["limits", "interest", "workqueue"])
def test_what_was_worked_on_may_go_and_what_was_not_is_lost(retention: str) -> None:
    queue = account(retention=retention)
    one = consumer(queue)
    for _ in range(4):
        put(queue)
    for number in (1, 2):
        queue.take(one, 0.0)
        queue.ack(one, number, 0.0)
    assert queue.lost["ORDERS"] == 0
    assert queue.purge("ORDERS") == (4 if retention == "limits" else 2)
    assert queue.lost["ORDERS"] == 2


def test_a_work_queue_gives_a_message_to_one_kind_of_consumer_only() -> None:
    queue = account()
    consumer(queue, filter_subject="orders.placed")
    with pytest.raises(ApiError, match="not unique on workqueue"):
        consumer(queue, durable="other", filter_subject="orders.*")
    consumer(queue, durable="other", filter_subject="orders.paid")


@pytest.mark.parametrize("discard", ["old", "new"])
def test_a_stream_at_its_limit_drops_the_oldest_or_refuses_the_newest(discard: str) -> None:
    queue = account(retention="limits", max_msgs=3, discard=discard)
    for _ in range(3):
        put(queue)
    if discard == "new":
        with pytest.raises(ApiError, match="maximum messages exceeded"):
            put(queue)
    else:
        put(queue)
    kept = [2, 3, 4] if discard == "old" else [1, 2, 3]
    assert list(queue.streams["ORDERS"].messages) == kept


def test_a_known_id_is_acknowledged_but_not_stored_within_the_window() -> None:
    queue = account(duplicate_window=60.0)
    assert put(queue, id="a") == 1
    assert put(queue, id="a", now=59.0) == 1
    assert put(queue, id="a", now=61.0) == 2
    assert len(queue.streams["ORDERS"].messages) == 2


def test_messages_age_and_a_consumer_forgets_them() -> None:
    queue = account(retention="limits", max_age=30.0)
    one = consumer(queue, ack_wait_s=100.0)
    put(queue)
    queue.take(one, 0.0)
    put(queue, now=20.0)
    assert queue.age(queue.streams["ORDERS"], 31.0) == 1
    assert one.num_ack_pending == 0
    assert drain(queue, one, 31.0) == [(2, 1)]


def test_a_server_without_space_says_so() -> None:
    queue = account()
    queue.max_file_store = 250
    put(queue)
    with pytest.raises(ApiError, match="insufficient storage resources available"):
        put(queue)


TOKENS = st.sampled_from(["a", "b", "*", ">"])
PATTERNS = (
    st.lists(TOKENS, min_size=1, max_size=4).map(".".join).filter(lambda text: ">" not in text[:-1])
)


@given(PATTERNS, PATTERNS, st.lists(st.sampled_from("ab"), min_size=1, max_size=5).map(".".join))
def test_patterns_that_share_a_subject_overlap(one: str, other: str, subject: str) -> None:
    assert overlap(one, other) == overlap(other, one)
    if matches(one, subject) and matches(other, subject):
        assert overlap(one, other)
    assert matches(one, subject) == overlap(one, subject)
