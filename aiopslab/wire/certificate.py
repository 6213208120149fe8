"""A certificate for a server on loopback, made for one lab and trusted by nobody else.

kubectl sends a token only over TLS; the kubeconfig carries this certificate as its authority.
``cryptography`` is imported when one is made. Not here: certificates inside the world
(``world.tls``).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

_FROM = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_UNTIL = dt.datetime(2120, 1, 1, tzinfo=dt.UTC)
"""Fixed, so that making one reads no clock; it ends with the lab anyway."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate and its key, PEM."""

    certificate: bytes
    key: bytes

    def files(self, directory: Path) -> tuple[Path, Path]:
        """Write certificate and key into a private directory; return both paths."""
        paths = directory / "server.crt", directory / "server.key"
        for path, content in zip(paths, (self.certificate, self.key), strict=True):
            path.touch(mode=0o600)
            path.write_bytes(content)
        return paths

    def trust(self) -> ssl.SSLContext:
        """Return a client context that trusts this certificate alone."""
        return ssl.create_default_context(cadata=self.certificate.decode())


def self_signed(*addresses: str) -> Certificate:
    """Make a certificate for IP addresses (and ``localhost``) with a key of its own.

    Args:
        addresses: IP addresses the server is reached at, for instance ``127.0.0.1``.
    """
    from cryptography import x509  # noqa: PLC0415 - only labs that serve pay for it
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "aiopslab")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    names += [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        made.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
