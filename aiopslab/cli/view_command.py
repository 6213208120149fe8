"""``aiopslab view``: a folder of runs in a browser, on loopback.

Not here: what the pages say (``aiopslab.report.site``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aiopslab.cli import output

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from starlette.types import ASGIApp

    from aiopslab.report.site.listing import Listing

PORTS = range(7576, 7586)
"""Tried in turn where no port is asked for."""
_LOOPBACK = "127.0.0.1"


def command(
    directory: Path = Path("runs"),
    /,
    *,
    port: int | None = None,
    host: str = _LOOPBACK,
    open: bool = False,
) -> None:
    """Serve the runs of a folder until Ctrl-C: list, filter, open, compare. Nothing is written.

    Args:
        directory: The folder that holds runs, or a single run.
        port: Port to listen on; 0 is any that is free. By default the first free one of 7576 to
            7585.
        host: Address to listen on. The pages hold answer keys and ask for no password: anything
            but loopback shows them to whoever reaches it.
        open: Open the list in a browser.
    """
    import asyncio
    import contextlib

    listing = _listing(directory)
    if host != _LOOPBACK:
        output.note(f"anyone who reaches {host} can read these runs, with their answer keys")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(listing, host, port, show=open))


def _listing(directory: Path) -> Listing:
    from aiopslab.errors import UsageError
    from aiopslab.report.site.listing import Listing

    if (directory / "run.json").is_file():
        whole = directory.resolve()
        return Listing(whole.parent, only=whole.name)
    if not directory.is_dir():
        raise UsageError(
            f"there is no folder {str(directory)!r}", hint="aiopslab view FOLDER, or run something"
        )
    return Listing(directory)


async def _serve(listing: Listing, host: str, port: int | None, *, show: bool) -> None:
    """Serve until interrupted."""
    import asyncio
    import signal
    import socket
    import webbrowser
    from contextlib import AsyncExitStack

    from aiopslab.report.site.app import site

    over = asyncio.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, over.set)
    # A name in the Host header is ours if it is this machine's, or the one that was given.
    names = (host,) if host == _LOOPBACK else (host, socket.gethostname())
    async with AsyncExitStack() as stack:
        bound = await _listen(stack, site(listing, names=names), host, port)
        address = f"http://{host}:{bound}/"
        print(address, flush=True)
        output.note("Ctrl-C stops it")
        if show:
            webbrowser.open(address)
        await over.wait()


async def _listen(stack: AsyncExitStack, app: ASGIApp, host: str, port: int | None) -> int:
    """Return the port that is listened on.

    Raises:
        UsageError: None can be.
    """
    from aiopslab.errors import UsageError
    from aiopslab.wire.server import listening

    failure: OSError | OverflowError | None = None
    for candidate in PORTS if port is None else [port]:
        try:
            return await stack.enter_async_context(listening(app, host=host, port=candidate))
        except (OSError, OverflowError) as error:
            failure = error
    where = f"ports {PORTS[0]} to {PORTS[-1]}" if port is None else f"port {port}"
    raise UsageError(
        f"cannot listen on {where} of {host}: {failure}", hint="--port 0: any free one"
    )
