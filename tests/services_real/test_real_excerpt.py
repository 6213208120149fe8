"""What an image carries of an app: enough to behave as all of it would, and nothing to read."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from real_hosts import CONTENT, LOOPBACK, reserved
from test_real_image import ROOT, copied

from aiopslab.errors import ContentError, UsageError
from aiopslab.faults.registry import KINDS
from aiopslab.models.app import App
from aiopslab.models.service import Bug
from aiopslab.services.catalogue import app_names, load_app
from aiopslab.services.config import targets
from aiopslab.services.database import statements_of
from aiopslab.services.mounts import mount
from aiopslab.services.real import excerpt
from aiopslab.services.real.launch import Role

APPS = {name: load_app(name) for name in app_names()}
IMAGES = [
    (name, service, version)
    for name, app in APPS.items()
    for service, spec in app.services.items()
    for version in (spec.image.version, *spec.releases)
]


def taken(app: App, service: str, version: str, folder: Path) -> App:
    """Return an excerpt as a container reads it."""
    path = folder / "excerpt"
    excerpt.write(excerpt.excerpt(app, service, version), path)
    return excerpt.read(path)


@pytest.mark.parametrize(("name", "service", "version"), IMAGES)
def test_a_process_finds_in_an_excerpt_what_it_finds_in_the_app(
    name: str, service: str, version: str, tmp_path: Path
) -> None:
    app = APPS[name]
    part = taken(app, service, version, tmp_path)
    assert Role.of(part, service).version == version
    mine, theirs = part.services[service], app.services[service]
    for kept in ("language", "port", "tls", "startup_s", "memory_base", "memory_per_request",
                 "workers", "queue", "uses", "endpoints", "consumers", "background", "program",
                 "calls", "grace_s", "node"):  # fmt: skip
        assert getattr(mine, kept) == getattr(theirs, kept), kept
    release = theirs.releases.get(version)
    found = mine.releases.get(version)
    assert (found.bug if found else None) == (release.bug if release else None)
    flags, expected = part.flags_of(service), app.flags_of(service)
    assert {n: (f.bug, f.default) for n, f in flags.items()} == {
        n: (f.bug, f.default) for n, f in expected.items()
    }
    assert statements_of(part, service, version) == statements_of(app, service, version)
    assert targets(part, service) == targets(app, service)
    for target in targets(app, service):
        if target in app.services:
            assert part.services[target].tls == app.services[target].tls
            assert part.services[target].port == app.services[target].port
        else:
            assert part.externals[target].host == app.externals[target].host
            assert part.externals[target].tls == app.externals[target].tls
    pod = {"containers": [{}]}
    assert mount(part, service, pod) == mount(app, service, pod)
    assert part.jobs == {n: j for n, j in app.jobs.items() if j.service in part.services
                         and app.services[j.service].image.name == theirs.image.name}  # fmt: skip


@pytest.mark.parametrize("name", sorted(APPS))
def test_an_excerpt_has_no_other_version_and_no_promise(name: str) -> None:
    app = APPS[name]
    for service, spec in app.services.items():
        part = excerpt.excerpt(app, service)
        assert not any(each.releases for each in part.services.values()), service
        assert part.services[service].image.version == spec.image.version
        left = [part.history, part.journeys, part.slos, part.owners, part.title, part.summary]
        assert not any(left), service
        assert not any(flag.description for flag in part.flags.values()), service


@pytest.mark.parametrize("name", sorted(n for n, app in APPS.items() if app.externals))
def test_the_image_of_partners_has_all_of_them_and_no_service(name: str, tmp_path: Path) -> None:
    part = taken(APPS[name], "", "", tmp_path)
    assert part.externals == APPS[name].externals
    assert not any([part.services, part.stores, part.flags])


def test_a_defect_travels_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "excerpt"
    excerpt.write(excerpt.excerpt(APPS["hotel"], "frontend", "3.9.0"), path)
    told = zlib.decompress(path.read_bytes()).decode()
    assert not [word for word in ("bug", *Bug.model_fields) if f'"{word}"' in told]
    assert "0.12" in json.dumps(json.loads(told)["services"]["frontend"]["releases"])


@pytest.mark.parametrize(
    ("service", "version", "words"),
    [("frontent", "", "did you mean 'frontend'"), ("frontend", "9", "unknown version '9'")],
)
def test_an_image_of_nothing_is_refused(service: str, version: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        excerpt.excerpt(APPS["hotel"], service, version)
    assert words in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("content", [b"", b"schema: aiopslab/app@1", zlib.compress(b"{")])
def test_a_file_that_is_no_excerpt_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "excerpt"
    path.write_bytes(content)
    with pytest.raises(ContentError, match="no excerpt"):
        excerpt.read(path)
    with pytest.raises(ContentError, match="cannot be read"):
        excerpt.read(tmp_path / "nothing")


# -- the folder of an image -----------------------------------------------------------------------

DOCKERFILE = (ROOT / "services" / "Dockerfile").read_text("utf-8").replace("\\\n", "")
_READABLE = re.compile(rb"[\x20-\x7e]{10,}")
_TELLING = re.compile(
    r"bug|leak|defect|fault|incident|oracle|baseline|regression|error_rate|n_plus_one|slo|journey"
    r"|aiopslab/app@|" + "|".join(re.escape(word) for word in {*KINDS, *Bug.model_fields} - {"key"}
                                  if len(word) > 4),
    re.IGNORECASE,
)  # fmt: skip
_NAMES = re.compile(rb"aiopslab/[a-z_/]+\.pyc")
"""Names of modules, which a zip keeps readable; what is in them is not."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as an image has it, made of what the Dockerfile takes."""
    build = tmp_path_factory.mktemp("build")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in copied():
        source, target = ROOT / name, build / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignore)
        else:
            shutil.copy(source, target)
    path = tmp_path_factory.mktemp("app") / "program"
    assert "/venv/bin/python -m aiopslab.services pack /program" in DOCKERFILE
    command(build, "pack", str(path))
    return path


