"""Whole runs through the doors: one agent the same through each; hostile ones beside a good one."""

from __future__ import annotations

import contextlib
import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doors_engine import GATEWAY, IMAGE, engine

from aiopslab.models.run import Limits, RunConfig
from aiopslab.models.trial import Trial
from aiopslab.orchestrator.records import RunDirectory, TrialDirectory
from aiopslab.orchestrator.run import run_sync
from aiopslab.problems import catalogue

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
SCRIPT = HERE / "scripted_agent.py"
CONTENT = HERE.parent / "endtoend" / "content"
INCIDENT = "archive-port"
"""Of the kiosk, an app small enough to boot for every run."""
DOORS = {
    "python": f"{SCRIPT}:Scripted",
    **{d: f"cmd:{sys.executable} {SCRIPT} {d}" for d in ("http", "mcp", "leave", "shell")},
}


@pytest.fixture(scope="module", autouse=True)
def _kiosk() -> Iterator[None]:
    """Let this process, and the hosts it starts, find the kiosk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOPSLAB_CONTENT", str(CONTENT))
        catalogue.incidents.cache_clear()
        yield
    catalogue.incidents.cache_clear()


def ran(tmp_path: Path, agent: str, **how: Any) -> list[TrialDirectory]:
    """Run an agent; return the trials' directories in order."""
    config = RunConfig(
        targets=[INCIDENT], agent=agent, runs_dir=str(tmp_path), concurrency=1, **how
    )
    report = run_sync(config)
    directory = RunDirectory(report.directory)
    return [directory.trial(plan) for plan in report.record.trials]


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[TrialDirectory]]:
    return {
        door: ran(tmp_path_factory.mktemp(door), agent, name=door) for door, agent in DOORS.items()
    }


@pytest.mark.parametrize("door", [door for door in DOORS if door != "python"])
def test_one_agent_does_and_scores_the_same_through_every_door(
    through: dict[str, list[TrialDirectory]], door: str
) -> None:
    for ours, theirs in zip(through["python"], through[door], strict=True):
        assert theirs.trial().termination == "submitted"
        assert theirs.answer() == ours.answer() is not None
        assert theirs.grade() == ours.grade() is not None
        assert theirs.evidence() == ours.evidence()
        assert _steps(theirs) == _steps(ours)
        assert theirs.trial().usage == ours.trial().usage
        assert theirs.trial().outcome == ours.trial().outcome


def _steps(directory: TrialDirectory) -> str:
    return (directory.path / "steps.jsonl").read_text(encoding="utf-8")


