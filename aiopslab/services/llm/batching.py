"""Continuous batching: which sequences an engine works on, iteration by iteration.

As vLLM's scheduler does it: every iteration decodes one token of each running sequence and spends
the rest of its token budget on prompts (chunked prefill); waiting sequences are admitted in order
while blocks and places last; when decoding finds no block, the sequence admitted last is preempted
and computed anew later. Iterations in which only decoding happens, and nothing can change, are
planned as one run: the result is the same as one by one.

Not here: how long an iteration takes (``profiles``), letting the time pass (``engine``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from aiopslab.services.llm.kvcache import BLOCK_TOKENS, KvCache, blocks_for
from aiopslab.services.llm.pauses import Pauses
from aiopslab.services.llm.profiles import Profile

WATERMARK = 0.01
"""Part of the blocks that admission leaves free, so that decoding does not preempt at once."""


@dataclass(slots=True, eq=False)
class Sequence:
    """One request at an engine; counts are tokens, times unix seconds."""

    prompt: int
    reply: int
    """Tokens the model will say before it stops."""
    key: str = ""
    """Conversation whose kept prefix may be reused; empty: none."""
    shared: int = 0
    """Tokens of the prompt that repeat the conversation so far."""
    on_first: Callable[[], None] | None = None
    on_end: Callable[[], None] | None = None
    arrived_at: float = 0.0
    started_at: float = 0.0
    """First scheduled."""
    first_at: float = 0.0
    ended_at: float = 0.0
    aborted: bool = False
    target: int = 0
    """Tokens to compute before the next one can be decoded: the prompt, after a preemption more."""
    computed: int = 0
    generated: int = 0
    blocks: int = 0
    reused: int = 0
    """Tokens that a kept prefix saved."""
    preemptions: int = 0
    pauses: list[int] = field(default_factory=list)
    mark: list[int] | None = None
    token_at: float = 0.0
    """When it was preempted after its last token."""

    @property
    def prefilling(self) -> bool:
        """Whether tokens are to be computed before it decodes."""
        return self.computed < self.target


@dataclass(slots=True)
class Run:
    """Iterations that are alike: ``count`` of them, each ``iteration_s`` long."""

    iteration_s: float
    count: int
    decoding: list[Sequence]
    prefills: list[tuple[Sequence, int]]

    @property
    def prefill_tokens(self) -> int:
        """Prompt tokens of one iteration."""
        return sum(tokens for _, tokens in self.prefills)


@dataclass(frozen=True, slots=True)
class Limits:
    """An engine's settings."""

    max_num_seqs: int = 64
    chunk_tokens: int = 512
    """Prompt tokens an iteration may compute; 0: prompts are computed whole."""
    long_prefill_tokens: int = 256
    """At most so many of them for one prompt while others wait for the budget."""


