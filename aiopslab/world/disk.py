"""Disk space: volumes that fill up.

A volume knows how many bytes each file has, and keeps whatever a program wants found again after a
restart (``data``). Not here: throughput, IOPS. Neighbours: ``node`` has one for its own file
system, the kubelet mounts one per claim into ``container``.
"""

from __future__ import annotations

import errno
from typing import Any


class Volume:
    """A file system of fixed size, in bytes.

    Args:
        capacity: Bytes that fit.
    """

    __slots__ = ("_files", "capacity", "data", "used")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        """Bytes in files."""
        self.data: dict[str, Any] = {}
        """What programs keep here beyond its size, by path; outlives every container."""
        self._files: dict[str, int] = {}

    @property
    def available(self) -> int:
        """Bytes free."""
        return max(0, self.capacity - self.used)

    def write(self, label: str, size: int) -> None:
        """Make a file exactly ``size`` bytes long.

        Raises:
            OSError: ENOSPC; nothing was changed. Shrinking always works.
        """
        grown = size - self._files.get(label, 0)
        if grown > 0 and self.used + grown > self.capacity:
            raise OSError(errno.ENOSPC, "No space left on device", label)
        self._files[label] = size
        self.used += grown

    def append(self, label: str, size: int) -> None:
        """Make a file ``size`` bytes longer.

        Raises:
            OSError: ENOSPC; nothing was changed.
        """
        self.write(label, self._files.get(label, 0) + size)

    def remove(self, label: str) -> None:
        """Delete a file; one that does not exist is no error."""
        self.used -= self._files.pop(label, 0)

    def size(self, label: str) -> int:
        """Return the bytes of a file, 0 if it does not exist."""
        return self._files.get(label, 0)

    def grow(self, capacity: int) -> None:
        """Make the file system larger; it never gets smaller."""
        self.capacity = max(self.capacity, capacity)

    def files(self) -> dict[str, int]:
        """Return path to bytes, in order of creation."""
        return dict(self._files)
