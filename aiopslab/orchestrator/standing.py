"""A lab that stands until it is stopped: ``aiopslab up``.

An app under load, or an incident at its hand-over, on the host's clock, with every door open. No
agent, no budget, no grade, no record. Not here: the doors (``serving``), trials (``trial``).

The world's clock is set to show the host's time when the doors open, because whoever comes through
them asks for "the last ten minutes" by a clock of their own. A trial keeps the time that was drawn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from aiopslab.environments.sim import Sim
from aiopslab.models.app import App
from aiopslab.models.doors import Doors
from aiopslab.models.incident import IncidentSpec
from aiopslab.orchestrator import serving, staging, wallclock
from aiopslab.problems.draw import WARM_S, DrawnIncident, draw, world_key
from aiopslab.services.catalogue import load_app
from aiopslab.telemetry import frames
from aiopslab.wire.gate import StandingGate


def prepare(target: App | IncidentSpec, seed: int) -> Sim:
    """Boot an app, or an incident up to its hand-over.

    Args:
        target: The app or the incident.
        seed: Draws the incident, and everything in the world.

    Raises:
        UsageError: The incident cannot be drawn.
        InfraError: Not ready in time, or the symptom was not seen.
    """
    frames.preload()
    if isinstance(target, App):
        return _on_time(partial(_healthy, target, seed), world_key(target, seed).epoch)
    drawn = draw(target, load_app(target.app), seed)
    return _on_time(partial(_broken, drawn), world_key(drawn.app, seed).epoch)


def _on_time(boot: Callable[[float], Sim], drawn: float) -> Sim:
    """Boot twice: once to learn how long it takes, once so that it ends at the host's time."""
    begun = wallclock.seconds()
    lasted = boot(drawn).now() - drawn
    took = wallclock.seconds() - begun
    sim = boot(float(round(wallclock.unix() + took - lasted)))
    sim.run_for(max(0.0, wallclock.unix() - sim.now()))
    return sim


def _healthy(app: App, seed: int, epoch: float) -> Sim:
    sim = Sim(app, seed, epoch=epoch)
    sim.boot()
    sim.run_for(WARM_S)
    return sim


def _broken(drawn: DrawnIncident, epoch: float) -> Sim:
    key = world_key(drawn.app, drawn.seed)
    sim = Sim(drawn.app, key.seed, epoch=epoch, load=key.load_scale)
    sim.boot()
    sim.run_for(WARM_S)
    led = sim.run_sync(staging.lead(sim, drawn))
    sim.run_sync(staging.strike(led, twin=False))
    return sim


@asynccontextmanager
async def standing(sim: Sim, factor: float) -> AsyncIterator[Doors]:
    """Open the doors of a booted lab and let its time follow the host's.

    Args:
        sim: From ``prepare``.
        factor: Virtual seconds a second of the host.

    Raises:
        InfraError: The world failed while it stood.
    """
    gate = StandingGate(sim, factor)
    try:
        async with asyncio.TaskGroup() as tasks:
            pacing = tasks.create_task(gate.pace())
            try:
                async with serving.lab_doors(sim, gate) as doors:
                    try:
                        yield doors
                    finally:
                        # First of all: servers wait for the streams that are still open.
                        gate.close()
            finally:
                pacing.cancel()
    except BaseExceptionGroup as group:
        # The pacer and the doors fail for one reason; the first one said it.
        raise group.exceptions[0] from group
    finally:
        await sim.aclose()
