"""``view``: where it listens, what it says, how it ends, and mistakes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def viewed(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command; gives it and the address that it printed."""
    command = [sys.executable, "-m", "aiopslab", "view", *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def got(address: str) -> str:
    with urllib.request.urlopen(address) as answer:
        text: str = answer.read().decode()
        return text


def test_it_serves_a_folder_on_loopback_until_it_is_told_to_end(tmp_path: Path) -> None:
    (tmp_path / "100%").mkdir()
    with viewed(tmp_path, "--port", "0") as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert "100%" in got(address)
        with pytest.raises(urllib.error.HTTPError) as refused:
            got(f"{address}runs/100%25/")
        # Decoded once: the folder is found, and is no run.
        assert "not a run" in refused.value.read().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
        assert process.stderr is not None
        assert process.stderr.read() == "Ctrl-C stops it\n"


def test_a_folder_that_is_not_there_is_a_mistake_of_use(aiopslab) -> None:
    done = aiopslab("view", "nowhere")
    assert done.code == 2
    assert "there is no folder 'nowhere'" in done.err


def test_a_port_that_is_taken_is_said_with_what_to_type(aiopslab, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = aiopslab("view", str(tmp_path), "--port", str(port))
    assert done.code == 2
    assert f"cannot listen on port {port}" in done.err
    assert "--port 0" in done.err


def test_a_run_by_its_own_directory_is_shown_alone(tmp_path: Path) -> None:
    from aiopslab.cli.view_command import _listing

    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}", encoding="utf-8")
    assert [entry.name for entry in _listing(tmp_path / "one").entries()] == ["one"]
    assert len(_listing(tmp_path).entries()) == 2
