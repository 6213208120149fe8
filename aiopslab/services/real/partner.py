"""A partner of an app as a process: its API over HTTPS, as good or bad as a file says.

It shows a certificate of the authority that stands for the internet's; whoever calls it must trust
``public_authority`` (``SSL_CERT_FILE``). Not here: how it answers (``services.partners``), where
its name leads (an address book, or a cluster's DNS).
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from aiopslab import content
from aiopslab.errors import UsageError
from aiopslab.models.app import App
from aiopslab.models.external import Disturbance, External
from aiopslab.services.certificates import KeyPair, authority, issue
from aiopslab.services.partners import Conduct
from aiopslab.services.protocols import Request, Response
from aiopslab.services.real.clock import WallClock
from aiopslab.services.real.http_server import HttpServer, listener
from aiopslab.services.real.place import Place, told

_AUTHORITY = "GlobalTrust Root R4"
_VALID_S = 45 * 86400.0
"""Its certificate was issued so long ago, and holds as long again."""


def public_authority() -> KeyPair:
    """Return the authority that signs the certificates of partners."""
    return authority(_AUTHORITY)


class Partner:
    """One partner.

    Args:
        spec: How it behaves on a good day.
        disturbance: File with a ``Disturbance`` as JSON, looked at with each request; without the
            file every day is good. Where its name leads (``moved``) is not the partner's to change.
    """

    def __init__(self, spec: External, disturbance: Path | None) -> None:
        self._conduct = Conduct(spec, random.Random(), WallClock().now)
        self._round_trip_s = spec.round_trip_ms / 1000.0
        self._file = disturbance
        self._text = ""

    async def answer(self, request: Request) -> Response:
        """Answer a request."""
        self._look()
        await asyncio.sleep(self._round_trip_s)
        return await self._conduct.answer(request)

    def _look(self) -> None:
        if self._file is None:
            return
        text = self._file.read_text("utf-8") if self._file.is_file() else ""
        if text == self._text:
            return
        self._text = text
        try:
            found = Disturbance.model_validate_json(text) if text.strip() else Disturbance()
        except ValidationError as error:
            sys.stderr.write(f"{self._file}: {error}\n")
            return
        self._conduct.disturbance = found


async def serve(
    app: App, name: str, place: Place, disturbance: Path | None, *, until_eof: bool
) -> int:
    """Be a partner until told to end.

    Raises:
        UsageError: The app has no such partner.
    """
    spec = app.externals.get(name)
    if spec is None:
        hint = content.near(name, list(app.externals))
        raise UsageError(f"unknown partner {name!r}", hint=hint)
    end = asyncio.Event()
    tls = _certified(spec) if spec.tls else None
    server = HttpServer(Partner(spec, disturbance).answer, tls, clients_certified=False)
    await server.open(listener(place, spec.port))
    async with told(end.set, until_eof):
        await end.wait()
    await server.aclose()
    return 0


def _certified(spec: External) -> ssl.SSLContext:
    """Return what it shows to clients."""
    now = WallClock().now()
    pair = issue(public_authority(), spec.host, [spec.host], now - _VALID_S, now + _VALID_S)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with _file(pair.certificate + pair.key) as path:
        context.load_cert_chain(path)
    return context


@contextmanager
def _file(text: str) -> Iterator[str]:
    """Give a text as a file, which is all that OpenSSL reads.

    Where the system can, it lies in memory: a container may have nowhere to write.
    """
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("tls"), "w", encoding="utf-8") as held:
            held.write(text)
            held.flush()
            yield f"/proc/self/fd/{held.fileno()}"
    else:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as held:
            held.write(text)
            held.flush()
            yield held.name
