"""The clock of the world: an asyncio event loop on virtual time.

Plain asyncio code (tasks, futures, ``sleep``, ``timeout``, queues, locks) runs on it unchanged.
Time stands still while code runs and jumps to the next timer when nothing is ready, so ten
virtual minutes take as long as the work in them. Order is total: by time, then by the sequence
in which things were scheduled. The loop owns no file descriptor and no thread; it can be forked.
Nothing in a world uses context variables: whatever runs, runs in the context of who drives it.

Not here: how virtual time follows an agent's steps (``environments.sim``). Neighbours: ``cpu`` and
``network`` schedule on it directly, everything else through asyncio.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, TypeVar

from aiopslab.errors import InfraError

T = TypeVar("T")

if TYPE_CHECKING:
    # For type checkers every method of the abstract loop is abstract; asyncio itself lets a loop
    # leave out what it does not offer (here all input and output), which then raises.
    _Loop = asyncio.BaseEventLoop
else:
    _Loop = asyncio.AbstractEventLoop

_SLOT_S = 0.125
"""Timers this far ahead wait unsorted, by slot: nearly all of them are deadlines, which are
cancelled long before they are due. A power of two, so that slots have exact ends."""
_LAST_SLOT_S = 1e12
"""Unix seconds from which on timers share one slot."""
_SWEEP = 20_000
"""Timers set between two looks for cancelled ones in all slots."""
_GC_YOUNG = 50_000
"""New objects before the collector looks while the loop runs: a world makes few cycles, and the
default of 700 costs a tenth of its time."""


class WorldFailure(InfraError):
    """A task of the world died of an error that is no event of the world: a defect of ours."""

    def __init__(self, message: str) -> None:
        super().__init__("world", message)


class Handle:
    """A scheduled callback; what ``call_soon`` and ``call_at`` return."""

    __slots__ = ("_args", "_callback", "_when")

    def __init__(self, when: float, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._when = when
        self._callback: Callable[..., object] | None = callback
        self._args = args

    def cancel(self) -> None:
        """Make the callback not happen; does nothing once it has run or was cancelled."""
        self._callback = None
        self._args = ()

    def cancelled(self) -> bool:
        """Return whether the callback will not run (any more)."""
        return self._callback is None

    def when(self) -> float:
        """Return the time it is due, in unix seconds of the world."""
        return self._when


_Timer = tuple[float, int, Handle]
"""When it is due, its place in the order of scheduling, and what to do."""


class VirtualLoop(_Loop):
    """An event loop whose ``time()`` is unix seconds of the world.

    Args:
        start: The time at the beginning, in unix seconds.
    """

    def __init__(self, start: float) -> None:
        self.failures: list[BaseException] = []
        """Errors that nobody retrieved; the next or running ``run_until`` raises them."""
        self._now = start
        self._sequence = 0
        self._ready: deque[Handle] = deque()
        self._timers: list[_Timer] = []  # heap: what is due before ``_near``
        self._near = start
        self._later: dict[int, list[_Timer]] = {}  # by slot: the others
        self._sweep_at = _SWEEP
        self._running = False
        self._context = contextvars.Context()

    # -- driving ----------------------------------------------------------------------------------

    def run_until(self, t: float) -> None:
        """Fire everything due up to and including ``t``; afterwards ``time()`` is ``t``.

        Raises:
            ValueError: ``t`` lies in the past.
            WorldFailure: A task of the world died unexpectedly.
        """
        if t < self._now:
            raise ValueError(f"cannot run until {t!r}: it is {self._now!r} already")
        self._drive(t, None)
        self._now = t

    def run_until_complete(self, coro: Coroutine[Any, Any, T], *, limit_s: float = 3600.0) -> T:  # type: ignore[override]
        """Run a coroutine to its end, letting as much virtual time pass as it needs.

        Args:
            coro: What to run.
            limit_s: Virtual seconds after which it is cancelled.

        Raises:
            WorldFailure: Not done within the limit, or a task of the world died. What the
                coroutine itself raises comes out unchanged.
        """
        task = self.create_task(coro)
        self._drive(self._now + limit_s, task)
        if not task.done():
            task.cancel()
            self._drive(self._now, None)
            raise WorldFailure(f"{coro!r} not done after {limit_s:g} virtual seconds")
        return task.result()

    def _drive(self, until: float, task: asyncio.Task[Any] | None) -> None:
        """Fire events as the running loop of this thread; raise what failed."""
        if self._running:
            raise RuntimeError("the world's loop is running already")
        outer, thresholds = events._get_running_loop(), gc.get_threshold()
        if 0 < thresholds[0] < _GC_YOUNG:
            gc.set_threshold(_GC_YOUNG, *thresholds[1:])
        events._set_running_loop(self)
        self._running = True
        try:
            self._fire(until, task)
        except Exception as error:
            self.failures.append(error)
        finally:
            self._running = False
            events._set_running_loop(outer)
            gc.set_threshold(*thresholds)
        if self.failures:
            self._raise_failures()

    def _fire(self, until: float, task: asyncio.Task[Any] | None) -> None:
        """Fire events in order until none is due by ``until``, ``task`` is done, or one fails."""
        ready, timers, failures = self._ready, self._timers, self.failures
        while True:
            if ready:
                handle = ready.popleft()
            else:
                if (task is not None and task.done()) or not (timers or self._sort_next(until)):
                    return
                when, _, handle = timers[0]
                if when > until:
                    return
                heappop(timers)
                if handle._callback is not None:
                    self._now = when
            callback = handle._callback
            if callback is not None:
                handle._callback = None
                callback(*handle._args)
                if failures:
                    return

    def _sort_next(self, until: float) -> bool:
        """Move the timers of the next slot to the empty heap; False if none is due by ``until``."""
        timers, later = self._timers, self._later
        if self._sequence >= self._sweep_at:
            self._sweep_at = self._sequence + _SWEEP
            for slot, waiting in later.items():
                later[slot] = _alive(waiting)
        while later and not timers:
            slot = min(later)
            if slot * _SLOT_S > until:
                return False
            self._near = (slot + 1) * _SLOT_S
            timers += _alive(later.pop(slot))
        heapify(timers)
        return bool(timers)

    def _raise_failures(self) -> None:
        found, self.failures[:] = list(self.failures), []
        first = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise WorldFailure(f"{type(first).__name__}: {first}{more}") from first

    # -- scheduling -------------------------------------------------------------------------------

    def time(self) -> float:
        """Return unix seconds of the world."""
        return self._now

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        """Schedule a callback for now, after what is already scheduled for now."""
        handle = Handle(self._now, callback, args)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        """Schedule a callback in ``delay`` seconds."""
        return self.call_at(self._now + delay, callback, *args)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        """Schedule a callback at a time; a time in the past means now."""
        if when < self._now:
            when = self._now
        handle = Handle(when, callback, args)
        self._sequence = sequence = self._sequence + 1
        if when < self._near:
            heappush(self._timers, (when, sequence, handle))
            return handle
        slot = int(min(when, _LAST_SLOT_S) / _SLOT_S)
        waiting = self._later.get(slot)
        if waiting is None:
            self._later[slot] = [(when, sequence, handle)]
        else:
            waiting.append((when, sequence, handle))
        return handle

    # -- what asyncio asks of a loop --------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        """Create a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        """Create a task; an exception that nobody retrieves ends up in ``failures``."""
        # A constant name saves the formatting of a number nobody reads, one context its copies.
        return asyncio.Task(coro, loop=self, name=name or "task", context=self._context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Collect what asyncio reports: errors that nobody retrieved."""
        error = context.get("exception")
        self.failures.append(
            error if error is not None else RuntimeError(context.get("message", "unknown error"))
        )

    def fail(self, error: BaseException) -> None:
        """Report an error that is a defect of ours, not an event of the world."""
        self.failures.append(error)

    def is_running(self) -> bool:
        """Return whether events are being fired right now."""
        return self._running

    def is_closed(self) -> bool:
        """Return False: there is nothing to close."""
        return False

    def get_debug(self) -> bool:
        """Return False: asyncio's debug mode reads the host's clock."""
        return False


def _alive(timers: list[_Timer]) -> list[_Timer]:
    """Return those that were not cancelled."""
    return [timer for timer in timers if timer[2]._callback is not None]
