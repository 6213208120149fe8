"""What kubectl would print of a cluster: tables as the server makes them, and descriptions.

The server knows the columns of every kind, custom ones too. Descriptions are written by the same
code as in the simulated world, over objects that are fetched. Not here: other forms of output
(``tools``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from aiopslab.models.kube import KubeError, Object
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import Objects, name_of
from aiopslab.world.kube.table.table import layout


def table(pages: Sequence[Object], *, wide: bool) -> str:
    """Return the pages of a server's ``Table`` as text, without a final line break.

    Of a list, which is what servers answer that make no tables, the names are printed.
    """
    items = [item for page in pages for item in page.get("items") or ()]
    if items:
        return layout([["NAME"], *([name_of(item)] for item in items)])
    rows = [row for page in pages for row in page.get("rows") or ()]
    if not rows:
        return "No resources found"
    head = pages[0].get("columnDefinitions") or ()
    shown = [i for i, column in enumerate(head) if wide or not column.get("priority")]
    names = [str(head[i]["name"]).upper() for i in shown]
    return layout([names, *([_cell(row["cells"][i]) for i in shown] for row in rows)])


def _cell(value: object) -> str:
    return "<none>" if value is None else str(value)


class Fetching(Protocol):
    """Requests to a cluster, made in the calling thread."""

    def kind(self, name: str) -> Kind: ...

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object: ...

    def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Objects: ...


class ClusterSource:
    """A cluster as ``describe`` reads it (``world.kube.describe.source``)."""

    def __init__(self, cluster: Fetching) -> None:
        self._cluster = cluster
        self.kind: Callable[[str], Kind] = cluster.kind
        self.get = cluster.get

    def find(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """Return one object, or None if there is none, or none that we may see."""
        try:
            return self._cluster.get(kind, name, namespace)
        except KubeError as error:
            if error.code not in (403, 404):
                raise
            return None

    def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Objects:
        """Return objects by namespace and name; events in the older of their two forms."""
        found = self._cluster.list(kind, namespace, labels=labels, fields=fields)
        return [dated(obj) for obj in found] if kind == "Event" else found


def dated(event: Object) -> Object:
    """Fill in what events of the newer form (``eventTime``, ``series``) leave empty."""
    series = event.get("series") or {}
    made = event["metadata"].get("creationTimestamp")
    first = event.get("firstTimestamp") or event.get("eventTime") or made
    last = event.get("lastTimestamp") or series.get("lastObservedTime") or first
    component = (event.get("source") or {}).get("component") or event.get("reportingComponent")
    return {
        "type": "", "reason": "", "message": "", **event,
        "firstTimestamp": first, "lastTimestamp": last,
        "count": event.get("count") or series.get("count") or 1,
        "source": {**(event.get("source") or {}), "component": component or ""},
    }  # fmt: skip
