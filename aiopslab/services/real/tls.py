"""TLS of the app program: contexts made of mounted files, made anew when the files change.

What cannot be read at a later look is ignored, and the last good content stays. Neighbours: who
writes the files (``services.tls_manifests`` and the kubelet), the same in the simulated world
(``world.images.app_tls``).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from aiopslab.services.protocols import TlsFiles, TlsFilesError
from aiopslab.services.real.mounted import MountedFiles


def public() -> ssl.SSLContext:
    """Return what trusts the authorities that every machine trusts."""
    # Not ``create_default_context``: from Python 3.13 on it is stricter than other clients are.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return context


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read, and what came of it."""

    texts: tuple[str, ...]
    client: ssl.SSLContext
    server: ssl.SSLContext


class _Telling(ssl.SSLObject):
    """The server's end of a handshake, which tells a client why its certificate is refused.

    asyncio hangs up at once when a handshake fails, and OpenSSL's alert with the reason is never
    sent. So the first failure asks for more to read, which sends what is there to be sent.
    """

    _failed: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        if self._failed is not None:
            raise self._failed
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            self._failed = error
            raise ssl.SSLWantReadError from error


class Identity:
    """What one process shows and trusts.

    Args:
        mounted: Its files.
        files: Where among them to look.
        now: Clock, seconds.
    """

    def __init__(self, mounted: MountedFiles, files: TlsFiles, now: Callable[[], float]) -> None:
        self._mounted = mounted
        self._files = files
        self._now = now
        self._next_look = 0.0
        self._known: _Known | None = None

    def client(self) -> ssl.SSLContext:
        """Return what to dial with now.

        Raises:
            TlsFilesError: The files could not be read, at first use.
        """
        return self._current().client

    def server(self) -> ssl.SSLContext:
        """Return what to listen with; it follows the files from now on.

        Raises:
            TlsFilesError: The files could not be read.
        """
        front = self._read().server
        front.sni_callback = self._follow
        return front

    def _follow(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, front: ssl.SSLContext
    ) -> None:
        """Serve a new connection with what the files hold now."""
        connection.context = self._current().server

    def _current(self) -> _Known:
        now, reload_s = self._now(), self._files.reload_s
        if self._known is None:
            self._known = self._read()
            self._next_look = now + reload_s
        elif reload_s and now >= self._next_look:
            self._next_look = now + reload_s
            # Half-written or withdrawn: go on with what is known.
            with suppress(TlsFilesError):
                self._known = self._read()
        return self._known

    def _read(self) -> _Known:
        names = (self._files.authorities, self._files.certificate, _key_of(self._files.certificate))
        texts = tuple(self._text(name) for name in names)
        if self._known is not None and self._known.texts == texts:
            return self._known
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Probes of the kubelet show none; the server tells who needs one.
        server.verify_mode = ssl.CERT_OPTIONAL
        server.sslobject_class = _Telling
        for context in (client, server):
            self._load(context, texts[0])
        return _Known(texts, client, server)

    def _load(self, context: ssl.SSLContext, authorities: str) -> None:
        path = self._files.authorities
        try:
            context.load_verify_locations(cadata=authorities)
            path = self._files.certificate
            own = self._mounted.path(path)
            context.load_cert_chain(own, self._mounted.path(_key_of(path)))
        except (ssl.SSLError, ValueError):
            raise TlsFilesError(
                f"tls: failed to find any PEM data in certificate input: {path}"
            ) from None
        except OSError as error:
            raise TlsFilesError(f"open {path}: {error.strerror}") from None

    def _text(self, path: str) -> str:
        text = self._mounted.get(path)
        if text is None:
            raise TlsFilesError(f"open {path}: no such file or directory")
        return text


def _key_of(certificate: str) -> str:
    """Return where the private key of a certificate is, as ``kubernetes.io/tls`` has it."""
    return f"{certificate.removesuffix('.crt')}.key"
