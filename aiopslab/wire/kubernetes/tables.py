"""Objects in the form they are asked for: as they are, as ``Table`` rows, or their metadata alone.

The columns are ``world.kube``'s; this module only sends them. Ages are by the world's clock. Not
here: choosing the form (``negotiation``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from aiopslab.models.kube import KubeError, Object
from aiopslab.wire.kubernetes.negotiation import Form
from aiopslab.wire.kubernetes.resources import Resource
from aiopslab.world.kube import versions
from aiopslab.world.kube.patches import ownership
from aiopslab.world.kube.table.columns import columns

Include = Literal["None", "Metadata", "Object"]
_OF_LIST = ("kind", "apiVersion")
"""What the list says for all its items."""


@dataclass(frozen=True, slots=True)
class Presenter:
    """Presents objects of one resource in one form."""

    resource: Resource
    form: Form
    include: Include
    now: float
    """Unix seconds of the world."""

    def whole(self, obj: Object) -> Object:
        """Return a stored object as the resource's version shows it, with its field managers."""
        if self.resource.source != "stored" or "uid" not in obj["metadata"]:
            return obj
        seen = ownership.shown(self.resource.stored, obj)
        return versions.show(seen, self.resource.api_version)

    def one(self, obj: Object) -> Object:
        """Return one stored object in the form."""
        if self.form.shape == "table":
            return self.table([obj], {"resourceVersion": obj["metadata"].get("resourceVersion")})
        if self.form.shape == "metadata":
            return self._metadata(obj)
        return self.whole(obj)

    def many(self, objects: Sequence[Object], metadata: Object) -> Object:
        """Return a list of stored objects in the form; items carry no kind, as real ones."""
        if self.form.shape == "table":
            return self.table(objects, metadata)
        if self.form.shape == "metadata":
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": f"meta.k8s.io/{self.form.version}",
                "metadata": metadata,
                "items": [self._metadata(o) for o in objects],
            }
        return {
            "kind": f"{self.resource.kind}List",
            "apiVersion": self.resource.api_version,
            "metadata": metadata,
            "items": [
                {key: value for key, value in self.whole(o).items() if key not in _OF_LIST}
                for o in objects
            ],
        }

    def table(self, objects: Sequence[Object], metadata: Object, *, head: bool = True) -> Object:
        """Return a ``Table``; ``head`` says whether the columns are defined in it."""
        shown = columns(self.resource.kind)
        return {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{self.form.version}",
            "metadata": metadata,
            "columnDefinitions": self._definitions() if head else None,
            "rows": [
                {"cells": [c.cell(o, self.now) for c in shown], **self._attached(o)}
                for o in objects
            ],
        }

    def at(self, now: float) -> Presenter:
        """Return the same at another time."""
        return replace(self, now=now)

    def blank(self, marker: Object) -> Object:
        """Return a ``Table`` of one row that shows nothing and carries a marker."""
        metadata = {"resourceVersion": marker["metadata"]["resourceVersion"]}
        row = {"cells": [""] * len(columns(self.resource.kind)), "object": self._metadata(marker)}
        return {**self.table([], metadata, head=False), "rows": [row]}

    def _definitions(self) -> list[dict[str, Any]]:
        return [
            {
                "name": column.name,
                "type": column.type,
                "format": "name" if column.name == "Name" else "",
                "description": _DESCRIPTIONS.get(column.name, ""),
                "priority": 1 if column.wide else 0,
            }
            for column in columns(self.resource.kind)
        ]

    def _attached(self, obj: Object) -> dict[str, Object]:
        if self.include == "None":
            return {}
        return {"object": self.whole(obj) if self.include == "Object" else self._metadata(obj)}

    def _metadata(self, obj: Object) -> Object:
        return {
            "kind": "PartialObjectMetadata",
            "apiVersion": f"meta.k8s.io/{self.form.version}",
            "metadata": self.whole(obj)["metadata"],
        }


def include_of(text: str) -> Include:
    """Read ``includeObject``.

    Raises:
        KubeError: 400.
    """
    if text in ("", "Metadata"):
        return "Metadata"
    if text == "None":
        return "None"
    if text == "Object":
        return "Object"
    raise KubeError(400, "BadRequest", f'unrecognized includeObject value: "{text}"')


_DESCRIPTIONS = {
    "Name": "Name must be unique within a namespace.",
    "Age": "CreationTimestamp is a timestamp representing the server time when this object was "
    "created.",
}
