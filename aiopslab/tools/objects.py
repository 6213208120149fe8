"""Finding Kubernetes objects by the words agents use, and errors that name what exists.

Kinds come as ``Deployment``, ``deploy``, ``deployments.apps``; names may carry their kind
(``deployment/geo``). Not here: reading (``kube_read``) and writing (``kube_write``).
"""

from __future__ import annotations

import base64
from typing import Any, NoReturn

import yaml

from aiopslab.content import near
from aiopslab.models.kube import KubeError, Object
from aiopslab.tools.context import ToolContext, ToolRefused
from aiopslab.world.kube import kinds
from aiopslab.world.kube.errors import forbidden

_HIDDEN = frozenset({"Lease"})
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


def find_kind(text: str) -> kinds.Kind:
    """Find a kind by kind, plural or short name.

    Raises:
        ToolRefused: There is none; names near ones.
    """
    word = text.strip().split(".", 1)[0]
    found = kinds.find(word)
    if found is None:
        every = [w for k in kinds.KINDS for w in (k.kind, k.plural, *k.short)]
        hint = near(word, every) or near(word.lower(), every)
        raise ToolRefused(
            f'error: the server doesn\'t have a resource type "{text}"; '
            + (hint or f"kinds: {', '.join(k.kind for k in kinds.KINDS)}")
        )
    return found


def scope(context: ToolContext, kind: kinds.Kind, namespace: str) -> str | None:
    """Return the namespace to read: the app's by default, None for all or cluster-wide kinds."""
    if not kind.namespaced or namespace in ("*", "all"):
        return None
    return namespace or context.namespace


def writable(
    context: ToolContext, verb: str, kind: kinds.Kind, namespace: str, name: str = ""
) -> str:
    """Return the namespace to write to.

    Raises:
        KubeError: 403: another namespace, or a kind that belongs to the whole cluster.
    """
    target = namespace or context.namespace
    if kind.namespaced and target == context.namespace:
        return target
    where = f'in the namespace "{target}"' if kind.namespaced else "at the cluster scope"
    what = f'{verb} resource "{kind.plural}" in API group "{kind.group}" {where}'
    raise forbidden(kind, name, f'User "{context.actor}" cannot {what}')


def bare(name: str) -> str:
    """Strip a kind from a name: ``deployment/geo`` becomes ``geo``."""
    return name.strip().rsplit("/", 1)[-1]


async def fetch(context: ToolContext, kind: kinds.Kind, name: str, namespace: str | None) -> Object:
    """Get an object.

    Raises:
        ToolRefused: It does not exist; names what does.
    """
    try:
        return await context.env.kube.get(kind.kind, bare(name), namespace)
    except KubeError as error:
        if error.reason != "NotFound":
            raise
        await missing(context, kind, name, namespace, error)


async def missing(
    context: ToolContext, kind: kinds.Kind, name: str, namespace: str | None, error: KubeError
) -> NoReturn:
    """Refuse with the server's words and the names that exist."""
    names = [o["metadata"]["name"] for o in await context.env.kube.list(kind.kind, namespace)]
    some = ", ".join(sorted(names)[:20])
    hint = near(bare(name), names) or (f"existing: {some}" if some else f"no {kind.plural} exist")
    raise ToolRefused(f"Error from server ({error.reason}): {error.message}; {hint}") from error


def container(obj: Object, name: str) -> Object:
    """Return a container of a workload's template; by default the first.

    Raises:
        ToolRefused: There is none of that name.
    """
    found: list[Object] = obj["spec"]["template"]["spec"]["containers"]
    for candidate in found:
        if name in ("", candidate["name"]):
            return candidate
    raise ToolRefused(f"no container {name!r}; there are: {', '.join(c['name'] for c in found)}")


def shown(context: ToolContext, obj: Object) -> Object:
    """Return an object as this agent may see it, without bookkeeping.

    The values of a Secret are for those who may edit the namespace; others see the keys.
    """
    view = {k: v for k, v in obj.items() if k != "metadata"}
    meta = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    if obj.get("kind") == "Secret" and not context.may_write:
        data: dict[str, str] = obj.get("data") or {}
        view["data"] = {key: f"<{_size(value)} bytes>" for key, value in data.items()}
        view.pop("stringData", None)
        notes = dict(meta.get("annotations", {}))
        notes.pop("kubectl.kubernetes.io/last-applied-configuration", None)
        meta["annotations"] = notes
    return {"apiVersion": view.pop("apiVersion", ""), "kind": view.pop("kind", ""),
            "metadata": meta, **view}  # fmt: skip


def to_yaml(value: Any) -> str:
    """Print objects as YAML, keys in their own order."""
    text: str = yaml.safe_dump(value, sort_keys=False, width=120, allow_unicode=True)
    return text


def _size(value: str) -> int:
    try:
        return len(base64.b64decode(value, validate=True))
    except ValueError:
        return len(value)
