"""TLS of the world: certificates and the checks a client makes in the handshake.

Nothing is encrypted; what can go wrong with a certificate does. Failures carry the words of Go's
``crypto/tls`` and ``crypto/x509`` as detail. Not here: the round trips (``network``).
"""

from __future__ import annotations

from dataclasses import dataclass

from aiopslab.models.timestamps import rfc3339

PUBLIC_AUTHORITY = "GlobalTrust Root R4"
"""The authority of the internet that every client trusts."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server certificate."""

    issuer: str
    """What identifies the authority that signed it: its name, or the id of its key."""
    dns_names: tuple[str, ...]
    """Subject alternative names; ``*.example`` covers one label."""
    not_before: float
    """Unix seconds."""
    not_after: float
    """Unix seconds."""
    issuer_name: str = ""
    """Name of the authority, for people."""

    def covers(self, name: str) -> bool:
        """Return whether the certificate is valid for a host name."""
        wanted = name.rstrip(".").lower()
        parent = wanted.partition(".")[2]
        for pattern in self.dns_names:
            known = pattern.lower()
            if known == wanted or (parent and known == f"*.{parent}"):
                return True
        return False


@dataclass(slots=True)
class ServerTls:
    """What a server presents; assign ``certificate`` to rotate it for new connections."""

    certificate: Certificate
    roots: frozenset[str] = frozenset()
    """Issuers of clients' certificates; none: clients need not show one."""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """What a client trusts."""

    roots: frozenset[str]
    """Issuers."""
    server_name: str = ""
    """Name to check instead of the host dialled."""
    verify: bool = True
    certificate: Certificate | None = None
    """What it shows to servers that ask for one."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What time both ends believe it is, in unix seconds."""

    client: float
    server: float


def handshake(server: ServerTls | None, client: ClientTls | None, host: str, clocks: Clocks) -> str:
    """Return why the handshake fails, or an empty string if it succeeds.

    Plain on both sides succeeds. A plain client of a TLS server is not detected here: the server
    does not answer in a way TLS could name.
    """
    if client is None:
        return ""
    if server is None:
        return "tls: first record does not look like a TLS handshake"
    if client.verify:
        name = client.server_name or host
        problem = _verify(server.certificate, client, name, clocks.client)
        if problem:
            return problem
    if server.roots and client.certificate is not None:
        return _accepts(server.roots, client.certificate, clocks.server)
    return ""


def _accepts(roots: frozenset[str], shown: Certificate, now: float) -> str:
    """Say, as the alert that reaches the client, why a server refuses its certificate."""
    if not shown.not_before <= now <= shown.not_after:
        return "remote error: tls: expired certificate"
    if shown.issuer not in roots:
        return "remote error: tls: unknown certificate authority"
    return ""


def _verify(certificate: Certificate, client: ClientTls, name: str, now: float) -> str:
    prefix = "tls: failed to verify certificate: x509: "
    invalid = "certificate has expired or is not yet valid: current time "
    if now > certificate.not_after:
        return f"{prefix}{invalid}{rfc3339(now)} is after {rfc3339(certificate.not_after)}"
    if now < certificate.not_before:
        return f"{prefix}{invalid}{rfc3339(now)} is before {rfc3339(certificate.not_before)}"
    if not certificate.covers(name):
        names = ", ".join(certificate.dns_names)
        if not names:
            return f"{prefix}certificate is not valid for any names, but wanted to match {name}"
        return f"{prefix}certificate is valid for {names}, not {name}"
    if certificate.issuer not in client.roots:
        return f"{prefix}certificate signed by unknown authority"
    return ""
