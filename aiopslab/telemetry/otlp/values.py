"""Attributes and resources of OTLP as plain values, and what a resource says about its sender."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

NANO = 1_000_000_000
MAX_ATTRIBUTES = 128
"""Attributes of one record that are kept, the SDKs' own default."""
MAX_TEXT = 65_536
"""Characters of a text that are kept."""

Scalar = str | int | float


def scalars(attributes: Iterable[KeyValue]) -> dict[str, Scalar]:
    """Return attributes as scalars, in order; lists, maps and bytes become JSON text.

    Truth values become ``true`` and ``false``: a store that compares 1 and True as equal must not
    mix them up. Attributes without a value are left out.
    """
    return {
        a.key: value
        for a in attributes
        if a.key and (value := scalar(a.value)) is not None
    }  # fmt: skip


def scalar(value: AnyValue) -> Scalar | None:
    """Return a value as a scalar; None if there is none."""
    match value.WhichOneof("value"):
        case None:
            return None
        case "string_value":
            return value.string_value[:MAX_TEXT]
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value":
            return int(value.int_value)
        case "double_value":
            number = value.double_value
            return number if math.isfinite(number) else str(number)
        case _:
            return json.dumps(_plain(value), ensure_ascii=False)[:MAX_TEXT]


def text(value: AnyValue) -> str:
    """Return a value as text; empty if there is none."""
    found = scalar(value)
    return "" if found is None else str(found)


def _plain(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "array_value":
            return [_plain(v) for v in value.array_value.values]
        case "kvlist_value":
            return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
        case "bytes_value":
            return value.bytes_value.hex()
        case "bool_value":
            return value.bool_value
        case _:
            return scalar(value)


@dataclass(frozen=True, slots=True)
class Sender:
    """The process that sent a batch, by the attributes of its resource."""

    service: str
    namespace: str
    pod: str
    container: str
    node: str
    instance: str

    @classmethod
    def of(cls, resource: Resource) -> Sender:
        """Read a resource; what is missing is empty, the service as the SDKs name unknown ones."""
        found = {k: str(v) for k, v in scalars(resource.attributes).items()}
        pod = found.get("k8s.pod.name", "")
        return cls(
            service=found.get("service.name") or "unknown_service",
            namespace=found.get("k8s.namespace.name") or found.get("service.namespace", ""),
            pod=pod or found.get("host.name", ""),
            container=found.get("k8s.container.name", ""),
            node=found.get("k8s.node.name", ""),
            instance=found.get("service.instance.id") or pod or found.get("host.name", ""),
        )


Sending = Callable[[Resource], Sender]
"""Says who sent a batch; ``Sender.of`` believes what the batch says."""
