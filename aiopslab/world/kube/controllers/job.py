"""The Job controller: runs pods until enough of them have succeeded, or too many have failed.

Indexed jobs and pod failure policies are not modelled. Neighbours: ``cronjob`` makes Jobs.
"""

from __future__ import annotations

from aiopslab.models.kube import KubeError
from aiopslab.models.timestamps import rfc3339, unix
from aiopslab.world.kube.controllers import pods as podlib
from aiopslab.world.kube.controllers.base import Controller
from aiopslab.world.kube.objects import (
    Object,
    condition,
    deleting,
    dig,
    is_true,
    name_of,
    namespace_of,
    set_condition,
    uid_of,
)
from aiopslab.world.kube.validation.podspec import is_active, is_ready, phase, restarts

FIRST_RETRY_S = 10.0
MAX_RETRY_S = 360.0


def retry_delay(failures: int) -> float:
    """Seconds to wait after the n-th failed pod: 10 s doubling to 6 minutes."""
    return float(min(FIRST_RETRY_S * 2.0 ** max(0, min(failures - 1, 20)), MAX_RETRY_S))


def finished(job: Object) -> str:
    """Return ``Complete`` or ``Failed``, empty while it is running."""
    for kind in ("Complete", "Failed"):
        found = condition(job, kind)
        if found is not None and found.get("status") == "True":
            return kind
    return ""


