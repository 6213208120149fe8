"""Jobs are divided so that no host idles while another still has whole incidents to do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiopslab.models.run import PlannedTrial
from aiopslab.models.task import TASKS
from aiopslab.orchestrator.bench import Job
from aiopslab.orchestrator.plan import spread


def _job(name: str) -> tuple[str, Job]:
    trials = [
        PlannedTrial(problem=f"{name}-{task}", incident=name, task=task, attempt=1)
        for task in TASKS
    ]
    return "world", Job(incident=name, attempt=1, trials=trials)


@given(n=st.integers(1, 9), hosts=st.integers(1, 6))
def test_spreading_keeps_every_trial_once_and_in_order(n: int, hosts: int) -> None:
    jobs = [_job(f"incident-{i}") for i in range(n)]
    planned = [t for _, job in jobs for t in job.trials]
    assert [t for _, job in spread(jobs, hosts) for t in job.trials] == planned


def test_three_incidents_on_two_hosts_become_four_jobs() -> None:
    jobs = [_job(name) for name in "abc"]
    assert [len(job.trials) for _, job in spread(jobs, 2)] == [4, 4, 2, 2]


def test_jobs_that_fill_all_hosts_stay_whole() -> None:
    jobs = [_job(name) for name in "abcd"]
    assert spread(jobs, 2) == jobs
