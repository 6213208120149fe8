"""The CronJob controller: makes Jobs at scheduled minutes (UTC) and forgets old ones.

Not here: the schedule's grammar (``cron``), running Jobs (``job``).
"""

from __future__ import annotations

from aiopslab.models.timestamps import rfc3339, unix
from aiopslab.world.kube.controllers import cron
from aiopslab.world.kube.controllers.base import Controller
from aiopslab.world.kube.controllers.job import finished
from aiopslab.world.kube.objects import (
    Object,
    clone,
    deleting,
    dig,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
)
from aiopslab.world.kube.validation.podspec import created

MAX_MISSED = 100
"""More missed starts than this are worth a warning, and are not counted one by one."""


class CronJobController(Controller):
    """Reconciles CronJobs."""

    name = "cronjob-controller"

    def watch(self) -> None:
        """Follow CronJobs and the Jobs they made."""
        self.follow_own("CronJob")
        self.follow_children("Job", "CronJob")

    def reconcile(self, namespace: str, name: str) -> None:
        owner = self.find("CronJob", name, namespace)
        if owner is None or deleting(owner):
            return
        jobs = sorted(self.children(owner, "Job"), key=lambda job: (created(job), name_of(job)))
        status = self._notice_finished(owner, jobs)
        self._forget(owner, jobs)
        if not owner["spec"].get("suspend"):
            status = self._start_due(owner, jobs, status)
        self.write_status(owner, status)

    def _notice_finished(self, owner: Object, jobs: list[Object]) -> Object:
        status = dict(owner.get("status") or {})
        known = {item.get("uid") for item in status.get("active") or ()}
        for job in jobs:
            if uid_of(job) in known and (outcome := finished(job)):
                text = f"Saw completed job: {name_of(job)}, condition: {outcome}"
                self.event(owner, "Normal", "SawCompletedJob", text)
        done = [dig(job, "status", "completionTime") for job in jobs]
        latest = max((item for item in done if item), default=None)
        if latest is not None:
            status["lastSuccessfulTime"] = latest
        return self._with_active(status, [job for job in jobs if not finished(job)])

    def _with_active(self, status: Object, running: list[Object]) -> Object:
        rest = {key: value for key, value in status.items() if key != "active"}
        if not running:
            return rest
        references = [
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "name": name_of(job),
                "namespace": namespace_of(job),
                "uid": uid_of(job),
            }
            for job in running
        ]
        return {**rest, "active": references}

    def _forget(self, owner: Object, jobs: list[Object]) -> None:
        """Delete the oldest finished Jobs beyond the history limits."""
        for outcome, field, default in (
            ("Complete", "successfulJobsHistoryLimit", 3),
            ("Failed", "failedJobsHistoryLimit", 1),
        ):
            matching = [job for job in jobs if finished(job) == outcome]
            limit = int(owner["spec"].get(field, default))
            for job in matching[: max(0, len(matching) - limit)]:
                self.api.delete("Job", name_of(job), namespace_of(job), actor=self.actor)
                text = f"Deleted job {name_of(job)}"
                self.event(owner, "Normal", "SuccessfulDelete", text)

    # -- starting ---------------------------------------------------------------------------------

    def _start_due(self, owner: Object, jobs: list[Object], status: Object) -> Object:
        key = (namespace_of(owner), name_of(owner))
        try:
            schedule = cron.parse(owner["spec"]["schedule"])
        except cron.CronError as error:
            text = f"Unparseable schedule: {owner['spec']['schedule']}: {error}"
            self.event(owner, "Warning", "UnparseableSchedule", text)
            return status
        due = self._latest_missed(owner, schedule)
        upcoming = schedule.after(self.now())
        if upcoming is not None:
            self.queue.add_after(key, upcoming - self.now())
        if due is None:
            return status
        patience = owner["spec"].get("startingDeadlineSeconds")
        if patience is not None and due + float(patience) < self.now():
            text = f"Missed scheduled time to start a job: {rfc3339(due)}"
            self.event(owner, "Warning", "MissSchedule", text)
            return status
        running = [job for job in jobs if not finished(job)]
        policy = owner["spec"].get("concurrencyPolicy", "Allow")
        if policy == "Forbid" and running:
            text = (
                "Not starting job because prior execution is running and concurrency policy "
                "is Forbid"
            )
            self.event(owner, "Normal", "JobAlreadyActive", text)
            return status
        if policy == "Replace":
            for job in running:
                self.api.delete("Job", name_of(job), namespace_of(job), actor=self.actor)
            running = []
        job = self._create(owner, due)
        return self._with_active({**status, "lastScheduleTime": rfc3339(due)}, [*running, job])

    def _latest_missed(self, owner: Object, schedule: cron.Schedule) -> float | None:
        """Return the latest scheduled time since the last start that is not in the future."""
        last = dig(owner, "status", "lastScheduleTime")
        since = unix(last) if last else created(owner)
        found, count = None, 0
        moment = schedule.after(since)
        while moment is not None and moment <= self.now():
            found, count = moment, count + 1
            if count == MAX_MISSED:
                text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds"
                self.event(owner, "Warning", "TooManyMissedTimes", text)
                moment = max(moment, self.now() - 3600.0)
            moment = schedule.after(moment)
        return found

    def _create(self, owner: Object, due: float) -> Object:
        template = owner["spec"]["jobTemplate"]
        metadata = template.get("metadata") or {}
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": f"{name_of(owner)}-{int(due // 60)}",
                "namespace": namespace_of(owner),
                "labels": dict(labels_of({"metadata": metadata})),
                "annotations": {
                    **(metadata.get("annotations") or {}),
                    "batch.kubernetes.io/cronjob-scheduled-timestamp": rfc3339(due),
                },
                "ownerReferences": [owner_reference(owner)],
            },
            "spec": clone(template["spec"]),
        }
        stored = self.api.create(job, actor=self.actor)
        self.event(owner, "Normal", "SuccessfulCreate", f"Created job {name_of(stored)}")
        return stored
