"""Single objects in the manner of ``kubectl describe``, with their events.

Reads from an API server (``source``) only what an operator may read. What each kind shows is in
``describe.pods``, ``describe.workloads`` and ``describe.config``; a kind none of them knows is
printed field by field. Neighbour: ``table`` (lists).
"""

from __future__ import annotations

from typing import Any

from aiopslab.models.timestamps import unix
from aiopslab.world.kube.describe import config as describe_config
from aiopslab.world.kube.describe import pods as describe_pods
from aiopslab.world.kube.describe import workloads as describe_workloads
from aiopslab.world.kube.describe.page import Page, head
from aiopslab.world.kube.describe.source import Source
from aiopslab.world.kube.objects import Object, Objects, name_of, namespace_of, uid_of
from aiopslab.world.kube.table.cells import since

_WITHOUT_EVENTS = ("Secret", "ResourceQuota", "LimitRange", "NetworkPolicy")


def describe(kind: str, name: str, namespace: str | None, *, api: Source, now: float) -> str:
    """Return the page for one object, without a final line break.

    Args:
        kind: Any name kubectl takes.
        name: The object's name.
        namespace: Ignored for cluster-scoped kinds.
        api: Where to read.
        now: Unix seconds, for ages.

    Raises:
        KubeError: 404.
    """
    served = api.kind(kind)
    obj = api.get(kind, name, namespace)
    page = Page()
    if served.kind == "Pod":
        describe_pods.pod(page, obj, now)
    else:
        write = describe_workloads.DESCRIBED.get(served.kind) or describe_config.DESCRIBED.get(
            served.kind
        )
        if write is not None:
            write(page, obj, api, now)
        else:
            _generic(page, obj, namespaced=served.namespaced)
    if served.kind not in _WITHOUT_EVENTS:
        _events(page, events_of(obj, api), now)
    return page.text()


def events_of(obj: Object, api: Source) -> Objects:
    """Return the events about an object, oldest occurrence first."""
    selector = f"involvedObject.name={name_of(obj)},involvedObject.kind={obj['kind']}"
    found = api.list("Event", namespace_of(obj) or None, fields=selector)
    same = [e for e in found if e["involvedObject"].get("uid") in (None, "", uid_of(obj))]
    return sorted(same, key=lambda e: (e.get("lastTimestamp") or "", name_of(e)))


def _events(page: Page, events: Objects, now: float) -> None:
    if not events:
        page.field(0, "Events", "<none>")
        return
    page.line(0, "Events:")
    rows = [["Type", "Reason", "Age", "From", "Message"]]
    for event in events:
        source = event.get("source", {}).get("component", "")
        texts = (event["type"], event["reason"], _when(event, now), source, event["message"])
        rows.append([str(text).strip() for text in texts])
    page.table(1, rows)


def _when(event: Object, now: float) -> str:
    """Print ``5m`` or, for repeats, ``5m (x4 over 10m)``."""
    last, first, count = event["lastTimestamp"], event["firstTimestamp"], event.get("count", 1)
    if count > 1 and unix(last) >= unix(first):
        return f"{since(last, now)} (x{count} over {since(first, now)})"
    return since(first, now)


def _generic(page: Page, obj: Object, *, namespaced: bool) -> None:
    """Write any other kind: its metadata, then every field."""
    head(page, obj, namespaced=namespaced)
    for key in sorted(obj.keys() - {"metadata"}):
        _tree(page, 0, key[0].upper() + key[1:], obj[key])


def _tree(page: Page, level: int, key: str, value: Any) -> None:
    if isinstance(value, dict) and value:
        page.line(level, f"{key}:")
        for name in sorted(value):
            _tree(page, level + 1, name, value[name])
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        page.line(level, f"{key}:")
        for item in value:
            for name in sorted(item):
                _tree(page, level + 1, name, item[name])
    else:
        page.field(level, key, ", ".join(map(str, value)) if isinstance(value, list) else value)
