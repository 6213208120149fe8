"""The Environment's ``Traffic`` on a simulated world: its users, and what they experienced."""

from __future__ import annotations

from aiopslab.models.evidence import SliWindow
from aiopslab.world.world import World


class SimTraffic:
    """The users of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def start(self) -> None:
        self._world.users.start()

    async def stop(self) -> None:
        self._world.users.stop()

    async def scale(self, factor: float, *, journey: str | None = None) -> None:
        self._world.users.scale(factor, journey)

    async def slis(self, start: float, end: float) -> list[SliWindow]:
        return self._world.slis.window(start, end)
