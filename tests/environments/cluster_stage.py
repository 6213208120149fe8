"""A served world as the cluster of a trial: the lab's own things stand beside it.

The API server is the simulated one behind real HTTPS, with its controllers, kubelets and stores.
What it lacks is answered here: the observer; commands in containers that are processes of this
machine (partners, and stores where real ones are wanted); ports of pods.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from cluster_served import Cluster
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from valkey import Valkey
from valkey.exceptions import AuthenticationError, ResponseError

from aiopslab.environments.cluster.errands import LabPlace
from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.substrate import DISTURBANCE, ClusterSubstrate
from aiopslab.environments.sim import Sim
from aiopslab.models.kube import ExecResult, Object
from aiopslab.models.network import Links
from aiopslab.models.signal import Change, StatusPost
from aiopslab.services.real import sealed
from aiopslab.wire.board import Board
from aiopslab.wire.gate import Call
from aiopslab.world.container import Container

LAB = LabPlace("lab-x7k2p", "x7k2p", "aiopslab-lab:0", "a-token")
_PROXY = f"/api/v1/namespaces/{LAB.namespace}/services/observer:9090/proxy/e/{LAB.token}"
_EXEC = re.compile(r"/api/v1/namespaces/([^/]+)/pods/([^/]+)/exec")
_MONITOR = re.compile(r"/api/v1/namespaces/[^/]+/pods/([^/]+)-0:8222/proxy/jsz")

_PATIENT_S = 120.0
"""A busy machine serves both ends."""

Command = Callable[[Sequence[str], str], ExecResult]
"""Runs a command of a container on this machine."""


@dataclass
class Beside:
    """What stands beside the simulated cluster."""

    app: str
    home: Path
    changes: list[Change] = field(default_factory=list)
    posts: list[StatusPost] = field(default_factory=list)
    board: Board = field(default_factory=Board)
    commands: dict[str, Command] = field(default_factory=dict)
    """By the name of a pod."""
    ports: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Where the port of a pod leads."""
    monitors: dict[str, str] = field(default_factory=dict)
    """URL of the monitoring pages of a queue."""
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def links(self) -> Links:
        """Return what the app's processes are told."""
        return sealed.unseal(self.app, self.board._text)

    def local(self, argv: Sequence[str], stdin: str, **env: str) -> ExecResult:
        """Run a command here, with what lies in ``/run/partner`` in a folder of its own."""
        words = [word.replace(DISTURBANCE, str(self.home / "disturbance.json")) for word in argv]
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env={"PATH": os.environ["PATH"], **env}, start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        out, err = process.communicate(stdin, timeout=120.0)
        return ExecResult(out, err, process.returncode)

    def end(self) -> None:
        """End what commands left running: each had a session of its own."""
        for process in self.started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @asynccontextmanager
    async def dial(self, pod: str, _port: int) -> AsyncIterator[tuple[str, int]]:
        yield self.ports[pod]

    # -- the API server's front -------------------------------------------------------------------

    def around(self, api: Any, _tokens: Any) -> Any:
        """Answer what is not of the simulated cluster."""
        observer = Starlette(
            routes=[
                self.board.put(),
                Route("/changes", self._change, methods=["POST"]),
                Route("/posts", self._post, methods=["POST"]),
            ]
        )

        async def app(scope: Any, receive: Any, send: Any) -> None:
            path = scope.get("path", "")
            if scope["type"] == "http" and path.startswith(_PROXY):
                inner = dict(scope) | {"path": path.removeprefix(_PROXY), "root_path": ""}
                await observer(inner, receive, send)
            elif (found := _EXEC.fullmatch(path)) and found[2] in self.commands:
                await self._exec(found[2], scope, receive, send)
            elif (page := _MONITOR.fullmatch(path)) and page[1] in self.monitors:
                body = await asyncio.to_thread(_get, f"{self.monitors[page[1]]}/jsz")
                await Response(body, media_type="application/json")(scope, receive, send)
            else:
                await api(scope, receive, send)

        return app

    async def _change(self, request: Request) -> Response:
        self.changes.append(Change.model_validate(await request.json()))
        return JSONResponse({})

    async def _post(self, request: Request) -> Response:
        self.posts.append(StatusPost.model_validate(await request.json()))
        return JSONResponse({})

    async def _exec(self, pod: str, scope: Any, receive: Any, send: Any) -> None:
        query = parse_qsl(scope["query_string"].decode())
        argv = [value for key, value in query if key == "command"]
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "v5.channel.k8s.io"})
        stdin = b""
        while dict(query).get("stdin") == "true":
            frame = (await receive())["bytes"]
            if frame[0] == 255:
                break
            stdin += frame[1:]
        done = await asyncio.to_thread(self.commands[pod], argv, stdin.decode())
        cause = {"reason": "ExitCode", "message": str(done.code)}
        status: Object = {"status": "Success"}
        if done.code:
            status = {"status": "Failure", "reason": "NonZeroExitCode",
                      "details": {"causes": [cause]}}  # fmt: skip
        for channel, text in ((1, done.stdout), (2, done.stderr), (3, json.dumps(status))):
            if text:
                await send({"type": "websocket.send", "bytes": bytes([channel]) + text.encode()})
        await send({"type": "websocket.close", "code": 1000})


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10.0) as answer:
        body: bytes = answer.read()
    return body


