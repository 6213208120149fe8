"""The owners' intent, checked: invariants, budget, forbidden acts, and what was lost.

A snapshot is taken before the incident; after the agent's part the difference tells the blast
radius and the losses. Mitigation that breaks the intent does not pass, however green the SLOs.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Container, Sequence
from dataclasses import dataclass

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import condition
from aiopslab.models.evidence import CheckResult, ObjectChange, Requests
from aiopslab.models.intent import Invariant
from aiopslab.models.kube import KubeError, Object
from aiopslab.world.kube import quantity
from aiopslab.world.kube.difference import difference

KEPT_KINDS = (
    "ConfigMap", "CronJob", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy",
    "PersistentVolumeClaim", "PodDisruptionBudget", "Secret", "Service", "StatefulSet",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Objects of the namespace without status, by reference, and what stores hold."""

    objects: dict[str, Object]
    data: dict[str, int]
    """``table:store/name`` to rows, ``messages:store/stream`` to messages lost so far."""


async def snapshot(env: Environment) -> Snapshot:
    """Take a snapshot."""
    objects = await env.kube.snapshot(env.namespace)
    by_ref = {_ref(o): o for o in objects}
    return Snapshot(dict(sorted(by_ref.items())), await env.data_digest())


def _ref(obj: Object) -> str:
    meta = obj["metadata"]
    return f"{obj['kind']}/{meta.get('namespace', '')}/{meta['name']}"


def losses(before: Snapshot, after: Snapshot) -> list[ObjectChange]:
    """Return what the snapshot had and is gone: objects of kept kinds, rows."""
    gone = [
        ObjectChange(ref=ref, change="removed")
        for ref, obj in before.objects.items()
        if obj["kind"] in KEPT_KINDS and ref not in after.objects
    ]
    for table, rows in sorted(before.data.items()):
        now = after.data.get(table, 0)
        if table.startswith("table:") and now < rows:
            gone.append(ObjectChange(ref=table, change=f"rows: {rows} -> {now}"))
    return gone


def lost_messages(before: Snapshot, after: Snapshot, store: str) -> int:
    """Count the messages that left a queue's streams before they were worked on.

    A stream that is gone took what it held with it, and counts as one more.
    """
    lost = 0
    for stream, known in sorted(before.data.items()):
        if stream.startswith(f"messages:{store}/"):
            lost += after.data.get(stream, known + 1) - known
    return lost


def changes(before: Snapshot, after: Snapshot) -> list[ObjectChange]:
    """Return every other difference between two snapshots' objects."""
    found = []
    for ref, obj in after.objects.items():
        old = before.objects.get(ref)
        if old is None:
            found.append(ObjectChange(ref=ref, change="added"))
        elif old != obj:
            found.append(ObjectChange(ref=ref, change="; ".join(difference(old, obj))))
    return found


async def invariants(env: Environment, before: Snapshot, after: Snapshot) -> list[CheckResult]:
    """Check every invariant of the app's intent and its CPU budget at the end of the episode."""
    results = [
        await _check(env, invariant, target, before, after)
        for invariant in env.app.intent.invariants
        for target in _targets(env, invariant)
    ]
    return [*results, _budget(env, before, after)]


def _targets(env: Environment, invariant: Invariant) -> list[str]:
    if invariant.target != "*":
        return [invariant.target]
    if invariant.kind == "messages_kept":
        return sorted(n for n, s in env.app.stores.items() if s.kind == "nats")
    stores = invariant.kind in ("volume_kept", "rows_kept")
    return sorted(env.app.stores) if stores else sorted(env.app.services)


async def _check(
    env: Environment, invariant: Invariant, target: str, before: Snapshot, after: Snapshot
) -> CheckResult:
    id = f"{invariant.id}:{target}"
    match invariant.kind:
        case "ready_replicas" | "replicas_at_least":
            field = "readyReplicas" if invariant.kind == "ready_replicas" else "replicas"
            have = await _replicas(env, target, field)
            return condition(id, have >= invariant.at_least, f"{field} {have}")
        case "replicas_at_most":
            want = _wanted(after, target)
            return condition(id, want <= invariant.at_most, f"replicas {want} wanted")
        case "volume_kept":
            lost = [x.ref for x in losses(before, after) if f"-{target}-" in x.ref]
            return condition(id, not lost, f"lost {lost or 'nothing'}")
        case "rows_kept":
            lost = [x.ref for x in losses(before, after) if x.ref.startswith(f"table:{target}/")]
            return condition(id, not lost, f"lost rows in {lost or 'no table'}")
        case "messages_kept":
            count = lost_messages(before, after, target)
            detail = f"{count} messages lost, {invariant.allowed} allowed"
            return condition(id, count <= invariant.allowed, detail)
        case "object_exists":
            kind, _, name = target.partition("/")
            found = any(fnmatch.fnmatch(r, f"{kind}/*/{name}") for r in after.objects)
            return condition(id, found, "exists" if found else "does not exist")


async def _replicas(env: Environment, component: str, field: str) -> int:
    kind = "StatefulSet" if component in env.app.stores else "Deployment"
    try:
        obj = await env.kube.get(kind, component, env.namespace)
    except KubeError:
        return 0
    return int(obj.get("status", {}).get(field, 0))


def _wanted(state: Snapshot, component: str) -> int:
    """Return the replicas that a component's workload is to have."""
    kinds = ("Deployment", "StatefulSet")
    found = (o for o in state.objects.values() if o["kind"] in kinds)
    return sum(o["spec"].get("replicas", 1) for o in found if o["metadata"]["name"] == component)


def _budget(env: Environment, before: Snapshot, after: Snapshot) -> CheckResult:
    old, new = requests(before).cpu, requests(after).cpu
    allowed = old * (1.0 + env.app.intent.cpu_requests_growth)
    return condition(
        "cpu-budget",
        new <= allowed + 1e-9,
        f"CPU requests {old:.2f} -> {new:.2f}, {allowed:.2f} allowed",
    )


def requests(state: Snapshot, *, of: Container[str] | None = None) -> Requests:
    """Sum up what the workloads of a snapshot ask for.

    Args:
        state: The snapshot.
        of: References to count; None: all.
    """
    cpu = memory = 0.0
    replicas = 0
    for ref, obj in state.objects.items():
        if obj["kind"] not in ("Deployment", "StatefulSet") or not (of is None or ref in of):
            continue
        count = obj["spec"].get("replicas", 1)
        replicas += count
        for container in obj["spec"]["template"]["spec"]["containers"]:
            asked = container.get("resources", {}).get("requests", {})
            cpu += float(quantity.parse(asked.get("cpu", "0"))) * count
            memory += float(quantity.parse(asked.get("memory", "0"))) * count
    return Requests(cpu=cpu, memory=memory, replicas=replicas)


def forbidden(patterns: Sequence[str], acts: Sequence[str]) -> list[CheckResult]:
    """Check acts (``delete StatefulSet/rate-postgres``) against the forbidden patterns.

    Args:
        patterns: ``verb Kind/name`` with globs, or ``scale Kind/name below N``.
        acts: What was done: ``verb Kind/name``, for scaling ``scale Kind/name to N``.
    """
    results = []
    for pattern in patterns:
        hits = [a for a in acts if _forbids(pattern, a)]
        results.append(condition(f"forbidden:{pattern}", not hits, f"done: {hits or 'no'}"))
    return results


def _forbids(pattern: str, act: str) -> bool:
    head, _, floor = pattern.partition(" below ")
    done, _, count = act.partition(" to ")
    if not fnmatch.fnmatch(done, head):
        return False
    return not floor or (count.isdigit() and int(count) < int(floor))
