"""``kubectl apply``, ``create`` and ``replace``: manifests from standard input, small generators.

Apply is kubectl's client-side apply: a strategic merge patch of the manifest, with deletions for
what the manifest applied before (noted in an annotation) no longer holds; with ``--server-side`` it
is the server's. A manifest is tried as a whole before any of it is stored. Not here: other writes
(``kubectl.write``).
"""

from __future__ import annotations

import base64
import json
from typing import Any

from aiopslab.models.kube import KubeError, Object
from aiopslab.tools.context import Result, ToolContext, ToolRefused
from aiopslab.tools.kubectl.change import COMMON, Report, is_dry, manifest
from aiopslab.tools.kubectl.flags import Line, flags
from aiopslab.tools.kubectl.select import kind_of, label
from aiopslab.tools.objects import writable
from aiopslab.world.kube import schema
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import annotations_of, clone, name_of
from aiopslab.world.kube.schema import Field, Message

APPLY = flags(
    f"{COMMON} filename/f validate/=strict overwrite/? wait/? timeout/ server-side/? "
    "force-conflicts/?"
)
CREATE = flags(f"{COMMON} filename/f from-literal/* type/ validate/=strict save-config/?")
REPLACE = flags(f"{COMMON} filename/f validate/=strict wait/? timeout/")

APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_CONFLICT = """\
Please review the fields above--they currently have other managers. Here
are the ways you can resolve this warning:
* If you intend to manage all of these fields, please re-run the apply
  command with the `--force-conflicts` flag.
* If you do not intend to manage all of the fields, please edit your
  manifest to remove references to the fields that should keep their
  current managers.
* You may co-own fields by updating your manifest to match the existing
  value; in this case, you'll become the manager if the other manager(s)
  stop managing the field (remove it from their configuration).
See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts"""
_UNNOTED = (
    "Warning: resource {plural}/{name} is missing the {note} annotation which is required by "
    "kubectl apply. kubectl apply should only be used on resources created declaratively by either "
    "kubectl create --save-config or kubectl apply. The missing annotation will be patched "
    "automatically."
)


async def apply(context: ToolContext, line: Line, stdin: str) -> Result:
    """Create the objects of a manifest, or bring existing ones to it."""
    objects = [_placed(context, line, obj) for obj in manifest(line, stdin)]
    on_server = line.on("server-side")
    if line.on("force-conflicts") and not on_server:
        raise ToolRefused("error: --force-conflicts only works with --server-side")
    apply_one = _apply_on_server if on_server else _apply
    for kind, obj in objects:
        if not obj["metadata"].get("name"):
            raise ToolRefused("error: from STDIN: cannot use generate name with apply")
        await apply_one(context, line, kind, obj, dry_run=True)
    report, notes = Report(line), []
    for kind, obj in objects:
        before, after = await apply_one(context, line, kind, obj, dry_run=is_dry(line))
        if on_server:
            done = f"{label(kind, name_of(obj))} serverside-applied"
            report.add(context, kind, done, before, after)
            continue
        if before is not None and APPLIED not in annotations_of(before):
            notes.append(_UNNOTED.format(plural=kind.plural, name=name_of(obj), note=APPLIED))
        done = "created" if before is None else "configured"
        if before is not None and before["metadata"].get("resourceVersion") == after[
            "metadata"
        ].get("resourceVersion"):
            done = "unchanged"
        report.add(context, kind, f"{label(kind, name_of(obj))} {done}", before, after)
    report.lines[:0] = notes
    return report.result(context)


async def _apply_on_server(
    context: ToolContext, line: Line, kind: Kind, obj: Object, *, dry_run: bool
) -> tuple[Object | None, Object]:
    """Have the server create or merge one object; return it before (None if new) and after."""
    kube, name, where = context.env.kube, name_of(obj), obj["metadata"].get("namespace")
    before = await _find(context, kind, obj)
    try:
        after = await kube.apply(
            kind.kind, name, obj, namespace=where, force=line.on("force-conflicts"),
            manager=line.get("field-manager", "kubectl"), actor=context.actor, dry_run=dry_run,
        )  # fmt: skip
    except KubeError as error:
        if error.reason != "Conflict":
            raise
        raise ToolRefused(f"error: {error.message}\n{_CONFLICT}") from error
    return before, after


async def _find(context: ToolContext, kind: Kind, obj: Object) -> Object | None:
    meta = obj["metadata"]
    try:
        return await context.env.kube.get(kind.kind, meta["name"], meta.get("namespace"))
    except KubeError as error:
        if error.reason != "NotFound":
            raise
        return None


async def _apply(
    context: ToolContext, line: Line, kind: Kind, obj: Object, *, dry_run: bool
) -> tuple[Object | None, Object]:
    """Create or patch one object; return it before (None if new) and after."""
    kube, meta = context.env.kube, obj["metadata"]
    note = {APPLIED: json.dumps(obj, separators=(",", ":"), ensure_ascii=False) + "\n"}
    noted = {
        **obj,
        "metadata": {**meta, "annotations": {**(meta.get("annotations") or {}), **note}},
    }
    live = await _find(context, kind, obj)
    if live is None:
        return None, await kube.create(noted, actor=context.actor, dry_run=dry_run)
    patch = {**noted, **_removals(_applied(live), obj, schema.message(kind.schema), noted)}
    after = await kube.patch(
        kind.kind, meta["name"], patch, namespace=meta.get("namespace"), actor=context.actor,
        dry_run=dry_run,
    )  # fmt: skip
    return live, after


