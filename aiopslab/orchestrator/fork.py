"""Run a function in a forked child and hear from it, line by line, until it ends.

The child talks over a pipe; its end of file is the child's end, so nothing is polled. Where the
system tells of a process's end, that counts: a copy that the child left behind may hold the pipe.
Every process of a run also watches a *lifeline*, a pipe whose other end only the run's first
process holds: when that one is gone, however it died, the whole tree ends within moments.
Not here: what children do (``bench``).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from aiopslab.orchestrator import wallclock

EXIT_CRASHED = 70
"""``EX_SOFTWARE``: the child's function raised."""


class Channel:
    """The writing end of a pipe that carries one JSON object a line."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def send(self, message: dict[str, Any]) -> None:
        """Write one message."""
        self.relay((json.dumps(message, separators=(",", ":")) + "\n").encode())

    def relay(self, data: bytes) -> None:
        """Write whole lines as they are."""
        while data:
            data = data[os.write(self.fd, data) :]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    code: int
    """Exit status; negative is the signal that killed it."""
    timed_out: bool

    @property
    def by_itself(self) -> bool:
        """Whether its program ended it: no signal, and not the way an error of ours ends it."""
        return not self.timed_out and self.code >= 0 and self.code != EXIT_CRASHED

    @property
    def reason(self) -> str:
        """In words, for a record."""
        if self.timed_out:
            return "the process did not end in time and was killed"
        if self.code < 0:
            return f"the process was killed by {signal.Signals(-self.code).name}"
        return f"the process ended early with status {self.code}"


def can_fork() -> bool:
    """Whether a copy of this process would be whole: the platform forks and no thread runs."""
    return hasattr(os, "fork") and threading.active_count() == 1


def run_child(
    body: Callable[[Channel], None],
    upstream: Channel,
    *,
    lifeline: int,
    deadline_s: float | None = None,
) -> Ended:
    """Fork, run ``body`` in the child, pass on what it says, reap it.

    Args:
        body: Runs in the child with a channel of its own; its return ends the child.
        upstream: Where the child's messages go.
        lifeline: Descriptor whose end of file ends everything.
        deadline_s: Wall seconds after which it is killed. A child with a deadline leads a process
            group: what it started dies with it.
    """
    reading, writing = os.pipe()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        # A grandchild that held its grandparent's pipe open would hide its parent's death.
        os.close(upstream.fd)
        _child(body, Channel(writing), leads=deadline_s is not None)
    os.close(writing)
    leads, ended = deadline_s is not None, False
    if leads:
        _lead_group(pid)
    try:
        ended = _listen(pid, reading, upstream, lifeline, deadline_s)
    finally:
        os.close(reading)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        if leads:
            # Before the leader is reaped: until then its number is nobody else's.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    return Ended(os.waitstatus_to_exitcode(status), timed_out=not ended)


def _lead_group(pid: int) -> None:
    """Make a process the leader of its group; parent and child both do, whoever is first."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)


def _child(body: Callable[[Channel], None], channel: Channel, *, leads: bool) -> NoReturn:
    """Run the body and leave without the parent's exit handlers."""
    code = EXIT_CRASHED
    try:
        if leads:
            _lead_group(os.getpid())
        body(channel)
        code = 0
    except SystemExit as exit:
        # The lifeline ended and nobody is left to tell, or what runs here asked for its end.
        code = _status(exit.code)
    except KeyboardInterrupt:
        # Raised by what runs here: a child is in no terminal's group.
        code = 128 + signal.SIGINT
    except BaseException:
        # Nothing may escape into the parent's stack, which this process has a copy of.
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _status(asked: object) -> int:
    """Return the exit status that ``sys.exit`` gives a process."""
    if asked is None:
        return 0
    return asked & 0xFF if isinstance(asked, int) else 1


def _listen(
    pid: int, reading: int, upstream: Channel, lifeline: int, deadline_s: float | None
) -> bool:
    """Relay whole lines until the child's end; False if the deadline came first."""
    end = None if deadline_s is None else wallclock.seconds() + deadline_s
    rest = b""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    poll.register(lifeline, 0)
    with _end_of(pid) as gone:
        if gone is not None:
            poll.register(gone, select.POLLIN)
        while True:
            left = None if end is None else max(0.0, end - wallclock.seconds())
            ready = [fd for fd, _ in poll.poll(None if left is None else left * 1000.0)]
            if not ready:
                return False
            if lifeline in ready:
                raise SystemExit(EXIT_CRASHED)
            # All that a child said before its end is in the pipe by then, and is read first.
            data = os.read(reading, 65536) if reading in ready else b""
            if not data:
                return True
            lines, newline, rest = (rest + data).rpartition(b"\n")
            upstream.relay(lines + newline)


@contextlib.contextmanager
def _end_of(pid: int) -> Iterator[int | None]:
    """Open a descriptor that can be read once a child has ended; None where there is none."""
    try:
        gone = os.pidfd_open(pid)
    except (AttributeError, OSError):
        # Another system, or a container that forbids it: the end of file has to do.
        yield None
        return
    try:
        yield gone
    finally:
        os.close(gone)
