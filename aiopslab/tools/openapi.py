"""The OpenAPI 3.1 document of the HTTP tool API: one path a tool, with the tool's own schema.

Data only, made from what the tools say of themselves. Not here: answering requests (``http``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from aiopslab._version import __version__
from aiopslab.models.observation import Brief, Budget, Observation, ToolInfo
from aiopslab.tools.reports import ModelUsage, Note

Document = dict[str, Any]

_REFUSALS = {
    "400": "The body is not a JSON object.",
    "401": "No valid token was given.",
    "404": "There is no such tool; the message names near ones.",
    "410": "The trial is over; nothing follows.",
    "429": "A budget of the trial is used up.",
    "503": "Too many requests are under way, or the cluster is not available.",
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["kind", "message", "hint"],
            "properties": {
                "kind": {"type": "string"},
                "message": {"type": "string"},
                "hint": {"type": "string", "description": "What to do next; may be empty."},
            },
        }
    },
}


def document(tools: Sequence[ToolInfo], *, server: str = "/") -> Document:
    """Describe the API.

    Args:
        tools: The tools of the trial.
        server: Where the API hangs, as a path.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tools of one trial",
            "version": __version__,
            "description": "Read the brief, call the tools, submit the answer.",
        },
        "servers": [{"url": server}],
        "security": [{"token": []}],
        "paths": {
            "/brief": _looking("getBrief", "What is asked of you", "Brief"),
            "/budget": _looking("getBudget", "What is left of every budget", "Budget"),
            "/tools": _looking("listTools", "The tools with their schemas", "ToolInfo", many=True),
            **{f"/tools/{tool.name}": _calling(tool) for tool in tools},
            "/note": _reporting(
                "leaveNote", "Leave a thought, recorded with the next call", "Note"
            ),
            "/usage": _reporting("bookUsage", "Book what a model call consumed", "ModelUsage"),
        },
        "components": {
            "schemas": {
                **_schemas(Brief, Budget, Observation, ToolInfo, Note, ModelUsage),
                "Error": _ERROR,
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _looking(operation: str, summary: str, schema: str, *, many: bool = False) -> Document:
    ref: Document = {"$ref": f"#/components/schemas/{schema}"}
    body = {"type": "array", "items": ref} if many else ref
    responses = {"200": _answer(summary, body), "401": _refusal("401")}
    return {"get": {"operationId": operation, "summary": summary, "responses": responses}}


def _calling(tool: ToolInfo) -> Document:
    """Describe one tool; what it could not do is an observation with ``ok`` false, status 200."""
    seen = _answer("What the tool returned", {"$ref": "#/components/schemas/Observation"})
    operation = {
        "operationId": tool.name,
        "summary": tool.description.partition(". ")[0],
        "description": f"{tool.description} ({tool.effect}, {tool.cost_s:g} s)",
        "requestBody": {
            "required": bool(tool.parameters["required"]),
            "content": {"application/json": {"schema": tool.parameters}},
        },
        "responses": {"200": seen, **{status: _refusal(status) for status in _REFUSALS}},
    }
    return {"post": operation}


def _reporting(operation: str, summary: str, schema: str) -> Document:
    ref = {"$ref": f"#/components/schemas/{schema}"}
    body = {"required": True, "content": {"application/json": {"schema": ref}}}
    taken = {"description": "Taken", "content": {}}
    responses = {"204": taken, "400": _refusal("400"), "401": _refusal("401")}
    return {
        "post": {
            "operationId": operation, "summary": summary, "requestBody": body,
            "responses": responses,
        }
    }  # fmt: skip


def _answer(description: str, schema: Document) -> Document:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _refusal(status: str) -> Document:
    return _answer(_REFUSALS[status], {"$ref": "#/components/schemas/Error"})


def _schemas(*models: type[BaseModel]) -> Document:
    """Return the schemas of models and of what they refer to, as components."""
    found: Document = {}
    for model in models:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        found |= schema.pop("$defs", {})
        found[model.__name__] = schema
    return found
