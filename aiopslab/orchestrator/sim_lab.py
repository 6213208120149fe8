"""Worlds on the simulated cluster: the lab behind ``--env sim``.

A thin binding: incidents come from ``problems``, the world from ``environments.sim``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Hashable, Sequence
from typing import Any, TypeVar

from aiopslab.environments.protocol import Environment
from aiopslab.environments.sim import Sim
from aiopslab.errors import UsageError
from aiopslab.orchestrator.lab import Place
from aiopslab.orchestrator.library import Library
from aiopslab.orchestrator.staging import Staged
from aiopslab.problems.draw import WARM_S, DrawnIncident, world_key
from aiopslab.telemetry import frames

T = TypeVar("T")


class SimLab(Library):
    """Worlds on the simulated cluster."""

    forkable = True
    patient = False
    run = ""
    seat = 0
    cluster = ""

    def __init__(self, options: dict[str, str]) -> None:
        if options:
            raise UsageError(f"environment 'sim' has no option {min(options)!r}")

    def clusters(self) -> Sequence[str]:
        return ()

    def world(self, drawn: DrawnIncident) -> Hashable:
        return world_key(drawn.app, drawn.seed)

    def boot(self, drawn: DrawnIncident) -> Environment:
        key = world_key(drawn.app, drawn.seed)
        frames.preload()
        sim = Sim(drawn.app, key.seed, epoch=key.epoch, load=key.load_scale)
        sim.boot()
        sim.run_for(WARM_S)
        return sim

    async def place(self, drawn: DrawnIncident) -> Place:
        return Place(await asyncio.to_thread(self.boot, drawn), drawn)

    async def accompany(self, env: Environment, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.to_thread(self.drive, env, work)

    async def release(self, env: Environment, staged: Staged | None) -> str:
        await env.aclose()
        return ""

    async def aclose(self) -> None:
        """Worlds are memory of their processes; nothing is left."""

    async def sweep(self) -> None:
        """See ``aclose``."""

    def drive(self, env: Environment, work: Coroutine[Any, Any, T]) -> T:
        if not isinstance(env, Sim):
            raise TypeError(f"SimLab drives its own worlds, not {type(env).__name__}")
        return env.run_sync(work)
