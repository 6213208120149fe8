"""What happened to each kind, revision by revision: where a watch starts and a list goes back.

The store enters every commit. Entries are kept per kind, so that a chatty kind (leases, events)
does not push a quiet one out; when too many are kept, the older half goes and whoever asks for it
is told that it is too old. A log is replaced as a whole when it is cut and otherwise only
appended to, so any thread may read it at any time. Not here: who is told at once (``journal``),
selectors and bookmarks (the HTTP layer).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

from aiopslab.models.kube import KubeError
from aiopslab.world.kube.objects import Object

EventType = Literal["ADDED", "MODIFIED", "DELETED"]

KEPT = 4000
"""Changes of one kind that are kept at least, once there were so many; at most twice that."""

_revision = attrgetter("revision")


@dataclass(frozen=True, slots=True)
class Change:
    """One commit."""

    revision: int
    event: EventType
    object: Object
    """As stored; of a deletion the last state, under the revision of the deletion."""
    old: Object | None
    """Before; None for a new object."""


@dataclass(frozen=True, slots=True)
class _Log:
    floor: int
    """Changes up to this revision are forgotten."""
    changes: list[Change]


class History:
    """The recent changes of every kind.

    Args:
        kept: See :data:`KEPT`.
    """

    __slots__ = ("_kept", "_logs")

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._logs: dict[str, _Log] = {}

    def enter(self, kind: str, change: Change) -> None:
        """Add a commit; revisions only grow."""
        log = self._logs.get(kind)
        if log is None:
            self._logs[kind] = _Log(0, [change])
            return
        log.changes.append(change)
        if len(log.changes) > 2 * self._kept:
            newer = log.changes[-self._kept :]
            self._logs[kind] = _Log(log.changes[-self._kept - 1].revision, newer)

    def since(self, kind: str, revision: int) -> Sequence[Change]:
        """Return a kind's changes after a revision, oldest first.

        Raises:
            KubeError: 410, some of them are forgotten.
        """
        log = self._logs.get(kind)
        if log is None:
            return ()
        if revision < log.floor:
            raise expired(revision, log.floor)
        return log.changes[bisect_right(log.changes, revision, key=_revision) :]


def expired(revision: int, oldest: int) -> KubeError:
    """410: the history does not go back to this revision."""
    return KubeError(410, "Expired", f"too old resource version: {revision} ({oldest})")