def _applied(live: Object) -> Object:
    """Return what was applied before; nothing if that is not noted."""
    try:
        noted = json.loads(annotations_of(live).get(APPLIED, "{}"))
    except ValueError:
        return {}
    return noted if isinstance(noted, dict) else {}


def _removals(old: Object, new: Object, message: Message | None, patch: Object) -> Object:
    """Return a strategic patch, with null or ``$patch: delete`` for what was applied and is gone.

    Args:
        old: What was applied before.
        new: What is applied now.
        message: The type of both, if known.
        patch: The patch so far; parts of it are returned where something below them is gone.
    """
    found: Object = {}
    for key, before in old.items():
        field = message.fields.get(key) if message is not None else None
        if key not in new or new[key] is None:
            if key not in ("apiVersion", "kind"):
                found[key] = None
            continue
        now, so_far = new[key], clone(patch.get(key))
        if isinstance(before, dict) and isinstance(now, dict) and isinstance(so_far, dict):
            found[key] = {**so_far, **_removals(before, now, _inner(field), so_far)}
        elif field is not None and field.merges and field.merge_key and isinstance(now, list):
            found[key] = _merged_list(before, now, field, so_far)
    return found


def _merged_list(before: Any, now: list[Any], field: Field, so_far: list[Any]) -> list[Any]:
    """Do the same for a list whose items merge by key."""
    by, old = field.merge_key, {}
    for item in before if isinstance(before, list) else ():
        if isinstance(item, dict) and by in item:
            old[item[by]] = item
    result = []
    for item, part in zip(now, so_far, strict=True):
        earlier = old.pop(item[by], None) if isinstance(item, dict) and by in item else None
        result.append(
            {**part, **_removals(earlier, item, _inner(field), part)} if earlier else part
        )
    return [*result, *({by: key, "$patch": "delete"} for key in old)]


def _inner(field: Field | None) -> Message | None:
    while field is not None and field.type in ("l", "m"):
        field = field.item
    return schema.message(field.ref) if field is not None and field.ref else None


def _placed(context: ToolContext, line: Line, obj: Object) -> tuple[Kind, Object]:
    """Put an object into its namespace.

    Raises:
        ToolRefused: The kind is not served, or the namespaces contradict each other.
        KubeError: It may not be written there.
    """
    kind = kind_of(str(obj["kind"]))
    if kind.api_version != obj["apiVersion"] and kind.group not in str(obj["apiVersion"]):
        raise ToolRefused(
            f'error: resource mapping not found for name: "{obj["metadata"].get("name", "")}" from '
            f'"STDIN": no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"'
        )
    meta, given = dict(obj["metadata"]), line.get("namespace")
    own = str(meta.get("namespace") or "")
    if own and given and own != given:
        raise ToolRefused(
            f'error: the namespace from the provided object "{own}" does not match the namespace '
            f"\"{given}\". You must pass '--namespace={own}' to perform this operation."
        )
    name = str(meta.get("name") or "")
    where = writable(context, "create", kind, own or given, name)
    return kind, {**obj, "metadata": {**meta, "namespace": where}}


# -- create and replace ---------------------------------------------------------------------------


async def create(context: ToolContext, line: Line, stdin: str) -> Result:
    """Create objects from a manifest, a ConfigMap or a Secret."""
    written = bool(line.get("filename"))
    objects = manifest(line, stdin) if written else [_generated(line)]
    placed = [_placed(context, line, obj) for obj in objects]
    for kind, obj in placed:
        try:
            await context.env.kube.create(obj, actor=context.actor, dry_run=True)
        except KubeError as error:
            head = f'Error from server ({error.reason}): error when creating "STDIN"'
            if not written:
                head = f"error: failed to create {kind.kind.lower()}"
            raise ToolRefused(f"{head}: {error.message}") from error
    report = Report(line)
    for kind, obj in placed:
        after = await context.env.kube.create(obj, actor=context.actor, dry_run=is_dry(line))
        report.add(context, kind, f"{label(kind, name_of(after))} created", None, after)
    return report.result(context)


async def replace(context: ToolContext, line: Line, stdin: str) -> Result:
    """Replace existing objects by those of a manifest."""
    kube, report = context.env.kube, Report(line)
    placed = [_placed(context, line, obj) for obj in manifest(line, stdin)]
    for _, obj in placed:
        await kube.replace(obj, actor=context.actor, dry_run=True)
    for kind, obj in placed:
        before = await kube.get(kind.kind, name_of(obj), obj["metadata"]["namespace"])
        after = await kube.replace(obj, actor=context.actor, dry_run=is_dry(line))
        report.add(context, kind, f"{label(kind, name_of(obj))} replaced", before, after)
    return report.result(context)


def _generated(line: Line) -> Object:
    """Make a ConfigMap or generic Secret of ``--from-literal``."""
    words = line.words
    if words[:1] == ["secret"] and words[1:2] == ["generic"]:
        words = ["secret", *words[2:]]
    elif words[:1] == ["secret"] or words[:1] not in (["configmap"], ["cm"]):
        raise ToolRefused(
            "error: kubectl create takes -f - with the manifest in stdin, configmap NAME or secret "
            "generic NAME with --from-literal=key=value"
        )
    if len(words) != 2:
        raise ToolRefused(f"error: exactly one NAME is required, got {len(words) - 1}")
    data: dict[str, str] = {}
    for pair in line.given.get("from-literal", []):
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ToolRefused(f"error: invalid literal source {pair}, expected key=value")
        data[key] = value
    meta = {"name": words[1]}
    if words[0] == "secret":
        coded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        type_ = line.get("type", "Opaque")
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": meta,
            "type": type_,
            "data": coded,
        }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
