"""The fields of every served kind: types, required fields, and what patches need to know.

Derived data, see ``data/README.md``; read once, on first use. Not here: defaults
(``defaults``), what makes a value acceptable (``validation``, ``rules``).
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

FieldType = Literal["s", "b", "i32", "i64", "f", "q", "ios", "t", "y", "l", "m", "o", "any"]
"""string, boolean, integers, float, quantity, int-or-string, time, base64, list, map, message."""

KEY_DEFAULTS = {"protocol": "TCP"}
"""Defaults of fields that serve as list-map keys; published schemas do not carry them."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    type: FieldType
    ref: str = ""
    """The message, if ``type`` is ``o``."""
    item: Field | None = None
    """What a list or map holds."""
    merge_key: str = ""
    """Identifies an item of a list in a strategic merge patch."""
    strategy: frozenset[str] = frozenset()
    """``merge``, ``replace``, ``retainKeys``."""
    map_keys: tuple[str, ...] = ()
    """Fields whose combination must be unique within a list."""
    is_set: bool = False
    """Scalars of the list must be unique."""
    map_type: str = ""
    """``atomic`` or ``granular`` where it differs from what the message says."""

    @property
    def merges(self) -> bool:
        """Whether a strategic merge patch merges this list instead of replacing it."""
        return "merge" in self.strategy

    @property
    def atomic(self) -> bool:
        """Whether server-side apply owns and replaces it as a whole."""
        if self.type == "l":
            return not self.map_keys and not self.is_set
        if self.type == "o":
            return self.map_type == "atomic" or (not self.map_type and message(self.ref).atomic)
        return self.type != "m" or self.map_type == "atomic"


ANY = Field("any")


@dataclass(frozen=True, slots=True)
class Message:
    """An object type: its fields by name, and which of them are required."""

    name: str
    fields: dict[str, Field] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    atomic: bool = False
    """Owned and replaced as a whole, wherever it occurs."""

    @property
    def go_name(self) -> str:
        """The type's name without its group, as error texts give it."""
        return self.name.rpartition(".")[2]


@cache
def _table() -> dict[str, Any]:
    data = resources.files("aiopslab.world.kube") / "data" / "schema-1.34.json.gz"
    table: dict[str, Any] = json.loads(gzip.decompress(data.read_bytes()))
    return table


def _field(raw: dict[str, Any]) -> Field:
    return Field(
        type=raw["t"],
        ref=raw.get("r", ""),
        item=_field(raw["i"]) if "i" in raw else None,
        merge_key=raw.get("k", ""),
        strategy=frozenset(filter(None, raw.get("p", "").split(","))),
        map_keys=tuple(raw.get("mk", ())),
        is_set=raw.get("lt") == "set",
        map_type=raw.get("mt", ""),
    )


@cache
def message(name: str) -> Message:
    """Return a message by its name in the table, such as ``apps.Deployment``.

    Raises:
        KeyError: No such message.
    """
    raw = _table()[name]
    fields = {n: _field(f) for n, f in raw["f"].items()}
    return Message(name, fields, tuple(raw.get("r", ())), "a" in raw)
