"""OTLP requests as trees of plain values, and their two encodings.

A tree has the field names of the ``.proto`` files, ids as bytes, times in nanoseconds. As JSON
lines it is one request a line, as the Collector's file exporter writes and its receiver reads them.
As protobuf the requests follow each other without separators, which protobuf merges: the file is
one request. Not here: what the requests contain (``otlp``, ``otlp_metrics``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from google.protobuf.message import Message

Tree = dict[str, Any]
_UNDERSCORE = re.compile(r"_([a-z])")
_WIDE = frozenset(
    ("start_time_unix_nano", "end_time_unix_nano", "time_unix_nano", "observed_time_unix_nano",
     "int_value", "as_int", "count", "bucket_counts")
)  # fmt: skip
"""Fields of 64 bits: JSON has them as text."""


def write_lines(requests: Iterable[Tree], file: BinaryIO) -> None:
    """Write each request as one line of OTLP/JSON."""
    for request in requests:
        text = json.dumps(_json(request), separators=(",", ":"), ensure_ascii=False)
        file.write(text.encode() + b"\n")


def write_binary(requests: Iterable[Tree], kind: type[Message], file: BinaryIO) -> None:
    """Write all requests as one protobuf message."""
    for request in requests:
        file.write(kind(**request).SerializeToString(deterministic=True))


class Attributes(list[Tree]):
    """A list of ``KeyValue``, with its JSON: thousands of points and spans share one.

    Args:
        values: By key; str, bool, int or float.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__({"key": key, "value": _any_value(value)} for key, value in values.items())
        self.json = [_json(pair) for pair in self]


def nanoseconds(seconds: float) -> int:
    """Return unix seconds as whole nanoseconds, the fraction rounded apart from the whole."""
    whole = math.floor(seconds)
    return whole * 10**9 + round((seconds - whole) * 1e9)


def _any_value(value: Any) -> Tree:
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, int):
        return {"int_value": value}
    if isinstance(value, float):
        return {"double_value": value}
    return {"string_value": str(value)}


def _json(tree: Tree) -> Tree:
    return {_camel(key): _json_value(key, value) for key, value in tree.items()}


def _json_value(key: str, value: Any) -> Any:
    if isinstance(value, Attributes):
        return value.json
    if isinstance(value, dict):
        return _json(value)
    if isinstance(value, list):
        return [_json_value(key, item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return str(value) if key in _WIDE else value


class _Camels(dict[str, str]):
    """Field names in lowerCamelCase; there are few, and they come again for every span."""

    def __missing__(self, name: str) -> str:
        self[name] = _UNDERSCORE.sub(lambda found: found[1].upper(), name)
        return self[name]


_camel = _Camels().__getitem__


def in_batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of at most ``size`` items."""
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
