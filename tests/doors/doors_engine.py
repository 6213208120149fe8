"""A small Docker Engine API on a unix socket: containers are processes of this machine.

As much as the sandbox asks of an engine, in the engine's own forms, so that the real SDK talks to
it. It keeps what it was asked for; it isolates nothing. The workplace's path inside the container
is replaced by the one outside.
"""

from __future__ import annotations

import json
import os
import re
import socketserver
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

GATEWAY = "127.0.0.2"
"""Another address of this machine than the one doors are on anyway."""
IMAGE = "agent:1"
_INSIDE = re.compile(r"^/work(?=$|/(?:brief\.md|mcp\.json|answer\.json|kubeconfig)$)")
"""The workplace's own paths as a container sees them."""


@dataclass
class Engine:
    """What the engine knows, and what it was asked for."""

    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the requests that made containers and networks."""
    fail: str = ""
    """Requests whose path holds this are answered with status 500."""
    oom: bool = False
    started: threading.Event = field(default_factory=threading.Event)
    """Set when the first container runs."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: Engine

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""

    def address_string(self) -> str:
        return "local"

    def _served(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null") if length else None
        url = urlsplit(self.path)
        path = re.sub(r"^/v\d+\.\d+", "", url.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if self.engine.fail and self.engine.fail in path:
            return self._answer(500, {"message": "the disk is full"})
        for method, pattern, handler in _ROUTES:
            if method == self.command and (match := re.fullmatch(pattern, path)):
                return handler(self, *match.groups(), query=query, body=body)
        return self._answer(404, {"message": f"page not found: {self.command} {path}"})

    do_GET = do_POST = do_DELETE = do_HEAD = _served

    def _answer(self, status: int, content: Any = None) -> None:
        data = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Api-Version", "1.47")
        self.end_headers()
        self.wfile.write(data)

    def version(self, **_: Any) -> None:
        self._answer(200, {"ApiVersion": "1.47", "MinAPIVersion": "1.24", "Version": "27.3"})

    def ping(self, **_: Any) -> None:
        self._answer(200, "OK")

    def image(self, name: str, **_: Any) -> None:
        if name != IMAGE:
            return self._answer(404, {"message": f"No such image: {name}"})
        return self._answer(200, {"Id": "sha256:1", "RepoTags": [name]})

    def make_network(self, body: dict[str, Any], **_: Any) -> None:
        self.engine.created.append(body)
        id = f"n{len(self.engine.networks)}"
        ipam = {"Driver": "default", "Config": [{"Subnet": "127.0.0.0/8", "Gateway": GATEWAY}]}
        self.engine.networks[id] = {**body, "Id": id, "IPAM": ipam}
        self._answer(201, {"Id": id})

    def network(self, id: str, **_: Any) -> None:
        self._answer(200, self.engine.networks[id])

    def list_networks(self, query: dict[str, str], **_: Any) -> None:
        self._answer(200, [n for n in self.engine.networks.values() if _labelled(n, query)])

    def drop_network(self, id: str, **_: Any) -> None:
        name = self.engine.networks[id]["Name"]
        if any(c["HostConfig"]["NetworkMode"] == name for c in self.engine.containers.values()):
            return self._answer(403, {"message": "network has active endpoints"})
        del self.engine.networks[id]
        return self._answer(204)

    def make_container(self, body: dict[str, Any], **_: Any) -> None:
        self.engine.created.append(body)
        id = f"c{len(self.engine.created)}"
        state = {"Status": "created", "ExitCode": 0, "OOMKilled": False, "Error": ""}
        config = {"Config": {"Tty": False}}
        self.engine.containers[id] = {**body, **config, "Id": id, "State": state, "Name": f"/{id}"}
        self._answer(201, {"Id": id, "Warnings": []})

    def container(self, id: str, **_: Any) -> None:
        found, process = self.engine.containers[id], self.engine.processes.get(id)
        code = None if process is None else process.poll()
        if code is not None:
            status = code if code >= 0 else 128 - code
            found["State"] |= {"Status": "exited", "ExitCode": status}
            found["State"]["OOMKilled"] = self.engine.oom
        self._answer(200, found)

    def list_containers(self, query: dict[str, str], **_: Any) -> None:
        self._answer(200, [c for c in self.engine.containers.values() if _labelled(c, query)])

    def start(self, id: str, **_: Any) -> None:
        body = self.engine.containers[id]
        outside = body["HostConfig"]["Binds"][0].partition(":")[0]
        argv = [*body["Entrypoint"], *body["Cmd"]]
        environment = dict(item.split("=", 1) for item in body["Env"])
        self.engine.processes[id] = subprocess.Popen(
            [_INSIDE.sub(outside, word) for word in argv],
            env={"PATH": os.environ["PATH"]}
            | {key: _INSIDE.sub(outside, value) for key, value in environment.items()},
            cwd=outside,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        body["State"]["Status"] = "running"
        self.engine.started.set()
        self._answer(204)

    def logs(self, id: str, query: dict[str, str], **_: Any) -> None:
        """Follow one stream, in frames: its number, three zeros, length, data."""
        process = self.engine.processes[id]
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.docker.multiplexed-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        out = query["stdout"] == "1"
        pipe: Any = process.stdout if out else process.stderr
        while data := pipe.read1(65536):
            self.wfile.write(struct.pack(">BxxxL", 1 if out else 2, len(data)) + data)

    def drop_container(self, id: str, **_: Any) -> None:
        process = self.engine.processes.get(id)
        if process is not None:
            process.kill()
            process.wait()
        del self.engine.containers[id]
        self._answer(204)


def _labelled(thing: dict[str, Any], query: dict[str, str]) -> bool:
    wanted = json.loads(query.get("filters", "{}")).get("label", [])
    return all(f"{k}={v}" in wanted for k, v in thing["Labels"].items()) or not wanted


_ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/version", _Handler.version),
    ("GET", "/_ping", _Handler.ping),
    ("GET", "/images/(.+)/json", _Handler.image),
    ("POST", "/networks/create", _Handler.make_network),
    ("GET", "/networks/?", _Handler.list_networks),
    ("GET", "/networks/([^/]+)", _Handler.network),
    ("DELETE", "/networks/([^/]+)", _Handler.drop_network),
    ("POST", "/containers/create", _Handler.make_container),
    ("GET", "/containers/json", _Handler.list_containers),
    ("GET", "/containers/([^/]+)/json", _Handler.container),
    ("GET", "/containers/([^/]+)/logs", _Handler.logs),
    ("POST", "/containers/([^/]+)/start", _Handler.start),
    ("DELETE", "/containers/([^/]+)", _Handler.drop_container),
]


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is not news."""


@contextmanager
def engine(directory: Path) -> Iterator[tuple[str, Engine]]:
    """Serve an engine; yields the value of ``DOCKER_HOST`` and the engine."""
    state = Engine()
    handler = type("Handler", (_Handler,), {"engine": state})
    path = directory / "engine.sock"
    with _Server(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"unix://{path}", state
        finally:
            server.shutdown()
            thread.join()
            for process in state.processes.values():
                process.kill()
                process.wait()
                for pipe in (process.stdout, process.stderr):
                    if pipe is not None:
                        pipe.close()