def test_a_program_in_a_container_reaches_its_trial_at_the_networks_gateway(
    tmp_path: Path, through: dict[str, list[TrialDirectory]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine(tmp_path) as (host, state):
        monkeypatch.setenv("DOCKER_HOST", host)
        (boxed,) = ran(
            tmp_path, DOORS["http"], tasks=["detection"], sandbox="docker", sandbox_image=IMAGE
        )
    assert boxed.grade() == through["python"][0].grade()
    assert _steps(boxed) == _steps(through["python"][0])
    environment = dict(item.split("=", 1) for item in state.created[1]["Env"])
    assert environment["AIOPSLAB_URL"].startswith(f"http://{GATEWAY}:")
    assert state.containers == state.networks == {}


def test_whoever_comes_may_submit_to_an_external_agents_trial(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aiopslab"]
    detection = [f"{INCIDENT}-detection", "-a", "external", "-q", "--name", "x"]
    directory = tmp_path / "runs" / "x" / "trials" / f"{INCIDENT}-detection__1"
    run = subprocess.Popen([*command, "run", *detection], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        doors = directory / "doors.json"
        while not doors.exists() or not doors.read_text("utf-8"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(timeout=0.1)
            assert run.returncode is None
        assert stat.S_IMODE(doors.stat().st_mode) == 0o600
        found = json.loads(doors.read_text("utf-8"))
        where = ["--url", found["api"], "--token", found["token"]]
        answer = ["--anomaly", "true", "--confidence", "0.7"]
        subprocess.run([*command, "submit", *answer, *where], check=True)
        assert run.wait(timeout=400) == 0
    finally:
        run.kill()
        run.wait()
    trial = TrialDirectory(directory)
    assert trial.trial().termination == "submitted"
    assert not doors.exists()
    assert not Path(found["kubeconfig"]).exists()


HOSTILE = """
import json, os, resource, signal, socket, sys, time, urllib.parse, urllib.request
def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(os.environ["AIOPSLAB_URL"] + path, data)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)
task = ask("/brief")["task"]
ask("/tools/alerts", {})
os.write(1, b"working on " + task.encode())
"""
MODES = {
    "crashing": "if task != 'mitigation':\n    os.kill(os.getpid(), signal.SIGSEGV)\n",
    "silent": "if task != 'mitigation':\n    sys.exit(0)\n",
    "killing": "if task != 'mitigation':\n    os.kill(os.getppid(), 9)\n    time.sleep(60)\n",
    "flooding": (
        "if task != 'mitigation':\n"
        "    for _ in range(100):\n        os.write(1, b'x' * 1_000_000)\n"
        "    while True:\n"
        "        try:\n            ask('/tools/alerts', {})\n"
        "        except OSError:\n            pass\n"
    ),
    "crowding": (
        "if task != 'mitigation':\n"
        "    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))\n"
        "    where = urllib.parse.urlsplit(os.environ['AIOPSLAB_URL'])\n"
        "    address = where.hostname, where.port\n"
        "    held = [socket.create_connection(address) for _ in range(3000)]\n"
        "    ask('/tools/alerts', {})\n"
        "    sys.exit(0)\n"
    ),
    "slow": "if task != 'mitigation':\n    time.sleep(600)\n",
    "lying": (
        "if task != 'mitigation':\n"
        "    for _ in range(3):\n"
        "        try:\n            ask('/submit', {'anomaly': 'perhaps', 'x': 1})\n"
        "        except OSError:\n            pass\n"
    ),
}
ENDS = {
    "crashing": ("agent_error", "error: AgentError"),
    "silent": ("agent_error", "error: AgentError"),
    "killing": ("agent_error", "error: AgentError"),
    "flooding": ("limit", "limit:steps"),
    "crowding": ("agent_error", "error: AgentError"),
    "slow": ("limit", "limit:wall_time"),
    "lying": (None, "malformed answer"),
}
GOOD = "ask('/submit', {'summary': 'nothing done', 'confidence': 0.1})\n"


@pytest.mark.parametrize("mode", MODES)
def test_a_hostile_program_ends_as_its_own_failure_and_the_next_trial_is_unharmed(
    tmp_path: Path, mode: str
) -> None:
    path = tmp_path / "agent.py"
    path.write_text(HOSTILE + MODES[mode] + GOOD, encoding="utf-8")
    # The good program is bound by the same limit, and a busy host takes seconds to start it.
    limits = Limits(steps=20, wall_s=30.0 if mode == "slow" else 300.0)
    tasks = ["localization", "mitigation"]
    hostile, good = ran(tmp_path, f"cmd:{sys.executable} {path}", limits=limits, tasks=tasks)
    outcome, termination = ENDS[mode]
    ended = hostile.trial()
    assert ended.termination == termination
    assert outcome is None or ended.outcome == outcome
    assert ended.outcome != "infra_error"
    assert next(step.tool for step in hostile.steps()) == "alerts"
    assert hostile.grade() is not None
    kept = (hostile.path / "agent" / "stdout.txt").read_bytes()
    assert kept.startswith(b"working on localization")
    assert len(kept) < 2**21
    _unharmed(good.trial())


def _unharmed(trial: Trial) -> None:
    assert trial.termination == "submitted"
    assert trial.outcome in ("passed", "failed")
