"""Find incidents and suites in the content room ``problems`` and expand targets to problems.

Not here: what an incident becomes for a seed (``draw``), how it is staged (``stage``).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from aiopslab import content
from aiopslab.errors import ContentError, UsageError
from aiopslab.models.incident import IncidentSpec, SuiteSpec
from aiopslab.models.task import TASKS, Problem, Task


@cache
def incidents() -> dict[str, IncidentSpec]:
    """Return every incident by name, sorted.

    Raises:
        ContentError: A file is malformed, or its name is not its stem.
    """
    found: dict[str, IncidentSpec] = {}
    for path in content.files("problems", "incidents/*.yaml"):
        spec = load_incident_file(path)
        found[spec.name] = spec
    return dict(sorted(found.items()))


def load_incident_file(path: Path) -> IncidentSpec:
    """Read one incident file."""
    spec = content.load_model(path, IncidentSpec)
    if spec.name != path.stem:
        raise ContentError(f"{path}:1", f"name is {spec.name!r}, the file is {path.stem!r}")
    if spec.faults and spec.symptom is None:
        raise ContentError(f"{path}:1", "an incident with faults needs a symptom to wait for")
    if spec.joint and len(spec.faults) < 2:
        raise ContentError(f"{path}:1", "joint is for incidents of two or more faults")
    return spec


def load_incident(name: str) -> IncidentSpec:
    """Return one incident by name, or read it from a path that ends in ``.yaml``.

    Raises:
        UsageError: Unknown; the hint names near ones.
    """
    if name.endswith((".yaml", ".yml")):
        return load_incident_file(Path(name))
    found = incidents()
    if name not in found:
        hint = content.near(name, list(found)) or "aiopslab list problems"
        if load_suite(name) is not None:
            hint = f"that is a suite; its incidents: aiopslab list incidents --suite {name}"
        raise UsageError(f"no incident {name!r}", hint=hint)
    return found[name]


@cache
def suites() -> dict[str, SuiteSpec]:
    """Return every suite by ``name@version``, sorted."""
    found = {}
    for path in content.files("problems", "suites/*.yaml"):
        suite = content.load_model(path, SuiteSpec)
        found[f"{suite.name}@{suite.version}"] = suite
    return dict(sorted(found.items()))


def load_suite(ref: str) -> SuiteSpec | None:
    """Return a suite by ``name@version``, or by name its highest version; None if unknown."""
    found = suites()
    if ref in found:
        return found[ref]
    versions = [s for s in found.values() if s.name == ref]
    return max(versions, key=lambda s: [int(p) for p in s.version.split(".")], default=None)


def suite_incidents(suite: SuiteSpec) -> list[str]:
    """Expand the globs of a suite to incident names, in order and without repeats.

    Raises:
        ContentError: A pattern matches nothing.
    """
    names: list[str] = []
    for pattern in suite.incidents:
        matched = fnmatch.filter(incidents(), pattern)
        if not matched:
            where = f"suite {suite.name}@{suite.version}"
            raise ContentError(where, f"{pattern!r} matches no incident")
        names += [n for n in matched if n not in names]
    return names


def of_suite(ref: str) -> list[IncidentSpec]:
    """Return the incidents of a suite, in its order.

    Raises:
        UsageError: There is no such suite; the hint names near ones.
    """
    suite = load_suite(ref)
    if suite is None:
        hint = content.near(ref, list(suites())) or "aiopslab list suites"
        raise UsageError(f"no suite {ref!r}", hint=hint)
    return [load_incident(name) for name in suite_incidents(suite)]


def expand(targets: Sequence[str], tasks: Sequence[Task] = ()) -> tuple[str, list[Problem]]:
    """Expand suites, incidents, problem ids, globs and paths to problems.

    Args:
        targets: What the user typed.
        tasks: Keep only these; empty keeps all.

    Returns:
        A label for the run's directory and the problems, without repeats, in order.

    Raises:
        UsageError: A target is unknown or nothing is left.
    """
    found: dict[str, Problem] = {}
    for target in targets:
        for problem in _expand_one(target):
            if not tasks or problem.task in tasks:
                found.setdefault(problem.id, problem)
    if not found:
        raise UsageError(f"no problem left for {' '.join(targets)!r} and tasks {list(tasks)!r}")
    label = targets[0] if len(targets) == 1 else "mixed"
    return Path(label).stem if label.endswith(".yaml") else label, list(found.values())


def _expand_one(target: str) -> list[Problem]:
    suite = load_suite(target)
    if suite is not None:
        names = suite_incidents(suite)
        return [p for n in names for p in problems_of(load_incident(n)) if p.task in suite.tasks]
    if target.endswith((".yaml", ".yml")):
        spec = load_incident(target)
        return [p.model_copy(update={"incident": target}) for p in problems_of(spec)]
    every = [p for spec in incidents().values() for p in problems_of(spec)]
    matched = [p for p in every if fnmatch.fnmatch(p.id, target) or target == p.incident]
    if not matched:
        known = [*suites(), *incidents(), *(p.id for p in every)]
        hint = content.near(target, known) or "aiopslab list problems"
        raise UsageError(f"no suite, incident or problem {target!r}", hint=hint)
    return matched


def problems_of(spec: IncidentSpec) -> list[Problem]:
    """Return the problems of an incident, in the usual order of tasks."""
    return [
        Problem(id=f"{spec.name}-{task}", incident=spec.name, task=task)
        for task in TASKS
        if task in spec.tasks
    ]
