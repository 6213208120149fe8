"""Objects drawn from the schema itself: right fields and types, absurd values, parts missing."""

import random
from typing import Any

from aiopslab.world.kube import schema

VALUES: dict[str, list[Any]] = {
    "s": [
        "",
        "web",
        "-1",
        "*/5 * * * *",
        "None",
        "Recreate",
        "In",
        "ExternalName",
        "x" * 70,
        "web\n",
    ],
    "y": ["", "YQ=="],
    "b": [True, False],
    "i32": [0, 1, -1, 70000, 2**31 - 1],
    "i64": [0, 1, -1, 2**40],
    "f": [1.5],
    "q": ["100m", "1Gi", "0", "-1", 5, "9" * 400, "1e-27"],
    "ios": [0, -1, "25%", "http", "", "25%\n"],
    "t": ["2027-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"],
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
