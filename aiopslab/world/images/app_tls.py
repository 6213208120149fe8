"""TLS of the app program in the world: certificates and trust bundles from mounted files.

Files are looked at again as often as the program asks for, because the kubelet brings them up to
date in place; what cannot be read then is ignored, and the last good content stays. Not here: the
handshake (``world.tls``), who writes the files (``services.tls_manifests`` and the kubelet).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from aiopslab.services import certificates
from aiopslab.services.protocols import TlsFiles, TlsFilesError
from aiopslab.world.tls import PUBLIC_AUTHORITY, Certificate, ClientTls, ServerTls

if TYPE_CHECKING:
    from aiopslab.world.container import Container

PUBLIC = ClientTls(frozenset({PUBLIC_AUTHORITY}))


class Identity:
    """What one process shows and trusts.

    Args:
        box: Its container.
        files: Where to look.
    """

    def __init__(self, box: Container, files: TlsFiles) -> None:
        self._box = box
        self._files = files
        self._next_look = 0.0
        self._client: ClientTls | None = None

    def client(self) -> ClientTls:
        """Return what to dial with now.

        Raises:
            TlsFilesError: The files could not be read, at first use.
        """
        now, reload_s = self._box.loop.time(), self._files.reload_s
        if self._client is None:
            self._client = self._read()
            self._next_look = now + reload_s
        elif reload_s and now >= self._next_look:
            self._next_look = now + reload_s
            # Half-written or withdrawn: go on with what is known.
            with suppress(TlsFilesError):
                self._client = self._read()
        return self._client

    def server(self) -> ServerTls:
        """Return what to listen with; it follows the files from now on.

        Raises:
            TlsFilesError: The files could not be read.
        """
        known = self.client()
        assert known.certificate is not None, "servers have one"
        serving = ServerTls(known.certificate, known.roots)
        if self._files.reload_s:
            self._box.spawn(self._follow(serving))
        return serving

    async def _follow(self, serving: ServerTls) -> None:
        while True:
            await asyncio.sleep(self._files.reload_s)
            known = self.client()
            if known.certificate is not None:
                serving.certificate, serving.roots = known.certificate, known.roots

    def _read(self) -> ClientTls:
        bundle = self._facts(self._files.authorities)
        own = self._facts(self._files.certificate)[0]
        certificate = Certificate(
            own.issuer_key_id, own.dns_names, own.not_before, own.not_after, own.issuer
        )
        return ClientTls(frozenset(facts.key_id for facts in bundle), certificate=certificate)

    def _facts(self, path: str) -> tuple[certificates.Facts, ...]:
        text = self._box.files.get(path)
        if text is None:
            raise TlsFilesError(f"open {path}: no such file or directory")
        try:
            return certificates.read(text)
        except ValueError:
            raise TlsFilesError(
                f"tls: failed to find any PEM data in certificate input: {path}"
            ) from None
