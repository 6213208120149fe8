"""A container: one process of one image in its cgroup, from start to exit.

It gives a ``Program`` (what the image does) CPU, memory, files, a network address, standard output
and signals, and takes it down the way the kernel does: on exit, on SIGKILL, when memory runs out.
A restart is a new ``Container``; the pod's address and volumes go on.

Not here: when to start, probe, stop or restart one (kubelet), what images do (``world.images``).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from aiopslab.models.kube import ExecResult
from aiopslab.seeds import Streams
from aiopslab.telemetry.instruments import Registry
from aiopslab.telemetry.store import Store
from aiopslab.world.disk import Volume
from aiopslab.world.netns import Netns
from aiopslab.world.node import Node
from aiopslab.world.process import Process

T = TypeVar("T")

LOG_LINES = 2000
"""Lines kept of a container's output; the kubelet rotates, too."""
KILLED = 137
"""Exit code of a process ended by SIGKILL (128 + 9)."""
PAUSED = (
    "error: Internal error occurred: error executing command in container: failed to exec in "
    "container: OCI runtime exec failed: exec failed: cannot exec in a paused container: unknown\n"
)
"""What who enters a suspended container is told."""
NOT_FOUND = 127
"""Exit code of a shell that does not find a command."""


class ProgramExit(Exception):
    """Ends the process with a code, from any of its tasks."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended; times in unix seconds."""

    code: int
    reason: Literal["Completed", "Error", "OOMKilled"]
    started_at: float
    finished_at: float


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """The pod a container belongs to."""

    name: str
    namespace: str
    uid: str
    ip: str
    labels: Mapping[str, str]
    component: str
    """Service or store of the app; what telemetry calls the service."""
    node_name: str = ""


@dataclass(slots=True)
class ContainerSpec:
    """What a container is started with. CPU in cores, memory in bytes; None is no limit."""

    name: str
    image_ref: str
    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    """Mounted files: path to text. The kubelet updates them in place."""
    command: Sequence[str] = ()
    """Replaces the image's entry point if not empty."""
    args: Sequence[str] = ()
    volumes: dict[str, Volume] = field(default_factory=dict)
    """Mount path to volume."""
    cpu_request: float = 0.0
    cpu_limit: float | None = None
    memory_request: int = 0
    memory_limit: int | None = None


class Program(Protocol):
    """What an image runs."""

    async def run(self, box: Container) -> int:
        """Be the main process; returns its exit code."""
        ...

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None:
        """Run a command the image has; None if it has no such command."""
        ...


Shell = Callable[["Container", Sequence[str], str], Awaitable[ExecResult]]
"""Runs a command that the program does not know."""


