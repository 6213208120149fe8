"""``pods/X/exec``: a command in a container, over WebSocket channels.

The command runs in the world through the kubelet, in a turn of its own; what it is fed is collected
before, without one. A plain shell is served line by line, each line a command. An identity without
rights to write may only run commands that look. Not here: the commands (``world.images``).
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketDisconnect

from aiopslab.environments.commands import command_effect
from aiopslab.errors import LimitExceeded
from aiopslab.models.kube import ExecResult, KubeError
from aiopslab.wire.kubernetes.cluster import (
    Cluster,
    call_of,
    cluster_of,
    identity_of,
    may_write,
    refusable,
)
from aiopslab.wire.kubernetes.pods import authorize, choose_container, flag
from aiopslab.wire.kubernetes.status import failure, refusal, status_refusal
from aiopslab.wire.kubernetes.streams.channels import (
    STDERR,
    STDIN,
    STDOUT,
    V4,
    V5,
    Channels,
    exit_status,
    internal_error,
    negotiate,
    refuse,
)
from aiopslab.wire.kubernetes.streams.terminal import InputTooLong, Lines
from aiopslab.world.images.shell_input import is_plain_shell, waits_for_input

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

PATIENCE_S = 120.0
"""Virtual seconds a command may take."""
_MISSING = "executable file not found in $PATH\n"
_ONLY_LOOK = (
    "may only run commands that look (env, cat, ls, ps, df, curl, nslookup, psql -c 'SELECT ...')"
)
_NO_TERMINAL = (
    "{name} has no interactive mode here: give it a statement as an argument, or a script on its "
    "standard input without a terminal (-i, not -it)"
)


@dataclass(frozen=True, slots=True)
class ExecOptions:
    """The path and query of the request (core/v1 ``PodExecOptions``)."""

    namespace: str
    pod: str
    container: str
    command: tuple[str, ...]
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


async def exec(socket: WebSocket) -> None:
    """Serve ``/api/v1/namespaces/{namespace}/pods/{name}/exec`` to a WebSocket."""
    cluster = cluster_of(socket.scope)
    try:
        options = read_options(socket)
        protocol = negotiate(socket.scope["subprotocols"], (V5, V4))
    except KubeError as error:
        await refuse(socket, error)
        return
    await socket.accept(protocol)
    with contextlib.suppress(WebSocketDisconnect):
        await _Session(cluster, socket, options).run()


async def exec_refused(request: Request) -> Response:
    """Answer a request for exec that is no WebSocket: the fall-back of kubectl to SPDY.

    It comes after a refusal, so it is given the same one; without a reason it is an old client.
    """
    try:
        read_options(request)
    except KubeError as error:
        return refusal(error)
    return status_refusal(400, "unable to upgrade: WebSocket is needed; use kubectl 1.31 or later")


def read_options(request: HTTPConnection) -> ExecOptions:
    """Read and check a request. It looks at one object, which is never changed in place.

    Raises:
        KubeError: 400, 403 or 404.
    """
    query, cluster = request.query_params, cluster_of(request.scope)
    namespace, name = request.path_params["namespace"], request.path_params["name"]
    who = identity_of(request.scope)
    authorize(who, "create", "exec", name, namespace)
    pod = cluster.world.api.get("Pod", name, namespace)
    command = tuple(query.getlist("command"))
    options = ExecOptions(
        namespace=namespace,
        pod=name,
        container=choose_container(pod, query.get("container")),
        command=command,
        stdin=flag(query, "stdin"),
        stdout=flag(query, "stdout"),
        stderr=flag(query, "stderr"),
        tty=flag(query, "tty"),
    )
    if not any(command):
        raise KubeError(
            400, "BadRequest", "you must specify at least one command for the container"
        )
    if not (options.stdin or options.stdout or options.stderr):
        raise KubeError(400, "BadRequest", "you must specify at least 1 of stdin, stdout, stderr")
    fed = options.stdin and waits_for_input(command)
    if fed and options.tty and command[0].rpartition("/")[2] in ("psql", "valkey-cli"):
        raise KubeError(400, "BadRequest", _NO_TERMINAL.format(name=command[0]))
    if not fed and not may_write(who, namespace) and command_effect(command) == "write":
        raise _forbidden(who.user, name)
    return options


def _forbidden(user: str, pod: str) -> KubeError:
    text = f'pods "{pod}" is forbidden: User "{user}" {_ONLY_LOOK}'
    return KubeError(403, "Forbidden", text, {"name": pod, "kind": "pods"})


class _Session:
    """One accepted stream."""

    def __init__(self, cluster: Cluster, socket: WebSocket, options: ExecOptions) -> None:
        self._cluster = cluster
        self._socket = socket
        self._options = options
        self._channels = Channels(socket, cluster.gate.closing)
        self._who = identity_of(socket.scope)

    async def run(self) -> None:
        """Serve it to its end."""
        options = self._options
        try:
            if options.stdin and is_plain_shell(options.command):
                code = await self._shell()
            else:
                text = await self._input() if options.stdin else ""
                result = await self._turn(options.command, text)
                if result.code == 127 and result.stderr.endswith(_MISSING):
                    await self._channels.finish(self._not_started(result.stderr.rstrip("\n")))
                    return
                await self._print(result)
                code = result.code
        except KubeError as error:
            await self._channels.finish(
                failure(error) if error.code != 400 else internal_error(error.message)
            )
        except InputTooLong as error:
            await self._channels.finish(internal_error(str(error)))
        except LimitExceeded as error:
            await self._channels.finish(failure(KubeError(429, "TooManyRequests", str(error))))
        else:
            await self._channels.finish(exit_status(code))

    async def _turn(self, command: tuple[str, ...], stdin: str) -> ExecResult:
        """Run one command while the world is ours.

        Raises:
            KubeError: 403, or the kubelet cannot run it.
            LimitExceeded: A budget of the trial is used up.
        """
        options, effect = self._options, command_effect(command, stdin)
        if effect == "write" and not may_write(self._who, options.namespace):
            raise _forbidden(self._who.user, options.pod)
        more = {"command": list(command), **({"stdin": stdin[:4000]} if stdin else {})}
        call = call_of(self._socket, effect, **more)
        async with refusable(self._cluster.gate, call) as turn:
            result = await self._cluster.env.kube.exec(
                options.pod, options.namespace, command, container=options.container,
                stdin=stdin, timeout_s=PATIENCE_S,
            )  # fmt: skip
            turn.saw((result.stdout + result.stderr)[:4000], ok=result.code == 0)
        return result

    async def _print(self, result: ExecResult) -> None:
        """Send what a command printed, where the client listens."""
        if self._options.tty:
            text = (result.stdout + result.stderr).replace("\n", "\r\n")
            await self._channels.send(STDOUT, text.encode())
            return
        if self._options.stdout:
            await self._channels.send(STDOUT, result.stdout.encode())
        if self._options.stderr:
            await self._channels.send(STDERR, result.stderr.encode())

    async def _input(self) -> str:
        """Collect what the command is fed; nothing if it does not read any."""
        if not waits_for_input(self._options.command):
            return ""
        lines, text = Lines(tty=self._options.tty), ""
        while (frame := await self._channels.receive()) is not None:
            channel, data = frame
            if channel != STDIN:
                continue
            if not data:
                break
            typed = lines.feed(data)
            text += "".join(f"{line}\n" for line in typed.lines)
            await self._channels.send(STDOUT, typed.echo.encode())
            if typed.ended:
                break
        return text + lines.rest()

    async def _shell(self) -> int:
        """Run line after line; return the code of the last, or that of ``exit``."""
        options, code = self._options, 0
        lines = Lines(tty=options.tty)
        name = options.command[0].rpartition("/")[2]
        prompt = f"root@{options.pod}:/# " if name == "bash" else "# "
        shown = prompt.encode() if options.tty else b""
        await self._channels.send(STDOUT, shown)
        while (frame := await self._channels.receive()) is not None:
            channel, data = frame
            if channel != STDIN:
                continue
            typed = lines.feed(data)
            await self._channels.send(STDOUT, typed.echo.encode())
            for line in typed.lines if data else (lines.rest(),):
                words = line.split()
                if words[:1] == ["exit"]:
                    given = "".join(words[1:2])
                    return int(given) & 255 if given.isdecimal() and len(given) < 20 else code
                if words:
                    code = await self._line(name, line)
                await self._channels.send(STDOUT, shown)
            if not data or typed.ended:
                return code
        return code

    async def _line(self, shell: str, line: str) -> int:
        """Run one line of a shell; what is refused is the shell's to say."""
        try:
            result = await self._turn((shell, "-c", line), "")
        except KubeError as error:
            if error.code != 403:
                raise
            result = ExecResult("", f"{shell}: {error.message}\n", 126)
        await self._print(result)
        return result.code

    def _not_started(self, problem: str) -> dict[str, object]:
        """Word a command that the image does not have, as the container runtime does."""
        o = self._options
        now = self._cluster.world.loop.time()
        seed = f"{o.namespace}/{o.pod}/{o.container}/{now!r}/{o.command!r}"
        id = hashlib.sha256(seed.encode()).hexdigest()
        return internal_error(
            f"error executing command in container: failed to exec in container: failed to start "
            f'exec "{id}": OCI runtime exec failed: exec failed: unable to start container '
            f"process: {problem}: unknown"
        )
