"""The servers that these tests start end with the session, however it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stores import nats_binary, postgres_binaries, run, valkey_binary
from waiting import until

TESTS = Path(__file__).parents[1]
SESSION = """
import json, signal, sys
sys.path.insert(0, sys.argv[1])
import stores
started = [stores.start_postgres(), stores.start_valkey(), stores.start_nats()]
print(json.dumps([[s.process.pid, str(s.home)] for s in started]), flush=True)
signal.pause()
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_servers_end_with_the_process_that_started_them(how: signal.Signals) -> None:
    for binary in (postgres_binaries, valkey_binary, nats_binary):
        binary()  # skips where there is none
    with subprocess.Popen(
        [sys.executable, "-c", SESSION, str(TESTS)], stdout=subprocess.PIPE, text=True
    ) as session:
        assert session.stdout is not None
        started = json.loads(session.stdout.readline())
        assert all(alive(pid) for pid, _ in started)
        session.send_signal(how)
    run(until(lambda: not any(alive(pid) for pid, _ in started)))
    for _, home in started:
        shutil.rmtree(home, ignore_errors=True)


def alive(pid: int) -> bool:
    """Say whether a process runs; one that ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"
