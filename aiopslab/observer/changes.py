"""Who changed what: read off the objects before and after, as watches tell them.

The words are those of the simulated world's change log. Who it was is what ``managedFields`` says:
the field manager of the entries that changed; of a deletion nobody knows. What the cluster's own
controllers write, and what the lab does for itself, is no change. Not here: whoever made a change
himself and knows better (``environments.cluster.telemetry``).
"""

from __future__ import annotations

from collections.abc import Callable

from aiopslab.environments.cluster.kube import MANAGER
from aiopslab.environments.cluster.labels import is_agents_access
from aiopslab.models.app import App
from aiopslab.models.kube import Object
from aiopslab.models.signal import Change
from aiopslab.world.changelog import ChangeLog
from aiopslab.world.kube.journal import AuditEntry, Verb
from aiopslab.world.kube.objects import controller_of, dig, name_of, namespace_of
from aiopslab.world.kube.snapshot import declared_kinds

UNKNOWN = "unknown"
"""The actor of a deletion."""
_COMPONENTS = ("kube-", "kubelet", "microshift", "k3s", "k0s", "local-path", "rancher", "Python")
"""What the names of the cluster's own writers begin with; ``Python`` is a pod of the app."""
_NEWEST = "~"
"""Sorts after every time: a write of the scale has none."""
_VERBS: dict[str, Verb] = {"ADDED": "create", "MODIFIED": "update", "DELETED": "delete"}


class Changes:
    """Turns what watches tell into lines of the change log.

    Args:
        app: What is observed, with the namespace it is in.
        record: Receives each change.
        now: Unix seconds.
    """

    def __init__(
        self, app: App, record: Callable[[Change], None], now: Callable[[], float]
    ) -> None:
        self._log = ChangeLog(app, record)
        self._now = now
        self._kinds = {kind.kind for kind in declared_kinds()}
        self.begun = False
        """Whether writes are changes by now; the first deployment is none."""

    def begin(self) -> None:
        """Enter what happened before; from now on every write is a change."""
        if not self.begun:
            self._log.history(self._now())
        self.begun = True

    def heard(self, event: str, obj: Object, old: Object | None) -> None:
        """Enter a change that a watch told, if a change log would have it."""
        if not self.begun or event not in _VERBS or obj.get("kind") not in self._kinds:
            return
        if controller_of(obj) is not None or is_agents_access(obj):
            return
        verb = _VERBS[event]
        after = None if verb == "delete" else obj
        actor = UNKNOWN if after is None else actor_of(old, after)
        if actor != MANAGER:
            self._log.on_audit(
                AuditEntry(
                    self._now(),
                    actor,
                    verb,
                    obj["kind"],
                    namespace_of(obj),
                    name_of(obj),
                    (old or obj) if verb == "delete" else old,
                    after,
                )
            )


def actor_of(before: Object | None, after: Object) -> str:
    """Return who wrote an object last, ``system:...`` if it was the cluster itself."""
    known = {_entry(e): e for e in _entries(before)}
    entries = _entries(after)
    wrote = [e for e in entries if _wrote(e, known.get(_entry(e)))]
    latest = max(wrote or entries, key=lambda e: str(e.get("time") or _NEWEST), default=None)
    if latest is None:
        return UNKNOWN
    manager = str(latest.get("manager") or UNKNOWN)
    return f"system:{manager}" if manager.startswith(_COMPONENTS) else manager


def _wrote(entry: Object, before: Object | None) -> bool:
    """Whether a manager wrote meanwhile; one that lost fields to another keeps its time."""
    if before is None:
        return True
    if entry.get("time") or before.get("time"):
        return bool(entry.get("time") != before.get("time"))
    return bool(entry.get("fieldsV1") != before.get("fieldsV1"))


def _entries(obj: Object | None) -> list[Object]:
    found = dig(obj, "metadata", "managedFields") or []
    return [entry for entry in found if entry.get("subresource") != "status"]


def _entry(entry: Object) -> tuple[str, str, str]:
    return (
        str(entry.get("manager")), str(entry.get("operation")), str(entry.get("subresource")),
    )  # fmt: skip
