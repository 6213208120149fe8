"""Sessions that a tool outside an app keeps on a database of it: a dashboard, a report, a sync.

It dials again at once whenever a session is lost, and a while later where it was refused. Not here:
who deploys it (``environments.cluster.substrate``), the same in the simulated world
(``world.outsiders``).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import asyncpg

from aiopslab.services.real.place import told

_REDIAL_S = 0.5
"""Pause before it dials again after it lost its session."""
_PATIENCE_S = 10.0
_STARTING = "57P03"


@dataclass(frozen=True, slots=True)
class Login:
    """Whom a tool logs in as, and where."""

    host: str
    port: int
    database: str
    user: str
    password: str
    application: str


async def keep(login: Login, sessions: int, again_s: float) -> int:
    """Keep so many sessions open until told to end.

    Args:
        login: Where, and as whom.
        sessions: How many.
        again_s: Pause before one that was refused is tried again.
    """
    end = asyncio.Event()
    async with told(end.set), asyncio.TaskGroup() as group:
        kept = [group.create_task(_one(login, again_s)) for _ in range(sessions)]
        await end.wait()
        for session in kept:
            session.cancel()
    return 0


async def _one(login: Login, again_s: float) -> None:
    """Keep one session open for ever."""
    while True:
        refused = await _refused(login)
        await asyncio.sleep(again_s if refused else _REDIAL_S)


async def _refused(login: Login) -> bool:
    """Log in and stay until the other side ends it; True where it had no room or no welcome."""
    over = asyncio.Event()
    try:
        connection = await asyncpg.connect(
            host=login.host, port=login.port, database=login.database, user=login.user,
            password=login.password, ssl="disable", timeout=_PATIENCE_S,
            server_settings={"application_name": login.application},
        )  # fmt: skip
    except asyncpg.PostgresError as error:
        return error.sqlstate != _STARTING
    except (OSError, TimeoutError):
        return False
    connection.add_termination_listener(lambda _: over.set())
    try:
        await over.wait()
    finally:
        connection.terminate()
    return False