class Batcher:
    """The scheduler of one engine.

    Args:
        limits: Settings.
        kv: Its blocks.
        profile: Speed; may be replaced between runs.
    """

    def __init__(self, limits: Limits, kv: KvCache, profile: Profile) -> None:
        self.limits = limits
        self.kv = kv
        self.profile = profile
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.pauses = Pauses()
        self.preemptions = 0
        self.prefix_queries = 0
        self.prefix_hits = 0
        """Prompt tokens looked up among kept prefixes, and found."""

    @property
    def backlog(self) -> int:
        """Prompt tokens that are still to be computed."""
        return sum(s.target - s.computed for s in (*self.waiting, *self.running))

    def submit(self, sequence: Sequence, now: float) -> bool:
        """Queue a sequence; False if it can never fit into the cache."""
        if blocks_for(sequence.prompt + sequence.reply + 1) > self.kv.total:
            return False
        sequence.arrived_at = now
        sequence.target = sequence.prompt
        self.waiting.append(sequence)
        return True

    def abort(self, sequence: Sequence) -> None:
        """Forget a sequence wherever it is; its blocks are free."""
        sequence.aborted = True
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        elif sequence in self.running:
            self.running.remove(sequence)
            self.kv.give(sequence.blocks)
            sequence.blocks = 0

    # -- planning ---------------------------------------------------------------------------------

    def plan(self, now: float) -> Run | None:
        """Decide on the next iteration, or several that are alike; None: nothing to do."""
        decoding = [s for s in self.running if not s.prefilling]
        if decoding and not self._room(decoding, 1):
            self._make_room(now)
            decoding = [s for s in self.running if not s.prefilling]
        prefills = self._prefills(now, self._wanted(decoding, 1))
        if not decoding and not prefills:
            return None
        tokens = sum(count for _, count in prefills)
        iteration_s = self.profile.iteration_s(len(decoding), tokens)
        count = 1 if prefills else self._stretch(decoding)
        return Run(iteration_s, count, decoding, prefills)

    def _room(self, decoding: list[Sequence], iterations: int) -> bool:
        """Say whether the cache has the blocks for so many more tokens of each."""
        return self._wanted(decoding, iterations) <= self.kv.available

    @staticmethod
    def _wanted(decoding: list[Sequence], iterations: int) -> int:
        wanted = 0
        for s in decoding:
            more = blocks_for(s.prompt + s.generated + iterations) - s.blocks
            if more > 0:
                wanted += more
        return wanted

    def _stretch(self, decoding: list[Sequence]) -> int:
        """Return how many iterations go by before a sequence ends or blocks run out."""
        count = min(s.reply - s.generated for s in decoding)
        if self._room(decoding, count):
            return count
        low, high = 1, count
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._room(decoding, middle) else (low, middle)
        return low

    def _make_room(self, now: float) -> None:
        """Preempt what was admitted last until the others can decode one more token."""
        while self.running:
            decoding = [s for s in self.running if not s.prefilling]
            if not decoding or self._room(decoding, 1):
                return
            self._preempt(self.running.pop(), now)

    def _preempt(self, sequence: Sequence, now: float) -> None:
        self.kv.give(sequence.blocks)
        sequence.blocks = 0
        if sequence.mark is not None:
            self._settle(sequence)
            sequence.token_at = now
        sequence.target = sequence.prompt + sequence.generated
        sequence.computed = 0
        sequence.preemptions += 1
        self.preemptions += 1
        self.waiting.appendleft(sequence)

    def _prefills(self, now: float, reserved: int) -> list[tuple[Sequence, int]]:
        """Spend the token budget on prompts: running ones first, then those that wait.

        Args:
            now: Unix seconds.
            reserved: Blocks that this iteration's decoding needs.
        """
        limit = self.limits.chunk_tokens
        budget = limit or 1 << 60
        pending = [s for s in self.running if s.prefilling]
        alone = len(pending) + len(self.waiting) <= 1
        share = budget if alone or not limit else self.limits.long_prefill_tokens or limit
        chosen: list[tuple[Sequence, int]] = []
        while budget > 0:
            if pending:
                s = pending.pop(0)
            elif self.waiting and (admitted := self._admit(now, reserved)) is not None:
                s = admitted
            else:
                break
            tokens = min(s.target - s.computed, share, budget)
            chosen.append((s, tokens))
            budget -= tokens
        return _spend(chosen, budget) if budget > 0 and limit else chosen

    def _admit(self, now: float, reserved: int) -> Sequence | None:
        """Move the first that waits to the running ones, if there is a place and room for it."""
        if len(self.running) >= self.limits.max_num_seqs:
            return None
        sequence = self.waiting[0]
        wanted = blocks_for(sequence.target + 1)
        spare = reserved + int(WATERMARK * self.kv.total) if self.running else 0
        if wanted + spare > self.kv.available:
            return None
        self.waiting.popleft()
        if not sequence.started_at:
            sequence.started_at = now
        self._reuse(sequence)
        self._take(sequence, wanted)
        self.running.append(sequence)
        return sequence

    def _take(self, sequence: Sequence, blocks: int) -> None:
        """Let a sequence have so many blocks; the plan has made sure that they are there."""
        more = blocks - sequence.blocks
        if more > 0:
            if not self.kv.take(more):
                raise RuntimeError(f"{more} blocks were planned, {self.kv.available} are there")
            sequence.blocks = blocks

    def _reuse(self, sequence: Sequence) -> None:
        """Claim the conversation's kept prefix, all but the last token of the prompt."""
        if sequence.preemptions:
            return
        self.prefix_queries += sequence.prompt
        if not sequence.key:
            return
        most = min(sequence.shared, sequence.prompt - 1) // BLOCK_TOKENS
        found = self.kv.claim(sequence.key, max(most, 0))
        sequence.blocks = found
        sequence.reused = sequence.computed = found * BLOCK_TOKENS
        self.prefix_hits += sequence.reused

    # -- what came of it --------------------------------------------------------------------------

    def commit(self, run: Run, count: int, now: float) -> list[Sequence]:
        """Enter that ``count`` iterations of a run are done at ``now``; return who has ended."""
        decoding = [s for s in run.decoding if not s.aborted]
        self.pauses.add(run.iteration_s, count)
        ended = []
        for s in decoding:
            s.generated += count
            self._take(s, blocks_for(s.prompt + s.generated))
            if s.generated >= s.reply:
                ended.append(s)
        for s, tokens in run.prefills:
            if s.aborted:
                continue
            s.computed += tokens
            if not s.prefilling and self._token(s, now):
                ended.append(s)
        for s in ended:
            self._end(s, now)
        return ended

    def _token(self, sequence: Sequence, now: float) -> bool:
        """A prompt is computed, which gives a token; return whether it was the last one."""
        if sequence.first_at:
            pause = Pauses()
            pause.add(now - sequence.token_at)
            sequence.pauses = [a + b for a, b in zip(sequence.pauses, pause.counts, strict=True)]
        else:
            sequence.first_at = now
            if sequence.on_first is not None:
                sequence.on_first()
        sequence.mark = self.pauses.mark()
        sequence.generated += 1
        return sequence.generated >= sequence.reply

    def _settle(self, sequence: Sequence) -> None:
        """Add the pauses since it (again) began to decode."""
        if sequence.mark is not None:
            seen = self.pauses.since(sequence.mark)
            before = sequence.pauses or [0] * len(seen)
            sequence.pauses = [a + b for a, b in zip(before, seen, strict=True)]
            sequence.mark = None

    def _end(self, sequence: Sequence, now: float) -> None:
        self._settle(sequence)
        sequence.ended_at = now
        self.running.remove(sequence)
        if sequence.key:
            self.kv.keep(sequence.key, sequence.blocks)
        else:
            self.kv.give(sequence.blocks)
        sequence.blocks = 0
        if sequence.on_end is not None:
            sequence.on_end()


def _spend(chosen: list[tuple[Sequence, int]], budget: int) -> list[tuple[Sequence, int]]:
    """Give what is left of a budget to the prompts that have more to compute, first come first."""
    spent = []
    for sequence, tokens in chosen:
        more = min(sequence.target - sequence.computed - tokens, budget)
        spent.append((sequence, tokens + more))
        budget -= more
    return spent
