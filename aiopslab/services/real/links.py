"""Ways of a process that are not as usual: packets delayed, lost or kept, where the program dials.

Many hosts lack the kernel's means to shape traffic, so the program does it itself, and it is
modelled: each request and each answer is one packet. A packet that is lost is sent again after the
waits of TCP; on a way that is cut it waits until the way heals or the kernel would have given up.
Only deadlines tell, so failures have the names they have in the simulated world. What is shaped:

* the way to a component, named as the app names it, and back: where clients of this process dial
  and use their connections (HTTP, SQL, cache, queue);
* everything of this pod: beside that, requests that come in and their answers.

Unlike real packets, a request that its client has given up is not delivered afterwards. Neighbours:
where the shapes come from (``orders``), the same in the simulated world (``world.path``).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from aiopslab.models.app import App
from aiopslab.models.network import NEUTRAL, Links, Shape, combined
from aiopslab.services.packets import RETRIES, RTO_S, SYN_RTO_S, resend_after
from aiopslab.services.protocols import Handler, Request, Response

Current = Callable[[], Links]
"""Returns what is not as usual right now."""


class Way:
    """Both directions between this process and one other party.

    Args:
        out: Returns what happens to packets there, now.
        back: And to packets from there.
        draw: Chance of their loss.
    """

    def __init__(
        self, out: Callable[[], Shape], back: Callable[[], Shape], draw: random.Random
    ) -> None:
        self._out = out
        self._back = back
        self._draw = draw

    @classmethod
    def usual(cls) -> Way:
        """Return a way on which nothing happens to packets."""
        return cls(lambda: NEUTRAL, lambda: NEUTRAL, random.Random())

    async def dial(self) -> None:
        """Let the packets pass that make a connection."""
        await self._pass(self._out, SYN_RTO_S)
        await self._pass(self._back, SYN_RTO_S)

    async def out(self) -> None:
        """Let a request pass."""
        await self._pass(self._out, RTO_S)

    async def back(self) -> None:
        """Let an answer pass."""
        await self._pass(self._back, RTO_S)

    async def _pass(self, shape: Callable[[], Shape], rto_s: float) -> None:
        tried = 0
        while (now := shape()).cut or (now.loss and self._draw.random() < now.loss):
            if tried >= RETRIES:
                await asyncio.Event().wait()
            await asyncio.sleep(resend_after(rto_s, tried))
            tried += 1
        if now.delay_s:
            await asyncio.sleep(now.delay_s)


class Ways:
    """All ways of one process.

    Args:
        app: The app, for what its names stand for.
        component: Which part of it this process is.
        pod: Its pod.
        current: What is not as usual.
    """

    def __init__(self, app: App, component: str, pod: str, current: Current) -> None:
        self._component = component
        self._pod = pod
        self._current = current
        self._draw = random.Random()
        self._names = {spec.host: name for name, spec in app.externals.items()}

    def to(self, host: str) -> Way:
        """Return the way to whoever has that host name, and back."""
        target = self._names.get(host) or host.partition(".")[0]
        here = self._component
        return Way(lambda: self._of(here, target), lambda: self._of(target, here), self._draw)

    def shaped(self, handler: Handler) -> Handler:
        """Return a handler whose requests and answers pass the ways of this pod."""
        way = Way(self._own, self._own, self._draw)

        async def handle(request: Request) -> Response:
            await way.out()
            response = await handler(request)
            await way.back()
            return response

        return handle

    def _of(self, source: str, target: str) -> Shape:
        now = self._current()
        if not (now.pairs or now.pods):
            return NEUTRAL
        pair = now.pairs.get(source, {}).get(target)
        return combined((pair, now.pods.get(self._pod)))

    def _own(self) -> Shape:
        return self._current().pods.get(self._pod, NEUTRAL)
