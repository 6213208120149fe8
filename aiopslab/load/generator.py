"""The users: sessions that arrive on their own schedule, give up, and try again.

Open loop: a slow or failing app does not slow the arrivals down. Latency counts from the
*intended* start, retries included, so a stall is charged to every request it delayed. Outcomes go
to ``slis``. Not here: how a request travels; that is the ``Client`` which the environment gives.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from aiopslab.errors import UsageError
from aiopslab.load.arrivals import Arrivals
from aiopslab.load.journeys import Script, Visit
from aiopslab.load.slis import Slis
from aiopslab.models.journey import Journey, Load
from aiopslab.pauses import pause
from aiopslab.seeds import Streams

_NOT_YET = (404, 409, 425, 429)
"""Statuses by which a status page says that the work is still to come, or to ask more slowly."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    """HTTP status; 0 if no answer came: refused, reset, unresolved, or not in time."""
    first_at: float | None = None
    """Unix seconds at which the first part of a streamed answer was there."""
    pauses: tuple[tuple[float, int], ...] = ()
    """Of a streamed answer: pauses between its parts as (seconds, how often)."""


class Client(Protocol):
    """The way from a user to the app's entry."""

    async def request(
        self, service: str, method: str, path: str, params: Mapping[str, str], *, timeout_s: float
    ) -> Reply:
        """Send one request and wait for the whole answer, ``timeout_s`` at most."""
        ...


class Generator:
    """Offers the journeys of an app at their rates.

    Args:
        client: Carries requests.
        loop: Its ``time()`` is unix seconds of the environment's clock.
        streams: Drawn from below ``load/<journey>``.
        journeys: What users do.
        load: Shape and scale of the arrivals.
        slis: Receives every outcome.
        max_in_flight: Sessions at once; beyond it arrivals are dropped and counted as failed.
    """

    def __init__(
        self,
        client: Client,
        loop: asyncio.AbstractEventLoop,
        streams: Streams,
        journeys: Mapping[str, Journey],
        load: Load,
        slis: Slis,
        *,
        max_in_flight: int = 5000,
    ) -> None:
        self._loop = loop
        self._streams = streams
        self._slis = slis
        self._max_in_flight = max_in_flight
        self._sessions: dict[asyncio.Task[None], None] = {}
        self._running = False
        self._visitors: dict[str, None] = {}
        self._sources = {
            name: _Source(self, client, Script(name, journey, streams), load, streams)
            for name, journey in journeys.items()
        }
        self.dropped = 0
        """Sessions that found ``max_in_flight`` others under way."""

    @property
    def in_flight(self) -> int:
        """Sessions under way."""
        return len(self._sessions)

    def start(self) -> None:
        """Let users arrive from now on; does nothing when they already do."""
        if not self._running:
            self._running = True
            for source in self._sources.values():
                source.schedule()

    def stop(self) -> None:
        """Let no further users arrive; sessions under way end by themselves."""
        self._running = False
        for source in self._sources.values():
            source.cancel()

    def scale(self, factor: float, journey: str | None = None) -> None:
        """Set the rate of one journey, or of all, to ``factor`` times the app's default load.

        Raises:
            UsageError: No such journey, or a negative factor.
        """
        if not (factor >= 0.0 and math.isfinite(factor)):
            raise UsageError(f"load factor {factor!r} is not a number >= 0")
        if journey is not None and journey not in self._sources:
            raise UsageError(
                f"no journey {journey!r}", hint=f"one of: {', '.join(sorted(self._sources))}"
            )
        for name, source in self._sources.items():
            if journey == name or (journey is None and name not in self._visitors):
                source.factor = factor
                if self._running:
                    source.schedule()

    def join(self, name: str, journey: Journey, client: Client) -> None:
        """Let somebody beside the users send a journey from now on, through his own client.

        He is no user: the factor for all does not count for him, nor he in any SLI.
        """
        self.leave(name)
        script = Script(name, journey, self._streams)
        source = _Source(self, client, script, Load(), self._streams)
        self._sources[name] = source
        self._visitors[name] = None
        if self._running:
            source.schedule()

    def leave(self, name: str) -> None:
        """Let a visitor send nothing any more; does nothing when there is none of that name."""
        if name in self._visitors:
            del self._visitors[name]
            self._sources.pop(name).cancel()

    async def drained(self) -> None:
        """Return when no session is under way."""
        while self._sessions:
            await asyncio.wait(self._sessions)

    def arrive(self, script: Script, source: _Source, due: float) -> None:
        """Begin one session that was due at an instant, or count it as dropped."""
        visits = script.session()
        if len(self._sessions) >= self._max_in_flight:
            self.dropped += 1
            self._slis.record(script.name, due, 0.0, ok=False)
            return
        task = self._loop.create_task(self._play(script, source, visits, due))
        self._sessions[task] = None
        task.add_done_callback(self._sessions.pop)

    async def _play(self, script: Script, source: _Source, visits: list[Visit], due: float) -> None:
        start = due
        for visit in visits:
            if visit.think_s:
                start += visit.think_s
                await pause(self._loop, visit.think_s)
            look = self._await if visit.poll else self._visit
            reply = await look(script.journey, source, visit)
            end = self._loop.time()
            self._slis.record(visit.sli, start, end - start, ok=reply is not None)
            if reply is None:
                return
            if reply.first_at is not None:
                self._slis.streamed(reply.first_at - start, reply.pauses)
            start = end

    async def _visit(self, journey: Journey, source: _Source, visit: Visit) -> Reply | None:
        """Send a request until it succeeds or the user's patience ends; None: it never did."""
        for attempt in range(max(1, journey.retry.attempts)):
            if attempt:
                await pause(self._loop, source.backoff(attempt))
            reply = await self._ask(journey, source, visit)
            if 200 <= reply.status < 400:
                return reply
            if 400 <= reply.status < 500 and reply.status != 429:
                return None  # the app understood and refused: asking again changes nothing
        return None

    async def _await(self, journey: Journey, source: _Source, visit: Visit) -> Reply | None:
        """Look again until asynchronous work is done, or the time promised for it is over.

        An answer that is neither yes nor not yet is a failure that may pass: the next look decides.
        """
        assert visit.poll is not None
        deadline = self._loop.time() + visit.poll.within
        while True:
            reply = await self._ask(journey, source, visit)
            if 200 <= reply.status < 400:
                return reply if self._loop.time() <= deadline else None
            if 400 <= reply.status < 500 and reply.status not in _NOT_YET:
                return None
            if self._loop.time() + visit.poll.every > deadline:
                return None
            await pause(self._loop, visit.poll.every)

    async def _ask(self, journey: Journey, source: _Source, visit: Visit) -> Reply:
        return await source.client.request(
            journey.entry, visit.method, visit.path, visit.params, timeout_s=journey.timeout_s
        )


