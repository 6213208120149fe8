"""The status of a pod as the kubelet reports it: phase, conditions, container statuses.

Pure functions of what the kubelet knows of each container. Rules are those of
kubernetes/pkg/kubelet (getPhase, GenerateContainersReadyCondition). Not here: when it is written
(``kubelet.pod``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiopslab.models.timestamps import rfc3339
from aiopslab.world.kube.objects import Object, dig, set_condition


@dataclass(slots=True)
class ContainerView:
    """What the kubelet knows of one container."""

    name: str
    image: str
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: Object = field(default_factory=dict)
    ready: bool = False
    started: bool = False
    restarts: int = 0
    image_id: str = ""
    container_id: str = ""
    done: bool = False
    """It ended and will not be started again."""

    def status(self) -> Object:
        """Return the entry of ``containerStatuses``."""
        entry: Object = {
            "name": self.name,
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": self.image,
            "imageID": self.image_id,
            "started": self.started,
        }
        if self.container_id:
            entry["containerID"] = self.container_id
        return entry

    @property
    def succeeded(self) -> bool:
        """It ended with exit code 0."""
        return bool(dig(self.state, "terminated", "exitCode") == 0)


def terminated(
    reason: str, code: int, *, started: float, finished: float, container_id: str, message: str = ""
) -> Object:
    """Build a terminated state."""
    inner: Object = {
        "exitCode": code,
        "reason": reason,
        "startedAt": rfc3339(started),
        "finishedAt": rfc3339(finished),
        "containerID": container_id,
    }
    if message:
        inner["message"] = message
    return {"terminated": inner}


def waiting(reason: str, message: str = "") -> Object:
    """Build a waiting state."""
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def running(started: float) -> Object:
    """Build a running state."""
    return {"running": {"startedAt": rfc3339(started)}}


def phase(spec: Object, init: Sequence[ContainerView], containers: Sequence[ContainerView]) -> str:
    """Derive the phase."""
    policy = spec.get("restartPolicy", "Always")
    if any(item.done and not item.succeeded for item in init) and policy == "Never":
        return "Failed"
    if not all(item.succeeded for item in init):
        return "Pending"
    alive = sum("running" in item.state for item in containers)
    ended = [_end(item) for item in containers if "running" not in item.state]
    if any(code is None for code in ended):
        return "Pending"
    if alive:
        return "Running"
    if policy == "Always":
        return "Running"
    if all(code == 0 for code in ended):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _end(item: ContainerView) -> int | None:
    """Exit code of a container that is not running; None if it never ran."""
    for state in (item.state, item.last_state):
        if "terminated" in state:
            return int(state["terminated"]["exitCode"])
    return None


def conditions(
    before: Sequence[Object],
    current_phase: str,
    init: Sequence[ContainerView],
    containers: Sequence[ContainerView],
    *,
    sandbox: bool,
    now: float,
) -> list[Object]:
    """Derive the conditions; ``sandbox`` says whether the pod has its network."""
    unready = [item.name for item in containers if not item.ready]
    incomplete = [item.name for item in init if not item.succeeded]
    over = current_phase in ("Succeeded", "Failed")
    result = list(before)
    for kind, holds, reason, words in (
        ("PodReadyToStartContainers", sandbox, "", ""),
        ("Initialized", not incomplete, "ContainersNotInitialized",
         f"containers with incomplete status: [{' '.join(incomplete)}]"),
        ("Ready", not unready and not over, "ContainersNotReady",
         f"containers with unready status: [{' '.join(unready)}]"),
        ("ContainersReady", not unready and not over, "ContainersNotReady",
         f"containers with unready status: [{' '.join(unready)}]"),
    ):  # fmt: skip
        item: Object = {"type": kind, "status": "True" if holds else "False"}
        if not holds and over and reason:
            done = current_phase == "Succeeded"
            item["reason"] = "PodCompleted" if done else "PodFailed"
        elif not holds and reason:
            item |= {"reason": reason, "message": words}
        result = set_condition(result, item, rfc3339(now))
    return result
