"""Whether the workloads of a namespace are ready, and if one is not: which pod, and why.

Reads through any ``Kube``. Not here: SLOs (``cluster``), putting things right
(``cluster.restoring``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from aiopslab.environments.protocol import Kube
from aiopslab.errors import InfraError
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import KubeError, Object
from aiopslab.world.kube.objects import deleting, dig, name_of

KINDS = ("Deployment", "StatefulSet")
_POLL_S = 1.0
_NAME = "app.kubernetes.io/name"
_EVENTS, _LINES = 3, 5
"""How many events and log lines of a pod are quoted, the last ones."""
_LONGEST = 300
_UNPULLED = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")
_UNDER_WAY = ("", "ContainerCreating", "PodInitializing")
"""Why a container waits while nothing is wrong."""


async def workloads(
    kube: Kube, namespace: str, kinds: Collection[str] = KINDS
) -> list[tuple[Object, CheckResult]]:
    """Return the workloads of a namespace, each with whether it is ready."""
    found = []
    for kind in kinds:
        for obj in await kube.list(kind, namespace):
            name, want = name_of(obj), obj["spec"].get("replicas", 1)
            ready = dig(obj, "status", "readyReplicas", default=0)
            detail = f"{ready} of {want} replicas ready"
            met = ready >= want and _seen(obj)
            found.append((obj, CheckResult(id=f"ready:{name}", met=met, detail=detail)))
    return found


def _seen(obj: Object) -> bool:
    """Whether the status is about the object as it is now, and its rollout complete."""
    status, want = obj.get("status") or {}, obj["spec"].get("replicas", 1)
    current = status.get("observedGeneration", 0) >= obj["metadata"].get("generation", 0)
    return bool(current and status.get("updatedReplicas", 0) >= want)


async def until_ready(
    kube: Kube,
    namespace: str,
    timeout_s: float,
    *,
    kinds: Collection[str] = KINDS,
    wanted: Callable[[str], bool] = lambda _: True,
) -> None:
    """Wait until workloads are ready.

    Args:
        kube: The cluster.
        namespace: Where.
        timeout_s: How long.
        kinds: Which kinds of workloads.
        wanted: Which of them, by name.

    Raises:
        InfraError: Not in time; says which pod and why.
    """
    end = asyncio.get_running_loop().time() + timeout_s
    while True:
        found = await workloads(kube, namespace, kinds)
        late = [(o, c) for o, c in found if not c.met and wanted(name_of(o))]
        if not late:
            return
        if asyncio.get_running_loop().time() >= end:
            reasons = [f"{name_of(o)}: {c.detail}{await why(kube, o)}" for o, c in late]
            raise InfraError("ready", "\n".join([f"not after {timeout_s:.0f} s", *reasons]))
        await asyncio.sleep(_POLL_S)


async def why(kube: Kube, workload: Object) -> str:
    """Say what keeps a workload from being ready; empty if it cannot be told."""
    namespace, name = workload["metadata"]["namespace"], name_of(workload)
    pods = await kube.list("Pod", namespace, labels=f"{_NAME}={name}")
    waiting = [pod for pod in pods if not is_ready(pod) and not deleting(pod)]
    if waiting:
        worst = max(waiting, key=lambda pod: (failing(pod), name_of(pod)))
        return await _why_pod(kube, worst)
    if len(pods) < workload["spec"].get("replicas", 1):
        # Pods that are refused leave their words with what makes them.
        return "".join(f"; {text}" for text in await _events(kube, namespace, f"{name}-", name))
    return ""


async def _why_pod(kube: Kube, pod: Object) -> str:
    namespace, name = pod["metadata"]["namespace"], name_of(pod)
    parts = [f"; pod {name} is {dig(pod, 'status', 'phase', default='unknown')}"]
    parts += [
        f": {condition.get('reason')}: {condition.get('message')}"
        for condition in dig(pod, "status", "conditions", default=[])
        if condition["type"] == "PodScheduled" and condition["status"] != "True"
    ]
    statuses = dig(pod, "status", "containerStatuses", default=[])
    parts += [_why_container(status) for status in statuses if not status.get("ready")]
    parts += [f"\n  event: {text}" for text in await _events(kube, namespace, name)]
    parts += [f"\n  log: {line}" for line in await _last_lines(kube, pod)]
    return "".join(parts)


def _why_container(status: Object) -> str:
    """Say how a container is."""
    text = f"; container {status['name']} of image {status.get('image')}"
    state, last = status.get("state") or {}, dig(status, "lastState", "terminated", default={})
    if "waiting" in state:
        text += f" waits: {state['waiting'].get('reason')}"
        if message := state["waiting"].get("message"):
            text += f" ({_short(message)})"
    elif "running" in state:
        text += " runs, but its probe fails or has not been made"
    if last:
        text += f"; it ended before with {last.get('reason')}, code {last.get('exitCode')}"
    return f"{text}; restarted {status.get('restartCount', 0)} times"


async def _events(kube: Kube, namespace: str, *names: str) -> list[str]:
    """Return the last warnings about objects of these names, or that begin with ``name-``."""
    found = [
        event
        for event in await kube.list("Event", namespace)
        if event.get("type") == "Warning"
        and any(_is_about(dig(event, "involvedObject", "name", default=""), n) for n in names)
    ]
    found.sort(key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))
    return [_short(f"{e.get('reason')}: {e.get('message')}") for e in found[-_EVENTS:]]


def _is_about(name: str, wanted: str) -> bool:
    return name.startswith(wanted) if wanted.endswith("-") else name == wanted


async def _last_lines(kube: Kube, pod: Object) -> Sequence[str]:
    """Return the last lines of a pod's first container, of the one before where it died."""
    name, namespace = name_of(pod), pod["metadata"]["namespace"]
    for previous in (True, False):
        try:
            text = await kube.logs(name, namespace, previous=previous, tail=_LINES)
        except KubeError:
            continue  # it has not run yet, or not twice
        if text.strip():
            return [_short(line) for line in text.strip().splitlines()[-_LINES:]]
    return []


def _short(text: str) -> str:
    text = " ".join(str(text).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


# -- pods -----------------------------------------------------------------------------------------


def is_ready(pod: Object) -> bool:
    """Whether a pod gets requests."""
    conditions = dig(pod, "status", "conditions", default=[])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


async def unpulled(kube: Kube, namespace: str) -> list[str]:
    """Return the images that pods of a namespace wait for in vain, sorted."""
    found = set()
    for pod in await kube.list("Pod", namespace):
        for status in dig(pod, "status", "containerStatuses", default=[]):
            if dig(status, "state", "waiting", "reason", default="") in _UNPULLED:
                found.add(str(status.get("image")))
    return sorted(found)


def has_ended(pod: Object) -> bool:
    """Whether a pod has done its work, or failed at it, for good."""
    return dig(pod, "status", "phase") in ("Succeeded", "Failed")


def failing(pod: Object) -> bool:
    """Whether a container of a pod has died, or waits for what may have been put right by now."""
    statuses = dig(pod, "status", "containerStatuses", default=[])
    reasons = [dig(s, "state", "waiting", "reason", default="") for s in statuses]
    died = any(s.get("restartCount") and not s.get("ready") for s in statuses)
    return died or any(reason not in _UNDER_WAY for reason in reasons)
