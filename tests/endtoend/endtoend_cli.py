"""The command line as a user has it: a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CONTENT = HERE / "content"
PLANTED = HERE / "planted"
SUITE = "kiosk"
SEED = "3"
_MAIN = [sys.executable, "-c", "from aiopslab.cli import main; main()"]


def environment(*, salt: str = "0") -> dict[str, str]:
    """Our content beside the user's; ``salt`` decides the order of sets of strings."""
    paths = os.pathsep.join(p for p in sys.path if p)
    return {
        **os.environ,
        "AIOPSLAB_CONTENT": str(CONTENT),
        "PYTHONHASHSEED": salt,
        "PYTHONPATH": paths,
    }


def aiopslab(
    *arguments: str, cwd: Path, salt: str = "0", code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; it must end with ``code``."""
    done = subprocess.run(
        [*_MAIN, *arguments],
        cwd=cwd,
        env=environment(salt=salt),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done


def start(*arguments: str, cwd: Path, salt: str = "0") -> subprocess.Popen[str]:
    """Start a command; its progress can be read from ``stderr``."""
    return subprocess.Popen(
        [*_MAIN, *arguments],
        cwd=cwd,
        env=environment(salt=salt),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_kiosk(cwd: Path, name: str, *more: str, salt: str = "0", targets: str = SUITE) -> Path:
    """Run the kiosk's incidents; return the run's directory."""
    seed = () if "--seed" in more else ("--seed", SEED)
    aiopslab("run", targets, "--name", name, "-q", *seed, *more, cwd=cwd, salt=salt)
    return cwd / "runs" / name


def load(path: Path) -> Any:
    """Read a JSON document."""
    return json.loads(path.read_text(encoding="utf-8"))


def trials(run: Path) -> dict[str, Path]:
    """Return the trial directories of a run by name, sorted."""
    return {p.name: p for p in sorted((run / "trials").iterdir())}


def without_wall(path: Path) -> Any:
    """Read a document apart from what the host's clock said."""
    document = load(path)
    document.pop("wall", None)
    return document
