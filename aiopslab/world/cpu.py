"""CPU of a node: processor sharing with requests, limits, throttling, steal and neighbours.

A fluid model of the Linux scheduler. A runnable thread uses at most one core. Within a group (a
container's cgroup) the threads share equally; between groups a crowded node shares by weight
(``cpu.shares``, that is, by request), max-min fair, so that what one group does not want goes to
the others. Limits are ``bandwidth``'s. Steal slows every core, and so do stalls (threads that wait
for memory without using a core) and a low efficiency (cores that wait for memory, busily).

Event-driven and exact: progress inside a group is one number, the *virtual* CPU time that each
thread has received; a job ends when that passes its tag (virtual time at arrival plus demand). On
a node that is not crowded a job costs O(log jobs of its group) and touches no other group. Not
here: run-queue latency below the fluid limit; why cores are slow or gone (``host``).
"""

from __future__ import annotations

import asyncio
from heapq import heapify, heappop, heappush

from aiopslab.world.bandwidth import NEVER, Bandwidth
from aiopslab.world.clock import Handle, VirtualLoop
from aiopslab.world.core_time import CoreTime

_MIN_SHARE = 0.002
"""Least weight in cores: ``cpu.shares`` 2, what Kubernetes gives a container without request."""
_DONE = 1e-6
"""CPU seconds left that count as none; unix time in a float has steps of 2.4e-7 s."""
_CROWD = 1e-9
"""Cores of demand beyond capacity that are rounding, not crowding."""

_Job = tuple[float, int, "asyncio.Future[None]"]


