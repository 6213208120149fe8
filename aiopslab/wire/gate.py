"""The gate: how a request from outside gets its turn on a world that must stand still for it.

A world runs only while somebody drives it, and only one may look or drive at a time. Every request
of a wire API passes a gate: it waits for its turn, pays what the clock rule says, and is recorded.
``StandingGate`` is that of a lab on the host's clock, where requests cost nothing; a trial has one
of its own (``orchestrator.session``), where each costs what a tool call costs. ``OpenGate`` stands
before what runs by itself. Not here: HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiopslab.environments.protocol import Environment
from aiopslab.models.observation import Effect

READ_S = 2.0
"""Virtual seconds of a request that reads, as those of a tool that reads."""
WRITE_S = 5.0
"""Virtual seconds of a request that writes, as those of a tool that writes."""
POLL_S = 1.0
"""Virtual seconds that an open stream lets pass at a time under the stepped clock."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a request asks for, in the words of the record."""

    tool: str
    """The API: ``kubernetes``, ``prometheus``; the arguments say what of it."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """JSON values: method, path, parameters, body."""
    effect: Effect = "read"

    @property
    def cost_s(self) -> float:
        """Virtual seconds it takes under the stepped clock."""
        return WRITE_S if self.effect == "write" else READ_S


@dataclass(slots=True)
class Turn:
    """A request that has its turn; say what came of it before the turn ends."""

    id: str = ""
    """The observation's id, ``obs-N``; empty where nothing is recorded."""
    ok: bool = True
    text: str = ""
    before: Any = None
    after: Any = None

    def saw(self, text: str, *, ok: bool = True, before: Any = None, after: Any = None) -> None:
        """State what the requester got to read, and for writes the objects before and after."""
        self.text, self.ok, self.before, self.after = text, ok, before, after


class Gate(Protocol):
    """The way into one world for requests from outside."""

    closing: asyncio.Event
    """Set when nothing more is served; open streams end."""

    def turn(self, call: Call) -> AbstractAsyncContextManager[Turn]:
        """Wait for the turn and hold it; the world stands still and is the caller's.

        Raises:
            LimitExceeded: A budget of the trial is used up.
        """
        ...

    async def moved(self) -> None:
        """Wait, without a turn, until world time has passed; for streams that follow something.

        On the host's clock the pacer moves the world; under the stepped clock this call does, by
        ``POLL_S``, at the trial's expense.

        Raises:
            LimitExceeded: A budget of the trial is used up.
        """
        ...


class OpenGate:
    """The gate of what runs by itself, whoever looks: no turns, no cost, nothing recorded."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()

    @asynccontextmanager
    async def turn(self, call: Call) -> AsyncIterator[Turn]:
        """Let through at once; see ``Gate.turn``."""
        yield Turn()

    async def moved(self) -> None:
        """Wait as long as a stream may; time passes by itself."""
        await asyncio.sleep(POLL_S)


class StandingGate:
    """The gate of a lab that stands until it is stopped: free of charge, nothing recorded.

    Args:
        env: The environment; ``pace`` lets its time pass.
        factor: Virtual seconds a second of the host.
    """

    def __init__(self, env: Environment, factor: float) -> None:
        self.closing = asyncio.Event()
        self._env = env
        self._factor = factor
        self._lock = asyncio.Lock()
        self._tick = asyncio.Event()

    @asynccontextmanager
    async def turn(self, call: Call) -> AsyncIterator[Turn]:
        """Hold the world; see ``Gate.turn``."""
        async with self._lock:
            yield Turn()

    async def moved(self) -> None:
        """Wait for the pacer's next tick or the end."""
        if not self.closing.is_set():
            await self._tick.wait()

    def close(self) -> None:
        """End the streams."""
        self.closing.set()
        self._pulse()

    async def pace(self, *, every_s: float = 0.1) -> None:
        """Let the world follow the host's clock until cancelled.

        A world that cannot keep pace falls behind; what was lost is not caught up.
        """
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(every_s)
            now = loop.time()
            async with self._lock:
                await self._env.advance((now - last) * self._factor)
            last = max(now, loop.time() - 1.0)
            self._pulse()

    def _pulse(self) -> None:
        self._tick.set()
        self._tick = asyncio.Event()
