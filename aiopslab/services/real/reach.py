"""Reaching a store by name: resolving it, and what a failed attempt is called.

Names are resolved at each attempt, so that errors carry the address that was tried and a name that
vanishes is noticed. Not here: what is said once connected (``sql``, ``cache``, ``queue``).
"""

from __future__ import annotations

import asyncio
import socket
import ssl

from aiopslab.services.net_errors import (
    ConnectionRefused,
    ConnectionReset,
    ConnectTimeout,
    NetError,
    NoSuchHost,
    TlsError,
)

Address = tuple[str, int]
"""Host, by name or IP, and port."""


async def resolve(address: Address, timeout_s: float) -> str:
    """Return an IP of a host, IPv4 where it has one.

    Raises:
        NoSuchHost: The name does not resolve, or nobody who could tell answers in time.
    """
    host, port = address
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NoSuchHost(host, port) from None
    chosen = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return str(chosen[4][0])


def failure(error: OSError | EOFError, address: Address, ip: str) -> NetError:
    """Name an error of the operating system the way clients of the app do."""
    host, port = address
    tried = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
    match error:
        case ConnectionRefusedError():
            return ConnectionRefused(host, port, tried)
        case ssl.SSLError():
            return TlsError(host, port, tried, str(error.reason or error))
        case TimeoutError():
            return ConnectTimeout(host, port, tried)
        case ConnectionError() | EOFError():
            return ConnectionReset(host, port, tried)
    # No route, network down: packets vanish as far as a client can tell.
    return ConnectTimeout(host, port, tried, str(error))
