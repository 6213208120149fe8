"""What went wrong with an HTTP request, as the exceptions of ``services.net_errors``.

TLS failures are worded as Go's ``crypto/tls`` does, as in the simulated world. OpenSSL does not
say which names or dates a certificate has, so those are left out.
"""

from __future__ import annotations

import errno
import ssl

import aiohttp

from aiopslab.services.net_errors import (
    ConnectionRefused,
    ConnectionReset,
    ConnectTimeout,
    NetError,
    NoSuchHost,
    TlsError,
)
from aiopslab.services.real.wire import Truncated

_VERIFY = "tls: failed to verify certificate: x509: "
_VERIFIED = {
    9: "certificate has expired or is not yet valid",
    10: "certificate has expired or is not yet valid",
    18: "certificate signed by unknown authority",
    19: "certificate signed by unknown authority",
    20: "certificate signed by unknown authority",
    21: "certificate signed by unknown authority",
}
"""OpenSSL's X509_V_ERR codes."""
_MISMATCH = (62, 64)
_ALERTS = {
    "CERTIFICATE_EXPIRED": "expired certificate",
    "UNKNOWN_CA": "unknown certificate authority",
    "BAD_CERTIFICATE": "bad certificate",
    "CERTIFICATE_REQUIRED": "certificate required",
    "CERTIFICATE_UNKNOWN": "unknown certificate",
    "HANDSHAKE_FAILURE": "handshake failure",
}
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")
_UNREACHABLE = {
    errno.ENETUNREACH: "connect: network is unreachable",
    errno.EHOSTUNREACH: "connect: no route to host",
}

Failure = aiohttp.ClientError | OSError | Truncated
"""What a request over aiohttp may end with, beside a deadline of ours."""


def named(error: Failure, host: str, port: int, address: str) -> NetError:
    """Return what a client of the app calls a failure."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NoSuchHost(host, port, "", f"lookup {host}: no such host")
    tls = _tls(error)
    if tls is not None:
        return TlsError(host, port, address, tls_detail(tls, host))
    if isinstance(error, aiohttp.ClientConnectorError):
        return _unconnected(error.os_error, host, port, address)
    if isinstance(error, aiohttp.ClientResponseError):
        return NetError(host, port, address, f"malformed HTTP response: {error.message}")
    # Disconnected, reset, a body that broke off.
    return ConnectionReset(host, port, address)


def _unconnected(error: OSError, host: str, port: int, address: str) -> NetError:
    match error.errno:
        case errno.ECONNREFUSED:
            return ConnectionRefused(host, port, address)
        case errno.ETIMEDOUT:
            return ConnectTimeout(host, port, address)
        case errno.ECONNRESET | errno.EPIPE | errno.ECONNABORTED:
            return ConnectionReset(host, port, address)
        case code:
            text = _UNREACHABLE.get(code or 0, f"connect: {error.strerror or error}")
            return NetError(host, port, address, text)


def _tls(error: BaseException) -> ssl.SSLError | None:
    """Return OpenSSL's error that an error wraps or came of."""
    seen: BaseException | None = error
    while seen is not None:
        # Of aiohttp's own errors some are subclasses of OpenSSL's, without what those tell.
        if isinstance(seen, aiohttp.ClientConnectorCertificateError):
            inner: BaseException | None = seen.certificate_error
        elif isinstance(seen, aiohttp.ClientConnectorError):
            inner = seen.os_error
        else:
            inner = seen
        if isinstance(inner, ssl.SSLError):
            return inner
        seen = seen.__cause__ or seen.__context__
    return None


def tls_detail(error: ssl.SSLError, host: str) -> str:
    """Say why a handshake failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _MISMATCH:
            return f"{_VERIFY}certificate is not valid for {host}"
        return _VERIFY + _VERIFIED.get(error.verify_code, error.verify_message)
    reason = error.reason or str(error)
    if reason in _NO_TLS:
        return "tls: first record does not look like a TLS handshake"
    for name, words in _ALERTS.items():
        if reason.endswith(f"ALERT_{name}"):
            return f"remote error: tls: {words}"
    return f"tls: {reason.lower().replace('_', ' ')}"
