"""The container sandbox, with the real Docker SDK against a small engine on a unix socket.

No container runs here: what is tested is what the engine is asked for, and that nothing is left.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from doors_engine import GATEWAY, IMAGE, Engine, engine
from doors_fakes import Trial, served

from aiopslab.agents import load
from aiopslab.agents.command import CommandAgent, CommandLine
from aiopslab.agents.spec import Surroundings
from aiopslab.errors import AgentError, InfraError, PreflightError

BOXED = Surroundings(sandbox="docker", image=IMAGE, env=("MODE=fast",))


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    with engine(tmp_path) as (host, state):
        monkeypatch.setenv("DOCKER_HOST", host)
        yield state


def play(code: str, tmp_path: Path, trial: Trial, *, until: threading.Event | None = None) -> None:
    """Let a program work in its container, to its end or until something has happened."""
    (tmp_path / "agent.py").write_text(code, encoding="utf-8")

    async def main() -> None:
        async with served(trial, tmp_path):
            line = CommandLine(f"{sys.executable} {tmp_path}/agent.py {{answer_file}}")
            running = asyncio.create_task(CommandAgent(line, surroundings=BOXED).run(trial))
            if until is not None:
                await asyncio.to_thread(until.wait, 30)
                running.cancel()
            await running

    asyncio.run(main())


LEAVES = """
import json, os, sys
print("to standard output", os.environ["MODE"])
print("to standard error", file=sys.stderr)
json.dump({"anomaly": True, "confidence": 0.9}, open(sys.argv[1], "w"))
"""


def test_a_program_runs_in_a_container_that_reaches_its_trial_and_nothing_else(
    tmp_path: Path, running: Engine
) -> None:
    trial = Trial()
    play(LEAVES, tmp_path, trial)
    assert trial.answer == {"anomaly": True, "confidence": 0.9}
    assert trial.kept["stdout.txt"] == b"to standard output fast\n"
    assert trial.kept["stderr.txt"] == b"to standard error\n"
    assert trial.opened_at == [GATEWAY]
    network, container = running.created
    assert network["Internal"] is True
    host = container["HostConfig"]
    assert host["NetworkMode"] == network["Name"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["PidsLimit"] == 512
    assert host["Memory"] == host["MemorySwap"] == 4 * 2**30
    assert 10**9 <= host["NanoCpus"] <= 2 * 10**9
    assert host["LogConfig"]["Config"]["max-size"] == "16m"
    assert host["Init"] is True
    assert [bind.partition(":")[2] for bind in host["Binds"]] == ["/work:rw"]
    assert not host.get("Privileged")
    assert container["User"] != "0:0"
    assert container["WorkingDir"] == "/work"
    environment = dict(item.split("=", 1) for item in container["Env"])
    assert environment["HOME"] == "/work"
    assert environment["KUBECONFIG"] == "/work/kubeconfig"
    assert "PATH" not in environment
    assert set(environment) - set(os.environ) >= {"AIOPSLAB_URL", "MODE"}


def test_nothing_is_left_when_the_trial_is_cut_off(tmp_path: Path, running: Engine) -> None:
    with pytest.raises(asyncio.CancelledError):
        play("import time\ntime.sleep(600)\n", tmp_path, Trial(), until=running.started)
    assert running.processes
    assert running.containers == running.networks == {}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit(3)", "exit status 3"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "killed by signal 11"),
        ("pass", "without an answer: exit status 0"),
    ],
)
def test_a_program_that_fails_in_its_container_is_the_agents_failure(
    tmp_path: Path, running: Engine, code: str, said: str
) -> None:
    with pytest.raises(AgentError, match=said):
        play(code, tmp_path, Trial())
    assert running.containers == running.networks == {}


def test_running_out_of_memory_is_said(tmp_path: Path, running: Engine) -> None:
    running.oom = True
    with pytest.raises(AgentError, match="out of memory"):
        play("raise SystemExit(137)", tmp_path, Trial())


@pytest.mark.parametrize("step", ["/networks/create", "/containers/create", "/start", "/logs"])
def test_an_engine_that_refuses_is_the_labs_failure_and_leaves_nothing(
    tmp_path: Path, running: Engine, step: str
) -> None:
    running.fail = step
    with pytest.raises(InfraError, match="the disk is full"):
        play(LEAVES, tmp_path, Trial())
    assert running.containers == running.networks == {}


def test_a_folder_is_seen_read_only(tmp_path: Path, running: Engine) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "agent.yaml").write_text(
        'schema: aiopslab/agent@1\nname: mine\nentry: "cmd:echo {folder}"\n', encoding="utf-8"
    )
    trial = Trial()

    async def main() -> None:
        async with served(trial, tmp_path):
            await load(str(folder)).build({}, None, BOXED).run(trial)

    with pytest.raises(AgentError, match="exit status 0"):
        asyncio.run(main())
    assert running.created[1]["HostConfig"]["Binds"][1] == f"{folder}:/agent:ro"
    assert trial.kept["stdout.txt"] == b"/agent\n"


def test_preflight_says_what_is_missing_and_what_to_do(running: Engine) -> None:
    loader = load("cmd:a-program-of-the-image")
    loader.preflight({}, None, BOXED)
    with pytest.raises(PreflightError, match="there is no image 'other:2'") as caught:
        loader.preflight({}, None, Surroundings(sandbox="docker", image="other:2"))
    assert "docker pull other:2" in caught.value.hint
    with pytest.raises(PreflightError, match="needs an image"):
        loader.preflight({}, None, Surroundings(sandbox="docker"))


def test_an_engine_that_does_not_answer_is_named_before_anything_boots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    with warnings.catch_warnings():
        # The SDK drops the socket that it could not connect.
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(PreflightError, match="no container engine answers") as caught:
            load("cmd:x").preflight({}, None, BOXED)
        assert "DOCKER_HOST" in caught.value.hint
        del caught
        gc.collect()
