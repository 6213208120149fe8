"""The status of a Deployment: counts, and the Available, Progressing and ReplicaFailure conditions.

Pure functions; reasons and messages are those of kubernetes/pkg/controller/deployment. Neighbour:
``deployment``, which writes what is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopslab.models.timestamps import rfc3339, unix
from aiopslab.world.kube.objects import Object, condition, dig, name_of, set_condition


def progressing(deployment: Object) -> Object | None:
    """Return the Progressing condition."""
    return condition(deployment, "Progressing")


def progress(status: str, reason: str, message: str, now: float) -> Object:
    """Build a Progressing condition that was updated now."""
    return {
        "type": "Progressing",
        "status": status,
        "lastUpdateTime": rfc3339(now),
        "reason": reason,
        "message": message,
    }


def is_saturated(new: Object | None, desired: int) -> bool:
    """The new ReplicaSet has all its replicas, and all are available."""
    if new is None:
        return False
    status = new.get("status") or {}
    return (
        int(new["spec"].get("replicas", 1)) == desired
        and int(status.get("availableReplicas", 0)) == desired
    )


def is_complete(deployment: Object) -> bool:
    """Every replica is of the new template and available, and nothing old is left."""
    return _complete(deployment, deployment.get("status") or {})


def _complete(deployment: Object, status: Object) -> bool:
    desired = int(deployment["spec"].get("replicas", 1))
    return (
        int(status.get("updatedReplicas", 0)) == desired
        and int(status.get("replicas", 0)) == desired
        and int(status.get("availableReplicas", 0)) == desired
        and int(status.get("observedGeneration", 0)) >= int(deployment["metadata"]["generation"])
    )


def compute(
    deployment: Object,
    new: Object | None,
    replica_sets: Sequence[Object],
    *,
    unavailable: int,
    now: float,
) -> Object:
    """Compute the status from the ReplicaSets; ``unavailable`` is the resolved maxUnavailable."""
    status: Object = {"observedGeneration": deployment["metadata"]["generation"]}
    totals = {
        "replicas": _total(replica_sets, "replicas"),
        "updatedReplicas": _total([new] if new else [], "replicas"),
        "readyReplicas": _total(replica_sets, "readyReplicas"),
        "availableReplicas": _total(replica_sets, "availableReplicas"),
    }
    wanted = sum(int(rs["spec"].get("replicas", 1)) for rs in replica_sets)
    totals["unavailableReplicas"] = max(0, wanted - totals["availableReplicas"])
    status.update({key: value for key, value in totals.items() if value})
    conditions = list(dig(deployment, "status", "conditions", default=()))
    enough = totals["availableReplicas"] >= int(deployment["spec"].get("replicas", 1)) - unavailable
    conditions = _set(conditions, _available(enough, now), now)
    failure = next((item for rs in replica_sets for item in _failures(rs)), None)
    conditions = [item for item in conditions if item["type"] != "ReplicaFailure"]
    status["conditions"] = conditions
    status["conditions"] = _judge_progress(deployment, new, status, now)
    if failure is not None:
        status["conditions"].append(failure)
    return status


def _total(replica_sets: Sequence[Object], field: str) -> int:
    return sum(int(dig(rs, "status", field, default=0)) for rs in replica_sets)


def _available(enough: bool, now: float) -> Object:
    return {
        "type": "Available",
        "status": "True" if enough else "False",
        "lastUpdateTime": rfc3339(now),
        "reason": "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        "message": f"Deployment {'has' if enough else 'does not have'} minimum availability.",
    }


def _failures(replica_set: Object) -> list[Object]:
    found = condition(replica_set, "ReplicaFailure")
    if found is None or found.get("status") != "True":
        return []
    return [{**found, "lastUpdateTime": found["lastTransitionTime"]}]


def _set(conditions: list[Object], new: Object, now: float) -> list[Object]:
    """Set a condition unless one with the same status and reason is there already."""
    for item in conditions:
        if item["type"] == new["type"] and all(item[k] == new[k] for k in ("status", "reason")):
            return conditions
    return set_condition(conditions, new, rfc3339(now))


def _judge_progress(
    deployment: Object, new: Object | None, status: Object, now: float
) -> list[Object]:
    conditions: list[Object] = status["conditions"]
    before = deployment.get("status") or {}
    present = progressing(deployment)
    reason = (present or {}).get("reason")
    if deployment["spec"].get("progressDeadlineSeconds", 600) is None or reason in (
        "DeploymentPaused",
    ):
        return conditions
    settled = status.get("replicas", 0) == status.get("updatedReplicas", 0)
    if reason == "NewReplicaSetAvailable" and settled and new is not None:
        return conditions
    subject = f'ReplicaSet "{name_of(new)}"' if new else f'Deployment "{name_of(deployment)}"'
    if _complete(deployment, status):
        text = f"{subject} has successfully progressed."
        return _set(conditions, progress("True", "NewReplicaSetAvailable", text, now), now)
    if _advanced(before, status):
        mark = progress("True", "ReplicaSetUpdated", f"{subject} is progressing.", now)
        return set_condition(conditions, mark, rfc3339(now))
    if _overdue(deployment, present, now):
        text = f"{subject} has timed out progressing."
        return _set(conditions, progress("False", "ProgressDeadlineExceeded", text, now), now)
    return conditions


def _advanced(before: Object, after: Object) -> bool:
    def old_pods(status: Object) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old_pods(after) < old_pods(before) or any(
        int(after.get(field, 0)) > int(before.get(field, 0)) for field in grown
    )


def _overdue(deployment: Object, present: Object | None, now: float) -> bool:
    if present is None or present["reason"] == "NewReplicaSetAvailable":
        return False
    deadline = float(deployment["spec"].get("progressDeadlineSeconds", 600))
    return unix(present["lastUpdateTime"]) + deadline <= now


def deadline_in(deployment: Object, status: Object, now: float) -> float | None:
    """Seconds until the progress deadline has to be looked at; None if nothing is under way."""
    present = condition({"status": status}, "Progressing")
    if present is None or _complete(deployment, status):
        return None
    if present["reason"] in ("NewReplicaSetAvailable", "DeploymentPaused"):
        return None
    if present["reason"] == "ProgressDeadlineExceeded":
        return None
    deadline = float(deployment["spec"].get("progressDeadlineSeconds", 600))
    return max(0.0, unix(present["lastUpdateTime"]) + deadline - now) + 1.0
