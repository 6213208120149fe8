"""Runs one program on a leash: whatever it starts ends with it, and it ends with whoever holds on.

Executed by path in an interpreter of its own (``python -I -S leash.py FD LIMIT -- PROGRAM ...``);
imports nothing of the project. ``FD`` is a socket: when its other end closes, for whatever reason,
everything started here is killed. It carries two JSON lines back: the program's process id, and how
it ended. On Linux orphans of the program become children of this process, so that programs that
detach themselves are found too; elsewhere only the program's own process group is. Neighbour:
``process`` holds the other end.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
"""``prctl(2)``: orphaned descendants get this process as their parent."""
CHECK_MS = 20
"""Milliseconds between two looks at how many processes there are: a bomb doubles in less."""
FILE_BYTES = 2**30
"""Longest file the program may write."""
ROUNDS = 500
"""Passes over the process table until everything is gone; a bomb needs a few."""


def main(arguments: list[str]) -> int:
    """Run the program to its end; report it; leave nothing behind."""
    line, limit = socket.socket(fileno=int(arguments[0])), int(arguments[1])
    # The program must not be able to report for us.
    line.set_inheritable(False)
    _adopt_orphans()
    _go_first()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    try:
        child = _start(arguments[3:], limit)
    except OSError as error:
        _tell(line, {"failed": f"{error.strerror or error}: {arguments[3]!r}"})
        return 0
    _tell(line, {"pid": child})
    ended: dict[str, object] = {}
    poll = select.poll()
    poll.register(line.fileno(), select.POLLIN | select.POLLHUP)
    poll.register(woken, select.POLLIN)
    held, before = True, _running()
    while held and not ended:
        for fd, _ in poll.poll(CHECK_MS):
            if fd == woken:
                os.read(woken, 4096)
            else:
                held = False
        ended = _reap(child)
        # The sum over the machine is cheap to read; who they are is looked at when it grew.
        if not ended and _running() - before > limit and len(descendants()) > limit:
            ended = {"failed": f"more than {limit} processes at once"}
    _kill_all(child)
    if held:
        _tell(line, ended)
    return 0


def descendants() -> dict[int, int]:
    """Map the live processes below this one to their groups; empty where there is no ``/proc``."""
    children: dict[int, list[tuple[int, int]]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything; what follows its end does not.
            state, parent, group = (
                entry.read_text("utf-8", "replace").rpartition(")")[2].split()[:3]
            )
        except (OSError, ValueError):
            continue
        if state not in "ZX":
            children.setdefault(int(parent), []).append((int(entry.parent.name), int(group)))
    found: dict[int, int] = {}
    waiting = [os.getpid()]
    while waiting:
        for pid, leader in children.get(waiting.pop(), []):
            found[pid] = leader
            waiting.append(pid)
    return found


def _running() -> int:
    """Return how many threads the machine runs; 0 where it does not say."""
    try:
        return int(Path("/proc/loadavg").read_text("utf-8").split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return 0


def _start(program: list[str], limit: int) -> int:
    """Fork and execute the program as leader of a session of its own; return its process id.

    Raises:
        OSError: It cannot be executed.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        failure = os.read(reading, 16)
        os.close(reading)
        if failure:
            os.waitpid(pid, 0)
            raise OSError(int(failure), os.strerror(int(failure)))
        return pid
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        # Python ignores these two; a program expects to be told by them.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        _bound(limit)
        os.execvp(program[0], program)
    except OSError as error:
        os.write(writing, str(error.errno).encode())
    finally:
        os._exit(127)


def _bound(limit: int) -> None:
    """Limit files, core dumps and, where the user is not root, processes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, FILE_BYTES)
    if os.getuid() and Path("/proc").is_dir():
        # The kernel counts all of the user's processes and threads, not the program's alone.
        taken = sum(_owner(task) == os.getuid() for task in Path("/proc").glob("[0-9]*/task/*"))
        _lower(resource.RLIMIT_NPROC, taken + limit)


def _lower(what: int, wanted: int) -> None:
    hard = resource.getrlimit(what)[1]
    bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(what, (bound, bound))


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _reap(child: int) -> dict[str, object]:
    """Collect what has ended, orphans too; return how the program did if it is among them."""
    ended: dict[str, object] = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                ended = {"code": os.waitstatus_to_exitcode(status)}
    return ended


def _kill_all(child: int) -> None:
    """Kill group by group, which leaves a group no time to multiply, until nothing is found."""
    _kill(-child)
    for _ in range(ROUNDS):
        left = descendants()
        for group in set(left.values()) - {os.getpgrp()}:
            _kill(-group)
        for pid in left:
            _kill(pid)
        _reap(child)
        if not left:
            return
        select.poll().poll(2)


def _kill(target: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(target, signal.SIGKILL)


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _go_first() -> None:
    """Run before thousands of processes do, where the user may ask for that (root, on Linux).

    Where not, the kernel's limit of processes holds.
    """
    if sys.platform == "linux":
        with contextlib.suppress(PermissionError):
            policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(0, policy, os.sched_param(1))


def _tell(line: socket.socket, message: dict[str, object]) -> None:
    with contextlib.suppress(OSError):
        line.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
