"""Jobs, CronJobs and the grammar of schedules; autoscalers; daemons; namespaces."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from controllers_cluster import START, Cluster, container, deployment
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.world.kube import admission
from aiopslab.world.kube.controllers import cron, hpa
from aiopslab.world.kube.controllers.hpa import Sample
from aiopslab.world.kube.controllers.job import finished, retry_delay
from aiopslab.world.kube.objects import Object, condition, name_of


def job(name: str = "once", command: str = "sleep 2", **spec: Any) -> Object:
    work = {"name": "main", "image": "shell:1", "command": command.split()}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "template": {"spec": {"containers": [work], "restartPolicy": "Never"}},
            **spec,
        },
    }


def cronjob(schedule: str = "*/5 * * * *", command: str = "sleep 2", **spec: Any) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "tidy", "namespace": "shop"},
        "spec": {
            "schedule": schedule,
            "jobTemplate": {"spec": job(command=command)["spec"]},
            **spec,
        },
    }


def test_a_job_completes(cluster: Cluster) -> None:
    cluster.create(job(completions=3, parallelism=2))
    cluster.wait_for(lambda: finished(cluster.get("Job", "once")) == "Complete")
    status = cluster.get("Job", "once")["status"]
    assert status["succeeded"] == 3
    assert "active" not in status
    assert cluster.events("Completed") == ["Job completed"]


def test_a_job_gives_up_after_its_backoff_limit(cluster: Cluster) -> None:
    cluster.create(job(command="fail", backoffLimit=2))
    took = cluster.wait_for(lambda: finished(cluster.get("Job", "once")) == "Failed")
    mark = condition(cluster.get("Job", "once"), "Failed") or {}
    assert mark["reason"] == "BackoffLimitExceeded"
    assert len(cluster.pods()) == 3
    assert took > 30  # 10 s and 20 s between the attempts


def test_a_job_is_ended_at_its_deadline(cluster: Cluster) -> None:
    cluster.create(job(command="sleep 1000", activeDeadlineSeconds=20))
    cluster.wait_for(lambda: finished(cluster.get("Job", "once")) == "Failed")
    assert (condition(cluster.get("Job", "once"), "Failed") or {})["reason"] == "DeadlineExceeded"
    cluster.wait_for(lambda: not cluster.pods())


def test_a_finished_job_goes_after_its_time_to_live(cluster: Cluster) -> None:
    cluster.create(job(ttlSecondsAfterFinished=30))
    cluster.wait_for(lambda: bool(finished(cluster.get("Job", "once"))))
    cluster.wait(20)
    assert cluster.get("Job", "once")
    cluster.wait(15)
    assert not cluster.api.list("Job", "shop")
    cluster.wait_for(lambda: not cluster.pods())


def test_a_suspended_job_ends_its_pods_and_begins_anew_when_it_goes_on(cluster: Cluster) -> None:
    cluster.create(job(command="sleep 50", activeDeadlineSeconds=100))
    cluster.wait(20)
    cluster.patch("Job", "once", {"spec": {"suspend": True}})
    cluster.wait(120)  # longer than the deadline, which does not count meanwhile
    assert cluster.pods() == []
    mark = condition(cluster.get("Job", "once"), "Suspended") or {}
    assert (mark["status"], mark["reason"]) == ("True", "JobSuspended")
    assert "startTime" not in cluster.get("Job", "once")["status"]
    cluster.patch("Job", "once", {"spec": {"suspend": False}})
    cluster.wait_for(lambda: finished(cluster.get("Job", "once")) == "Complete")
    assert cluster.events("Resumed") == ["Job resumed"]


@pytest.mark.parametrize("kind", ["Job", "StatefulSet", "Deployment"])
def test_whoever_asks_for_a_billion_pods_gets_what_the_cluster_takes(kind: str) -> None:
    cluster = Cluster(kubelets=False)
    if kind == "Job":
        cluster.create(job(parallelism=2**31 - 1, completions=2**31 - 1))
    else:
        more = {"serviceName": "w", "podManagementPolicy": "Parallel"} if kind[0] == "S" else {}
        cluster.create({**deployment("w", replicas=2**31 - 1, **more), "kind": kind})
    cluster.wait(5)
    assert len(cluster.pods()) == admission.MAX_PODS


def test_retries_of_a_job_double_up_to_six_minutes() -> None:
    assert [retry_delay(n) for n in (1, 2, 3, 7, 30)] == [10, 20, 40, 360, 360]


def test_a_cron_job_runs_on_the_minute_and_keeps_a_short_history(cluster: Cluster) -> None:
    cluster.create(cronjob(successfulJobsHistoryLimit=2))
    cluster.wait(5 * 60 * 4 + 30)
    jobs = cluster.api.list("Job", "shop")
    minute = int(START // 60)
    assert [name_of(item) for item in jobs] == [f"tidy-{minute + 15}", f"tidy-{minute + 20}"]
    assert any("condition: Complete" in text for text in cluster.events("SawCompletedJob"))


@pytest.mark.parametrize(("policy", "running"), [("Forbid", 1), ("Replace", 1), ("Allow", 3)])
def test_concurrency_policies(cluster: Cluster, policy: str, running: int) -> None:
    cluster.create(cronjob("* * * * *", "sleep 1000", concurrencyPolicy=policy))
    cluster.wait(3 * 60 + 20)
    assert len([item for item in cluster.api.list("Job", "shop") if not finished(item)]) == running


def test_a_suspended_cron_job_does_nothing(cluster: Cluster) -> None:
    cluster.create(cronjob("* * * * *", suspend=True))
    cluster.wait(200)
    assert not cluster.api.list("Job", "shop")


# -- schedules ------------------------------------------------------------------------------------


def when(text: str, *moment: int) -> str:
    start = datetime(*moment, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]
    found = cron.parse(text).after(start)
    assert found is not None
    return datetime.fromtimestamp(found, UTC).strftime("%Y-%m-%d %H:%M")


def test_schedules_name_their_minutes() -> None:
    assert when("*/15 * * * *", 2026, 1, 5, 8, 0) == "2026-01-05 08:15"
    assert when("30 2 * * mon-fri", 2026, 1, 9, 3, 0) == "2026-01-12 02:30"
    assert when("0 0 29 2 *", 2026, 1, 1) == "2028-02-29 00:00"
    assert when("@monthly", 2026, 1, 5) == "2026-02-01 00:00"
    assert when("0 0 13 * fri", 2026, 1, 1) == "2026-01-02 00:00"
    assert when("5/20 * * * *", 2026, 1, 5, 8, 6) == "2026-01-05 08:25"
    assert when("0 0 * * 7", 2026, 1, 5) == "2026-01-11 00:00"


def test_a_day_that_never_comes_is_none() -> None:
    assert cron.parse("0 0 31 2 *").after(START) is None


@pytest.mark.parametrize(
    "text", ["", "* * * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "a * * * *"]
)
def test_malformed_schedules_are_refused(text: str) -> None:
    with pytest.raises(cron.CronError):
        cron.parse(text)


@given(
    st.integers(0, 59), st.integers(0, 23), st.integers(1, 12), st.integers(1, 30),
    st.floats(START, START + 4e7),
)  # fmt: skip
def test_the_next_time_matches_its_fields_and_nothing_before_does(
    minute: int, hour: int, month: int, step: int, start: float
) -> None:
    schedule = cron.parse(f"{minute}-59/{step} {hour} * {month} *")
    found = schedule.after(start)
    assert found is not None
    moment = datetime.fromtimestamp(found, UTC)
    assert found > start
    assert moment.minute in schedule.minutes
    assert (moment.hour, moment.month, moment.second) == (hour, month, 0)
    assert schedule.after(found - 60.0) == found


# -- autoscaling ----------------------------------------------------------------------------------


def autoscaler(**spec: Any) -> Object:
    target = {"type": "Utilization", "averageUtilization": 50}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2,
            "maxReplicas": 6,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            **spec,
        },
    }


def use(cluster: Cluster, cores: float) -> None:
    cluster.usage = {name_of(pod): cores for pod in cluster.pods()}


def replicas(cluster: Cluster) -> int:
    return int(cluster.get("Deployment", "web")["spec"]["replicas"])


def test_an_autoscaler_goes_up_at_once_and_down_after_five_minutes(cluster: Cluster) -> None:
    cluster.create(deployment(replicas=2))
    cluster.wait_for(lambda: cluster.ready("Deployment", "web", 2))
    use(cluster, 0.05)
    cluster.create(autoscaler())
    cluster.wait(20)
    assert replicas(cluster) == 2
    use(cluster, 0.09)
    cluster.wait_for(lambda: replicas(cluster) == 4, limit=20)
    assert any(
        text.startswith("New size: 4; reason: cpu") for text in cluster.events("SuccessfulRescale")
    )
    cluster.wait_for(lambda: cluster.ready("Deployment", "web", 4))
    use(cluster, 0.01)
    cluster.wait(200)
    assert replicas(cluster) == 4
    took = cluster.wait_for(lambda: replicas(cluster) == 2, limit=200)
    assert took > 50


def test_an_autoscaler_without_measurements_says_so(cluster: Cluster) -> None:
    cluster.create(deployment(replicas=2))
    cluster.create(autoscaler())
    cluster.wait(20)
    mark = condition(cluster.get("HorizontalPodAutoscaler", "web"), "ScalingActive") or {}
    assert (mark["status"], mark["reason"]) == ("False", "FailedGetResourceMetric")


def test_desired_replicas_follow_the_ratio_within_a_tolerance() -> None:
    at = [Sample(0.05, 0.1, True)] * 4
    assert hpa.desired(at, 0.5, 4) == 4
    assert hpa.desired([Sample(0.054, 0.1, True)] * 4, 0.5, 4) == 4
    assert hpa.desired([Sample(0.1, 0.1, True)] * 4, 0.5, 4) == 8
    assert hpa.desired([Sample(0.01, 0.1, True)] * 4, 0.5, 4) == 1
    # A pod that is not ready yet counts as idle when the others would scale up.
    assert hpa.desired([Sample(0.06, 0.1, True), Sample(None, 0.1, False)], 0.5, 2) == 2


# -- daemons and namespaces -----------------------------------------------------------------------


def test_a_daemon_runs_on_every_node(cluster: Cluster) -> None:
    cluster.create(
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "agent", "namespace": "shop"},
            "spec": {
                "selector": {"matchLabels": {"app": "agent"}},
                "template": {
                    "metadata": {"labels": {"app": "agent"}},
                    "spec": {"containers": [container()]},
                },
            },
        }
    )
    cluster.wait_for(
        lambda: cluster.get("DaemonSet", "agent").get("status", {}).get("numberReady") == 3
    )
    assert {pod["spec"]["nodeName"] for pod in cluster.pods()} == set(cluster.kubelets)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "web:2"}]}}}}
    cluster.patch("DaemonSet", "agent", image)

    def updated() -> bool:
        status = cluster.get("DaemonSet", "agent")["status"]
        return bool(status["updatedNumberScheduled"] == status["numberReady"] == 3)

    while not updated():
        assert cluster.get("DaemonSet", "agent")["status"]["numberReady"] >= 2
        cluster.wait(0.5)


def test_a_deleted_namespace_takes_its_contents_along(cluster: Cluster) -> None:
    cluster.create(deployment())
    cluster.wait_for(lambda: cluster.ready("Deployment", "web", 3))
    cluster.api.delete("Namespace", "shop", actor="alice")
    cluster.wait_for(lambda: cluster.api.find("Namespace", "shop") is None)
    assert not cluster.api.list("Pod", "shop")


def test_a_daemon_that_names_its_node_runs_there_alone(cluster: Cluster) -> None:
    spec = {"containers": [container()], "nodeName": "node-2"}
    daemon = {**deployment("agent", pod=spec), "kind": "DaemonSet"}
    del daemon["spec"]["replicas"]
    cluster.create(daemon)
    cluster.wait(20)
    assert [pod["spec"]["nodeName"] for pod in cluster.pods()] == ["node-2"]


def test_every_namespace_has_a_default_service_account(cluster: Cluster) -> None:
    cluster.wait(1)
    cluster.api.delete("ServiceAccount", "default", "shop", actor="alice")
    cluster.wait(1)
    assert cluster.get("ServiceAccount", "default")


def test_an_owner_of_a_kind_nobody_serves_neither_breaks_nor_deletes(cluster: Cluster) -> None:
    owner = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "u-1"}
    metadata = {"name": "kept", "namespace": "shop", "ownerReferences": [owner]}
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    cluster.wait(5)
    assert cluster.get("ConfigMap", "kept")
