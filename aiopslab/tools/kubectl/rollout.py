"""``kubectl rollout``: status, history, undo, restart, pause and resume.

Built on what ``k8s_rollout`` knows (``kube_rollout``, ``world.kube.revisions``); the words are
kubectl's.
"""

from __future__ import annotations

from aiopslab.models.kube import Object
from aiopslab.tools.context import Result, ToolContext, ToolRefused
from aiopslab.tools.kube_rollout import progress, revisions_of
from aiopslab.tools.kubectl.change import Report, change
from aiopslab.tools.kubectl.flags import Line, flags
from aiopslab.tools.kubectl.select import choose, label
from aiopslab.world.kube import revisions
from aiopslab.world.kube.describe import pods as describe_pods
from aiopslab.world.kube.describe.page import Page
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import name_of
from aiopslab.world.kube.table.table import layout

ROLLOUT = flags(
    "namespace/n selector/l to-revision/ revision/ watch/w? timeout/ output/o dry-run/=unchanged "
    "field-manager/ request-timeout/"
)
LOOKS = ("status", "history")
_UNDER_WAY = "as it is now; use the wait tool and ask again"
_CHANGES = ("undo", "restart", "pause", "resume")


async def rollout(context: ToolContext, line: Line) -> Result:
    """Look at rollouts or steer them."""
    action, *words = line.words or [""]
    if action not in (*LOOKS, *_CHANGES):
        raise ToolRefused(f"error: kubectl rollout takes {', '.join((*LOOKS, *_CHANGES))}")
    chosen, problems = await choose(context, line, words)
    if problems:
        raise ToolRefused("\n".join(problems))
    targets = [(c.kind, obj) for c in chosen for obj in c.objects]
    for kind, obj in targets:
        if kind.kind not in revisions.SOURCES:
            raise ToolRefused(f'error: no {action} handler has been implemented for "{kind.kind}" '
                              f"({name_of(obj)})")  # fmt: skip
    if not targets:
        raise ToolRefused("error: no resources found; name a workload, for instance deploy/NAME")
    if action == "status":
        return _status(targets)
    if action == "history":
        pages = [await _history(context, line, kind, obj) for kind, obj in targets]
        return Result("\n\n".join(pages))
    report = Report(line)
    for target in targets:
        await _steer(context, line, report, action, target)
    return report.result(context)


def _status(targets: list[tuple[Kind, Object]]) -> Result:
    """Tell the progress as it is; kubectl itself would wait for the end."""
    found = [progress(kind.kind, obj) for kind, obj in targets]
    text = "\n".join(text if done else f"{text} ({_UNDER_WAY})" for text, done in found)
    data = {name_of(obj): done for (_, obj), (_, done) in zip(targets, found, strict=True)}
    if any(text.startswith("error:") for text, _ in found):
        raise ToolRefused(text)
    return Result(text, data)


async def _history(context: ToolContext, line: Line, kind: Kind, obj: Object) -> str:
    found = await revisions_of(context, kind.kind, obj)
    name, number = label(kind, name_of(obj)), line.number("revision")
    if number:
        templates = [r.template for r in found if r.number == number]
        if not templates:
            raise ToolRefused("error: unable to find the specified revision")
        page = Page()
        describe_pods.template(page, templates[0])
        return f"{name} with revision #{number}\n{page.text()}"
    if not found:
        return f"{name}\nNo rollout history found."
    rows = [["REVISION", "CHANGE-CAUSE"], *([str(r.number), r.cause or "<none>"] for r in found)]
    return f"{name} \n{layout(rows, gap=2)}"


async def _steer(
    context: ToolContext, line: Line, report: Report, action: str, target: tuple[Kind, Object]
) -> None:
    """Undo, restart, pause or resume one workload."""
    kind, obj = target
    name, paused = name_of(obj), bool(obj["spec"].get("paused"))
    if action == "undo":
        await _undo(context, line, report, target)
        return
    if action == "restart":
        if paused:
            raise ToolRefused(f'error: {kind.resource} "{name}" can\'t restart paused deployment '
                              "(run rollout resume first)")  # fmt: skip
        await change(
            context, report, target, revisions.restart_patch(context.env.now()), "restarted"
        )
        return
    if kind.kind != "Deployment":
        raise ToolRefused(f"error: {kind.resource} {name!r} {action[:-1]}ing is not supported")
    pausing = action == "pause"
    if pausing == paused:
        state = "already paused" if paused else "not paused"
        raise ToolRefused(f'error: {kind.resource} "{name}" is {state}')
    body = {"spec": {"paused": pausing}}
    await change(context, report, target, body, "paused" if pausing else "resumed")


async def _undo(
    context: ToolContext, line: Line, report: Report, target: tuple[Kind, Object]
) -> None:
    """Patch an older template back: that of a revision, by default the one before."""
    kind, obj = target
    if obj["spec"].get("paused"):
        raise ToolRefused(
            f"error: you cannot rollback a paused {kind.kind.lower()}; resume it first with "
            f"'kubectl rollout resume' and try again"
        )
    found = await revisions_of(context, kind.kind, obj)
    number = line.number("to-revision") or 0
    older = [r for r in found if r.number == number] if number else found[:-1][-1:]
    if not older:
        raise ToolRefused(
            f"error: unable to find specified revision {number} in history" if number
            else f'error: no rollout history found for {kind.kind.lower()} "{name_of(obj)}"'
        )  # fmt: skip
    if number and older[0].number == found[-1].number:
        text = f"{label(kind, name_of(obj))} skipped rollback (current template already matches "
        report.add(context, kind, f"{text}revision {number})", obj, obj)
        return
    patch = revisions.undo_patch(older[0])
    await change(context, report, target, patch, "rolled back", type="json")
