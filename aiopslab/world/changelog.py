"""The change log: what a team's deployment and configuration history would show.

Derived from the API server's audit trail, so every accepted write of desired state by a person, a
pipeline or an automation appears, with the words such tools use. Writes of the cluster's own
controllers do not, nor what nobody wrote down. Secrets are never printed. Not here: changes that
Kubernetes does not see; those are recorded by whoever makes them, if at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiopslab.models.app import App
from aiopslab.models.signal import Change
from aiopslab.world.kube.difference import difference
from aiopslab.world.kube.journal import AuditEntry
from aiopslab.world.kube.objects import Object
from aiopslab.world.kube.revisions import RESTARTED_AT

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
_NETWORK = ("Service", "NetworkPolicy", "Ingress")
_DIFF_LINES = 20
_NAME = "app.kubernetes.io/name"


class ChangeLog:
    """Turns audit entries into changes.

    Args:
        app: Knows release notes.
        record: Receives each change.
    """

    def __init__(self, app: App, record: Callable[[Change], None]) -> None:
        self._app = app
        self._record = record

    def history(self, boot: float) -> None:
        """Enter what happened before the world began (unix seconds of boot)."""
        for past in sorted(self._app.history, key=lambda p: -p.ago):
            change = past.model_dump(exclude={"ago"})
            self._record(Change(time=boot - past.ago, **change))

    def on_audit(self, entry: AuditEntry) -> None:
        """Enter one accepted write, if a change log would have it."""
        if entry.actor.startswith("system:") or entry.namespace != self._app.namespace:
            return
        change = self._change(entry)
        if change is not None:
            self._record(change)

    def _change(self, entry: AuditEntry) -> Change | None:
        obj = entry.after or entry.before or {}
        component = _component(entry.name, obj)
        if entry.verb in ("create", "delete"):
            verb = "created" if entry.verb == "create" else "deleted"
            kind = _kind(entry.kind)
            return _build(entry, kind, component, f"{entry.kind} {entry.name} {verb}", [])
        lines = _lines(entry)
        if not lines:
            return None
        if entry.kind in _WORKLOADS:
            return self._workload(entry, component, lines)
        if entry.kind == "Secret":
            keys = ", ".join(sorted({line.split(":", 1)[0].split(".")[-1] for line in lines}))
            summary = f"Secret {entry.name} updated"
            return _build(entry, "secret", component, summary, [f"keys changed: {keys}"])
        summary = f"{entry.kind} {entry.name} updated"
        return _build(entry, _kind(entry.kind), component, summary, lines)

    def _workload(self, entry: AuditEntry, component: str, lines: list[str]) -> Change:
        before, after = entry.before or {}, entry.after or {}
        old, new = _images(before), _images(after)
        if old != new:
            notes = self._notes(component, new)
            summary = f"rollout {entry.name}: {', '.join(old)} -> {', '.join(new)}{notes}"
            return _build(entry, "rollout", component, summary, lines)
        if all(line.startswith("spec.replicas:") for line in lines):
            n, m = before["spec"].get("replicas"), after["spec"].get("replicas")
            return _build(entry, "scale", component, f"scale {entry.name}: {n} -> {m}", [])
        if all(RESTARTED_AT in line for line in lines):
            return _build(entry, "rollout", component, f"rollout restart {entry.name}", [])
        summary = f"rollout {entry.name}: pod template changed"
        return _build(entry, "rollout", component, summary, lines)

    def _notes(self, component: str, images: list[str]) -> str:
        service = self._app.services.get(component)
        for image in images:
            release = service.releases.get(image.rpartition(":")[2]) if service else None
            if release is not None:
                return f" ({release.changes})"
        return ""


def _build(entry: AuditEntry, kind: Any, component: str, summary: str, lines: list[str]) -> Change:
    shown = lines[:_DIFF_LINES]
    if len(lines) > _DIFF_LINES:
        shown.append(f"... {len(lines) - _DIFF_LINES} more")
    return Change(
        time=entry.time,
        actor=entry.actor,
        kind=kind,
        component=component,
        summary=summary,
        diff="\n".join(shown),
    )


def _kind(kind: str) -> str:
    if kind in _WORKLOADS:
        return "rollout"
    if kind in _NETWORK:
        return "network"
    return {"ConfigMap": "config", "Secret": "secret"}.get(kind, "other")


def _component(name: str, obj: Object) -> str:
    label = obj.get("metadata", {}).get("labels", {}).get(_NAME)
    return str(label) if label else name


def _images(obj: Object) -> list[str]:
    spec = obj.get("spec", {}).get("template", {}).get("spec", {})
    return [c.get("image", "") for c in spec.get("containers", [])]


def _lines(entry: AuditEntry) -> list[str]:
    """Return what differs in desired state: spec, data, type; metadata only labels."""
    old, new = entry.before or {}, entry.after or {}
    fields = sorted({*old, *new} - {"metadata", "status", "kind", "apiVersion"})
    lines = [line for f in fields for line in difference(old.get(f), new.get(f), f)]
    labels = [o.get("metadata", {}).get("labels") for o in (old, new)]
    return lines + difference(labels[0] or {}, labels[1] or {}, "metadata.labels")
