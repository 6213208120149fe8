"""Where a process learns which of its ways are not as usual: from a file, or from the lab.

On a cluster it asks the receiver of its telemetry, every other second, for a text that is sealed
(``sealed``); no other host, port or variable of the environment is known to it. Beside local
processes lies a file (``--links``). Not here: what comes of it (``links``).
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
from pydantic import ValidationError

from aiopslab.models.network import Links

PATH = "/v1/config"
"""Below the endpoint for telemetry."""
EVERY_S = 2.0
"""From one question to the next."""
_ANSWER_S = 5.0
_NOTHING = Links()


class NoOrders:
    """Nobody says anything: all is as usual."""

    def current(self) -> Links:
        """Return that nothing is unusual."""
        return _NOTHING


class FileOrders:
    """Reads a file of ``Links`` as JSON, looked at with each packet; without it all is as usual.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = 0
        self._links = _NOTHING

    def current(self) -> Links:
        """Return what the file says."""
        try:
            changed = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            self._changed, self._links = 0, _NOTHING
            return self._links
        if changed != self._changed:
            self._changed = changed
            try:
                self._links = Links.model_validate_json(self._path.read_text("utf-8"))
            except ValidationError:
                # Half written, perhaps: what was known holds until the next look.
                self._changed = 0
        return self._links


class LabOrders:
    """Asks the receiver of telemetry; what was said last holds while it is away.

    Args:
        app: Name of the app.
        endpoint: Base URL of the receiver.
        every_s: From one question to the next.
    """

    def __init__(self, app: str, endpoint: str, every_s: float = EVERY_S) -> None:
        self._app = app
        self._url = endpoint.rstrip("/") + PATH
        self._every_s = every_s
        self._text = ""
        self._links = _NOTHING
        self._asking: asyncio.Task[None] | None = None

    def current(self) -> Links:
        """Return what was said last."""
        return self._links

    def start(self) -> None:
        """Begin to ask."""
        self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def aclose(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self) -> None:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                self._take(await self._answer(session))
                await asyncio.sleep(self._every_s)

    async def _answer(self, session: aiohttp.ClientSession) -> str:
        """Return the text; empty where the receiver is away or knows of no such thing."""
        try:
            async with session.get(self._url) as answer:
                return await answer.text() if answer.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError, OSError):
            return ""

    def _take(self, text: str) -> None:
        if not text or text == self._text:
            return
        # Who is told nothing needs no ciphers.
        from aiopslab.services.real import sealed  # noqa: PLC0415

        self._text = text
        try:
            self._links = sealed.unseal(self._app, text)
        except sealed.NotSealed:
            self._links = _NOTHING
