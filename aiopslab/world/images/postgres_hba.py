"""Host-based authentication: which record of ``pg_hba.conf`` a connection over the network meets.

The file is read as the server reads it, at start and at each reload: the first record that fits
type, database, user and address decides. Not here: the local socket, where nobody is asked for
anything; passwords and roles (``postgres_sessions``). Names of hosts and of groups of roles are
not understood: such records fit nobody.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from aiopslab.world.images.messages import PgError, Startup

DEFAULT_FILE = "/var/lib/postgresql/data/pg_hba.conf"
TYPES = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
METHODS = (
    "trust", "reject", "scram-sha-256", "md5", "password", "gss", "sspi", "ident", "peer", "ldap",
    "radius", "cert", "pam", "bsd",
)  # fmt: skip
PASSWORDS = ("scram-sha-256", "md5", "password")
"""Methods that ask for a password; others but ``trust`` ask for what no client here has."""
_ENCRYPTED = {"host": (True, False), "hostssl": (True,), "hostnossl": (False,)}
"""Record type to the kinds of connection it fits: with TLS, without."""


class HbaError(Exception):
    """A file that cannot be loaded; the message is the server's."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line."""

    type: str
    databases: tuple[str, ...]
    users: tuple[str, ...]
    address: str
    method: str
    line: int
    text: str

    def fits(self, startup: Startup, address: str, *, encrypted: bool) -> bool:
        """Tell whether a connection is one of those the line is about."""
        return (
            encrypted in _ENCRYPTED.get(self.type, ())
            and _names(startup.database, self.databases, startup.user)
            and _names(startup.user, self.users, "")
            and _within(address, self.address)
        )


_IMAGE = "host all all all scram-sha-256"


@dataclass(frozen=True, slots=True)
class Hba:
    """A loaded file; by default the one that the image writes at initdb."""

    path: str = DEFAULT_FILE
    records: tuple[Record, ...] = (
        Record("host", ("all",), ("all",), "all", "scram-sha-256", 128, _IMAGE),
    )

    def admit(self, startup: Startup, address: str, *, encrypted: bool) -> Record | PgError:
        """Return the record that decides how a client proves who it is, or why it may not try."""
        for record in self.records:
            if record.fits(startup, address, encrypted=encrypted):
                if record.method == "reject":
                    return _refusal("pg_hba.conf rejects connection", startup, address, encrypted)
                if record.method == "cert":
                    return PgError(
                        "28000", "connection requires a valid client certificate", "FATAL"
                    )
                return record
        return _refusal("no pg_hba.conf entry", startup, address, encrypted)

    def matched(self, record: Record) -> str:
        """Word for the log which line decided."""
        return f'Connection matched file "{self.path}" line {record.line}: "{record.text}"'


def load(path: str, text: str | None) -> Hba:
    """Read a file; None is one that does not exist, which only the image's own never is.

    Raises:
        HbaError: It is missing, or a line makes no sense.
    """
    if text is None:
        if path == DEFAULT_FILE:
            return Hba()
        raise HbaError(f'could not open file "{path}": No such file or directory')
    records = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if words:
            records.append(_record(path, number, words))
    if not records:
        raise HbaError(f'configuration file "{path}" contains no entries')
    return Hba(path, tuple(records))


def _record(path: str, number: int, words: Sequence[str]) -> Record:
    where = f'line {number} of configuration file "{path}"'
    if words[0] not in TYPES:
        raise HbaError(f'invalid connection type "{words[0]}" ({where})')
    socket = words[0] == "local"
    if len(words) < (4 if socket else 5):
        raise HbaError(f"end-of-line before authentication method ({where})")
    method = words[3 if socket else 4]
    if method not in METHODS:
        raise HbaError(f'invalid authentication method "{method}" ({where})')
    databases, users = (tuple(word.split(",")) for word in words[1:3])
    address = "" if socket else words[3]
    return Record(words[0], databases, users, address, method, number, " ".join(words))


def _names(name: str, patterns: Sequence[str], user: str) -> bool:
    return any(p in ("all", name) or (p == "sameuser" and name == user) for p in patterns)


def _within(address: str, pattern: str) -> bool:
    if pattern == "all":
        return True
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return False


def _refusal(reason: str, startup: Startup, address: str, encrypted: bool) -> PgError:
    how = "SSL encryption" if encrypted else "no encryption"
    who = f'host "{address}", user "{startup.user}", database "{startup.database}", {how}'
    return PgError("28000", f"{reason} for {who}", "FATAL")
