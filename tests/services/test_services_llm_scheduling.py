"""Queues, routing, shares and forecasts of the LLM platform."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.services.llm.fairness import Shares
from aiopslab.services.llm.len_predictor import rank_correlation
from aiopslab.services.llm.queueing import Policy, Queues, Rules, Ticket
from aiopslab.services.llm.routing import Chooser, EngineView


class Desk:
    """One engine's queue whose clock stands where the test puts it."""

    def __init__(self, **rules: object) -> None:
        self.now = 100.0
        self.queues = Queues(["e"], lambda: self.now)
        self.queues.rules = Rules(**rules)  # type: ignore[arg-type]
        self.sent: list[str] = []

    def ask(
        self, name: str, *, tier: str = "interactive", prompt: int = 1000, predicted: int = 100,
        at: float = 100.0,
    ) -> Ticket:  # fmt: skip
        ticket = Ticket("e", tier, prompt, predicted, at, lambda: self.sent.append(name))
        self.queues.enter(ticket)
        return ticket


@pytest.mark.parametrize(
    ("policy", "order"),
    [("fcfs", "abc"), ("edf", "cab"), ("ssjf", "bca"), ("slo", "cab")],
)
def test_a_policy_says_who_is_next(policy: Policy, order: str) -> None:
    desk = Desk(policy=policy, window_tokens=1000, reserve=0.0, aging_s=0.0)
    first = desk.ask("x")
    desk.ask("a", tier="normal", predicted=300, at=97.0)
    desk.ask("b", tier="normal", predicted=10, at=99.0)
    desk.ask("c", tier="interactive", predicted=200, at=99.5)
    desk.sent.clear()
    held = [first]
    while held:
        desk.queues.leave(held.pop())
        held = list(desk.queues.lanes["e"].uncomputed)
    assert "".join(desk.sent) == order


def test_who_has_waited_too_long_goes_first() -> None:
    desk = Desk(policy="ssjf", window_tokens=1000, reserve=0.0, aging_s=30.0)
    first = desk.ask("x")
    desk.ask("long", predicted=900, at=60.0)
    desk.ask("short", predicted=5)
    desk.queues.leave(first)
    assert desk.sent == ["x", "long"]


def test_the_batch_class_leaves_its_reserve_to_the_others() -> None:
    desk = Desk(reserve=0.6, window_tokens=4000)
    desk.ask("b1", tier="batch", prompt=7000)
    desk.ask("b2", tier="batch", prompt=1000)
    desk.ask("i1", prompt=2000)
    assert desk.sent == ["b1", "i1"]


def test_without_a_reserve_a_batch_prompt_fills_the_window() -> None:
    desk = Desk(reserve=0.0, window_tokens=4000)
    desk.ask("b1", tier="batch", prompt=7000)
    desk.ask("i1", prompt=2000)
    assert desk.sent == ["b1"]


def test_a_closed_engine_gets_nothing_and_those_who_left_are_forgotten() -> None:
    desk = Desk()
    desk.queues.lanes["e"].open = False
    ticket = desk.ask("a")
    assert (desk.sent, desk.queues.depth("interactive", "e")) == ([], 1)
    desk.now = 103.0
    assert desk.queues.oldest_s("interactive") == 3.0
    desk.queues.leave(ticket)
    desk.queues.leave(ticket)
    assert desk.queues.oldest_s("interactive") == 0.0


def views(*speeds: float) -> list[EngineView]:
    return [
        EngineView(f"engine-{'ab'[i % 2]}-{i}", "ab"[i % 2], prefill_ms=0.095 / speed, open=True)
        for i, speed in enumerate(speeds)
    ]


def test_conversations_stay_and_are_spread_by_speed() -> None:
    chooser = Chooser(views(1.0, 0.5, 1.0, 0.5))
    where = {key: chooser.sticky(str(key)) for key in range(3000)}
    assert all(chooser.sticky(str(key)) is engine for key, engine in where.items())
    counts = Counter(e.name for e in where.values() if e)
    assert counts["engine-a-0"] / counts["engine-b-1"] == pytest.approx(2.0, rel=0.15)
    chooser.policy = "round_robin"
    counts = Counter(e.name for key in where if (e := chooser.sticky(str(key))))
    assert counts["engine-a-0"] / counts["engine-b-1"] == pytest.approx(1.0, rel=0.15)


def test_an_engine_that_closes_moves_only_its_own_conversations() -> None:
    chooser = Chooser(views(1.0, 1.0, 1.0))
    before = {key: chooser.sticky(str(key)) for key in range(300)}
    gone = chooser.engines[0]
    gone.open = False
    for key, engine in before.items():
        if engine is not gone:
            assert chooser.sticky(str(key)) is engine


def test_a_full_region_overflows_to_the_emptiest_other() -> None:
    chooser = Chooser(views(1.0, 1.0))
    assert chooser.region("a") == "a"
    chooser.engines[0].kv_usage = 0.8
    assert chooser.region("a") == "b"
    assert chooser.region("a", avoid=["b"]) == "a"
    for engine in chooser.engines:
        engine.open = False
    assert chooser.region("a") is None


def test_work_goes_where_least_of_it_waits() -> None:
    chooser = Chooser([EngineView("x", "a", open=True), EngineView("y", "a", open=True)])
    chooser.engines[0].work_ms = 500.0
    assert chooser.stateless("a", 1000, 100) is chooser.engines[1]
    chooser.policy = "least_requests"
    chooser.engines[1].requests = 3
    assert chooser.stateless("a", 1000, 100) is chooser.engines[0]


def test_only_an_overload_turns_away_and_never_in_mid_interaction() -> None:
    shares = Shares(policy="interaction", overload_kv=0.8)
    for tenant, tokens in (("big", 9000.0), ("small", 100.0), ("tiny", 100.0)):
        shares.charge(tenant, tokens, 0.0)
    assert shares.refusal("big", 1, 0.0) is None
    shares.kv_usage = 0.9
    assert shares.refusal("big", 1, 0.0) == "overload"
    assert shares.refusal("big", 2, 0.0) is None
    assert shares.refusal("small", 1, 0.0) is None


def test_weights_say_what_a_share_is_and_counters_fade() -> None:
    shares = Shares(policy="tokens", weights={"big": 100.0})
    shares.charge("big", 9000.0, 0.0)
    shares.charge("small", 1000.0, 0.0)
    shares.charge("tiny", 10.0, 0.0)
    assert shares.refusal("big", 1, 0.0) is None
    assert shares.refusal("small", 1, 0.0) == "tokens"
    assert shares.tenant("small").counter == 1000.0
    shares.charge("small", 0.0, 60.0)
    assert shares.tenant("small").counter == pytest.approx(500.0)


def test_requests_a_minute_are_counted_by_tenant() -> None:
    shares = Shares(policy="rpm", rpm=2)
    assert [shares.refusal("t", 1, at) for at in (0.0, 1.0, 2.0, 61.5)] == [None, None, "rpm", None]


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=40))
def test_a_rank_correlation_lies_between_minus_one_and_one(
    pairs: list[tuple[float, float]],
) -> None:
    assert -1.0 - 1e-9 <= rank_correlation(pairs) <= 1.0 + 1e-9


def test_rank_correlation_of_order_and_its_mirror() -> None:
    up = [(float(i), float(i * i)) for i in range(20)]
    assert rank_correlation(up) == pytest.approx(1.0)
    assert rank_correlation([(-a, b) for a, b in up]) == pytest.approx(-1.0)
