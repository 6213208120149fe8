"""What is shipped: pins, content inside the wheel, and an installation that needs no checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import aiopslab

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[\w.]+)(?P<marker> ; .+)?")


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            match = PIN.fullmatch(line)
            assert match, f"{line!r} is not name==version"
            marker = (match["marker"] or "").removeprefix(" ; ")
            if not marker or Marker(marker).evaluate():
                found[match["name"]] = match["version"]
    return found


def wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [r for group in project["optional-dependencies"].values() for r in group]
    return [Requirement(r) for r in [*project["dependencies"], *extras]]


def test_constraints_are_names_and_versions_only() -> None:
    assert "/" not in (ROOT / "constraints.txt").read_text("utf-8")
    assert list(pins()) == sorted(pins())


def test_every_requirement_is_pinned_to_a_version_it_accepts() -> None:
    pinned = pins()
    for requirement in wanted():
        name = canonicalize_name(requirement.name)
        if name == "aiopslab":
            continue
        assert requirement.specifier.contains(pinned[name]), name


def test_what_the_pinned_packages_need_is_pinned_too() -> None:
    pinned, missing = pins(), set()
    for name in pinned:
        for text in requires(name) or []:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or marker.evaluate({**default_environment(), "extra": ""}):
                missing |= {canonicalize_name(requirement.name)} - set(pinned)
    assert not missing


def test_public_names_are_importable() -> None:
    assert aiopslab.__all__ == sorted(aiopslab.__all__)
    for name in aiopslab.__all__:
        assert getattr(aiopslab, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nosuch"):
        aiopslab.nosuch  # noqa: B018


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_installed_wheel_carries_the_content_and_runs_outside_the_checkout(
    tmp_path: Path,
) -> None:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True)
    wheel = next(tmp_path.glob("aiopslab-*.whl"))
    names = set(zipfile.ZipFile(wheel).namelist())
    for room in ("problems", "agents", "services", "telemetry"):
        for path in sorted((ROOT / room).rglob("*.yaml")):
            assert f"aiopslab/_content/{path.relative_to(ROOT).as_posix()}" in names
    assert not {n for n in names if n.startswith(("tests/", "docs/")) or "__pycache__" in n}

    # The dependencies come from this environment, the package from the wheel alone.
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    site = next(p for p in sys.path if p.endswith("site-packages"))
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True)
    here = next(home.glob("lib/*/site-packages"))
    for entry in Path(site).iterdir():
        if not entry.name.startswith(("aiopslab", "_aiopslab", "_editable", "__editable")):
            target = here / entry.name
            if not target.exists() and entry.suffix != ".pth":
                target.symlink_to(entry)
    alone = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [home / "bin" / "aiopslab", "list", "incidents"],
        cwd=tmp_path, env=alone, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "release-errors" in done.stdout
    found = subprocess.run(
        [python, "-c", "import aiopslab; print(aiopslab.__file__)"],
        cwd=tmp_path, env=alone, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(found.stdout.strip()).is_relative_to(home)