def client_of_postgres(beside: Beside, binaries: Path, address: tuple[str, int], password: str
                       ) -> Command:  # fmt: skip
    """Return what runs commands of a database's container here, with the real client.

    Args:
        beside: Ends what they leave.
        binaries: Where ``psql`` is.
        address: Where the real server listens.
        password: Of its superuser, who needs none in the container.
    """
    host, port = address

    def run(argv: Sequence[str], stdin: str) -> ExecResult:
        words = list(argv)
        if words[0] == "psql":
            words[0] = str(binaries / "psql")
            # The address of the simulated pod is nobody's here.
            words = [re.sub(r"host=\S+ port=\S+", f"host={host} port={port}", w) for w in words]
        path = f"{binaries}:{os.environ['PATH']}"
        return beside.local(words, stdin, PGHOST=host, PGPORT=str(port), PGPASSWORD=password,
                            PATH=path, LC_ALL="C")  # fmt: skip

    return run


def client_of_valkey(address: tuple[str, int]) -> Command:
    """Return what stands for ``valkey-cli``, which no wheel has: the same words over RESP."""

    def run(argv: Sequence[str], _stdin: str) -> ExecResult:
        words, password = list(argv[1:]), ""
        while words[0].startswith("-"):
            flag = words.pop(0)
            value = words.pop(0) if flag in ("-p", "-a") else ""
            password = value if flag == "-a" else password
        host, port = address
        try:
            with Valkey(host, port, password=password or None, lib_name=None) as client:
                return ExecResult(_plain(client.execute_command(*words)) + "\n", "", 0)
        except AuthenticationError as error:
            return ExecResult(f"NOAUTH {error}\n", "", 0)
        except ResponseError as error:
            return ExecResult(f"ERR {error}\n", "", 0)

    return run


def _plain(answer: Any) -> str:
    """Return an answer as the client prints it where there is no terminal."""
    if isinstance(answer, dict):
        return "\n".join(_plain(part) for pair in answer.items() for part in pair)
    if isinstance(answer, list):
        return "\n".join(map(_plain, answer))
    if isinstance(answer, bytes):
        return answer.decode()
    return "OK" if answer is True else str(answer)


class LabImage:
    """What the lab's image does in the simulated cluster: a tool's sessions are the world's own."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim

    def accepts(self, _command: Sequence[str]) -> bool:
        return True

    async def run(self, box: Container) -> int:
        words = list(box.command)
        if "sessions" not in words:
            await box.terminating.wait()
            return 0
        given = dict(zip(words[4::2], words[5::2], strict=False))
        store = given["--host"].partition(".")[0]
        tool = {
            "application": given["--application"], "user": given["--user"],
            "password": given["--password"], "address": "198.18.250.61",
        }  # fmt: skip
        substrate = self._sim.substrate
        await substrate.tool(store, sessions=int(given["--count"]), **tool)
        await box.terminating.wait()
        await substrate.tool(store, sessions=0, **tool)
        return 0

    async def exec(self, _box: Container, _argv: Sequence[str], _stdin: str) -> None:
        return None


class GatedTraffic:
    """The world's users, told what to do while its time stands still."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def scale(self, factor: float, *, journey: str | None = None) -> None:
        async with self._cluster.gate.turn(Call("test")):
            await self._cluster.sim.traffic.scale(factor, journey=journey)


class Stage:
    """An Environment on the served world, as far as faults ask for one."""

    def __init__(self, cluster: Cluster, beside: Beside) -> None:
        self.app = cluster.sim.app
        self.namespace = self.app.namespace
        self.kube: ClusterKube = cluster.kube(timeout_s=_PATIENT_S)
        self.traffic: Any = GatedTraffic(cluster)
        self.substrate = ClusterSubstrate(self.kube, self.app, LAB, beside.dial, cluster.sim.now)
        self._cluster = cluster
        self._sim = cluster.sim

    def now(self) -> float:
        return self._sim.now()

    async def advance(self, seconds: float) -> None:
        due = self.now() + seconds
        while self.now() < due:
            await self._cluster.gate.moved()

    async def data_digest(self) -> dict[str, int]:
        async with self._cluster.gate.turn(Call("test")):
            return await self._sim.data_digest()

    def rested(self) -> None:
        """Forget idle connections: a server that stood still meanwhile hangs up on them."""
        self.kube.connection._pools.clear()

    async def begin(self) -> None:
        """Make the lab's namespace, and what stands for partners there."""
        self._sim.world.registry.add(LAB.image, lambda: LabImage(self._sim))
        quiet = self.kube.unrecorded()
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LAB.namespace}}
        await quiet.create(space, actor="lab")
        for partner in self.app.externals:
            container = {"name": "partner", "image": LAB.image, "command": ["python"]}
            labels = {"app.kubernetes.io/name": f"partner-{partner}"}
            meta = {"name": f"partner-{partner}", "namespace": LAB.namespace, "labels": labels}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta,
                   "spec": {"containers": [container]}}  # fmt: skip
            await quiet.create(pod, actor="lab")
        await self.substrate.open()


def partners(beside: Beside, stage: Stage) -> None:
    """Let commands in partners' containers run here."""
    for partner in stage.app.externals:
        beside.commands[f"partner-{partner}"] = beside.local
