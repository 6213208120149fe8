"""One broken hotel for all tests of the monitoring APIs, booted once in a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from wire_clients import Wire, on_socket

from aiopslab.environments.sim import Sim
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app


@pytest.fixture(scope="session")
def hotel() -> Iterator[Sim]:
    """Two healthy minutes, then the pods of ``geo`` are cut off from ``search``; alerts fire."""
    app = load_app("hotel")
    key = world_key(app, 23)
    sim = Sim(app, key.seed, epoch=key.epoch, load=0.5)
    sim.boot()
    sim.run_for(120.0)
    sim.run_sync(sim.substrate.link("search", "geo", cut=True))
    sim.run_for(180.0)
    yield sim
    asyncio.run(sim.aclose())


@pytest.fixture(scope="session")
def wire(hotel: Sim) -> Wire:
    """Every API over that hotel, in memory."""
    return Wire(hotel)


@pytest.fixture(scope="session")
def served(wire: Wire) -> Iterator[str]:
    """The same site on a socket, for programs; the URL's beginning."""
    with on_socket(wire.site) as url:
        yield url
