"""Kubernetes events as the store has them. Not here: who listens for them (``mirror``)."""

from __future__ import annotations

from aiopslab.environments.cluster.text import dated
from aiopslab.models.kube import Object
from aiopslab.models.signal import Event
from aiopslab.models.timestamps import unix
from aiopslab.world.kube.objects import namespace_of


def event_of(obj: Object) -> Event | None:
    """Return what an Event object says happened last; None if it does not say when or what."""
    event = dated(obj)
    involved, kind = event.get("involvedObject") or {}, event.get("type")
    try:
        time = unix(str(event.get("lastTimestamp") or ""))
    except ValueError:
        return None
    if kind not in ("Normal", "Warning"):
        return None
    return Event(
        time=time,
        type=kind,
        reason=str(event.get("reason") or ""),
        namespace=str(involved.get("namespace") or namespace_of(obj)),
        kind=str(involved.get("kind") or ""),
        name=str(involved.get("name") or ""),
        message=str(event.get("message") or ""),
        component=str(event["source"]["component"]),
        count=int(event["count"]),
    )