class JobController(Controller):
    """Reconciles Jobs."""

    name = "job-controller"

    def watch(self) -> None:
        """Follow Jobs and their pods."""
        self.follow_own("Job")
        self.follow_children("Pod", "Job")

    def reconcile(self, namespace: str, name: str) -> None:
        job = self.find("Job", name, namespace)
        if job is None or deleting(job):
            return
        if finished(job):
            self._expire(job)
            return
        pods = self.children(job, "Pod")
        status = self._count(job, pods)
        verdict = self._verdict(job, status, pods)
        if verdict is not None:
            self._finish(job, status, pods, verdict)
            return
        refusal = None
        status = self._note_suspension(job, status)
        if job["spec"].get("suspend"):
            status = self._suspend(job, status, pods)
        else:
            refusal = self._adjust(job, status, pods)
        self.write_status(job, status)
        if refusal is not None:
            raise refusal

    def _count(self, job: Object, pods: list[Object]) -> Object:
        old = dict(job.get("status") or {})
        if not job["spec"].get("suspend"):
            old.setdefault("startTime", rfc3339(self.now()))
        # Finished pods that were deleted stay counted: the real controller tracks them by
        # finalizers; here their number never falls.
        succeeded = sum(phase(pod) == "Succeeded" for pod in pods)
        failed = sum(phase(pod) == "Failed" for pod in pods)
        active = [pod for pod in pods if is_active(pod)]
        status = {
            **old,
            "active": len(active),
            "ready": sum(is_ready(pod) for pod in active),
            "succeeded": max(succeeded, int(old.get("succeeded", 0))),
            "failed": max(failed, int(old.get("failed", 0))),
        }
        return {key: value for key, value in status.items() if value or key == "ready"}

    def _verdict(self, job: Object, status: Object, pods: list[Object]) -> Object | None:
        spec = job["spec"]
        completions = spec.get("completions")
        succeeded = int(status.get("succeeded", 0))
        wanted = int(completions) if completions is not None else 1
        if succeeded >= wanted and (completions is not None or not status.get("active")):
            text = "Reached expected number of succeeded pods"
            return {"type": "Complete", "reason": "CompletionsReached", "message": text}
        failures = int(status.get("failed", 0)) + sum(restarts(p) for p in pods if is_active(p))
        if failures > int(spec.get("backoffLimit", 6)):
            text = "Job has reached the specified backoff limit"
            return {"type": "Failed", "reason": "BackoffLimitExceeded", "message": text}
        deadline = spec.get("activeDeadlineSeconds")
        if deadline is not None and "startTime" in status:
            left = unix(status["startTime"]) + float(deadline) - self.now()
            if left <= 0.0:
                text = "Job was active longer than specified deadline"
                return {"type": "Failed", "reason": "DeadlineExceeded", "message": text}
            self.queue.add_after((namespace_of(job), name_of(job)), left)
        return None

    def _finish(self, job: Object, status: Object, pods: list[Object], verdict: Object) -> None:
        for pod in pods:
            if is_active(pod):
                self.api.delete("Pod", name_of(pod), namespace_of(pod), actor=self.actor)
        now = rfc3339(self.now())
        conditions = dig(job, "status", "conditions", default=[])
        mark = {**verdict, "status": "True", "lastProbeTime": now}
        status = {key: value for key, value in status.items() if key not in ("active", "ready")}
        status |= {"ready": 0, "conditions": set_condition(conditions, mark, now)}
        if verdict["type"] == "Complete":
            status["completionTime"] = now
            self.event(job, "Normal", "Completed", "Job completed")
        else:
            self.event(job, "Warning", verdict["reason"], verdict["message"])
        self.write_status(job, status)

    def _note_suspension(self, job: Object, status: Object) -> Object:
        """Return the status with its condition ``Suspended`` as the spec has it now."""
        suspended = bool(job["spec"].get("suspend"))
        if suspended == is_true(job, "Suspended"):
            return status
        word = "Suspended" if suspended else "Resumed"
        text = f"Job {word.lower()}"
        now = rfc3339(self.now())
        mark = {"type": "Suspended", "status": str(suspended), "reason": f"Job{word}"}
        mark |= {"message": text, "lastProbeTime": now}
        self.event(job, "Normal", word, text)
        conditions = status.get("conditions") or []
        return {**status, "conditions": set_condition(conditions, mark, now)}

    def _suspend(self, job: Object, status: Object, pods: list[Object]) -> Object:
        """Delete the running pods; the time until the deadline begins anew afterwards."""
        for pod in pods:
            if is_active(pod):
                self.api.delete("Pod", name_of(pod), namespace_of(pod), actor=self.actor)
                self.event(job, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")
        kept = {k: v for k, v in status.items() if k not in ("active", "startTime")}
        return {**kept, "ready": 0}

    def _adjust(self, job: Object, status: Object, pods: list[Object]) -> KubeError | None:
        spec = job["spec"]
        parallel = int(spec.get("parallelism", 1))
        wanted = parallel
        if spec.get("completions") is not None:
            wanted = min(parallel, int(spec["completions"]) - int(status.get("succeeded", 0)))
        elif status.get("succeeded"):
            return None  # of a work queue: one success means no more pods
        active = [pod for pod in pods if is_active(pod)]
        for pod in podlib.deletion_order(active)[: max(0, len(active) - wanted)]:
            self.api.delete("Pod", name_of(pod), namespace_of(pod), actor=self.actor)
            self.event(job, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")
        wait = self._wait(status, pods)
        if wait > 0.0:
            self.queue.add_after((namespace_of(job), name_of(job)), wait)
            return None
        for _ in range(wanted - len(active)):
            refusal = self._create(job)
            if refusal is not None:
                return refusal
        return None

    def _wait(self, status: Object, pods: list[Object]) -> float:
        """Seconds left of the back-off after the latest failed pod."""
        ends = [
            unix(item["state"]["terminated"]["finishedAt"])
            for pod in pods
            if phase(pod) == "Failed"
            for item in dig(pod, "status", "containerStatuses", default=())
            if "terminated" in item["state"]
        ]
        if not ends:
            return 0.0
        return max(ends) + retry_delay(int(status.get("failed", 0))) - self.now()

    def _create(self, job: Object) -> KubeError | None:
        pod = podlib.from_template(job, job["spec"]["template"])
        pod["metadata"].setdefault("labels", {}).update(
            {
                "batch.kubernetes.io/controller-uid": uid_of(job),
                "batch.kubernetes.io/job-name": name_of(job),
                "controller-uid": uid_of(job),
                "job-name": name_of(job),
            }
        )
        try:
            created = self.api.create(pod, actor=self.actor)
        except KubeError as error:
            self.event(job, "Warning", "FailedCreate", f"Error creating: {error.message}")
            return error
        self.event(job, "Normal", "SuccessfulCreate", f"Created pod: {name_of(created)}")
        return None

    def _expire(self, job: Object) -> None:
        """Delete a finished Job whose ``ttlSecondsAfterFinished`` is over."""
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            return
        mark = condition(job, finished(job)) or {}
        left = unix(mark["lastTransitionTime"]) + float(ttl) - self.now()
        if left > 0.0:
            self.queue.add_after((namespace_of(job), name_of(job)), left)
        else:
            self.api.delete("Job", name_of(job), namespace_of(job), actor=self.actor)
