"""Where a process of ours runs, and how it is told to end. Not here: what it does."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiopslab.services.real.addresses import AddressBook


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process runs, beside its environment."""

    name: str
    """Host name: the pod's name."""
    root: Path = Path("/")
    """Where its mounted files lie."""
    book: AddressBook = field(default_factory=AddressBook)
    """Where the names of others lead."""
    bind: str = "0.0.0.0"
    """Address to listen on."""
    port: int | None = None
    """Port to listen on instead of the one it has in the cluster; 0: any."""
    fd: int | None = None
    """A bound socket to listen on instead."""
    links: Path | None = None
    """File of what is not as usual on its ways; None: the lab says so where telemetry goes."""
    hold_memory: bool = True
    """Whether memory is held, as where a limit keeps others from harm, or only counted."""


@asynccontextmanager
async def told(terminate: Callable[[], None], until_eof: bool = False) -> AsyncIterator[None]:
    """Have SIGTERM and Ctrl-C end a program, and the end of standard input, if asked for."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for each in signals:
        loop.add_signal_handler(each, terminate)
    transport = None
    if until_eof:
        transport, _ = await loop.connect_read_pipe(lambda: _Eof(terminate), sys.stdin)
    try:
        yield
    finally:
        if transport is not None:
            transport.close()
        for each in signals:
            loop.remove_signal_handler(each)


class _Eof(asyncio.Protocol):
    """Waits for the end of a pipe."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended

    def eof_received(self) -> None:
        self._ended()

    def connection_lost(self, error: Exception | None) -> None:
        self._ended()
