"""What the doctor finds on a host: programs, the engine, disk, memory, the kernel's limits."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aiopslab.environments import host_checks
from aiopslab.environments.host_checks import GIB, Finding, checks

pytest.importorskip("docker", reason="the Docker SDK is not installed")


@pytest.fixture
def proc(tmp_path: Path) -> Callable[..., Path]:
    """Make what the kernel tells."""

    def make(memory: int = 8 * GIB, watches: int = 524288, instances: int = 512) -> Path:
        limits = tmp_path / "proc/sys/fs/inotify"
        limits.mkdir(parents=True, exist_ok=True)
        (limits / "max_user_watches").write_text(f"{watches}\n")
        (limits / "max_user_instances").write_text(f"{instances}\n")
        (tmp_path / "proc/meminfo").write_text(f"MemAvailable:  {memory // 1024} kB\n")
        return tmp_path / "proc"

    return make


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install programs that only print something."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))

    def install(name: str, text: str) -> None:
        (place / name).write_text(f"#!/bin/sh\n{text}\n")
        (place / name).chmod(0o755)

    return install


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Serve what a Docker engine answers; the dict can be changed."""
    info = {"ServerVersion": "28.1.0", "DockerRootDir": "/", "MemTotal": 16 * GIB}

    class Engine(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers = {"/_ping": "OK", "/version": {"ApiVersion": "1.44"}, "/info": info}
            found = next(v for k, v in answers.items() if self.path.endswith(k))
            body = found.encode() if isinstance(found, str) else json.dumps(found).encode()
            self.send_response(200)
            self.send_header("api-version", "1.44")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("NO_PROXY", "*")
        yield info
        server.shutdown()
        thread.join()


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what.split()[0]: finding for finding in findings}


def test_a_host_with_everything_is_fit(
    proc: Callable[..., Path], programs: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    programs("kind", "echo kind v0.30.0 go1.24.6 linux/amd64")
    programs("kubectl", "echo Client Version: v1.34.1")
    monkeypatch.setattr(host_checks, "DISK", 1)
    found = by_name(checks(proc()))
    assert {name for name, finding in found.items() if not finding.ok} == set()
    assert found["Docker"].detail == "engine 28.1.0"
    assert found["kind"].detail == "v0.30.0"
    assert {finding.needed_for for finding in found.values()} == {"-e kind"}


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "not installed"),
        ("echo kind v0.17.0 go1.19", "v0.17.0"),
        ("echo words", "says no version"),
        ("exit 3", "does not run"),
    ],
)
def test_a_program_that_is_missing_or_old_or_broken_is_to_be_installed(
    proc: Callable[..., Path], programs: Callable[[str, str], None], text: str, detail: str
) -> None:
    if text:
        programs("kind", text)
    found = by_name(checks(proc()))["kind"]
    assert not found.ok
    assert detail in found.detail
    assert found.fix == "go install sigs.k8s.io/kind@latest"


def test_limits_of_the_kernel_that_are_too_low_are_to_be_raised(
    proc: Callable[..., Path],
) -> None:
    found = by_name(checks(proc(watches=8192)))["inotify"]
    assert not found.ok
    assert found.fix == "sudo sysctl fs.inotify.max_user_watches=524288"
    both = by_name(checks(proc(watches=8192, instances=128)))["inotify"]
    assert both.fix.endswith("fs.inotify.max_user_instances=512")


def test_the_memory_is_what_host_and_engine_both_have(
    proc: Callable[..., Path], engine: dict[str, Any]
) -> None:
    assert by_name(checks(proc(memory=8 * GIB)))["memory"].detail == "8.0 GiB"
    assert not by_name(checks(proc(memory=2 * GIB)))["memory"].ok
    engine["MemTotal"] = 3 * GIB
    low = by_name(checks(proc(memory=8 * GIB)))["memory"]
    assert (low.ok, low.detail) == (False, "3.0 GiB")


def test_another_kernel_has_no_such_limits(tmp_path: Path) -> None:
    found = by_name(checks(tmp_path / "nowhere"))
    assert (found["inotify"].ok, found["inotify"].detail) == (True, "not a Linux host")


def test_an_engine_that_does_not_answer_is_to_be_started(
    proc: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    found = by_name(checks(proc()))["Docker"]
    assert not found.ok
    assert found.detail.startswith("no engine answers")
    assert "systemctl start docker" in found.fix


def test_an_engine_that_is_not_installed_is_looked_for_where_it_would_be(
    proc: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    found = by_name(checks(proc()))["Docker"]
    assert (found.ok, found.detail) == (
        False,
        f"there is no engine at unix://{tmp_path}/docker.sock",
    )


def test_a_disk_that_is_full_is_to_be_pruned(
    proc: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_checks, "DISK", 1 << 60)
    found = by_name(checks(proc()))["disk"]
    assert (found.ok, found.fix) == (False, "docker system prune")
