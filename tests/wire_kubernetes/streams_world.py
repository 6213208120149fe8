"""The hotel that the stream tests look into, and its pods by component."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from aiopslab.environments.sim import Sim
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app

Run = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine on the one event loop to which a gate belongs."""


def hotel(*, load: float, warm_s: float) -> Iterator[Sim]:
    """Boot a hotel, let it run, hand it out, close it; the body of a fixture."""
    app = load_app("hotel")
    key = world_key(app, 31)
    sim = Sim(app, key.seed, epoch=key.epoch, load=load)
    sim.boot()
    sim.run_for(warm_s)
    yield sim
    asyncio.run(sim.aclose())


def one_loop() -> Iterator[Run]:
    """Hand out what runs coroutines on one event loop; the body of a fixture."""
    with asyncio.Runner() as runner:
        yield runner.run


def a_pod(sim: Sim, component: str) -> str:
    """Return the name of a pod of a component."""
    labels = f"app.kubernetes.io/name={component}"
    return str(sim.world.api.list("Pod", "hotel", labels=labels)[0]["metadata"]["name"])
