"""Continuous batching against iterations worked out by hand; block accounting under any load."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.services.llm.batching import Batcher, Limits, Sequence
from aiopslab.services.llm.kvcache import KvCache, blocks_for
from aiopslab.services.llm.pauses import pairs
from aiopslab.services.llm.profiles import PROFILES, Strain, strained

H100 = PROFILES["70b-h100-tp8"]


def batcher(*, blocks: int = 7500, **limits: int) -> Batcher:
    return Batcher(Limits(**limits), KvCache(blocks), H100)


def finish(engine: Batcher, now: float = 0.0, *, one_by_one: bool = False) -> float:
    """Work until nothing is left; return the time."""
    while (run := engine.plan(now)) is not None:
        count = 1 if one_by_one else run.count
        now += count * run.iteration_s
        engine.commit(run, count, now)
        assert engine.kv.free + engine.kv.used + engine.kv.kept == engine.kv.total
    return now


def test_a_short_prompt_is_computed_at_once_and_then_decoded_token_by_token() -> None:
    engine, sequence = batcher(), Sequence(prompt=100, reply=5)
    engine.submit(sequence, 0.0)
    end = finish(engine)
    # 100 tokens of prompt give the first of 5 tokens; 4 iterations of one sequence give the rest.
    assert sequence.first_at == pytest.approx(100 * 0.095e-3)
    assert end == pytest.approx(100 * 0.095e-3 + 4 * (29.6 + 0.31) * 1e-3)
    assert pairs(sequence.pauses) == ((0.03, 4),)
    assert (engine.kv.used, engine.kv.free) == (0, 7500)


def test_a_long_prompt_is_chunked_between_the_tokens_of_others() -> None:
    engine = batcher()
    reader, writer = Sequence(prompt=1, reply=50), Sequence(prompt=1200, reply=1)
    engine.submit(reader, 0.0)
    run = engine.plan(0.0)
    assert run is not None
    engine.commit(run, 1, 0.1)
    engine.submit(writer, 0.1)
    chunks = []
    for _ in range(3):
        run = engine.plan(0.1)
        assert run is not None
        chunks.append(run.prefill_tokens)
        assert run.iteration_s == pytest.approx((29.6 + 0.31 + 0.095 * run.prefill_tokens) / 1000)
        engine.commit(run, 1, 0.2)
    assert chunks == [512, 512, 176]
    assert writer.first_at == 0.2


def test_without_chunks_everybody_waits_for_a_whole_prompt() -> None:
    engine = batcher(chunk_tokens=0, blocks=30_000)
    reader, novel = Sequence(prompt=1, reply=50), Sequence(prompt=300_000, reply=1)
    engine.submit(reader, 0.0)
    run = engine.plan(0.0)
    assert run is not None
    engine.commit(run, 1, 0.1)
    engine.submit(novel, 0.1)
    run = engine.plan(0.1)
    assert run is not None
    assert run.iteration_s == pytest.approx(28.5 + 0.0299, abs=0.001)


def test_two_prompts_share_the_budget_so_that_neither_waits_for_the_other() -> None:
    engine = batcher()
    long, short = Sequence(prompt=8000, reply=1), Sequence(prompt=200, reply=1)
    engine.submit(long, 0.0)
    engine.submit(short, 0.0)
    run = engine.plan(0.0)
    assert run is not None
    assert run.prefills == [(long, 312), (short, 200)]


def test_the_sequence_admitted_last_is_preempted_and_finishes_later() -> None:
    engine = batcher(blocks=20)
    first, last = Sequence(prompt=150, reply=120), Sequence(prompt=140, reply=100)
    engine.submit(first, 0.0)
    engine.submit(last, 0.0)
    finish(engine)
    assert (first.preemptions, engine.preemptions) == (0, last.preemptions)
    assert last.preemptions >= 1
    assert first.ended_at < last.ended_at
    assert (first.generated, last.generated) == (120, 100)
    assert sum(count for _, count in pairs(last.pauses)) == 99
    assert engine.kv.used == 0


def test_what_can_never_fit_is_refused() -> None:
    assert not batcher(blocks=10).submit(Sequence(prompt=160, reply=1), 0.0)


def test_a_conversation_finds_its_prefix_again() -> None:
    engine = batcher()
    engine.submit(Sequence(prompt=320, reply=16, key="s1"), 0.0)
    finish(engine)
    again = Sequence(prompt=400, reply=1, key="s1", shared=330)
    engine.submit(again, 1.0)
    run = engine.plan(1.0)
    assert run is not None
    assert again.reused == 320
    assert run.prefill_tokens == 80
    assert (engine.prefix_queries, engine.prefix_hits) == (720, 320)


REQUESTS = st.lists(
    st.tuples(
        st.integers(1, 900), st.integers(1, 60), st.sampled_from(["", "a", "b"]),
        st.integers(0, 900), st.integers(0, 3),
    ),
    max_size=25,
)  # fmt: skip


def played(requests: list[tuple[int, int, str, int, int]], *, one_by_one: bool) -> list[Sequence]:
    """Play requests, abort every fourth one on its way; accounts are checked at every step."""
    engine = batcher(blocks=90, max_num_seqs=6)
    sequences, now = [], 0.0
    for prompt, reply, key, shared, steps in requests:
        sequence = Sequence(prompt=prompt, reply=reply, key=key, shared=shared)
        if engine.submit(sequence, now):
            sequences.append(sequence)
        for _ in range(steps):
            run = engine.plan(now)
            if run is not None:
                now += run.iteration_s
                engine.commit(run, 1, now)
            check(engine)
        if len(sequences) % 4 == 3:
            engine.abort(sequences[-2])
            check(engine)
    finish(engine, now, one_by_one=one_by_one)
    check(engine)
    assert engine.kv.used == 0
    return [s for s in sequences if not s.aborted]


def check(engine: Batcher) -> None:
    kv = engine.kv
    assert min(kv.free, kv.used, kv.kept) >= 0
    assert kv.free + kv.used + kv.kept == kv.total
    assert kv.used == sum(s.blocks for s in engine.running)
    assert all(s.blocks == 0 for s in engine.waiting)


@given(requests=REQUESTS)
@settings(max_examples=60, deadline=None)
def test_blocks_add_up_and_everybody_gets_the_whole_answer(
    requests: list[tuple[int, int, str, int, int]],
) -> None:
    for sequence in played(requests, one_by_one=False):
        assert sequence.generated == sequence.reply
        assert sum(n for _, n in pairs(sequence.pauses)) == sequence.reply - 1


@given(requests=REQUESTS)
@settings(max_examples=40, deadline=None)
def test_skipping_ahead_gives_what_iteration_by_iteration_gives(
    requests: list[tuple[int, int, str, int, int]],
) -> None:
    ahead, single = (played(requests, one_by_one=one) for one in (False, True))
    for a, b in zip(ahead, single, strict=True):
        assert a.ended_at == pytest.approx(b.ended_at)
        assert a.first_at == pytest.approx(b.first_at)
        assert a.preemptions == b.preemptions
        if not a.preemptions:
            assert a.pauses == b.pauses


def test_a_prefix_is_dropped_for_whoever_needs_the_room() -> None:
    kv = KvCache(10)
    assert kv.take(6)
    kv.keep("old", 6)
    assert kv.available == 10
    assert kv.take(8)
    assert (kv.used, kv.free, kv.kept) == (8, 2, 0)
    assert not kv.take(3)
    with pytest.raises(ValueError, match="given back"):
        kv.give(9)


def test_a_power_cap_slows_prompts_and_a_low_clock_slows_everything() -> None:
    capped = strained(H100, Strain(prefill=2.5))
    assert (capped.prefill_ms, capped.base_ms) == (pytest.approx(0.2375), H100.base_ms)
    slow = strained(H100, Strain(clock=0.6))
    assert slow.prefill_ms == pytest.approx(0.095 / 0.6)
    assert slow.base_ms == pytest.approx(29.6 * 0.6**-0.4)
    assert blocks_for(17) == 2