class CpuGroup:
    """The CPU of one container: jobs that share, under a request and a limit.

    Made by ``NodeCpu.group``. The cumulative figures are exact at the moment they are read.
    """

    __slots__ = (
        "_alloc", "_bandwidth", "_closed", "_frozen", "_gain", "_jobs", "_loop", "_node", "_pace",
        "_request", "_seq", "_since", "_spin", "_timer", "_timer_due", "_usage", "_virtual", "name",
    )  # fmt: skip

    def __init__(self, node: NodeCpu, name: str, request: float, limit: float | None) -> None:
        self.name = name
        self._node = node
        self._loop = node._loop
        self._request = request
        self._jobs: list[_Job] = []  # heap by tag
        self._seq = 0
        self._spin = 0.0
        self._virtual = 0.0
        self._alloc = 0.0  # cores held now, steal included
        self._pace = 0.0  # CPU seconds per second that each thread receives now
        self._gain = 0.0  # of these, what brings a thread on
        self._usage = 0.0
        self._since = self._loop.time()
        self._bandwidth = Bandwidth(limit, self._since)
        self._timer: Handle | None = None
        self._timer_due = 0.0
        self._closed = False
        self._frozen = False

    # -- settings and figures ---------------------------------------------------------------------

    @property
    def request(self) -> float:
        """Requested cores: the weight on a crowded node."""
        return self._request

    @request.setter
    def request(self, cores: float) -> None:
        self._node._settle_all()
        self._request = cores
        self._node._share()

    @property
    def limit(self) -> float | None:
        """Cores allowed on average over a period; None is unlimited."""
        return self._bandwidth.limit

    @limit.setter
    def limit(self, cores: float | None) -> None:
        self._settle()
        self._bandwidth.change(cores, self._since)
        self._node._changed(self)

    @property
    def usage_seconds(self) -> float:
        """CPU seconds used (``container_cpu_usage_seconds_total``)."""
        self._settle()
        return self._usage

    @property
    def throttled_seconds(self) -> float:
        """Seconds spent throttled (``container_cpu_cfs_throttled_seconds_total``)."""
        quota = self._bandwidth
        if quota.throttled_at is None:
            return quota.throttled_s
        return quota.throttled_s + self._loop.time() - quota.throttled_at

    @property
    def periods(self) -> int:
        """Periods in which the group ran (``container_cpu_cfs_periods_total``)."""
        self._settle()
        return self._bandwidth.periods

    @property
    def throttled_periods(self) -> int:
        """Of these, throttled ones (``container_cpu_cfs_throttled_periods_total``)."""
        return self._bandwidth.throttled_periods

    @property
    def runnable(self) -> float:
        """Threads that want a core now, throttled ones included."""
        return len(self._jobs) + self._spin

    # -- use --------------------------------------------------------------------------------------

    async def burn(self, seconds: float) -> None:
        """Use CPU seconds on one thread, until they are received; cancelling gives up the rest.

        Raises:
            asyncio.CancelledError: The group was closed: whoever ran here is dead.
        """
        if self._closed:
            raise asyncio.CancelledError
        if seconds <= 0.0:
            return
        self._settle()
        if not self._jobs and not self._spin:
            self._bandwidth.wake(self._since)
        done: asyncio.Future[None] = self._loop.create_future()
        self._seq = seq = self._seq + 1
        job = (self._virtual + seconds, seq, done)
        heappush(self._jobs, job)
        self._node._changed(self)
        try:
            await done
        except asyncio.CancelledError:
            if job in self._jobs:
                self._settle()
                self._jobs.remove(job)
                heapify(self._jobs)
                self._node._changed(self)
            raise

    def spin(self, threads: float) -> None:
        """Keep so many threads running for good; a fraction runs for that share of the time."""
        self._settle()
        if not self._jobs and not self._spin:
            self._bandwidth.wake(self._since)
        self._spin = threads
        self._node._changed(self)

    def freeze(self, frozen: bool) -> None:
        """Let no thread of the group run, as the cgroup freezer does, or let them go on."""
        self._settle()
        self._frozen = frozen
        if not frozen and (self._jobs or self._spin):
            self._bandwidth.wake(self._since)
        self._node._changed(self)

    def close(self) -> None:
        """Cancel whoever waits for CPU and leave the node; the figures stay readable."""
        if self._closed:
            return
        self._settle()
        jobs, self._jobs = self._jobs, []
        self._spin = 0.0
        self._bandwidth.resume(self._since)
        self._node._changed(self)
        self._node._groups.pop(self)
        self._closed = True
        for _, _, done in jobs:
            done.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- events -----------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Book the time since the last change: progress, usage, quota."""
        now = self._loop._now
        elapsed = now - self._since
        if elapsed <= 0.0:
            return
        self._since = now
        pace = self._pace
        if pace:
            self._virtual += self._gain * elapsed
            rate = pace * (len(self._jobs) + self._spin)
            self._usage += rate * elapsed
            self._bandwidth.book(now, rate * elapsed, rate)

    def _grant(self, alloc: float, speed: float) -> None:
        """Take the cores the node gives (settled before) and plan the next event."""
        self._alloc = alloc
        quota = self._bandwidth
        if quota.throttled_at is not None:
            self._pace = 0.0
            due = quota.end
        elif alloc > 0.0:
            threads = len(self._jobs) + self._spin
            self._pace = pace = alloc * speed / threads
            self._gain = gain = pace * self._node._efficiency
            due = NEVER if quota.limit is None else quota.exhausted_at(self._since, pace * threads)
            if self._jobs:
                due = min(due, self._since + (self._jobs[0][0] - self._virtual) / gain)
        else:
            self._pace = 0.0
            return
        timer = self._timer
        if timer is not None:
            if self._timer_due <= due:
                return  # it fires early, finds nothing to do and plans anew: cheaper than a cancel
            timer.cancel()
        if due < NEVER:
            self._timer_due = due
            self._timer = self._loop.call_at(due, self._fire)
        else:
            self._timer = None

    def _fire(self) -> None:
        """Do what is due: jobs that are done, a quota that ran out, a period that ended."""
        self._timer = None
        self._settle()
        now = self._since = self._loop._now
        quota = self._bandwidth
        if quota.throttled_at is not None:
            if now >= quota.end:
                quota.resume(now)
                if self._jobs or self._spin:
                    quota.wake(now)
        else:
            jobs = self._jobs
            rate = self._pace * (len(jobs) + self._spin)
            reached = self._virtual + _DONE
            while jobs and jobs[0][0] <= reached:
                done = heappop(jobs)[2]
                if not done.done():
                    done.set_result(None)
            if jobs or self._spin:
                quota.throttle_if_exhausted(now, rate)
        self._node._changed(self)


class NodeCpu:
    """The cores of a node and the groups that share them.

    Args:
        loop: The world's clock.
        cores: Number of cores.
    """

    __slots__ = (
        "_busy", "_crowded", "_efficiency", "_groups", "_loop", "_plain", "_since", "_speed",
        "_spent", "_stall", "_steal", "_total", "_wanted", "cores",
    )  # fmt: skip

    def __init__(self, loop: VirtualLoop, cores: float) -> None:
        self.cores = cores
        self._loop = loop
        self._groups: dict[CpuGroup, float] = {}  # to the cores each wants now, in order of joining
        self._wanted = 0.0
        self._busy = 0.0
        self._crowded = False
        self._steal = 0.0
        self._stall = 0.0
        self._speed = 1.0  # what steal and stalls leave
        self._efficiency = 1.0
        self._plain = True  # every core is there, all time, and brings threads on
        self._total = cores
        self._since = loop.time()
        self._spent = CoreTime()

    def group(self, name: str, *, request: float, limit: float | None) -> CpuGroup:
        """Add a group; request and limit in cores, no limit is None."""
        group = CpuGroup(self, name, request, limit)
        self._groups[group] = 0.0
        return group

    @property
    def steal(self) -> float:
        """Share of each core that the hypervisor gives to others; at least 0, less than 1."""
        return self._steal

    def shape(
        self, *, steal: float | None = None, stall: float | None = None,
        efficiency: float | None = None, cores: float | None = None,
    ) -> None:  # fmt: skip
        """Change what the cores are worth; None leaves it as it is.

        Args:
            steal: Share that the hypervisor gives to others, 0 to less than 1.
            stall: Share of its time that a thread waits for memory, 0 to less than 1.
            efficiency: More than 0, at most 1.
            cores: Cores online, more than 0.
        """
        if steal is not None and not 0.0 <= steal < 1.0:
            raise ValueError(f"steal is a share from 0 to less than 1, not {steal!r}")
        self._settle_all()
        self._steal = self._steal if steal is None else steal
        self._stall = self._stall if stall is None else stall
        self._efficiency = self._efficiency if efficiency is None else efficiency
        self.cores = self.cores if cores is None else cores
        self._speed = (1.0 - self._steal) * (1.0 - self._stall)
        self._plain = self._speed == self._efficiency == 1.0 and self.cores == self._total
        self._share()

    @property
    def spent(self) -> CoreTime:
        """Where the time of the cores went until now."""
        self._settle()
        return self._spent

    @property
    def usage_seconds(self) -> float:
        """CPU seconds used by all groups, past ones included."""
        return self.spent.used

    @property
    def steal_seconds(self) -> float:
        """Core seconds stolen while a thread wanted to run (``node_cpu_seconds_total`` steal)."""
        return self.spent.stolen

    @property
    def pressure_seconds(self) -> float:
        """Seconds in which some thread waited for a core (PSI ``cpu some``)."""
        return self.spent.pressure

    @property
    def runnable(self) -> float:
        """Threads that run or wait for a core now: what the load average averages."""
        return self._wanted

    # -- sharing ----------------------------------------------------------------------------------

    def _settle(self) -> None:
        now = self._loop._now
        elapsed = now - self._since
        if elapsed > 0.0:
            self._since = now
            spent = self._spent
            if self._crowded:
                spent.pressure += elapsed
            if self._plain:
                spent.used += elapsed * self._busy
                return
            spent.book(
                elapsed, self._busy, steal=self._steal, stall=self._stall,
                efficiency=self._efficiency, missing=self._total - self.cores,
            )  # fmt: skip

    def _settle_all(self) -> None:
        self._settle()
        for group, wants in self._groups.items():
            if wants:  # the others make no progress
                group._settle()

    def _changed(self, group: CpuGroup) -> None:
        """Share anew after the demand of a group, settled already, has changed."""
        self._settle()
        stopped = group._frozen or group._bandwidth.throttled_at is not None
        wants = 0.0 if stopped else len(group._jobs) + group._spin
        self._wanted += wants - self._groups[group]
        self._groups[group] = wants
        if self._crowded or self._wanted > self.cores + _CROWD:
            if not wants:
                group._grant(0.0, self._speed)
            self._settle_all()
            self._share()
        else:
            self._busy += wants - group._alloc
            group._grant(wants, self._speed)

    def _share(self) -> None:
        """Give the groups that want cores theirs by weighted max-min; all are settled."""
        speed = self._speed
        # Summed afresh: increments by fractional threads drift.
        self._wanted = sum(self._groups.values())
        self._crowded = self._wanted > self.cores + _CROWD
        if not self._crowded:
            self._busy = self._wanted
            for group, wants in self._groups.items():
                if wants:
                    group._grant(wants, speed)
            return
        self._busy = free = self.cores
        claims = [(g, w, max(_MIN_SHARE, g._request)) for g, w in self._groups.items() if w]
        weight = sum([share for _, _, share in claims])
        # Who wants least for his weight is satisfied first; the others split what is left.
        claims.sort(key=lambda claim: claim[1] / claim[2])
        for group, wants, share in claims:
            alloc = min(wants, free * share / weight)
            free -= alloc
            weight -= share
            group._grant(alloc, speed)
