"""Memory: working sets of containers under limits, and of the node they share.

A process says what it holds, by label; the sum is its working set. Beyond the container's limit
the kernel kills the container; when the node is full, it kills the container that is furthest
above its request. Neither is negotiable, so ``hold`` raises nothing: the victim is told through
``on_oom`` and is dead before it runs on.

Not here: page cache, swap, reclaim. Neighbours: ``container`` is the victim, ``node`` the owner of
a ``NodeMemory``.
"""

from __future__ import annotations

from collections.abc import Callable

EVICTION_THRESHOLD = 100 * 2**20
"""Bytes available below which a node reports MemoryPressure (kubelet's ``memory.available``)."""


class MemoryGroup:
    """The memory of one container, in bytes.

    Args:
        limit: Working set at which the kernel kills; None is unlimited.
        request: Requested bytes; decides who dies when the node is full.
        node: The node's memory; None for a group that shares with nobody.
    """

    __slots__ = ("_held", "_node", "limit", "on_oom", "request", "working_set")

    def __init__(
        self, limit: int | None, *, request: int = 0, node: NodeMemory | None = None
    ) -> None:
        self.limit = limit
        self.request = request
        self.working_set = 0
        """Bytes held now (``container_memory_working_set_bytes``)."""
        self.on_oom: Callable[[], None] | None = None
        """Called once when the kernel kills this group."""
        self._held: dict[str, int] = {}
        self._node: NodeMemory | None = node

    def hold(self, label: str, size: int) -> None:
        """Set how many bytes are held under a label; 0 gives them back."""
        grown = size - self._held.get(label, 0)
        if size:
            self._held[label] = size
        else:
            self._held.pop(label, None)
        self._grow(grown)

    def add(self, label: str, size: int) -> None:
        """Hold so many bytes more (or, negative, fewer) under a label."""
        self._held[label] = self._held.get(label, 0) + size
        self._grow(size)

    def held(self, label: str) -> int:
        """Return the bytes held under a label."""
        return self._held.get(label, 0)

    def close(self) -> None:
        """Give everything back and leave the node."""
        self.on_oom = None
        self._held.clear()
        if self._node is not None:
            self._node._leave(self)
            self._node = None
        self.working_set = 0

    def kill(self) -> None:
        """Tell the victim; a second kill before the first took effect is none."""
        victim, self.on_oom = self.on_oom, None
        if victim is not None:
            victim()

    def _grow(self, size: int) -> None:
        self.working_set += size
        if self._node is not None:
            self._node.used += size
        if size > 0:
            if self.limit is not None and self.working_set > self.limit:
                self.kill()
            elif self._node is not None and self._node.available < 0:
                self._node.reclaim()


class NodeMemory:
    """The memory of a node, in bytes.

    Args:
        capacity: Bytes that containers and the system share.
        system: Bytes that the operating system and the kubelet hold.
    """

    __slots__ = ("_groups", "capacity", "used")

    def __init__(self, capacity: int, *, system: int = 0) -> None:
        self.capacity = capacity
        self.used = system
        """Bytes held by everything on the node."""
        self._groups: dict[MemoryGroup, None] = {}

    def group(self, *, request: int, limit: int | None) -> MemoryGroup:
        """Add a container's group."""
        group = MemoryGroup(limit, request=request, node=self)
        self._groups[group] = None
        return group

    @property
    def available(self) -> int:
        """Bytes free (``node_memory_MemAvailable_bytes``); below 0 only until ``reclaim``."""
        return self.capacity - self.used

    @property
    def pressure(self) -> bool:
        """Whether the node's MemoryPressure condition holds."""
        return self.available < EVICTION_THRESHOLD

    def reclaim(self) -> None:
        """Kill, as the kernel does, until what is held fits or nobody is left to kill.

        The order is that of ``oom_score_adj`` as the kubelet sets it: furthest above the request
        first, as a share of the node.
        """
        while self.available < 0:
            victims = [g for g in self._groups if g.on_oom is not None and g.working_set > 0]
            if not victims:
                return
            max(victims, key=lambda group: group.working_set - group.request).kill()

    def _leave(self, group: MemoryGroup) -> None:
        if self._groups.pop(group, self) is None:
            self.used -= group.working_set
