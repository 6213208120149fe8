"""The load generator as a process: it says what is wrong with its plan, and ends when told to."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from aiopslab.load.__main__ import main
from aiopslab.load.plan import LoadPlan
from aiopslab.models.journey import Journey, JourneyStep, Slo

PLAN = LoadPlan(
    seed=1,
    entries={"web": "http://127.0.0.1:9"},
    journeys={"s": Journey(entry="web", rate=1.0, steps=[JourneyStep(request="GET /s")])},
    slos={"s": Slo(success=0.99, p95_ms=100.0)},
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"seed": 1, "extra": 2}'])
def test_a_plan_that_is_none_is_refused(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    assert main(["users", str(path)]) == 2
    assert "is no plan of a load" in capsys.readouterr().err


def test_a_plan_says_the_same_after_it_was_written() -> None:
    text = PLAN.model_dump_json(by_alias=True, exclude_none=True)
    assert LoadPlan.model_validate_json(text) == PLAN


def test_the_program_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    path, port = tmp_path / "plan.json", free_port()
    path.write_text(PLAN.model_dump_json(by_alias=True))

    def health() -> dict[str, object]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5.0) as answer:
            found: dict[str, object] = json.load(answer)
            return found

    async def scenario() -> tuple[dict[str, object], int]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "aiopslab.load", "users", str(path), "--bind", "127.0.0.1",
            "--port", str(port),
        )  # fmt: skip
        try:
            async with asyncio.timeout(60.0):
                while True:
                    try:
                        state = await asyncio.to_thread(health)
                        break
                    except (urllib.error.URLError, ConnectionError):
                        await asyncio.sleep(0.05)
                process.send_signal(signal.SIGTERM)
                return state, await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    state, code = asyncio.run(scenario())
    assert code == 0
    assert state["running"] is False
