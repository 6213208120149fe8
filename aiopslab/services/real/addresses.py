"""The address book: where names of an app lead when there is no cluster's DNS.

One line an entry, ``name:port host:port``; ``#`` begins a comment. Empty in containers, where names
are resolved as everywhere. Not here: making one (``local``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiopslab.errors import ContentError

Address = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True, slots=True)
class AddressBook:
    """Names and ports of the app, and where they really are."""

    entries: Mapping[Address, Address] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> AddressBook:
        """Read a file of entries.

        Raises:
            ContentError: It cannot be read, or a line is no entry.
        """
        try:
            lines = path.read_text("utf-8").splitlines()
        except OSError as error:
            raise ContentError(str(path), f"cannot be read: {error.strerror}") from error
        entries = {}
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            try:
                name, place = map(address, words)
            except ValueError:
                hint = "write name:port host:port"
                raise ContentError(f"{path}:{number}", f"no address: {line!r}", hint=hint) from None
            entries[name] = place
        return cls(entries)

    def write(self, path: Path) -> None:
        """Write the entries to a file."""
        lines = [f"{n}:{p} {host}:{port}\n" for (n, p), (host, port) in self.entries.items()]
        path.write_text("".join(lines), "utf-8")

    def find(self, host: str, port: int) -> Address:
        """Return where a name and port lead; themselves without an entry."""
        return self.entries.get((host, port), (host, port))


def address(text: str) -> Address:
    """Split ``host:port``.

    Raises:
        ValueError: It is not of that form.
    """
    host, _, port = text.rpartition(":")
    if not host:
        raise ValueError(f"not host:port: {text!r}")
    return host, int(port)
