"""The KV cache of an engine: blocks of 16 tokens, free, used by sequences, or kept for reuse.

Blocks of finished sequences stay as prefixes that a later turn of the same conversation may claim;
they are given up, least recently used first, when somebody needs the room. The three kinds always
add up to the total. Not here: who gets blocks, and who is preempted (``batching``).
"""

from __future__ import annotations

BLOCK_TOKENS = 16


def blocks_for(tokens: int) -> int:
    """Return how many blocks hold so many tokens."""
    return -(-tokens // BLOCK_TOKENS)


class KvCache:
    """Accounting of one engine's blocks.

    Args:
        total: Blocks there are.
    """

    __slots__ = ("_kept", "_kept_blocks", "free", "total", "used")

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self.used = 0
        """Blocks held by sequences."""
        self._kept: dict[str, int] = {}
        self._kept_blocks = 0

    @property
    def available(self) -> int:
        """Blocks that can be taken: free ones and kept ones."""
        return self.free + self._kept_blocks

    @property
    def kept(self) -> int:
        """Blocks that hold prefixes for reuse."""
        return self._kept_blocks

    @property
    def usage(self) -> float:
        """Part of the blocks that sequences hold."""
        return self.used / self.total if self.total else 1.0

    def take(self, blocks: int) -> bool:
        """Give blocks to a sequence, dropping kept prefixes where needed; all or none."""
        if blocks > self.available:
            return False
        while self.free < blocks:
            oldest = next(iter(self._kept))
            dropped = self._kept.pop(oldest)
            self._kept_blocks -= dropped
            self.free += dropped
        self.free -= blocks
        self.used += blocks
        return True

    def give(self, blocks: int) -> None:
        """Take blocks back from a sequence."""
        if not 0 <= blocks <= self.used:
            raise ValueError(f"{blocks} blocks given back of {self.used} in use")
        self.used -= blocks
        self.free += blocks

    def keep(self, key: str, blocks: int) -> None:
        """Turn blocks of a finished sequence into a prefix that ``key`` may claim."""
        self.give(blocks)
        self.drop(key)
        if blocks:
            self.free -= blocks
            self._kept_blocks += blocks
            self._kept[key] = blocks

    def claim(self, key: str, most: int) -> int:
        """Give the kept prefix of ``key``, ``most`` blocks of it, to a sequence; return how many.

        The rest of the prefix is dropped: the conversation has gone another way.
        """
        found = self._kept.pop(key, 0)
        taken = min(found, most)
        self._kept_blocks -= found
        self.free += found - taken
        self.used += taken
        return taken

    def drop(self, key: str) -> None:
        """Forget a kept prefix."""
        self.claim(key, 0)
