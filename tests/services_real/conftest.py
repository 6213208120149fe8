"""Servers for tests: a database and a cache for all of a session, a queue for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stores import CACHE_PASSWORD, Process, start_nats, start_postgres, start_valkey, started


@pytest.fixture(scope="session")
def postgres() -> Iterator[Process]:
    yield from started(start_postgres)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Process]:
    yield from started(lambda: start_valkey("--requirepass", CACHE_PASSWORD, "--maxmemory", "8mb"))


@pytest.fixture
def nats() -> Iterator[Process]:
    # One for each: a stream made again at once may find messages of its namesake, which
    # nats-server removes behind its back.
    yield from started(start_nats)
