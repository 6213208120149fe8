"""``kubectl get --raw PATH``: lists and objects by their URL, with limit and continue.

Only what can be told from the objects themselves. Not here: the API over HTTP
(``wire.kubernetes``), which serves every path.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from urllib.parse import parse_qsl, unquote

from aiopslab.models.kube import KubeError, Object
from aiopslab.tools.context import Result, ToolContext
from aiopslab.tools.objects import shown
from aiopslab.world.kube import kinds
from aiopslab.world.kube.errors import no_such_resource
from aiopslab.world.kube.kinds import Kind

_HEALTH = ("/healthz", "/livez", "/readyz")
_DIGITS = 9


async def raw(context: ToolContext, url: str) -> Result:
    """Answer a URL of the API as JSON.

    Raises:
        KubeError: 404 for a path that is not served here, 400 for a broken parameter.
    """
    path, _, query = url.partition("?")
    if path in _HEALTH:
        return Result("ok")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    kind, namespace, name = _target(path)
    if name:
        obj = await context.env.kube.get(kind.kind, name, namespace)
        return _answer(shown(context, obj))
    found = await context.env.kube.list(
        kind.kind, namespace, labels=parameters.get("labelSelector", ""),
        fields=parameters.get("fieldSelector", ""),
    )  # fmt: skip
    return _answer(_page(kind, [shown(context, obj) for obj in found], parameters))


def _target(path: str) -> tuple[Kind, str | None, str]:
    """Read ``/api/v1/...`` or ``/apis/GROUP/VERSION/...``; namespace None is all or none."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    group = ""
    if parts[0] == "apis":
        group = parts[1] if len(parts) > 1 else ""
        parts = parts[1:]
    elif parts[0] != "api":
        raise no_such_resource()
    version, rest = (parts[1], parts[2:]) if len(parts) > 2 else ("", [])
    namespace: str | None = None
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    for kind in kinds.KINDS:
        same = (kind.group, kind.version, kind.plural) == (group, version, rest[0] if rest else "")
        if same and len(rest) <= 2 and (namespace is None or kind.namespaced):
            name = rest[1] if len(rest) == 2 else ""
            if name and kind.namespaced and namespace is None:
                break
            return kind, namespace, name
    raise no_such_resource()


def _page(kind: Kind, items: list[Object], parameters: dict[str, str]) -> Object:
    """Return a list, or the part of it that ``limit`` and ``continue`` ask for."""
    start = _position(parameters.get("continue", ""))
    limit = _whole("limit", parameters.get("limit", "") or "0") or len(items)
    metadata: dict[str, Any] = {}
    left = len(items) - start - limit
    if left > 0:
        token = base64.urlsafe_b64encode(f"from={start + limit}".encode()).decode().rstrip("=")
        metadata = {"continue": token, "remainingItemCount": left}
    return {
        "kind": f"{kind.kind}List",
        "apiVersion": kind.api_version,
        "metadata": metadata,
        "items": items[start : start + limit],
    }


def _position(token: str) -> int:
    if not token:
        return 0
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith("from="):
        raise KubeError(400, "BadRequest", "continue key is not valid")
    return _whole("continue", text.removeprefix("from="))


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise KubeError(400, "BadRequest", f"invalid value for {name}: {text!r:.40}")
    return int(text)


def _answer(value: Any) -> Result:
    return Result(json.dumps(value, separators=(",", ":"), ensure_ascii=False), value)
