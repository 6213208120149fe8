"""The form in which rows travel: a compressed part with a header in JSON and columns as raw bytes.

A cursor says what its holder has; it is opaque to everybody but ``feed``. Not here: what a part is
made of (``feed``), what becomes of it (``replica``).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, fields
from typing import Any

import numpy as np

from aiopslab.telemetry.columns import Array

LARGEST = 512 * 2**20
"""Bytes of a part once it is unpacked; what claims more is refused."""
_LEVEL = 1
"""Compression: the fastest; ids are random, and the rest is small anyway."""
_LENGTH = 8
"""Bytes of the header's length, which comes first."""


class PartError(ValueError):
    """What was given is no part, no cursor, or one of another store or moment."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How much of a store its holder has. All counts are of rows or entries."""

    epoch: str = ""
    """Which store; empty: nothing yet, of whichever."""
    spans: int = 0
    span_strings: int = 0
    span_attributes: int = 0
    logs: int = 0
    log_strings: int = 0
    series: int = 0
    rounds: int = 0
    last_round: str = ""
    """Digest of the last round: while it is the last, it may still be written to."""
    events: int = 0
    changes: int = 0
    alerts: int = 0
    posts: int = 0
    evaluated: str = ""
    """When the rules were last evaluated, exactly; empty: never."""

    def __str__(self) -> str:
        return "~".join(str(value) for value in astuple(self))

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Read what ``str`` wrote; empty text is the beginning.

        Raises:
            PartError: It is no cursor.
        """
        if not text:
            return cls()
        given, known = text.split("~"), fields(cls)
        if len(given) != len(known):
            raise PartError(f"cursor {text[:80]!r} has {len(given)} parts, not {len(known)}")
        try:
            values = [int(v) if f.type == "int" else v for v, f in zip(given, known, strict=True)]
        except ValueError as error:
            raise PartError(f"cursor {text[:80]!r}: {error}") from error
        return cls(*values)  # type: ignore[arg-type]  # in the order of the fields


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that follow a cursor."""

    after: Cursor
    """What its holder must have."""
    cursor: Cursor
    """What its holder then has."""
    more: bool
    """Whether there is more at the source by now."""
    header: Mapping[str, Any]
    """JSON: texts, and records of which there are few."""
    arrays: Mapping[str, Array] = field(default_factory=dict)
    """Columns by name."""

    def pack(self) -> bytes:
        """Return it as bytes."""
        shapes = {name: [array.dtype.str, *array.shape] for name, array in self.arrays.items()}
        head = {
            "after": str(self.after), "cursor": str(self.cursor), "more": self.more,
            "header": self.header, "arrays": shapes,
        }  # fmt: skip
        text = json.dumps(head, separators=(",", ":")).encode()
        packer = zlib.compressobj(_LEVEL)
        pieces = [packer.compress(len(text).to_bytes(_LENGTH, "big")), packer.compress(text)]
        columns = (np.ascontiguousarray(array).tobytes() for array in self.arrays.values())
        pieces += [packer.compress(column) for column in columns]
        return b"".join([*pieces, packer.flush()])

    @classmethod
    def unpack(cls, data: bytes) -> Part:
        """Read what ``pack`` made.

        Raises:
            PartError: It is malformed.
        """
        raw = _unpacked(data)
        try:
            end = _LENGTH + int.from_bytes(raw[:_LENGTH], "big")
            head = json.loads(raw[_LENGTH:end])
            arrays, at = {}, end
            for name, (dtype, *shape) in head["arrays"].items():
                count = int(np.prod(shape, dtype=np.int64))
                array = np.frombuffer(raw, np.dtype(dtype), count, at)
                arrays[name] = array.reshape(shape)
                at += array.nbytes
            after, cursor = Cursor.read(head["after"]), Cursor.read(head["cursor"])
            return cls(after, cursor, bool(head["more"]), head["header"], arrays)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise PartError(f"the part is malformed: {error}") from error


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(data, LARGEST)
    except zlib.error as error:
        raise PartError(f"the part is malformed: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise PartError("the part is cut off, too large, or followed by something else")
    return raw
