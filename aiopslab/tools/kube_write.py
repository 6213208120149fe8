"""Changing Kubernetes objects: patch, apply, scale, environment, image, resources, delete.

Every write answers with what changed and leaves the object before and after for the record. Only
the app's namespace may be written. Not here: rollouts (``kube_rollout``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from aiopslab.models.kube import KubeError, Object, PatchType
from aiopslab.tools import manifests
from aiopslab.tools.context import Args, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.objects import (
    WORKLOADS,
    bare,
    container,
    fetch,
    find_kind,
    shown,
    writable,
)  # fmt: skip
from aiopslab.world.kube.difference import SERVER_SET, difference
from aiopslab.world.kube.kinds import Kind


class PatchArgs(Args):
    """Arguments of ``k8s_patch``."""

    kind: str
    """Kind, plural or short name."""
    name: str
    """Name of the object."""
    patch: str
    """The patch as JSON or YAML text, for instance {"spec": {"replicas": 2}}."""
    type: PatchType = "strategic"
    """Kind of patch: strategic (lists merge by name), merge (RFC 7386) or json (RFC 6902)."""
    namespace: str = ""
    """Namespace; empty is the app's."""


@tool(PatchArgs, effect="write", cost=5.0)
async def k8s_patch(context: ToolContext, args: PatchArgs) -> Result:
    """Patch an object, as kubectl patch does.

    Pods read ConfigMaps and Secrets at start: restart their workload (k8s_rollout action=restart)
    for a changed value to be used.
    """
    patch, *more = documents(args.patch, "patch") or [None]
    wanted = list if args.type == "json" else dict
    if more or not isinstance(patch, wanted):
        raise ToolRefused(
            f"a {args.type} patch is a JSON {'array' if wanted is list else 'object'}"
        )
    return await patched(context, args.kind, args.name, patch, args.type, args.namespace)


class ApplyArgs(Args):
    """Arguments of ``k8s_apply``."""

    manifest: str
    """One or more objects as YAML or JSON; each is created, or replaces what exists."""


@tool(ApplyArgs, effect="write", cost=5.0)
async def k8s_apply(context: ToolContext, args: ApplyArgs) -> Result:
    """Create objects from a manifest, or replace existing ones of the same kind and name."""
    objects = documents(args.manifest, "manifest")
    if not objects:
        raise ToolRefused("the manifest holds no object")
    before: list[Object | None] = []
    after: list[Object] = []
    lines = []
    for obj in objects:
        # What is refused at the end must not leave a half applied manifest behind.
        await _apply(context, obj, dry_run=True)
    for obj in objects:
        old, new = await _apply(context, obj)
        before.append(old)
        after.append(new)
        kind = find_kind(new["kind"])
        lines.append(_report(kind, "created" if old is None else "configured", old, new))
    return Result("\n".join(lines), before=before, after=after)


async def _apply(
    context: ToolContext, obj: Any, *, dry_run: bool = False
) -> tuple[Object | None, Object]:
    """Create or replace one object; return it before (None if new) and after."""
    wanted = {"apiVersion", "kind", "metadata"}
    if not (isinstance(obj, dict) and obj.keys() >= wanted and isinstance(obj["metadata"], dict)):
        raise ToolRefused("each object of a manifest needs apiVersion, kind and metadata.name")
    kind, meta = find_kind(str(obj["kind"])), dict(obj["metadata"])
    namespace = writable(context, "create", kind, str(meta.get("namespace", "")))
    obj = {**obj, "metadata": {**meta, "namespace": namespace}}
    kube = context.env.kube
    try:
        old = await kube.get(kind.kind, str(meta.get("name", "")), namespace)
    except KubeError as error:
        if error.reason != "NotFound":
            raise
        return None, await kube.create(obj, actor=context.actor, dry_run=dry_run)
    obj["metadata"].pop("resourceVersion", None)
    return old, await kube.replace(obj, actor=context.actor, dry_run=dry_run)


class ScaleArgs(Args):
    """Arguments of ``k8s_scale``."""

    name: str
    """Name of the workload."""
    replicas: int = Field(ge=0, le=100)
    """Wanted number of pods."""
    kind: str = "Deployment"
    """Deployment or StatefulSet."""


@tool(ScaleArgs, effect="write", cost=5.0)
async def k8s_scale(context: ToolContext, args: ScaleArgs) -> Result:
    """Set the number of replicas of a Deployment or StatefulSet."""
    patch = {"spec": {"replicas": args.replicas}}
    return await patched(context, args.kind, args.name, patch, verb="scaled")


class SetEnvArgs(Args):
    """Arguments of ``k8s_set_env``."""

    name: str
    """Name of the workload."""
    variables: list[str] = Field(min_length=1)
    """KEY=VALUE sets a variable, KEY- removes it."""
    kind: str = "Deployment"
    """Deployment or StatefulSet."""
    container: str = ""
    """Container; empty is the first."""


@tool(SetEnvArgs, effect="write", cost=5.0)
async def k8s_set_env(context: ToolContext, args: SetEnvArgs) -> Result:
    """Set or remove environment variables of a workload's container; its pods are replaced."""
    change = {"env": environment(args.variables)}
    return await _patch_container(context, args.kind, args.name, args.container, change)


def environment(variables: Sequence[str]) -> list[Object]:
    """Return the strategic patch of a container's ``env`` for ``KEY=VALUE`` and ``KEY-``.

    Raises:
        ToolRefused: A text is neither.
    """
    env: list[Object] = []
    for text in variables:
        key, equals, value = text.partition("=")
        if equals and key:
            env.append({"name": key, "value": value, "valueFrom": None})
        elif text.endswith("-") and len(text) > 1:
            env.append({"name": text[:-1], "$patch": "delete"})
        else:
            raise ToolRefused(f"{text!r} is neither KEY=VALUE nor KEY-")
    return env


