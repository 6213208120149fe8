"""The real kubectl against the API over TLS: exit codes and the shape of what it prints."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from api_served import hotel
from battery import TOPICS, Command, Who

from aiopslab.environments.sim import Sim
from aiopslab.wire.certificate import self_signed
from aiopslab.wire.gate import StandingGate
from aiopslab.wire.identity import Identity, Tokens, administrator, on_call
from aiopslab.wire.kubernetes.app import kubernetes_app, status_refusal
from aiopslab.wire.kubernetes.kubeconfig import kubeconfig
from aiopslab.wire.server import listening
from aiopslab.wire.site import Mount, Site

DOCUMENT = Path(__file__).parents[2] / "docs" / "kubernetes.md"
KUBECTL = shutil.which("kubectl")
OLDEST = (1, 31)
FACTOR = 50.0
"""Virtual seconds a second: rollouts end soon, ages stay plausible."""
COMMANDS = [command for commands in TOPICS.values() for command in commands]
IDENTITIES: dict[Who, Identity] = {
    "admin": administrator(),
    "oncall": on_call("oncall", "mitigation", "hotel"),
    "viewer": on_call("viewer", "diagnosis", "hotel"),
}


def reason_to_skip() -> str:
    """Return why kubectl cannot be used; empty if it can."""
    if KUBECTL is None:
        return "kubectl is not installed"
    found = subprocess.run(
        [KUBECTL, "version", "--client", "-o", "json"], capture_output=True, text=True, check=True
    )
    text = json.loads(found.stdout)["clientVersion"]["gitVersion"]
    version = tuple(int(n) for n in re.findall(r"\d+", text)[:2])
    return "" if version >= OLDEST else f"kubectl {text} is older than 1.31"


class Lab:
    """A hotel served over TLS by a thread of its own, and kubectl with a home of its own."""

    def __init__(self, sim: Sim, home: Path) -> None:
        self.home = home
        self._sim = sim
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Lab:
        self._thread.start()
        assert self._ready.wait(30.0), "the server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        certificate, tokens = self_signed("127.0.0.1"), Tokens()
        gate = StandingGate(self._sim, FACTOR)
        app = kubernetes_app(self._sim.world, gate, env=self._sim)
        site = Site([Mount("", app, status_refusal)], tokens)
        async with listening(site, tls=certificate.files(self.home)) as port:
            for who, identity in IDENTITIES.items():
                text = kubeconfig(
                    f"https://127.0.0.1:{port}",
                    tokens.issue(identity),
                    certificate.certificate.decode(),
                    "hotel",
                )
                (self.home / f"{who}.kubeconfig").write_text(text)
            pacing = asyncio.create_task(gate.pace())
            self._ready.set()
            await self._over.wait()
            gate.close()
            pacing.cancel()
            await asyncio.wait({pacing})
        await self._sim.aclose()

    def run(self, command: Command) -> subprocess.CompletedProcess[str]:
        environment = {
            "HOME": str(self.home),
            "KUBECONFIG": str(self.home / f"{command.who}.kubeconfig"),
            "PATH": os.environ["PATH"],
            "KUBE_EDITOR": "true",
            "NO_PROXY": "*",
        }
        return subprocess.run(
            [KUBECTL or "kubectl", *shlex.split(command.line)],
            input=command.stdin, capture_output=True, text=True, env=environment, timeout=90,
            check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[subprocess.CompletedProcess[str]]:
    """What became of every command; they run once, in their order, whatever tests are chosen."""
    reason = reason_to_skip()
    if reason:
        pytest.skip(reason)
    with Lab(hotel(seconds=60.0), tmp_path_factory.mktemp("kubectl")) as lab:
        return [lab.run(command) for command in COMMANDS]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("index", range(len(COMMANDS)), ids=lambda i: f"{i}-{COMMANDS[i].line}")
def test_kubectl_is_answered_as_by_a_real_server(
    answers: list[subprocess.CompletedProcess[str]], index: int
) -> None:
    command, done = COMMANDS[index], answers[index]
    said = f"exit {done.returncode}\n{done.stdout[-2500:]}\n{done.stderr[-2500:]}"
    assert done.returncode == command.code, said
    lines = done.stdout.splitlines()
    if command.head:
        assert re.sub(r"\s+", " ", lines[0]).strip() == command.head, said
    if command.lines is not None:
        assert len(lines) == command.lines, said
    for pattern in command.out:
        assert re.search(pattern, done.stdout, re.MULTILINE), f"no {pattern!r}\n{said}"
    for pattern in command.err:
        assert re.search(pattern, done.stderr, re.MULTILINE), f"no {pattern!r}\n{said}"
    for path, wanted in command.json.items():
        found = at(json.loads(done.stdout), path)
        assert isinstance(found, wanted) if isinstance(wanted, type) else found == wanted, said


def at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value[int(step)] if step.isdigit() else value[step]
    return value


def test_the_battery_is_as_large_as_promised() -> None:
    assert len(COMMANDS) >= 100


def test_the_documentation_lists_exactly_these_commands() -> None:
    text = DOCUMENT.read_text()
    for topic, commands in TOPICS.items():
        section = text.partition(f"### {topic}\n")[2].partition("```\n")[2].partition("```")[0]
        assert section.splitlines() == [shown(c) for c in commands], topic


def shown(command: Command) -> str:
    """Return a command as the documentation lists it."""
    who = "" if command.who == "admin" else f"    # as {command.who}"
    return f"kubectl {command.line}{who}"
