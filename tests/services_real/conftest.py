"""One server of each kind for all tests of a session."""

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


@pytest.fixture(scope="session")
def nats() -> Iterator[Process]:
    yield from started(start_nats)
