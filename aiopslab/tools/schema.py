"""JSON schemas of arguments, and the words for arguments that do not fit them.

Schemas are flat objects without ``$ref`` and without unions: some clients read nothing but
``properties[x].type``. Not here: the argument models (each tool's module).
"""

from __future__ import annotations

import json
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from aiopslab.content import near

M = TypeVar("M", bound=BaseModel)
Schema = dict[str, Any]


def parameters(model: type[BaseModel], *, without: tuple[str, ...] = ()) -> Schema:
    """Return the JSON schema of a model as an object without references and titles."""
    raw = model.model_json_schema()
    inlined = _inline(raw, raw.get("$defs", {}))
    properties = {k: v for k, v in inlined.get("properties", {}).items() if k not in without}
    if "cursor" in properties:
        # Inherited, hence first; but it is the last that anybody gives.
        properties["cursor"] = properties.pop("cursor")
    required = [k for k in inlined.get("required", []) if k not in without]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def usage(name: str, schema: Schema) -> str:
    """Return a signature: ``wait(seconds: number, reason: string = "")``."""
    parts = []
    for key, prop in schema["properties"].items():
        kind = "|".join(map(str, prop["enum"])) if "enum" in prop else prop.get("type", "any")
        unset = prop.get("default", [] if kind == "array" else None)
        default = "" if key in schema["required"] else f" = {json.dumps(unset)}"
        parts.append(f"{key}: {kind}{default}")
    return f"{name}({', '.join(parts)})"


def validate(model: type[M], arguments: dict[str, Any]) -> M:
    """Build the arguments; lists and objects may also come as JSON text.

    Raises:
        ValidationError: As pydantic; ``explain`` words it.
    """
    return model.model_validate(_decoded(model, arguments))


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Say in one line a mistake what is wrong with the arguments."""
    known = list(model.model_fields)
    lines = []
    for item in error.errors():
        path = ".".join(map(str, item["loc"])) or "arguments"
        match item["type"]:
            case "extra_forbidden":
                hint = near(str(item["loc"][-1]), known)
                lines.append(f"unknown argument {path!r}" + (f"; {hint}" if hint else ""))
            case "missing":
                lines.append(f"missing argument {path!r}")
            case _:
                shown = json.dumps(item["input"], default=str)[:80]
                lines.append(f"argument {path!r}: {item['msg']} (got {shown})")
    return "\n".join(lines)


def _decoded(model: type[BaseModel], arguments: dict[str, Any]) -> dict[str, Any]:
    """Decode JSON text where the schema wants an array or an object."""
    properties = parameters(model)["properties"]
    decoded = dict(arguments)
    for key, value in arguments.items():
        if isinstance(value, str) and properties.get(key, {}).get("type") in ("array", "object"):
            try:
                decoded[key] = json.loads(value)
            except (ValueError, RecursionError):
                if properties[key].get("items", {}).get("type") == "string":
                    decoded[key] = value.split()
    return decoded


def _inline(node: Any, defs: dict[str, Any]) -> Any:
    """Replace references by what they refer to; drop titles; collapse runs of blanks."""
    if isinstance(node, list):
        return [_inline(item, defs) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = defs[node["$ref"].rsplit("/", 1)[-1]]
        return _inline({**target, **{k: v for k, v in node.items() if k != "$ref"}}, defs)
    out: Schema = {}
    for key, value in cast("Schema", node).items():
        if key in ("$defs", "title") and not isinstance(value, dict):
            continue
        if key == "$defs":
            continue
        if key == "description" and isinstance(value, str):
            out[key] = " ".join(value.replace("``", "'").split())
        else:
            out[key] = _inline(value, defs)
    return out
