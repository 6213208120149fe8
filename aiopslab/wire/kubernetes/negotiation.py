"""In which form an answer is wanted: plain objects, tables, metadata alone, YAML.

Reads ``Accept`` the way the API server does: the first media type it can serve wins. Not here:
making a table (``tables``), the forms of discovery (``discovery``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from aiopslab.models.kube import KubeError

Shape = Literal["object", "table", "metadata"]

_JSON = ("application/json", "application/*", "*/*")
_AS: dict[str, Shape] = {
    "Table": "table",
    "PartialObjectMetadata": "metadata",
    "PartialObjectMetadataList": "metadata",
}


@dataclass(frozen=True, slots=True)
class Form:
    """The form of an answer."""

    shape: Shape = "object"
    version: str = "v1"
    """Version of ``meta.k8s.io`` for tables and metadata."""
    yaml: bool = False


def media_types(accept: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Iterate over (type, parameters) of an ``Accept`` header, in its order."""
    for part in accept.split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        pairs = (p.partition("=") for p in parameters)
        yield name.lower(), {key.strip(): value.strip() for key, _, value in pairs}


def form(accept: str) -> Form:
    """Choose the form of an answer.

    Raises:
        KubeError: 406, none of the types can be served.
    """
    if not accept:
        return Form()
    for name, parameters in media_types(accept):
        wanted = parameters.get("as", "")
        if wanted:
            known = name == "application/json" and parameters.get("g") == "meta.k8s.io"
            if known and wanted in _AS and parameters.get("v") in ("v1", "v1beta1"):
                return Form(_AS[wanted], parameters["v"])
        elif name in _JSON:
            return Form()
        elif name == "application/yaml":
            return Form(yaml=True)
    message = (
        "only the following media types are accepted: application/json, application/yaml, "
        "application/json;as=Table;g=meta.k8s.io;v=v1"
    )
    raise KubeError(406, "NotAcceptable", message)
