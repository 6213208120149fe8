"""An agent's program as a process of this machine: started on a leash, heard within bounds.

No shell, no standard input, an environment of its own. What it prints is kept up to a bound, the
rest is read and dropped, so that a program that floods neither fills the disk nor stops. Not here:
what the program is told (``workplace``), containers (``sandbox``), the leash itself (``leash``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

KEPT_BYTES = 2**20
"""Bytes kept of standard output, and as many of standard error: half head, half tail."""
PROCESSES = 512
"""Processes a program may have at once."""
FAREWELL_S = 30.0
"""Seconds the leash has to kill what it holds."""
_LEASH = Path(__file__).with_name("leash.py")
_CHUNK = 65536


class Captured:
    """What was printed: the beginning and the end, and how much lay between.

    Args:
        limit: Bytes to keep.
    """

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._room = limit // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.total = 0

    def add(self, data: bytes) -> None:
        """Take what was just printed."""
        self.total += len(data)
        free = self._room - len(self._head)
        self._head += data[:free]
        if rest := data[free:]:
            self._tail.append(rest)
            self._tail_bytes += len(rest)
        while self._tail and self._tail_bytes - len(self._tail[0]) >= self._room:
            self._tail_bytes -= len(self._tail.popleft())

    def content(self, secrets: Sequence[str] = ()) -> bytes:
        """Return what is kept, without secrets; says how much was left out."""
        # The longest first: one may be the beginning of another, whose rest would stay.
        hidden = sorted((s.encode() for s in secrets if len(s) >= _SECRET), key=len, reverse=True)
        head, tail = bytes(self._head), b"".join(self._tail)[-self._room :]
        cut = self.total - len(head) - len(tail)
        if cut:
            # A secret may lie across the cut: what could be a part of one goes too.
            edge = max((len(s) for s in hidden), default=1) - 1
            head, tail = head[: len(head) - edge], tail[edge:]
            parts = [head, b"\n[... %d bytes left out ...]\n" % (cut + 2 * edge), tail]
        else:
            parts = [head + tail]
        for secret in hidden:
            parts = [part.replace(secret, b"[redacted]") for part in parts]
        return b"".join(parts)

    def last_line(self, secrets: Sequence[str] = ()) -> str:
        """Return the last line that is not blank, shortened; empty if there is none."""
        lines = self.content(secrets)[-4 * _LINE :].decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip()[:_LINE] if lines else ""


_SECRET = 6
"""Characters from which on a value is worth hiding; shorter ones would hide ordinary text."""
_LINE = 200


@dataclass(slots=True)
class Program:
    """What to run, and what became of it."""

    argv: Sequence[str]
    directory: Path
    environment: Mapping[str, str]
    out: Captured = field(default_factory=Captured)
    err: Captured = field(default_factory=Captured)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended."""

    code: int | None
    """Exit status, negative for the signal that killed it; None where it was stopped or lost."""
    reason: str = ""
    """Why there is no status."""

    def __str__(self) -> str:
        if self.code is None:
            return self.reason
        if self.code < 0:
            return f"killed by signal {-self.code} ({signal.strsignal(-self.code)})"
        return f"exit status {self.code}"


async def run_leashed(program: Program, *, processes: int = PROCESSES) -> Ended:
    """Run a program to its end; if cancelled, end it and all it started first.

    Args:
        program: What to run; its captured output grows meanwhile.
        processes: How many processes it may have at once.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    said: dict[str, object] = {}
    with ours:
        with theirs, _Pipe() as out, _Pipe() as err:
            process = await _started(program, processes, theirs, out, err)
            hearing = {
                asyncio.create_task(_hear(out.reading(), program.out)),
                asyncio.create_task(_hear(err.reading(), program.err)),
            }
        try:
            await _listen(ours, said)
        finally:
            # Closing our end is what tells a leash that still runs to let nothing live.
            ours.close()
            await _gone(process, said)
            # Whoever still holds the other end of a pipe is not waited for.
            await asyncio.wait(hearing, timeout=1.0)
            for task in hearing:
                task.cancel()
            await asyncio.wait(hearing)
    return _ended(said)


class _Pipe:
    """A pipe that closes with its block, but for the end that was taken."""

    def __init__(self) -> None:
        self._reading: int | None
        self._reading, self.writing = os.pipe()

    def reading(self) -> int:
        """Take the reading end; the taker closes it."""
        assert self._reading is not None
        fd, self._reading = self._reading, None
        return fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        os.close(self.writing)
        if self._reading is not None:
            os.close(self._reading)


async def _started(
    program: Program, processes: int, line: socket.socket, out: _Pipe, err: _Pipe
) -> asyncio.subprocess.Process:
    # Pipes of our own: asyncio's process counts as running while anybody holds one of its.
    return await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", str(_LEASH), str(line.fileno()), str(processes),
        "--", *program.argv,
        cwd=program.directory,
        env=dict(program.environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=out.writing,
        stderr=err.writing,
        pass_fds=[line.fileno()],
        start_new_session=True,
    )  # fmt: skip


async def _hear(fd: int, captured: Captured) -> None:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
    )
    try:
        while data := await reader.read(_CHUNK):
            captured.add(data)
    finally:
        transport.close()


async def _listen(line: socket.socket, said: dict[str, object]) -> None:
    """Collect what the leash reports until it is gone."""
    loop, rest = asyncio.get_running_loop(), b""
    with contextlib.suppress(ConnectionError):
        while data := await loop.sock_recv(line, 4096):
            *lines, rest = (rest + data).split(b"\n")
            for text in lines:
                said |= json.loads(text)


async def _gone(process: asyncio.subprocess.Process, said: dict[str, object]) -> None:
    """See the leash end; if it was killed itself, kill the program's group from here."""
    try:
        async with asyncio.timeout(FAREWELL_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    pid = said.get("pid")
    if process.returncode and isinstance(pid, int):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _ended(said: dict[str, object]) -> Ended:
    match said:
        case {"code": int(code)}:
            return Ended(code)
        case {"failed": str(reason)}:
            return Ended(None, reason)
        case _:
            return Ended(None, "it killed the process that watched over it")