class _Source:
    """The arrivals of one journey and the timer of the next one."""

    def __init__(
        self, generator: Generator, client: Client, script: Script, load: Load, streams: Streams
    ) -> None:
        self.client = client
        self.factor = 1.0
        self._generator = generator
        self._loop = generator._loop
        self._script = script
        self._scale = load.scale
        self._cluster = script.journey.cluster
        rate, shape = script.journey.rate, load
        if self._cluster is not None:
            rate /= self._cluster.size
            if self._cluster.fixed:
                shape = Load(shape="constant", scale=load.scale)
            self._sizes = streams("load", script.name, "cluster")
        self._arrivals = Arrivals(rate, shape, streams("load", script.name, "arrivals"))
        self._retry = streams("load", script.name, "retry")
        self._timer: asyncio.TimerHandle | None = None

    def backoff(self, attempt: int) -> float:
        """Seconds before the next attempt: doubling, half of it jitter."""
        ceiling = self._script.journey.retry.backoff_s * 2.0 ** (attempt - 1)
        return ceiling * (0.5 + 0.5 * self._retry.random())

    def schedule(self, after: float | None = None) -> None:
        """Draw the next arrival after an instant, forgetting a pending one.

        Without an instant it is now: the process has no memory.
        """
        self.cancel()
        since = self._loop.time() if after is None else after
        due = self._arrivals.after(since, self.factor * self._scale)
        if math.isfinite(due):
            self._timer = self._loop.call_at(due, self._fire, due)

    def cancel(self) -> None:
        """Forget the pending arrival."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self, due: float) -> None:
        # A timer of a loop in real time may be late: what was intended is what counts.
        self._timer = None
        size = self._size()
        self._arrive(due)
        for index in range(1, size):
            assert self._cluster is not None
            later = due + index * self._cluster.within_s / size
            self._loop.call_at(later, self._arrive, later)
        self.schedule(due)

    def _size(self) -> int:
        """Draw how many sessions come now: geometric, so that the mean is the cluster's size."""
        cluster = self._cluster
        if cluster is None:
            return 1
        if cluster.fixed or cluster.size == 1:
            return cluster.size
        return 1 + int(math.log(1.0 - self._sizes.random()) / math.log(1.0 - 1.0 / cluster.size))

    def _arrive(self, due: float) -> None:
        if self._generator._running:
            self._generator.arrive(self._script, self, due)