def command(build: Path, *arguments: str) -> None:
    env = os.environ | {"PYTHONPATH": str(build), "AIOPSLAB_CONTENT": str(CONTENT)}
    argv = [sys.executable, "-m", "aiopslab.services", *arguments]
    subprocess.run(argv, cwd=build, env=env, check=True)


def test_nothing_readable_in_an_image_tells_of_defects(program: Path, tmp_path: Path) -> None:
    final = DOCKERFILE.rpartition("FROM ")[2]
    copies = [line.split()[-1] for line in final.splitlines() if line.startswith("COPY")]
    assert copies == ["/venv", "/app/program", "/app/excerpt"]
    found = {}
    for name, service, version in IMAGES:
        path = tmp_path / f"{name}-{service}-{version}"
        excerpt.write(excerpt.excerpt(APPS[name], service, version), path)
        found[path.name] = telling(path.read_bytes())
    found["program"] = telling(_NAMES.sub(b"", program.read_bytes()))
    assert {name: words for name, words in found.items() if words} == {}


def telling(content: bytes) -> list[str]:
    return [
        word for run in _READABLE.findall(content) for word in _TELLING.findall(run.decode("ascii"))
    ]


@pytest.fixture(params=["1.0.0", "1.1.0"])
def served(
    request: pytest.FixtureRequest, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, int, subprocess.Popen[str]]]:
    """A container's process of ``front`` at a version: its files, and no checkout."""
    version: str = request.param
    monkeypatch.setenv("AIOPSLAB_CONTENT", str(CONTENT))
    excerpt.write(excerpt.excerpt(load_app("relay"), "front", version), tmp_path / "excerpt")
    with closing(reserved()) as held, closing(reserved()) as nobody:
        port, away = held.getsockname()[1], nobody.getsockname()[1]
        held.close()
        env = {
            "AIOPSLAB_APP": "relay", "AIOPSLAB_SERVICE": "front", "AIOPSLAB_VERSION": version,
            "AIOPSLAB_EXCERPT": str(tmp_path / "excerpt"), "SHUTDOWN_DELAY_MS": "0",
            "MIDDLE_ADDR": f"{LOOPBACK}:{away}", "VAULT_ADDR": f"{LOOPBACK}:{away}",
        }  # fmt: skip
        argv = [sys.executable, "-I", str(program), "serve", "--bind", LOOPBACK]
        process = subprocess.Popen(
            [*argv, "--port", str(port)], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
        )
        try:
            yield version, port, process
        finally:
            process.kill()
            process.communicate()


def test_a_release_is_what_the_tag_of_its_image_says(
    served: tuple[str, int, subprocess.Popen[str]],
) -> None:
    version, port, process = served
    assert process.stdout is not None
    assert any("front is listening" in line for line in process.stdout)
    fetch = f"import urllib.request as u; print(u.urlopen('http://{LOOPBACK}:{port}/slow').status)"
    done = subprocess.run([sys.executable, "-c", fetch], capture_output=True, text=True)
    if version == "1.0.0":
        assert done.stdout.strip() == "200", done.stderr
    else:
        assert "HTTP Error 500" in done.stderr
