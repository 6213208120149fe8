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
from aiopslab.models.app import App
from aiopslab.models.task import Problem, Task
from aiopslab.orchestrator.lab import Place
from aiopslab.orchestrator.staging import Staged
from aiopslab.problems import catalogue
from aiopslab.problems.draw import WARM_S, DrawnIncident, draw, world_key
from aiopslab.services.catalogue import load_app
from aiopslab.telemetry import frames

T = TypeVar("T")


class SimLab:
    """Worlds on the simulated cluster."""

    forkable = True
    run = ""

    def __init__(self, options: dict[str, str]) -> None:
        if options:
            raise UsageError(f"environment 'sim' has no option {min(options)!r}")
        self._apps: dict[str, App] = {}

    def expand(self, targets: Sequence[str], tasks: Sequence[Task]) -> tuple[str, list[Problem]]:
        return catalogue.expand(targets, tasks)

    def draw(self, incident: str, seed: int) -> DrawnIncident:
        spec = catalogue.load_incident(incident)
        return draw(spec, self._app(spec.app), seed)

    def _app(self, name: str) -> App:
        """Load an app once: reading one takes longer than drawing all its incidents."""
        if name not in self._apps:
            self._apps[name] = load_app(name)
        return self._apps[name]

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