class Container:
    """One run of an image.

    Args:
        spec: What it is started with.
        pod: Whose it is.
        node: The machine: CPU and memory are taken from it.
        netns: The pod's address.
        streams: The world's streams; the container has its own family below.
        store: Where its output goes.
        shell: Runs the commands of ``exec`` that the program leaves.
    """

    def __init__(
        self, spec: ContainerSpec, pod: PodIdentity, *, node: Node, netns: Netns, streams: Streams,
        store: Store, shell: Shell | None = None,
    ) -> None:  # fmt: skip
        self.spec = spec
        self.pod = pod
        self.node = node
        self.loop = netns.network.loop
        self.store = store
        self.started_at = self.loop.time()
        # The time sets the lives of a container apart: ids drawn in one must not come again.
        self.streams = streams.scope(
            "container", pod.namespace, pod.name, spec.name, repr(self.started_at)
        )
        self.cpu = node.cpu.group(
            f"{pod.name}/{spec.name}", request=spec.cpu_request, limit=spec.cpu_limit
        )
        self.burn = self.cpu.burn
        """``await box.burn(seconds)`` uses CPU seconds."""
        self.memory = node.memory.group(request=spec.memory_request, limit=spec.memory_limit)
        self.memory.on_oom = self._out_of_memory
        self._process = Process(self.loop, self._failed)
        self.netns = netns.join(self._process)
        self.metrics = Registry()
        self.terminating = asyncio.Event()
        """Set by SIGTERM."""
        self.exit: Exit | None = None
        """How it ended; None while it lives."""
        self.program: Program | None = None
        """What runs as the main process; None before the start."""
        self._signalled = False  # a SIGTERM that a suspended process has not seen
        self._shell = shell
        self._gone = asyncio.Event()
        self._lines: deque[tuple[int, float, str]] = deque(maxlen=LOG_LINES)
        self._written = 0

    # -- what it was started with -----------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name within the pod."""
        return self.spec.name

    @property
    def image_ref(self) -> str:
        """``name:tag``."""
        return self.spec.image_ref

    @property
    def env(self) -> dict[str, str]:
        """Environment."""
        return self.spec.env

    @property
    def files(self) -> dict[str, str]:
        """Mounted files, path to text."""
        return self.spec.files

    @property
    def command(self) -> Sequence[str]:
        """Entry point override."""
        return self.spec.command

    @property
    def args(self) -> Sequence[str]:
        """Arguments."""
        return self.spec.args

    @property
    def volumes(self) -> dict[str, Volume]:
        """Mount path to volume."""
        return self.spec.volumes

    # -- for the program --------------------------------------------------------------------------

    def spawn(self, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something beside the main task; it ends with the process."""
        return self._process.spawn(coro)

    def log(
        self, line: str, *, severity: str = "INFO", trace_id: int = 0, span_id: int = 0
    ) -> None:
        """Write a line to standard output; severity is how log collection classifies it."""
        if self.exit is not None:
            return
        now = self.loop.time()
        pod = self.pod
        self._written += 1
        self._lines.append((self._written, now, line))
        self.store.log(
            now, pod.component, pod.namespace, pod.name, self.spec.name, severity, line,
            trace_id, span_id,
        )  # fmt: skip

    # -- for the kubelet --------------------------------------------------------------------------

    def start(self, program: Program) -> None:
        """Start the main process."""
        self.program = program
        self.started_at = self.loop.time()
        self._process.spawn(self._main(program))

    async def wait(self) -> Exit:
        """Return how it ended, once it has."""
        while self.exit is None:
            await self._gone.wait()
        return self.exit

    async def exec(self, argv: Sequence[str], stdin: str = "") -> ExecResult:
        """Run a command in the container, as ``kubectl exec`` does.

        The command dies with the container: exit code 137.
        """
        if self.exit is not None:
            return ExecResult("", "error: container is not running\n", 1)
        if self.suspended:
            return ExecResult("", PAUSED, 1)
        words = [_unicode(word) for word in argv]
        task = self._process.spawn(self._exec(words, _unicode(stdin)))
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
        if task.cancelled() or isinstance(task.exception(), ProgramExit):
            return ExecResult("", "", KILLED)
        return task.result()

    def terminate(self) -> None:
        """Send SIGTERM; a suspended process gets it when it goes on."""
        self._signalled = True
        if not self.suspended:
            self.terminating.set()

    @property
    def suspended(self) -> bool:
        """Whether no thread of it runs."""
        return self._process.awake is not None

    def suspend(self, suspended: bool) -> None:
        """Stop every thread, as the cgroup freezer does, or let them go on.

        The kernel lives on: its ports accept connections and take what is sent. A coroutine
        between two steps may take the next one that needs neither CPU nor network.
        """
        if suspended == self.suspended or self.exit is not None:
            return
        self.cpu.freeze(suspended)
        awake, self._process.awake = self._process.awake, asyncio.Event() if suspended else None
        if awake is not None:
            awake.set()
            if self._signalled:
                self.terminating.set()

    def kill(self) -> None:
        """Send SIGKILL: the process is gone when this returns."""
        self._end(KILLED, "Error")

    def log_lines(
        self, tail: int | None = None, since: float | None = None
    ) -> list[tuple[float, str]]:
        """Return (time, line) of the output, oldest first.

        Args:
            tail: At most so many, the latest.
            since: Unix seconds; none before.
        """
        lines = [(t, line) for _, t, line in self._lines if since is None or t >= since]
        if tail is None:
            return lines
        return lines[max(0, len(lines) - tail) :]

    @property
    def lines_written(self) -> int:
        """How many lines it has written: where one who follows the output begins."""
        return self._written

    def log_after(self, number: int) -> tuple[list[tuple[float, str]], int]:
        """Return the (time, line) written after the line of a number, and the latest number.

        May be called while the world runs in another thread: it looks at one copy.
        """
        newer = [entry for entry in tuple(self._lines) if entry[0] > number]
        return [(t, line) for _, t, line in newer], newer[-1][0] if newer else number

    # -- life -------------------------------------------------------------------------------------

    async def _main(self, program: Program) -> None:
        code = await program.run(self)
        self._end(code, "Completed" if code == 0 else "Error")

    async def _exec(self, argv: Sequence[str], stdin: str) -> ExecResult:
        result = None if self.program is None else await self.program.exec(self, argv, stdin)
        if result is None and self._shell is not None:
            result = await self._shell(self, argv, stdin)
        if result is None:
            message = f'exec: "{argv[0]}": executable file not found in $PATH\n'
            result = ExecResult("", message, NOT_FOUND)
        return result

    def _failed(self, error: BaseException) -> None:
        """A task of the process ended with an exception."""
        if isinstance(error, ProgramExit):
            self._end(error.code, "Error" if error.code else "Completed")
        else:
            # Programs know how they crash; an exception that escapes one is a defect of ours.
            self.loop.fail(error)

    def _out_of_memory(self) -> None:
        self._end(KILLED, "OOMKilled")

    def _end(self, code: int, reason: Literal["Completed", "Error", "OOMKilled"]) -> None:
        if self.exit is not None:
            return
        self.exit = Exit(code, reason, self.started_at, self.loop.time())
        self._process.end()
        self.netns.leave()
        self.cpu.close()
        self.memory.close()
        self._gone.set()


def _unicode(text: str) -> str:
    """Return a text as a process could be given it: half a surrogate pair becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
