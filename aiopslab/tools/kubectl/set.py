"""``kubectl set``: images, environment and resources of workloads' containers.

Not here: other writes (``kubectl.write``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiopslab.models.kube import Object
from aiopslab.tools.context import Result, ToolContext, ToolRefused
from aiopslab.tools.kube_write import environment
from aiopslab.tools.kubectl.change import COMMON, Report, change, several
from aiopslab.tools.kubectl.flags import Line, flags
from aiopslab.tools.kubectl.select import label
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import dig, name_of

SET = flags(f"{COMMON} selector/l all/? containers/c env/e* list/? overwrite/? limits/ requests/")


async def set_(context: ToolContext, line: Line) -> Result:
    """Set images, environment or resources of workloads' containers."""
    what, *words = line.words or [""]
    if what == "env":
        return await _set_env(context, line, words)
    if what == "image":
        return await _set_image(context, line, words)
    if what in ("resources", "resource"):
        return await _set_resources(context, line, words)
    raise ToolRefused("error: kubectl set takes image, env or resources")


async def _set_env(context: ToolContext, line: Line, words: Sequence[str]) -> Result:
    variables = [w for w in words if "=" in w or w.endswith("-")] + line.given.get("env", [])
    targets = await _workloads(context, line, [w for w in words if w not in variables])
    if line.on("list"):
        return Result("\n".join(_listed(kind, obj) for kind, obj in targets))
    if not variables:
        raise ToolRefused("error: at least one environment variable must be provided")
    change_ = {"env": environment(variables)}
    return await _set(context, line, targets, lambda _: change_, "env updated")


async def _set_image(context: ToolContext, line: Line, words: Sequence[str]) -> Result:
    images = dict(w.split("=", 1) for w in words if "=" in w)
    targets = await _workloads(context, line, [w for w in words if "=" not in w])
    if not images:
        raise ToolRefused("error: at least one image update is required")
    for _, obj in targets:
        names = [c["name"] for c in _containers_of(obj)]
        for name in images:
            if name != "*" and name not in names:
                raise ToolRefused(f'error: unable to find container named "{name}"')

    def image(name: str) -> Object | None:
        ref = images.get(name, images.get("*"))
        return None if ref is None else {"image": ref}

    return await _set(context, line, targets, image, "image updated")


async def _set_resources(context: ToolContext, line: Line, words: Sequence[str]) -> Result:
    targets = await _workloads(context, line, list(words))
    resources = {}
    for part in ("limits", "requests"):
        pairs = [p.partition("=") for p in line.all(part) if p]
        if not all(key and value for key, _, value in pairs):
            raise ToolRefused(f"error: invalid argument syntax {line.get(part)!r}, expected "
                              "<resource>=<value>")  # fmt: skip
        if pairs:
            resources[part] = {key: value for key, _, value in pairs}
    if not resources:
        raise ToolRefused("error: you must specify an update to requests or limits (in the form of "
                          "--requests/--limits)")  # fmt: skip
    change_ = {"resources": resources}
    return await _set(context, line, targets, lambda _: change_, "resource requirements updated")


async def _set(
    context: ToolContext,
    line: Line,
    targets: Sequence[tuple[Kind, Object]],
    changed: Callable[[str], Object | None],
    done: str,
) -> Result:
    """Patch containers of workloads: those of ``-c``, by default all."""
    report, only = Report(line), line.get("containers", "*")
    for kind, obj in targets:
        names = [c["name"] for c in _containers_of(obj) if only in ("*", c["name"])]
        if not names:
            raise ToolRefused(f'error: unable to find container named "{only}"')
        items = [{"name": name, **new} for name in names if (new := changed(name)) is not None]
        body = {"spec": {"template": {"spec": {"containers": items}}}}
        await change(context, report, (kind, obj), body, done)
    return report.result(context)


async def _workloads(
    context: ToolContext, line: Line, words: list[str]
) -> list[tuple[Kind, Object]]:
    targets = await several(context, line, words)
    for kind, obj in targets:
        if not _containers_of(obj):
            raise ToolRefused(f"error: {label(kind, name_of(obj))} has no pod template to change")
    return targets


def _containers_of(obj: Object) -> list[Object]:
    found: list[Object] = dig(obj, "spec", "template", "spec", "containers", default=[])
    return found


def _listed(kind: Kind, obj: Object) -> str:
    lines = []
    for container in _containers_of(obj):
        lines.append(f"# {kind.plural} {name_of(obj)}, container {container['name']}")
        for variable in container.get("env") or ():
            name, value = variable["name"], variable.get("value", "")
            source = f"# {name} from another object"
            lines.append(source if variable.get("valueFrom") else f"{name}={value}")
    return "\n".join(lines)