class SetImageArgs(Args):
    """Arguments of ``k8s_set_image``."""

    name: str
    """Name of the workload."""
    image: str
    """Image reference, name:tag."""
    kind: str = "Deployment"
    """Deployment or StatefulSet."""
    container: str = ""
    """Container; empty is the first."""


@tool(SetImageArgs, effect="write", cost=5.0)
async def k8s_set_image(context: ToolContext, args: SetImageArgs) -> Result:
    """Set the image of a workload's container; its pods are replaced."""
    change = {"image": args.image}
    return await _patch_container(context, args.kind, args.name, args.container, change)


class SetResourcesArgs(Args):
    """Arguments of ``k8s_set_resources``."""

    name: str
    """Name of the workload."""
    cpu_request: str = ""
    """For instance 100m; empty keeps what is set."""
    cpu_limit: str = ""
    """For instance 500m."""
    memory_request: str = ""
    """For instance 64Mi."""
    memory_limit: str = ""
    """For instance 192Mi."""
    kind: str = "Deployment"
    """Deployment or StatefulSet."""
    container: str = ""
    """Container; empty is the first."""


@tool(SetResourcesArgs, effect="write", cost=5.0)
async def k8s_set_resources(context: ToolContext, args: SetResourcesArgs) -> Result:
    """Set CPU and memory requests and limits of a workload's container; its pods are replaced."""
    given = {
        "requests": {"cpu": args.cpu_request, "memory": args.memory_request},
        "limits": {"cpu": args.cpu_limit, "memory": args.memory_limit},
    }
    resources = {
        part: {name: value for name, value in values.items() if value}
        for part, values in given.items()
        if any(values.values())
    }
    if not resources:
        raise ToolRefused(
            "give at least one of cpu_request, cpu_limit, memory_request, memory_limit"
        )
    change = {"resources": resources}
    return await _patch_container(context, args.kind, args.name, args.container, change)


class DeleteArgs(Args):
    """Arguments of ``k8s_delete``."""

    kind: str
    """Kind, plural or short name."""
    name: str
    """Name of the object."""
    grace_s: int = Field(default=-1, ge=-1, le=600)
    """Seconds a pod may take to end; -1 is its own setting."""
    namespace: str = ""
    """Namespace; empty is the app's."""


@tool(DeleteArgs, effect="write", cost=5.0)
async def k8s_delete(context: ToolContext, args: DeleteArgs) -> Result:
    """Delete one object. A pod of a workload is replaced by a new one."""
    kind = find_kind(args.kind)
    namespace = writable(context, "delete", kind, args.namespace)
    before = await fetch(context, kind, args.name, namespace)
    grace = None if args.grace_s < 0 else args.grace_s
    await context.env.kube.delete(
        kind.kind, bare(args.name), namespace, actor=context.actor, grace_s=grace
    )
    return Result(f'{kind.kind.lower()} "{bare(args.name)}" deleted', before=shown(context, before))


async def patched(
    context: ToolContext,
    kind_word: str,
    name: str,
    patch: Any,
    type: PatchType = "strategic",
    namespace: str = "",
    *,
    verb: Literal["patched", "scaled", "restarted", "rolled back", "paused", "resumed"] = "patched",
) -> Result:
    """Patch an object and report the difference."""
    kind = find_kind(kind_word)
    where = writable(context, "patch", kind, namespace)
    before = await fetch(context, kind, name, where)
    after = await context.env.kube.patch(
        kind.kind, bare(name), patch, namespace=where, type=type, actor=context.actor
    )
    text = _report(kind, verb, before, after)
    return Result(text, before=shown(context, before), after=shown(context, after))


async def workload(context: ToolContext, kind_word: str, name: str) -> tuple[Kind, Object]:
    """Find a workload of the app's namespace.

    Raises:
        ToolRefused: It does not exist, or the kind has no pod template.
    """
    kind = find_kind(name.split("/")[0] if "/" in name else kind_word)
    if kind.kind not in WORKLOADS:
        raise ToolRefused(f"{kind.kind} is not a workload; use one of {', '.join(WORKLOADS)}")
    return kind, await fetch(context, kind, name, context.namespace)


async def _patch_container(
    context: ToolContext, kind_word: str, name: str, which: str, change: Object
) -> Result:
    """Patch one container of a workload's template, other containers untouched."""
    kind, obj = await workload(context, kind_word, name)
    one = {"name": container(obj, which)["name"], **change}
    patch = {"spec": {"template": {"spec": {"containers": [one]}}}}
    return await patched(context, kind.kind, name, patch)


def _report(kind: Kind, verb: str, before: Object | None, after: Object) -> str:
    """Say what happened, and what is different now; values of Secrets are left out."""
    head = f"{kind.resource}/{after['metadata']['name']} {verb}"
    if before is None or kind.kind == "Secret":
        return head
    changed = [f"  {line}" for line in difference(before, after, skip=SERVER_SET)]
    return "\n".join([head, *changed]) if changed else f"{head} (no change)"


def documents(text: str, what: str) -> list[Any]:
    """Read the documents an agent wrote.

    Raises:
        ToolRefused: They cannot be read; ``what`` names them.
    """
    try:
        return manifests.read(text)
    except manifests.ManifestError as error:
        raise ToolRefused(f"the {what} cannot be read: {error}") from error


TOOLS = (
    k8s_patch, k8s_apply, k8s_scale, k8s_set_env, k8s_set_image, k8s_set_resources, k8s_delete,
)  # fmt: skip
