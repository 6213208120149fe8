"""The Environment's ``Traffic`` on a simulated world: its users, and what they experienced."""

from __future__ import annotations

from aiopslab.environments.bridge import Bridge
from aiopslab.models.evidence import SliWindow
from aiopslab.models.journey import Journey
from aiopslab.models.sli_series import SliSeries
from aiopslab.world.users import Users
from aiopslab.world.world import World


class SimTraffic:
    """The users of one world."""

    def __init__(self, world: World, bridge: Bridge) -> None:
        self._world = world
        self._bridge = bridge
        self._visitors: dict[str, Users] = {}

    async def start(self) -> None:
        self._world.users.start()

    async def stop(self) -> None:
        self._world.users.stop()

    async def scale(self, factor: float, *, journey: str | None = None) -> None:
        self._world.users.scale(factor, journey)

    async def visitor(self, address: str, journey: Journey | None) -> None:
        await self._bridge.enter(self._visitor(address, journey))

    async def _visitor(self, address: str, journey: Journey | None) -> None:
        # On the world's loop, because arrivals are its timers.
        if journey is None:
            self._world.users.leave(address)
        else:
            if address not in self._visitors:
                self._visitors[address] = Users(
                    self._world.network, self._world.app, address=address
                )
            self._world.users.join(address, journey, self._visitors[address])

    async def slis(self, start: float, end: float) -> list[SliWindow]:
        return self._world.slis.window(start, end)

    async def series(self, start: float, bucket_s: float, n: int) -> SliSeries:
        return self._world.slis.series(start, bucket_s, n)
