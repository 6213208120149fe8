"""The real kubectl against the API over TLS: exit codes and the shape of what it prints."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from api_served import hotel
from battery import TOPICS, Command
from streams_lab import Ran, reason_to_skip, served

from aiopslab.wire.identity import Identity, on_call

DOCUMENT = Path(__file__).parents[2] / "docs" / "kubernetes.md"
COMMANDS = [command for commands in TOPICS.values() for command in commands]
OTHERS: dict[str, Identity] = {
    "oncall": on_call("oncall", "mitigation", "hotel"),
    "viewer": on_call("viewer", "diagnosis", "hotel"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[Ran]:
    """What became of every command; they run once, in their order, whatever tests are chosen."""
    reason = reason_to_skip()
    if reason:
        pytest.skip(reason)
    sim, home = hotel(seconds=60.0), tmp_path_factory.mktemp("kubectl")

    async def play() -> list[Ran]:
        async with served(sim, home, others=OTHERS) as lab:
            found = [
                await lab.kubectl(*shlex.split(c.line), stdin=c.stdin, who=c.who) for c in COMMANDS
            ]
        await sim.aclose()
        return found

    return asyncio.run(play())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("index", range(len(COMMANDS)), ids=lambda i: f"{i}-{COMMANDS[i].line}")
def test_kubectl_is_answered_as_by_a_real_server(answers: list[Ran], index: int) -> None:
    command, done = COMMANDS[index], answers[index]
    said = f"exit {done.code}\n{done.out[-2500:]}\n{done.err[-2500:]}"
    assert done.code == command.code, said
    lines = done.out.splitlines()
    if command.head:
        assert re.sub(r"\s+", " ", lines[0]).strip() == command.head, said
    if command.lines is not None:
        assert len(lines) == command.lines, said
    for pattern in command.out:
        assert re.search(pattern, done.out, re.MULTILINE), f"no {pattern!r}\n{said}"
    for pattern in command.err:
        assert re.search(pattern, done.err, re.MULTILINE), f"no {pattern!r}\n{said}"
    for path, wanted in command.json.items():
        found = at(json.loads(done.out), path)
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
    who = f"    # as {command.who}" if command.who else ""
    return f"kubectl {command.line}{who}"
