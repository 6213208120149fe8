"""``k8s_rollout``: status, history, undo, restart, pause and resume of a workload.

Undo does what kubectl does: it takes the pod template of an older ReplicaSet (of a
ControllerRevision for StatefulSets) and patches it back. Not here: other writes (``kube_write``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.kube import Object
from aiopslab.models.observation import Effect
from aiopslab.tools.context import Paged, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.kube_write import patched, workload
from aiopslab.tools.tables import table
from aiopslab.world.kube import revisions
from aiopslab.world.kube.revisions import Revision


class RolloutArgs(Paged):
    """Arguments of ``k8s_rollout``."""

    action: Literal["status", "history", "undo", "restart", "pause", "resume"]
    """What to do."""
    name: str
    """Name of the workload."""
    kind: str = "Deployment"
    """Deployment or StatefulSet."""
    revision: int = Field(default=0, ge=0)
    """Undo: go back to this revision of the history; 0 is the one before the current."""


def _effect(args: RolloutArgs) -> Effect:
    return "read" if args.action in ("status", "history") else "write"


@tool(RolloutArgs, cost=4.0, effect_of=_effect)
async def k8s_rollout(context: ToolContext, args: RolloutArgs) -> Result:
    """Look at the rollout of a workload (status, history), or undo, restart, pause or resume it.

    Undo without revision goes back to the one before.
    """
    kind, obj = await workload(context, args.kind, args.name)
    match args.action:
        case "status":
            return _status(kind.kind, obj)
        case "history":
            return _history(await revisions_of(context, kind.kind, obj))
        case "undo":
            return await _undo(context, kind.kind, obj, args.revision)
        case "restart":
            patch = revisions.restart_patch(context.env.now())
            return await patched(context, kind.kind, args.name, patch, verb="restarted")
        case "pause" | "resume":
            if kind.kind != "Deployment":
                raise ToolRefused(f"only a Deployment can be paused, not a {kind.kind}")
            paused = {"spec": {"paused": args.action == "pause"}}
            verb: Literal["paused", "resumed"] = "paused" if args.action == "pause" else "resumed"
            return await patched(context, kind.kind, args.name, paused, verb=verb)


def _status(kind: str, obj: Object) -> Result:
    text, done = progress(kind, obj)
    status, want = obj.get("status", {}), obj["spec"].get("replicas", 1)
    updated, ready = status.get("updatedReplicas", 0), status.get("readyReplicas", 0)
    data = {"done": done, "wanted": want, "updated": updated, "ready": ready}
    return Result(f"{text}\nwanted {want}, updated {updated}, ready {ready}", data)


def progress(kind: str, obj: Object) -> tuple[str, bool]:
    """Word the progress of a rollout as kubectl rollout status does; whether it is complete."""
    name, status = obj["metadata"]["name"], obj.get("status", {})
    spoken = {"DaemonSet": "daemon set", "StatefulSet": "statefulset"}.get(kind, "deployment")
    waiting = f'Waiting for {spoken} "{name}" rollout to finish: '
    if status.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return f"Waiting for {spoken} spec update to be observed...", False
    if kind == "StatefulSet":
        return _stateful_progress(obj)
    if kind == "DaemonSet":
        want, updated = (
            status.get("desiredNumberScheduled", 0),
            status.get("updatedNumberScheduled", 0),
        )
        available, total = status.get("numberAvailable", 0), updated
        noun = "pods"
    else:
        want, updated = obj["spec"].get("replicas", 1), status.get("updatedReplicas", 0)
        available, total = status.get("availableReplicas", 0), status.get("replicas", 0)
        noun = "replicas"
    if any(c.get("reason") == "ProgressDeadlineExceeded" for c in status.get("conditions", [])):
        return f'error: {spoken} "{name}" exceeded its progress deadline', False
    if updated < want:
        return f"{waiting}{updated} out of {want} new {noun} have been updated...", False
    if total > updated:
        return f"{waiting}{total - updated} old replicas are pending termination...", False
    if available < updated:
        return f"{waiting}{available} of {updated} updated {noun} are available...", False
    return f'{spoken} "{name}" successfully rolled out', True


def _stateful_progress(obj: Object) -> tuple[str, bool]:
    status, want = obj.get("status", {}), obj["spec"].get("replicas", 1)
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if ready < want:
        return f"Waiting for {want - ready} pods to be ready...", False
    revision = status.get("updateRevision", "")
    if revision != status.get("currentRevision", "") and updated < want:
        text = "waiting for statefulset rolling update to complete"
        return f"{text} {updated} pods at revision {revision}...", False
    number = status.get("currentReplicas", want)
    text = f"statefulset rolling update complete {number} pods at revision {revision}..."
    return text, True


def _history(found: list[Revision]) -> Result:
    rows = [[r.number, r.images, r.cause] for r in found]
    data = [{"revision": r.number, "images": r.images, "cause": r.cause} for r in found]
    return Result(table(["revision", "images", "change-cause"], rows), data, len(rows))


async def _undo(context: ToolContext, kind: str, obj: Object, number: int) -> Result:
    """Patch an older template back."""
    name = obj["metadata"]["name"]
    if obj["spec"].get("paused"):
        raise ToolRefused(f'cannot undo the paused {kind.lower()} "{name}"; resume it first')
    found = await revisions_of(context, kind, obj)
    known = ", ".join(str(r.number) for r in found)
    older = [r for r in found if r.number == number] if number else found[:-1][-1:]
    if not older:
        raise ToolRefused(
            f"no rollout history found for revision {number} of {name!r}; revisions: {known}"
            if number
            else f"{name!r} has no revision before the current one; revisions: {known}"
        )
    target = older[0]
    result = await patched(
        context, kind, name, revisions.undo_patch(target), "json", verb="rolled back"
    )
    return Result(
        f"{result.text}\nto revision {target.number}: {target.images}",
        before=result.before, after=result.after,
    )  # fmt: skip


async def revisions_of(context: ToolContext, kind: str, obj: Object) -> list[Revision]:
    """Return the history, oldest first."""
    sources = await context.env.kube.list(revisions.SOURCES[kind], context.namespace)
    return revisions.history(obj, sources)


TOOLS = (k8s_rollout,)
