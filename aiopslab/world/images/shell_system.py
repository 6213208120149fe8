"""Commands about the container and its node: env, ps, df, free, id, date, uptime, kill."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiopslab.models.kube import ExecResult
from aiopslab.world.container import Container
from aiopslab.world.images.postgres_values import timestamp
from aiopslab.world.images.shell_proc import command_line

Run = Callable[[Container, Sequence[str], str], Awaitable[ExecResult]]


def environment(box: Container) -> dict[str, str]:
    """Return the variables a process in the container sees."""
    basics = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME": box.pod.name,
        "HOME": "/root",
    }
    return basics | box.env


async def _env(box: Container, _args: Sequence[str], _stdin: str) -> ExecResult:
    lines = [f"{name}={value}\n" for name, value in environment(box).items()]
    return ExecResult("".join(lines), "", 0)


async def _printenv(box: Container, args: Sequence[str], stdin: str) -> ExecResult:
    if not args:
        return await _env(box, args, stdin)
    values = environment(box)
    found = [values[name] for name in args if name in values]
    return ExecResult(
        "".join(f"{value}\n" for value in found), "", 0 if len(found) == len(args) else 1
    )


async def _ps(box: Container, _args: Sequence[str], _stdin: str) -> ExecResult:
    busy = int(box.cpu.usage_seconds)
    clock = f"{busy // 60}:{busy % 60:02d}"
    rss = f"{box.memory.working_set // 2**20}m"
    line = f"    1 root     {clock:>6} {rss:>6} {' '.join(command_line(box))}"
    return ExecResult(f"  PID USER       TIME    RSS COMMAND\n{line}\n", "", 0)


async def _df(box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    human = any("h" in word for word in args if word.startswith("-"))
    paths = [word for word in args if not word.startswith("-")]
    head = "Size" if human else "1K-blocks"
    lines = [f"{'Filesystem':<20} {head:>10} {'Used':>10} {'Available':>10} Use% Mounted on"]
    disks = [("overlay", box.node.disk, "/")]
    disks += [(f"/dev/vd{'bcdefgh'[i % 7]}", v, m) for i, (m, v) in enumerate(box.volumes.items())]
    for name, disk, mount in disks:
        if paths and not any(path == mount or path.startswith(f"{mount}/") for path in paths):
            continue
        used = disk.used / disk.capacity * 100.0 if disk.capacity else 0.0
        sizes = [_size(n, human) for n in (disk.capacity, disk.used, disk.available)]
        cells = " ".join(f"{size:>10}" for size in sizes)
        lines.append(f"{name:<20} {cells} {used:>3.0f}% {mount}")
    return ExecResult("\n".join(lines) + "\n", "", 0)


def _size(size: int, human: bool) -> str:
    if not human:
        return str(size // 1024)
    value = float(size)
    for unit in ("B", "K", "M", "G"):
        if value < 1024.0:
            return f"{value:.0f}{unit}" if unit == "B" else f"{value:.1f}{unit}"
        value /= 1024.0
    return f"{value:.1f}T"


async def _free(box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    unit = 2**20 if "-m" in args else 2**30 if "-g" in args else 1024
    memory = box.node.memory
    cells = [memory.capacity, memory.used, memory.available, memory.available]
    shown = " ".join(f"{value // unit:>11}" for value in cells)
    head = " ".join(f"{name:>11}" for name in ("total", "used", "free", "available"))
    return ExecResult(f"       {head}\nMem:   {shown}\n", "", 0)


async def _hostname(box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    return ExecResult(f"{box.pod.ip if '-i' in args else box.pod.name}\n", "", 0)


async def _id(_box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    return ExecResult("0\n" if "-u" in args else "uid=0(root) gid=0(root) groups=0(root)\n", "", 0)


async def _whoami(_box: Container, _args: Sequence[str], _stdin: str) -> ExecResult:
    return ExecResult("root\n", "", 0)


async def _date(box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    layout = next((word[1:] for word in args if word.startswith("+")), "%a %b %d %H:%M:%S UTC %Y")
    layout = layout.replace("%s", str(int(box.loop.time())))
    return ExecResult(timestamp(box.loop.time()).strftime(layout) + "\n", "", 0)


async def _uptime(box: Container, _args: Sequence[str], _stdin: str) -> ExecResult:
    minutes = int(box.loop.time() - box.node.booted_at) // 60
    up = f"{minutes // 60}:{minutes % 60:02d}"
    load = f"{box.node.cpu.runnable:.2f}"
    now = timestamp(box.loop.time()).strftime("%H:%M:%S")
    return ExecResult(f" {now} up {up},  load average: {load}, {load}, {load}\n", "", 0)


async def _uname(box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    full = f"Linux {box.pod.name} 6.1.0-28-amd64 #1 SMP x86_64 GNU/Linux"
    return ExecResult((full if "-a" in args else "Linux") + "\n", "", 0)


async def _kill(box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    pids = [word for word in args if not word.startswith("-")]
    hard = any(word in ("-9", "-KILL", "-SIGKILL") for word in args)
    if not pids:
        return ExecResult("", "kill: you need to specify whom to kill\n", 1)
    for pid in pids:
        if pid != "1":
            return ExecResult("", f"kill: can't kill pid {pid}: No such process\n", 1)
    if not hard:  # the kernel protects process 1 of a namespace from SIGKILL sent inside it
        box.terminate()
    return ExecResult("", "", 0)


async def _sleep(_box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    try:
        total = sum(_seconds(word) for word in args)
    except ValueError:
        return ExecResult("", f"sleep: invalid number '{' '.join(args)}'\n", 1)
    await asyncio.sleep(total)
    return ExecResult("", "", 0)


def _seconds(word: str) -> float:
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    found = float(word[:-1]) * units[word[-1]] if word[-1:] in units else float(word)
    if not found >= 0.0:  # nor is NaN
        raise ValueError(word)
    return found


def _constant(code: int) -> Run:
    async def run(_box: Container, _args: Sequence[str], _stdin: str) -> ExecResult:
        return ExecResult("", "", code)

    return run


async def _pwd(_box: Container, _args: Sequence[str], _stdin: str) -> ExecResult:
    return ExecResult("/\n", "", 0)


COMMANDS: Mapping[str, Run] = {
    "date": _date,
    "df": _df,
    "env": _env,
    "false": _constant(1),
    "free": _free,
    "hostname": _hostname,
    "id": _id,
    "kill": _kill,
    "printenv": _printenv,
    "ps": _ps,
    "pwd": _pwd,
    "sleep": _sleep,
    "true": _constant(0),
    "uname": _uname,
    "uptime": _uptime,
    "whoami": _whoami,
}
