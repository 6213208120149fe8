"""``kubectl patch``, ``scale``, ``label``, ``annotate`` and ``delete``.

Not here: finding and reporting (``kubectl.change``), manifests (``kubectl.apply``), rollouts
(``kubectl.rollout``), pod templates (``kubectl.set``).
"""

from __future__ import annotations

from aiopslab.models.kube import KubeError, Object, PatchType
from aiopslab.tools.context import Result, ToolContext, ToolRefused
from aiopslab.tools.kube_write import documents
from aiopslab.tools.kubectl.change import COMMON, Report, change, is_dry, manifest, several
from aiopslab.tools.kubectl.flags import Line, flags
from aiopslab.tools.kubectl.select import kind_of, label
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import annotations_of, dig, labels_of, name_of, namespace_of

PATCH = flags(f"{COMMON} patch/p type/")
SCALE = flags(f"{COMMON} replicas/ current-replicas/ selector/l all/? timeout/")
LABEL = flags(f"{COMMON} selector/l all/? overwrite/? list/? field-selector/")
DELETE = flags(
    "namespace/n selector/l all/? grace-period/ force/? now/? wait/? timeout/ cascade/=background "
    "ignore-not-found/? output/o dry-run/=unchanged filename/f field-selector/ request-timeout/"
)
_PATCHES: dict[str, PatchType] = {"strategic": "strategic", "merge": "merge", "json": "json"}


# -- patch, scale ---------------------------------------------------------------------------------


async def patch(context: ToolContext, line: Line) -> Result:
    """Patch objects."""
    text, type_ = line.get("patch"), line.get("type", "strategic")
    if not text:
        raise ToolRefused("error: must specify --patch containing the contents of the patch")
    if type_ not in _PATCHES:
        raise ToolRefused(f'error: --type must be one of [json merge strategic], not "{type_}"')
    body, *more = documents(text, "patch") or [None]
    if more or not isinstance(body, list if type_ == "json" else dict):
        raise ToolRefused(f'error: unable to parse "{text:.80}": it is no {type_} patch')
    report = Report(line)
    for target in await several(context, line, line.words):
        await change(context, report, target, body, "patched", type=_PATCHES[type_])
    return report.result(context)


async def scale(context: ToolContext, line: Line) -> Result:
    """Set the number of replicas."""
    replicas, expected = line.number("replicas"), line.number("current-replicas")
    if replicas is None or replicas < 0:
        raise ToolRefused("error: The --replicas=COUNT flag is required, and COUNT must be greater "
                          "than or equal to 0")  # fmt: skip
    targets = await several(context, line, line.words)
    for kind, obj in targets:
        if not kind.scale:
            raise ToolRefused("Error from server (NotFound): the server could not find the "
                              "requested resource")  # fmt: skip
        current = dig(obj, "spec", "replicas", default=1)
        if expected not in (None, -1, current):
            raise ToolRefused(f"error: Expected replicas to be {expected}, was {current}")
    report = Report(line)
    for target in targets:
        await change(context, report, target, {"spec": {"replicas": replicas}}, "scaled")
    return report.result(context)


# -- labels and annotations -----------------------------------------------------------------------


async def label_(context: ToolContext, line: Line) -> Result:
    """Set or remove labels (``label``) or annotations (``annotate``)."""
    noun = "labels" if line.verb == "label" else "annotations"
    pairs = [w for w in line.words if "=" in w or (w.endswith("-") and "/" not in w[:1])]
    words = [w for w in line.words if w not in pairs]
    targets = await several(context, line, words)
    read = labels_of if noun == "labels" else annotations_of
    if line.on("list"):
        return Result("\n".join(f"{k}={v}" for _, o in targets for k, v in sorted(read(o).items())))
    if not pairs:
        raise ToolRefused(f"error: at least one {noun[:-1]} update is required")
    wanted: dict[str, str | None] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        wanted[key if equals else pair[:-1]] = value if equals else None
    report = Report(line)
    for kind, obj in targets:
        for key, new in wanted.items():
            old = read(obj).get(key)
            if old is not None and new not in (None, old) and not line.on("overwrite"):
                raise ToolRefused(f"error: '{key}' already has a value ({old}), and --overwrite is "
                                  "false")  # fmt: skip
        now = {k: v for k, v in wanted.items() if read(obj).get(k) != v}
        done = _done(noun, wanted, changed=bool(now))
        await change(context, report, (kind, obj), {"metadata": {noun: now}}, done, type="merge")
    return report.result(context)


def _done(noun: str, wanted: dict[str, str | None], *, changed: bool) -> str:
    if noun == "annotations":
        return "annotated"
    if not changed:
        return "not labeled"
    return "unlabeled" if all(value is None for value in wanted.values()) else "labeled"


# -- delete ---------------------------------------------------------------------------------------


async def delete(context: ToolContext, line: Line, stdin: str) -> Result:
    """Delete objects."""
    words = line.words
    if line.get("filename"):
        words = [_reference(obj) for obj in manifest(line, stdin)]
    targets = await several(context, line, words, "delete")
    if line.get("cascade", "background") != "background":
        raise ToolRefused("error: only --cascade=background is offered here")
    grace = line.number("grace-period")
    if line.on("now"):
        grace = 1
    if line.on("force") and grace is None:
        grace = 0
    report = Report(line)
    for kind, obj in targets:
        if not is_dry(line):
            try:
                await _deleted(context, kind, obj, grace)
            except KubeError as error:
                if report.survives(error):
                    continue
                raise
        how = "force deleted" if line.on("force") else "deleted"
        name = name_of(obj)
        text = label(kind, name) if line.get("output") == "name" else (
            f'{kind.qualified.lower()} "{name}" {how}')  # fmt: skip
        report.add(context, kind, text, obj, None)
    return report.result(context) if targets else Result("No resources found")


async def _deleted(context: ToolContext, kind: Kind, obj: Object, grace: int | None) -> None:
    try:
        await context.env.kube.delete(
            kind.kind, name_of(obj), namespace_of(obj) or None, actor=context.actor,
            grace_s=None if grace is None or grace < 0 else grace,
        )  # fmt: skip
    except KubeError as error:
        # What a deletion before it took along is gone as asked.
        if error.reason != "NotFound":
            raise


def _reference(obj: Object) -> str:
    return f"{kind_of(str(obj['kind'])).plural}/{obj['metadata'].get('name', '')}"
