"""What a host needs for a cluster of containers on it, and what to type where it has not.

Only looks. Programs are asked for their version, the container engine for what it has, the kernel
for its limits. Not here: what is needed for simulated runs (``cli.doctor_command``), images
(``image_checks``), clusters that exist already (``cluster.checks``).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import DockerClient

KIND = "-e kind"
"""Who misses what is looked for here, as it is typed."""
GIB = 1 << 30
DISK = 15 * GIB
"""Node image, the images of app, stores and observer, and what they write."""
MEMORY = 6 * GIB
"""4 GiB for app, stores and observer, the rest for the cluster itself."""
_ASK_S = 10.0
_ENGINE_S = 5
_SOCKET = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; ``needed_for`` says who misses it."""

    what: str
    ok: bool
    detail: str
    needed_for: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that must be installed, from a certain version on."""

    name: str
    ask: Sequence[str]
    """Arguments that make it print its version."""
    least: tuple[int, int]
    fix: str


PROGRAMS = (
    Program("kind", ("version",), (0, 30), "go install sigs.k8s.io/kind@latest"),
    Program("kubectl", ("version", "--client"), (1, 31), "apt install kubectl"),
)
LIMITS = {"max_user_watches": 524288, "max_user_instances": 512}
"""Of inotify, per user: every kubelet and container runtime on the host takes some."""


def checks(proc: Path = Path("/proc")) -> list[Finding]:
    """Look at everything that a cluster on this host needs.

    Args:
        proc: Where the kernel tells.
    """
    engine = _engine()
    findings = [_answers(engine), *map(_program, PROGRAMS)]
    root = Path(str(engine.get("DockerRootDir") or "/"))
    return [*findings, _disk(root), _memory(engine, proc), _inotify(proc)]


def ask_engine(question: Callable[[DockerClient], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Ask the container engine; ``error`` of the answer says why there is none."""
    try:
        import docker  # noqa: PLC0415 - an extra
        from docker.errors import DockerException  # noqa: PLC0415
        from requests.exceptions import RequestException  # noqa: PLC0415
    except ImportError:
        return {"error": "the Docker SDK is not installed", "fix": "pip install 'aiopslab[kind]'"}
    host = os.environ.get("DOCKER_HOST") or _SOCKET
    if host.startswith("unix://") and not Path(host.removeprefix("unix://")).exists():
        return {"error": f"there is no engine at {host}"}
    try:
        client = docker.from_env(timeout=_ENGINE_S)
        try:
            client.ping()
            return question(client)
        finally:
            client.close()
    except (DockerException, RequestException) as error:
        return {"error": f"no engine answers: {error}"}


def _engine() -> Mapping[str, Any]:
    """Ask the container engine what it has."""

    def info(client: DockerClient) -> Mapping[str, Any]:
        told: dict[str, Any] = client.info()
        return told

    return ask_engine(info)


def _answers(engine: Mapping[str, Any]) -> Finding:
    error = engine.get("error")
    detail = str(error).partition("\n")[0] if error else f"engine {engine.get('ServerVersion')}"
    fix = str(engine.get("fix") or "sudo systemctl start docker, or export DOCKER_HOST=...")
    return Finding("Docker", not error, detail, KIND, fix)


def _program(program: Program) -> Finding:
    wanted = ".".join(map(str, program.least))
    what = f"{program.name} {wanted}+"
    path = shutil.which(program.name)
    if path is None:
        return Finding(what, False, "not installed", KIND, program.fix)
    try:
        done = subprocess.run(
            [path, *program.ask], capture_output=True, text=True, timeout=_ASK_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(what, False, f"{path} does not run: {error}", KIND, program.fix)
    found = re.search(r"v(\d+)\.(\d+)[\w.+-]*", done.stdout)
    if found is None:
        return Finding(what, False, f"{path} says no version", KIND, program.fix)
    ok = (int(found[1]), int(found[2])) >= program.least
    return Finding(what, ok, found[0], KIND, program.fix)


def _disk(root: Path) -> Finding:
    """Look at the disk of the engine's files, or that of ``/`` where they are elsewhere."""
    place = root if root.exists() else Path("/")
    free = shutil.disk_usage(place).free
    detail = f"{free / GIB:.0f} GiB free in {place}"
    return Finding(f"disk {DISK // GIB} GiB", free >= DISK, detail, KIND, "docker system prune")


def _memory(engine: Mapping[str, Any], proc: Path) -> Finding:
    """Look at the memory that is free; an engine in a virtual machine has its own."""
    free = _available(proc)
    engines = int(engine.get("MemTotal") or 0)
    least = min(free, engines) if engines and free else free or engines
    detail = f"{least / GIB:.1f} GiB" if least else "unknown"
    fix = "close something, or give the engine's virtual machine more"
    return Finding(f"memory {MEMORY // GIB} GiB", least >= MEMORY, detail, KIND, fix)


def _available(proc: Path) -> int:
    """Return the bytes that could be used now; 0 where the kernel does not say."""
    path = proc / "meminfo"
    found = re.search(r"MemAvailable:\s+(\d+) kB", path.read_text()) if path.exists() else None
    return int(found[1]) * 1024 if found else 0


def _inotify(proc: Path) -> Finding:
    place, found = proc / "sys/fs/inotify", {}
    for name in LIMITS:
        path = place / name
        found[name] = int(path.read_text()) if path.exists() else None
    if None in found.values():
        return Finding("inotify limits", True, "not a Linux host", KIND)
    low = {name: least for name, least in LIMITS.items() if (found[name] or 0) < least}
    detail = ", ".join(f"{name}={value}" for name, value in found.items())
    fix = "sudo sysctl " + " ".join(f"fs.inotify.{name}={least}" for name, least in low.items())
    return Finding("inotify limits", not low, detail, KIND, fix if low else "")
