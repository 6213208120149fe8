"""Apps and services as processes of their own: what is started, what ends, what is left."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from real_hosts import CONTENT, LOOPBACK, client, reserved
from waiting import until

from aiopslab.errors import InfraError, UsageError
from aiopslab.models.app import App
from aiopslab.services import __main__ as command
from aiopslab.services.catalogue import load_app
from aiopslab.services.flags import DIRECTORY
from aiopslab.services.protocols import Request
from aiopslab.services.real.addresses import AddressBook
from aiopslab.services.real.launch import Role, role_of_pod
from aiopslab.services.real.local import LocalApp

QUOTE = Request("GET", "/quote", {"item": "cup"}, client="tester")
PATIENCE_S = 60.0


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setenv("AIOPSLAB_CONTENT", str(CONTENT))
    return load_app("relay")


@contextmanager
def started(*arguments: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command; kill it if the test leaves it running."""
    process = subprocess.Popen(
        [sys.executable, "-m", "aiopslab.services", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | env,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


FRONT = {"MIDDLE_ADDR": "middle:8080", "VAULT_ADDR": "vault:8080", "SHUTDOWN_DELAY_MS": "0"}
"""Settings of the service ``front``."""


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


async def status(port: int, request: Request = QUOTE) -> int:
    async with client(port) as http:
        return (await http.send(request, timeout_s=20)).status


def lines_until(process: subprocess.Popen[str], words: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"ended without {words!r}: {''.join(lines)}")


def test_an_app_comes_up_serves_and_leaves_nothing(app: App) -> None:
    async def scenario() -> tuple[Path, list[int]]:
        async with LocalApp(app) as local:
            front = local.services["front"]
            assert await status(front.port) == 200
            assert await status(front.port, Request("POST", "/seal", {"item": "pen"})) == 200
            assert "sealed pen" in local.services["vault"].tail()
            flag = local.root("front") / DIRECTORY.lstrip("/") / "fast"
            assert flag.read_text("utf-8") == "false"
            return local.folder, [each.process.pid for each in local.services.values()]

    folder, pids = asyncio.run(scenario())
    assert not folder.exists()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_partners_come_up_with_the_app_and_misbehave_as_they_are_told(app: App) -> None:
    async def ask_until(port: int, holds: Callable[[int], bool]) -> None:
        """Ask until the answer, or what it led to, is right: a partner looks when it is asked."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds(await status(port, Request("GET", "/rate"))):
                pass

    async def scenario() -> None:
        async with LocalApp(app) as local:
            port, partner = local.services["middle"].port, local.partners["exchange"]
            assert await status(port, Request("GET", "/rate")) == 200
            local.disturbance("exchange").write_text('{"error_rate": 1.0}', "utf-8")
            await ask_until(port, lambda status: status == 503)
            local.disturbance("exchange").write_text("no JSON", "utf-8")
            await ask_until(port, lambda _: "Invalid JSON" in partner.tail())
            assert await status(port, Request("GET", "/rate")) == 503
            local.disturbance("exchange").unlink()
            await ask_until(port, lambda status: status == 200)

    asyncio.run(scenario())


def test_a_partner_the_address_book_knows_is_not_started(app: App) -> None:
    async def scenario() -> None:
        with closing(reserved()) as nobody:
            known = AddressBook({("api.exchangely.example", 443): nobody.getsockname()})
            async with LocalApp(app, known=known) as local:
                assert local.partners == {}
                assert await status(local.services["front"].port, Request("GET", "/rate")) == 503
                assert "connection refused" in local.services["middle"].tail().lower()

    asyncio.run(scenario())


def test_a_service_that_cannot_start_is_named_with_its_last_words(app: App, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with LocalApp(app, folder=tmp_path, env={"LOG_LEVEL": "loud"}):
            raise AssertionError("it came up")

    with pytest.raises(InfraError, match="ended with code 1") as caught:
        asyncio.run(scenario())
    assert "one of debug, info, warn, error" in str(caught.value)


def test_up_says_where_services_are_and_ends_with_ctrl_c(app: App, tmp_path: Path) -> None:
    with started("up", "relay", "--dir", str(tmp_path)) as up:
        lines = lines_until(up, "Ctrl-C ends all")
        places = dict(line.split() for line in lines[:-1])
        assert set(places) == {"exchange", "front", "middle", "vault"}
        assert places["vault"].startswith("https://127.0.0.1:")
        ports = [int(place.rpartition(":")[2]) for place in places.values()]
        assert asyncio.run(status(ports[0])) == 200
        up.send_signal(signal.SIGINT)
        assert up.wait(PATIENCE_S) == 0
    assert not any(map(listens, ports))
    assert "shutdown complete" in (tmp_path / "front.log").read_text("utf-8")


def test_services_do_not_outlive_who_started_them(app: App, tmp_path: Path) -> None:
    with started("up", "relay", "--dir", str(tmp_path)) as up:
        lines_until(up, "Ctrl-C ends all")
        ports = [p for _, p in AddressBook.read(tmp_path / "addresses").entries.values()]
        assert all(map(listens, ports))
        up.kill()
        up.wait(PATIENCE_S)
        asyncio.run(until(lambda: not any(map(listens, ports))))


def test_a_service_that_ends_by_itself_is_noticed(app: App, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with LocalApp(app, folder=tmp_path) as local:
            ended = asyncio.create_task(local.ended())
            local.services["middle"].process.kill()
            assert (await ended).name == "middle"

    asyncio.run(scenario())


def test_sigterm_lets_requests_finish_and_the_process_end_well(app: App) -> None:
    with closing(reserved()) as held:
        port = held.getsockname()[1]
    arguments = ["serve", "relay", "front", "--port", str(port), "--bind", LOOPBACK]
    with started(*arguments, **FRONT) as process:
        lines_until(process, "front is listening")

        async def scenario() -> None:
            async with client(port) as http:
                slow = asyncio.create_task(http.send(Request("GET", "/slow"), timeout_s=20))
                await until(lambda: http.stats().used)
                assert await status(port, Request("GET", "/healthz")) == 200
                process.send_signal(signal.SIGTERM)
                assert (await slow).status == 200

        asyncio.run(scenario())
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout is not None
        assert "shutdown complete" in process.stdout.read()


def test_a_job_ends_with_the_programs_exit_code(app: App, tmp_path: Path) -> None:
    with closing(reserved()) as nobody:
        book = AddressBook({("middle", 8080): nobody.getsockname()})
        book.write(tmp_path / "addresses")
        arguments = ["job", "relay", "tidy", "--addresses", str(tmp_path / "addresses")]
        with started(*arguments, **FRONT) as process:
            out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "tidy" in out


def test_a_missing_setting_ends_the_process_with_code_1(app: App) -> None:
    with started("serve", "relay", "front", "--port", "0") as process:
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "MIDDLE_ADDR" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "relai", "front"], "did you mean 'relay'?"),
        (["serve", "relay", "frnt"], "did you mean 'front'?"),
        (["serve", "relay", "front", "--version", "9"], "unknown version '9'"),
        (["job", "relay", "tiny"], "did you mean 'tidy'?"),
        (["job", "a", "b", "c"], "type: job [APP] JOB"),
        (["serve"], "name one, or set AIOPSLAB_APP"),
        (["serve", "relay"], "name one, or set AIOPSLAB_SERVICE"),
        (["partner", "relay", "exchanges"], "did you mean 'exchange'?"),
        (["up", "relay", "--addresses", "/nowhere"], "cannot be read"),
    ],
)
def test_a_mistake_is_told_in_a_line_and_a_hint(
    app: App, arguments: Sequence[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 2
    assert words in capsys.readouterr().err


def test_an_image_says_what_a_container_leaves_out(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Role] = []

    async def serve(role: Role, *_: object, **__: object) -> int:
        seen.append(role)
        return 0

    monkeypatch.setattr(command, "serve", serve)
    monkeypatch.setenv("AIOPSLAB_APP", "relay")
    monkeypatch.setenv("AIOPSLAB_SERVICE", "front")
    monkeypatch.setenv("AIOPSLAB_VERSION", "1.1.0")
    assert command.main(["serve"]) == 0
    assert command.main(["job", "tidy"]) == 0
    assert [(r.service, r.version, r.job) for r in seen] == [
        ("front", "1.1.0", ""),
        ("front", "1.1.0", "tidy"),
    ]


def test_a_pod_of_a_shared_image_is_the_service_it_is_named_after(app: App) -> None:
    twin = app.services["front"].model_copy(update={"summary": "the other one"})
    shared = app.model_copy(update={"services": {**app.services, "front-b": twin}})
    assert role_of_pod(shared, "front", "front-b-6c9d8f-x2x4z") == "front-b"
    assert role_of_pod(shared, "front", "front-6c9d8f-x2x4z") == "front"
    assert role_of_pod(shared, "front", "middle-6c9d8f-x2x4z") == "front"
    assert role_of_pod(shared, "front", "laptop") == "front"
    with pytest.raises(UsageError, match="unknown service 'nobody'"):
        Role.of(shared, "nobody")
