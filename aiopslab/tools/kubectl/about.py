"""What ``kubectl`` tells about the cluster itself: kinds, fields, versions, one's rights.

Not here: objects (``kubectl.read``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from aiopslab.tools.context import Result, ToolContext, ToolRefused
from aiopslab.tools.kubectl.flags import Line, flags
from aiopslab.tools.kubectl.output import grid
from aiopslab.tools.kubectl.select import kind_of
from aiopslab.world.kube import kinds, schema
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.kubelet.node import VERSION
from aiopslab.world.kube.schema import Field, Message

API_RESOURCES = flags(
    "output/o namespaced/? api-group/ verbs/* no-headers/? sort-by/ cached/? request-timeout/"
)
EXPLAIN = flags("recursive/? api-version/ output/o request-timeout/")
VERSION_FLAGS = flags("output/o client/? request-timeout/")
AUTH = flags("namespace/n all-namespaces/A? list/? quiet/q? subresource/ no-headers/? output/o")
PLAIN = flags("request-timeout/ output/o")

_READ = ("get", "list", "watch")
_WRITE = ("create", "update", "patch", "delete", "deletecollection")
_TYPES = {
    "s": "string", "b": "boolean", "i32": "integer", "i64": "integer", "f": "number",
    "q": "Quantity", "ios": "IntOrString", "t": "Time", "y": "string", "any": "Object",
}  # fmt: skip


async def api_resources(context: ToolContext, line: Line) -> Result:
    """List the kinds that are served."""
    group = line.get("api-group")
    found = [k for k in kinds.KINDS if not group or k.group == group]
    if line.get("namespaced"):
        found = [k for k in found if k.namespaced == line.on("namespaced")]
    found.sort(key=lambda k: (k.group, k.plural))
    if line.get("output") == "name":
        return Result("\n".join(k.resource for k in found))
    rows: list[Sequence[object]] = [["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]]
    for kind in found:
        namespaced = str(kind.namespaced).lower()
        rows.append([kind.plural, ",".join(kind.short), kind.api_version, namespaced, kind.kind])
    return Result(grid(rows, line), total=len(found))


async def api_versions(context: ToolContext, line: Line) -> Result:
    """List the served groups with their versions."""
    return Result("\n".join(sorted({k.api_version for k in kinds.KINDS})))


async def version(context: ToolContext, line: Line) -> Result:
    """Tell the versions."""
    if line.get("output") == "json":
        text = json.dumps({"serverVersion": {"gitVersion": VERSION}}, indent=2)
        return Result(text)
    return Result(f"Client Version: {VERSION}\nServer Version: {VERSION}")


async def cluster_info(context: ToolContext, line: Line) -> Result:
    """Tell where the control plane is."""
    if line.words:
        raise ToolRefused("error: cluster-info dump is not offered here; use get, describe, logs")
    return Result("Kubernetes control plane is running at https://kubernetes.default.svc")


# -- fields ---------------------------------------------------------------------------------------


async def explain(context: ToolContext, line: Line) -> Result:
    """Show the fields of a kind or of one of its fields."""
    if len(line.words) != 1:
        raise ToolRefused("error: we accept only this format: explain RESOURCE")
    root, *path = line.words[0].split(".")
    kind = kind_of(root)
    message = schema.message(kind.schema)
    lines = [f"GROUP:      {kind.group}"] if kind.group else []
    lines += [f"KIND:       {kind.kind}", f"VERSION:    {kind.version}", ""]
    field: Field | None = None
    for step in path:
        inner = _inner(field) if field is not None else message
        if inner is None or step not in inner.fields:
            raise ToolRefused(f'error: field "{step}" does not exist')
        field = inner.fields[step]
    shown = message if field is None else _inner(field)
    if field is not None:
        lines += [f"FIELD: {path[-1]} <{_type(field)}>", ""]
    if shown is not None and shown.fields:
        lines += ["FIELDS:", *_fields(shown, 1, deep=line.on("recursive"), above=())]
    return Result("\n".join(lines))


def _fields(message: Message, level: int, *, deep: bool, above: tuple[str, ...]) -> list[str]:
    lines = []
    for name in sorted(message.fields):
        field = message.fields[name]
        required = " -required-" if name in message.required else ""
        lines.append(f"{'  ' * level}{name}\t<{_type(field)}>{required}")
        inner = _inner(field)
        if deep and inner is not None and inner.name not in above:
            lines += _fields(inner, level + 1, deep=True, above=(*above, inner.name))
    return lines


def _inner(field: Field) -> Message | None:
    while field.type in ("l", "m") and field.item is not None:
        field = field.item
    return schema.message(field.ref) if field.type == "o" and field.ref else None


def _type(field: Field) -> str:
    if field.type == "l":
        return f"[]{_type(field.item)}" if field.item else "[]Object"
    if field.type == "m":
        return f"map[string]{_type(field.item)}" if field.item else "map[string]string"
    return schema.message(field.ref).go_name if field.type == "o" else _TYPES[field.type]


# -- rights ---------------------------------------------------------------------------------------


async def auth(context: ToolContext, line: Line) -> Result:
    """Tell who one is and what one may do."""
    action, *words = line.words or [""]
    if action == "whoami":
        rows = [["ATTRIBUTE", "VALUE"], ["Username", context.actor],
                ["Groups", "[system:authenticated]"]]  # fmt: skip
        return Result(grid(rows, line))
    if action != "can-i":
        raise ToolRefused("error: use kubectl auth can-i VERB RESOURCE, can-i --list, or whoami")
    if line.on("list"):
        return Result(grid(_rights(context, line), line))
    if len(words) < 2:
        raise ToolRefused(
            "error: you must specify two arguments: verb resource or verb resource/NAME"
        )
    verb, word = words[0].lower(), words[1].partition("/")[0]
    if verb not in (*_READ, *_WRITE, "*"):
        return Result(f"Warning: verb '{verb}' is not a known verb\n\nno")
    everywhere = line.on("all-namespaces")
    namespace = "" if everywhere else line.get("namespace") or context.namespace
    kind = None if word == "*" else kind_of(word)
    part = line.get("subresource")
    answer = "yes" if _allowed(context, verb, kind, part, namespace) else "no"
    if kind is not None and not kind.namespaced and not everywhere:
        group = f" in group '{kind.group}'" if kind.group else ""
        answer = f"Warning: resource '{kind.plural}' is not namespace scoped{group}\n{answer}"
    return Result(answer)


def _allowed(context: ToolContext, verb: str, kind: Kind | None, part: str, namespace: str) -> bool:
    if verb in _READ:
        return True
    if namespace != context.namespace:
        return False
    if kind is not None and kind.kind == "Pod" and part in ("exec", "attach", "portforward"):
        return verb == "create"
    return context.may_write and (kind is None or kind.namespaced)


def _rights(context: ToolContext, line: Line) -> list[Sequence[object]]:
    head = ["Resources", "Non-Resource URLs", "Resource Names", "Verbs"]
    rows: list[Sequence[object]] = [head, ["*.*", "[]", "[]", f"[{' '.join(_READ)}]"]]
    if (line.get("namespace") or context.namespace) == context.namespace:
        rows.append(["pods/exec", "[]", "[]", "[create get]"])
        if context.may_write:
            rows.append(["*.*", "[]", "[]", f"[{' '.join((*_READ, *_WRITE))}]"])
    return rows
