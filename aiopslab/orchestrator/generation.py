"""``generate``: a held-out set of incidents that are proven sound before they are written.

The set is a content root: apps with other names, incidents with pinned draws, a suite; beside it
``truth.json`` for whoever keeps the set. Candidates that are not sound are thrown away and others
taken. Not here: what a variant and a pinned incident are (``problems``), the proofs
(``soundness``).
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from aiopslab import content
from aiopslab.errors import UsageError
from aiopslab.models.incident import IncidentSpec
from aiopslab.orchestrator.progress import OnProgress
from aiopslab.orchestrator.soundness import Verdict, check
from aiopslab.problems import catalogue, variant
from aiopslab.problems.heldout import HeldOut, HeldOutTruth, opaque_name, pin
from aiopslab.problems.renaming import Renaming
from aiopslab.seeds import Streams, derive
from aiopslab.services.catalogue import load_app

TRIES = 3
"""Candidates made at most, times the incidents asked for."""
_KEEP = "# Incident files and truth.json hold the answers: keep them from agents and authors.\n"


@dataclass(slots=True)
class Generated:
    """What became of the candidates."""

    suite: str
    kept: list[HeldOut] = field(default_factory=list)
    refused: list[Verdict] = field(default_factory=list)


async def generate(
    suite: str, *, seed: int, count: int, home: Path, hosts: int, progress: OnProgress | None = None
) -> Generated:
    """Write a held-out set.

    Args:
        suite: The public suite whose incidents are varied.
        seed: Draws names, magnitudes, and which incidents are taken.
        count: Incidents wanted.
        home: Directory to make; must not exist or be empty.
        hosts: Processes at once.
        progress: Receives what happens.

    Returns:
        What was written and what was refused; fewer than ``count`` are kept if too many were not
        sound.

    Raises:
        UsageError: The suite is unknown, or the directory is not empty.
    """
    specs = catalogue.of_suite(suite)
    _require_empty(home)
    found = Generated(f"held-out-{derive(seed, 'held-out', suite) & 0xFFFF:04x}")
    with tempfile.TemporaryDirectory(prefix="aiopslab-generate-") as scratch:
        draft = Path(scratch) / "set"
        with content.searched_first(draft):
            candidates = _candidates(specs, seed, draft)
            for batch in _batches(candidates, found, count):
                await _prove(found, batch, draft, seed, hosts, progress)
        _finish(found, draft, home)
    return found


def _batches(
    candidates: Iterator[HeldOut], found: Generated, count: int
) -> Iterator[list[HeldOut]]:
    """Yield as many candidates as are still wanted, until enough are kept or too many were made."""
    left = count * TRIES
    while len(found.kept) < count and left > 0:
        batch = list(itertools.islice(candidates, min(left, count - len(found.kept))))
        left -= len(batch)
        yield batch


def _require_empty(home: Path) -> None:
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise UsageError(f"{str(home)!r} is not an empty directory", hint="give another with -o")


def _candidates(specs: list[IncidentSpec], seed: int, draft: Path) -> Iterator[HeldOut]:
    """Make incidents without end, each public one in turn; their apps are written on first use."""
    streams = Streams(derive(seed, "held-out"))
    order = list(specs)
    streams("order").shuffle(order)
    named: dict[str, Renaming] = {}
    for number, spec in enumerate(itertools.cycle(order)):
        if spec.app not in named:
            scope = streams.scope("app", spec.app)
            named[spec.app] = variant.renaming(spec.app, scope)
            variant.write_variant(spec.app, named[spec.app], scope, draft)
        new = named[spec.app]
        name = opaque_name(seed, number)
        yield pin(spec, load_app(new.app[1]), new, name=name, seed=derive(seed, name))


async def _prove(
    found: Generated,
    batch: list[HeldOut],
    draft: Path,
    seed: int,
    hosts: int,
    progress: OnProgress | None,
) -> None:
    paths = {made.spec.name: _write_incident(made, draft) for made in batch}
    targets = [str(path) for path in paths.values()]
    verdicts = await check(targets, seeds=[seed], hosts=hosts, progress=progress)
    sound = {v.incident for v in verdicts if v.sound}
    found.refused += [v for v in verdicts if not v.sound]
    for made in batch:
        if made.spec.name in sound:
            found.kept.append(made)
        else:
            paths[made.spec.name].unlink()


def _write_incident(made: HeldOut, draft: Path) -> Path:
    path = draft / "problems" / "incidents" / f"{made.spec.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = made.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    path.write_text(_KEEP + yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


def _finish(found: Generated, draft: Path, home: Path) -> None:
    """Write suite and answer key, and move the set to where it is wanted."""
    if not found.kept:
        return
    data = {
        "schema": "aiopslab/suite@1",
        "name": found.suite,
        "version": "1",
        "title": "Held-out incidents",
        "incidents": [made.spec.name for made in found.kept],
    }
    suites = draft / "problems" / "suites"
    suites.mkdir(parents=True)
    (suites / f"{found.suite}.yaml").write_text(yaml.safe_dump(data, sort_keys=False), "utf-8")
    write_truth(draft / "truth.json", [made.truth for made in found.kept])
    home.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(draft, home, dirs_exist_ok=True)


def write_truth(path: Path, truths: list[HeldOutTruth]) -> None:
    """Write the answer key so that only its owner can read it."""
    data = {
        "schema": "aiopslab/held-out@1",
        "incidents": [truth.model_dump(mode="json") for truth in truths],
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=2, sort_keys=True)
        file.write("\n")
