"""``aiopslab up`` as its user starts it: addresses, APIs, rights, crowds, and no trace after."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KEYS = {
    "kubeconfig", "prometheus", "loki", "jaeger", "tempo", "alertmanager", "otlp", "token_file",
}  # fmt: skip
CROWD = 10_000
FILES = 1024
"""Files a lab may open: what most machines allow, and far fewer than a crowd has connections."""


@dataclass
class Standing:
    """A lab in a process of its own."""

    process: subprocess.Popen[str]
    doors: dict[str, str]
    started: float
    """When it was not there yet, and"""
    opened: float
    """when its doors were open, by the host's clock."""

    @property
    def token(self) -> str:
        return Path(self.doors["token_file"]).read_text(encoding="utf-8")

    def get(self, door: str, path: str, **options: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return httpx2.get(self.doors[door] + path, headers=headers, timeout=60, **options)


def host_time() -> float:
    """Return the host's clock in seconds, as anybody on it reads it."""
    shown = subprocess.run(["date", "-u", "+%s.%N"], capture_output=True, text=True, check=True)
    return float(shown.stdout)


def up(*arguments: str) -> Standing:
    main = f"""
import resource
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, most))
from aiopslab.cli import main
main()
"""
    command = [sys.executable, "-c", main, "up", *arguments]
    started = host_time()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        assert process.stderr is not None
        pytest.fail(process.stderr.read())
    return Standing(process, json.loads(line), started, host_time())


def end(lab: Standing, how: signal.Signals = signal.SIGINT) -> str:
    lab.process.send_signal(how)
    try:
        _, said = lab.process.communicate(timeout=300)
    finally:
        # Whatever a test finds out, it leaves no process to the next one.
        lab.process.kill()
        lab.process.wait()
    return said


@pytest.fixture(scope="module")
def lab() -> Iterator[Standing]:
    standing = up("hotel", "--json")
    yield standing
    end(standing)


def test_the_json_line_names_every_door(lab: Standing) -> None:
    assert set(lab.doors) >= KEYS
    assert lab.doors["schema"] == "aiopslab/doors@1"
    assert lab.token not in json.dumps(lab.doors)


@pytest.mark.parametrize("file", ["kubeconfig", "token_file"])
def test_files_with_the_token_are_their_owners_alone(lab: Standing, file: str) -> None:
    path = Path(lab.doors[file])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("door", "path"),
    [
        ("prometheus", "/api/v1/query?query=sum(up)"),
        ("prometheus", "/-/healthy"),
        ("loki", "/loki/api/v1/labels"),
        ("jaeger", "/api/services"),
        ("tempo", "/api/echo"),
        ("alertmanager", "/api/v2/alerts"),
    ],
)
def test_every_door_opens_with_the_token_only(lab: Standing, door: str, path: str) -> None:
    assert lab.get(door, path).status_code == 200
    forged = lab.get(door, path, headers={"Authorization": "Bearer " + "x" * 43})
    assert forged.status_code == 401
    assert httpx2.get(lab.doors[door] + path, timeout=60).status_code == 401


def test_the_clock_of_the_cluster_shows_the_hosts_time(lab: Standing) -> None:
    """It may fall behind afterwards, or be ahead by what a second start would take less."""
    found = lab.get("prometheus", "/api/v1/query?query=time()").json()["data"]["result"]
    date = lab.get("prometheus", "/-/healthy").headers["date"]
    latest = host_time() + (lab.opened - lab.started)
    assert lab.started <= float(found[1]) <= latest
    assert int(lab.started) <= parsedate_to_datetime(date).timestamp() <= latest


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/label/..%2f..%2fetc%2fpasswd/values",
        "/api/v1/query?query=" + "(" * 5000,
        "/api/v1/query?query=%00%ff",
        "/api/v1/query_range?query=up&start=0&end=1e18&step=1e-9",
        "/api/v1/query?query=up&limit=99999999999999999999",
    ],
)
def test_hostile_requests_get_a_clear_error(lab: Standing, path: str) -> None:
    answer = lab.get("prometheus", path)
    assert answer.status_code in (200, 400, 404, 422)
    assert "root:" not in answer.text
    assert "Traceback" not in answer.text
    assert lab.get("prometheus", "/-/healthy").status_code == 200


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kubectl_works_with_the_kubeconfig_alone(lab: Standing) -> None:
    command = ["kubectl", "--kubeconfig", lab.doors["kubeconfig"], "get", "pods"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert re.match(r"NAME +READY +STATUS +RESTARTS +AGE\n", done.stdout)


def test_ten_thousand_requests_at_once_all_get_an_answer(lab: Standing) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CROWD + 500:
        pytest.skip(f"this machine allows {hard} open files, the crowd needs {CROWD}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CROWD + 500), hard))
    answers = asyncio.run(_crowd(lab))
    codes = [code for code, _ in answers]
    assert len(answers) == CROWD
    assert set(codes) <= {200, 503}
    assert codes.count(200) > 0
    assert all(json.loads(body)["status"] in ("success", "error") for _, body in answers)
    assert lab.get("prometheus", "/api/v1/query?query=up").status_code == 200


async def _crowd(lab: Standing) -> list[tuple[int, bytes]]:
    url = httpx2.URL(lab.doors["prometheus"])
    request = (
        f"GET {url.path}/api/v1/query?query=up HTTP/1.1\r\nHost: {url.host}:{url.port}\r\n"
        f"Authorization: Bearer {lab.token}\r\nConnection: close\r\n\r\n"
    ).encode()

    async def ask() -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(request)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return int(head.split()[1]), body

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(ask()) for _ in range(CROWD)]
    return [task.result() for task in asked]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_nothing_behind(how: signal.Signals) -> None:
    lab = up("hotel", "--json")
    watching = subprocess.Popen(
        ["kubectl", "--kubeconfig", lab.doors["kubeconfig"], "get", "pods", "-w"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) if shutil.which("kubectl") else None  # fmt: skip
    home = Path(lab.doors["token_file"]).parent
    said = end(lab, how)
    assert lab.process.returncode == 0, said
    assert "Traceback" not in said
    assert not home.exists()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(lab.doors["prometheus"])
    if watching is not None:
        watching.wait(timeout=300)


def test_two_labs_do_not_know_each_others_tokens(lab: Standing) -> None:
    other = up("service-target-port", "--json", "--seed", "3")
    try:
        theirs = {"Authorization": f"Bearer {other.token}"}
        answer = httpx2.get(
            lab.doors["prometheus"] + "/api/v1/query?query=up", headers=theirs, timeout=60
        )
        assert answer.status_code == 401
        # Pending alerts count too: how long the break has lasted depends on how fast this host is.
        alerts = other.get("prometheus", "/api/v1/alerts").json()["data"]["alerts"]
        assert alerts
        told = json.dumps([alerts, other.get("alertmanager", "/api/v2/alerts").json()])
        assert not re.search(r"inject|chaos|simulat|service-target-port", told)
    finally:
        end(other)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hotle"], "there is no app or incident 'hotle'"),
        (["hotel", "--clock", "stepped"], "follows the host's clock"),
        (["hotel", "--clock", "fast"], "'fast' is not a clock"),
    ],
)
def test_wrong_input_is_answered_in_one_line(arguments: list[str], words: str) -> None:
    command = [sys.executable, "-c", "from aiopslab.cli import main; main()", "up", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"}
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
