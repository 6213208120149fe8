"""X.509 certificates: authorities, leaves, and reading what a PEM text holds.

Keys are derived from names, so that the same names give the same bytes; they protect nothing but a
simulated network. Not here: who is given which certificate (``tls_manifests``), what a handshake
makes of it (``world.tls``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

_CA_SPAN = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2035, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a certificate says; times are unix seconds."""

    subject: str
    key_id: str
    """Identifier of its own key, hex."""
    issuer: str
    issuer_key_id: str
    """Identifier of the key it was signed with, hex."""
    dns_names: tuple[str, ...]
    not_before: float
    not_after: float
    serial: int


def authority(name: str, generation: int = 1) -> KeyPair:
    """Make a self-signed authority; another generation is another key under the same name."""
    key = _key("authority", name, str(generation))
    subject = _name(name)
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(_serial("authority", name, str(generation)))
        .not_valid_before(_CA_SPAN[0])
        .not_valid_after(_CA_SPAN[1])
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_id, critical=False)
        .sign(key, None)
    )
    return _pair(built, key)


def issue(
    signer: KeyPair, name: str, dns_names: Sequence[str], not_before: float, not_after: float
) -> KeyPair:
    """Sign a certificate for a service.

    Args:
        signer: An authority.
        name: Common name.
        dns_names: Subject alternative names; none makes a certificate that covers no name.
        not_before: Unix seconds; whole ones count.
        not_after: Unix seconds.

    Raises:
        ValueError: ``signer`` is not an authority in PEM.
    """
    root = x509.load_pem_x509_certificate(signer.certificate.encode())
    secret = serialization.load_pem_private_key(signer.key.encode(), None)
    if not isinstance(secret, Ed25519PrivateKey):
        raise ValueError("the authority's key is not an Ed25519 key")
    key = _key("leaf", name, str(int(not_before)))
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(_serial("leaf", name, str(int(not_before))))
        .not_valid_before(datetime.fromtimestamp(int(not_before), UTC))
        .not_valid_after(datetime.fromtimestamp(int(not_after), UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier(_key_id(root), None, None), critical=False
        )
    )  # fmt: skip
    if dns_names:
        names = x509.SubjectAlternativeName([x509.DNSName(each) for each in dns_names])
        builder = builder.add_extension(names, critical=False)
    return _pair(builder.sign(secret, None), key)


@lru_cache(maxsize=512)
def read(pem: str) -> tuple[Facts, ...]:
    """Return what every certificate of a PEM text says, in order.

    Raises:
        ValueError: The text is not PEM.
    """
    return tuple(_facts(found) for found in x509.load_pem_x509_certificates(pem.encode()))


def _facts(certificate: x509.Certificate) -> Facts:
    extensions = certificate.extensions
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns_names = tuple(names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        dns_names = ()
    try:
        signer = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        signer_id = signer.key_identifier or b""
    except x509.ExtensionNotFound:
        signer_id = _key_id(certificate)
    return Facts(
        subject=certificate.subject.rfc4514_string(),
        key_id=_key_id(certificate).hex(),
        issuer=certificate.issuer.rfc4514_string(),
        issuer_key_id=signer_id.hex(),
        dns_names=dns_names,
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        serial=certificate.serial_number,
    )


def _key_id(certificate: x509.Certificate) -> bytes:
    return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest


def _key(*words: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256("/".join(words).encode()).digest())


def _serial(*words: str) -> int:
    digest = hashlib.sha256("/".join(["serial", *words]).encode()).digest()
    return int.from_bytes(digest[:15], "big") | 1


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pair(certificate: x509.Certificate, key: Ed25519PrivateKey) -> KeyPair:
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip
    return KeyPair(certificate.public_bytes(pem).decode(), secret.decode())
