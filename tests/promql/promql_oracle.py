"""A real Prometheus on a free loopback port, for as long as a test module needs it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_CONFIG = "global: {evaluation_interval: 30s}\n"
_LISTENING = re.compile(r'msg="Listening on" address=(\S+)')
_READY = "Server is ready to receive web requests"


@dataclass(frozen=True, slots=True)
class Oracle:
    """The HTTP API of the server."""

    url: str
    version: str

    def get(self, path: str, **form: str) -> Any:
        """Post a form and return ``data``; an error of the query raises ``OracleError``."""
        body = urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", body)
        try:
            with urllib.request.urlopen(request, timeout=100) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise OracleError(json.load(error)["error"]) from error


class OracleError(Exception):
    """The server refused the query."""


@contextlib.contextmanager
def prometheus(folder: Path, body: bytes) -> Iterator[Oracle]:
    """Run a server that holds the samples of a remote-write body; skip where there is none."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus on PATH; Debian's package 'prometheus' has it")
    (folder / "prometheus.yml").write_text(_CONFIG, encoding="utf-8")
    process = subprocess.Popen(
        [binary, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
         "--web.listen-address=127.0.0.1:0", "--web.enable-remote-write-receiver"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    log: list[str] = []
    try:
        assert process.stderr is not None
        address = ""
        for line in process.stderr:
            log.append(line)
            if found := _LISTENING.search(line):
                address = found[1]
            if _READY in line and address:
                break
        else:
            pytest.fail(f"prometheus ended:\n{''.join(log)}")
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
                   "X-Prometheus-Remote-Write-Version": "0.1.0"}  # fmt: skip
        write = urllib.request.Request(f"http://{address}/api/v1/write", body, headers)
        with urllib.request.urlopen(write, timeout=100):
            pass
        with urllib.request.urlopen(f"http://{address}/api/v1/status/buildinfo") as reply:
            version = json.load(reply)["data"]["version"]
        yield Oracle(f"http://{address}", version)
    except urllib.error.HTTPError as error:
        pytest.fail(f"{error}: {error.read()!r}\n{''.join(log)}")
    finally:
        process.terminate()
        process.communicate(timeout=100)
