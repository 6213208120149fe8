"""Memory that is really held: pages of the process's own, written to, per label.

An app says how large a process of a service is. The interpreter that plays it has a size of its
own; what is held makes up the difference, so that the resident size is the larger of the two. A
container's limit then bites where the app says it does. On a machine without such limits memory is
better counted than held: the engines of an inference platform would take all of it. Not here:
killing what grows beyond (the kernel).
"""

from __future__ import annotations

import mmap
import resource
from pathlib import Path

_PIECE = 256 * 2**10
"""Bytes taken or given back at once."""
_FILL = b"\x01" * _PIECE
_STATM = Path("/proc/self/statm")


class HeldMemory:
    """``protocols.Memory``."""

    def __init__(self) -> None:
        self._labels: dict[str, int] = {}
        self._pieces: list[mmap.mmap] = []
        self._own = resident()

    def hold(self, label: str, size: int) -> None:
        self._labels[label] = size
        wanted = max(0, sum(self._labels.values()) - self._own)
        pieces = -(-wanted // _PIECE)
        while len(self._pieces) < pieces:
            # Anonymous and private: unlike the allocator's, these pages go back at once.
            piece = mmap.mmap(-1, _PIECE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            piece.write(_FILL)
            self._pieces.append(piece)
        while len(self._pieces) > pieces:
            self._pieces.pop().close()

    def used(self) -> int:
        return resident()

    def close(self) -> None:
        """Give everything back."""
        while self._pieces:
            self._pieces.pop().close()


class CountedMemory:
    """``protocols.Memory`` that takes nothing: what would be held is only told."""

    def __init__(self) -> None:
        self._labels: dict[str, int] = {}

    def hold(self, label: str, size: int) -> None:
        self._labels[label] = size

    def used(self) -> int:
        return max(resident(), sum(self._labels.values()))

    def close(self) -> None:
        """Give nothing back."""
        self._labels.clear()


def resident() -> int:
    """Return the resident bytes of this process; where there is no /proc, its peak."""
    if _STATM.exists():
        return int(_STATM.read_text("ascii").split()[1]) * mmap.PAGESIZE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
