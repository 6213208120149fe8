"""Objects drawn from the schema itself: right fields and types, absurd values, parts missing.

An agent may send any of them. Each is stored or refused; none may break the server, or, once
stored, the printers.
"""

import contextlib
import random
from typing import Any

import pytest

from aiopslab.models.kube import KubeError
from aiopslab.world.kube import kinds, schema
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.describe import describe
from aiopslab.world.kube.table import table

VALUES: dict[str, list[Any]] = {
    "s": ["", "web", "-1", "*/5 * * * *", "None", "Recreate", "In", "ExternalName", "x" * 70],
    "y": ["", "YQ=="],
    "b": [True, False],
    "i32": [0, 1, -1, 70000, 2**31 - 1],
    "i64": [0, 1, -1],
    "f": [1.5],
    "q": ["100m", "1Gi", "0", "-1", 5],
    "ios": [0, -1, "25%", "http", ""],
    "t": ["2027-01-01T00:00:00Z"],
    "any": [{}],
}
KEYS = ["a", "cpu", "memory", "example.com/x", "Bad Key", ""]


def draw_value(field: schema.Field, draw: random.Random, depth: int) -> Any:
    if field.type == "o":
        return draw_message(schema.message(field.ref), draw, depth + 1)
    if field.item is None:
        return draw.choice(VALUES[field.type])
    values = [draw_value(field.item, draw, depth + 1) for _ in range(draw.choice([0, 1, 1, 2]))]
    return values if field.type == "l" else {draw.choice(KEYS): value for value in values}


def draw_message(message: schema.Message, draw: random.Random, depth: int = 0) -> dict[str, Any]:
    optional = 0.35 if depth < 4 else 0.12
    return {
        name: draw_value(field, draw, depth)
        for name, field in message.fields.items()
        if draw.random() < (0.9 if name in message.required else optional)
    }


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.kind)
def test_any_object_is_stored_or_refused(api: ApiServer, kind: kinds.Kind) -> None:
    draw = random.Random(kind.kind)
    shape = schema.message(kind.schema)
    for number in range(60):
        obj = draw_message(shape, draw)
        metadata = {"name": f"x-{number}", "namespace": "shop"}
        obj |= {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        try:
            stored = api.create(obj, actor="oncall")
        except KubeError:
            continue
        name = metadata["name"]
        table(kind.kind, [stored], wide=True, now=api.now())
        describe(kind.kind, name, "shop", api=api, now=api.now())
        change = draw_message(shape, draw)
        for key in ("apiVersion", "kind", "metadata"):
            change.pop(key, None)
        with contextlib.suppress(KubeError):
            api.patch(kind.kind, name, change, namespace="shop", actor="oncall")
        with contextlib.suppress(KubeError):
            remove = [{"op": "remove", "path": "/spec"}]
            api.patch(kind.kind, name, remove, namespace="shop", type="json", actor="oncall")
