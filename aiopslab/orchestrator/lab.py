"""A lab makes worlds: it knows the incidents, draws them, and boots what they run on.

Ours is ``sim_lab``, on the simulated cluster. A user's lab is named ``module:Class`` in the run's
configuration and has the same methods. Everything that a lab does is synchronous and happens
before an agent exists; agents then see the Environment alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Coroutine, Hashable, Sequence
from typing import Any, Protocol, TypeVar

from aiopslab.environments.protocol import Environment
from aiopslab.errors import UsageError
from aiopslab.models.run import EnvironmentChoice
from aiopslab.models.task import Problem, Task
from aiopslab.problems.draw import DrawnIncident

T = TypeVar("T")
_OURS = {"sim": "aiopslab.orchestrator.sim_lab:SimLab"}
"""Imported when asked for: a run from cold elsewhere need not load a world."""


class Lab(Protocol):
    """What the orchestrator needs of whoever makes worlds. Constructed with ``options``."""

    forkable: bool
    """Whether a booted world survives ``os.fork`` (one process, no threads, no connections)."""

    def expand(self, targets: Sequence[str], tasks: Sequence[Task]) -> tuple[str, list[Problem]]:
        """Expand what the user typed to a label and problems.

        Raises:
            UsageError: A target is unknown.
        """
        ...

    def draw(self, incident: str, seed: int) -> DrawnIncident:
        """Draw an incident for a seed."""
        ...

    def world(self, drawn: DrawnIncident) -> Hashable:
        """Return what determines the baseline; equal keys share one warm world."""
        ...

    def boot(self, drawn: DrawnIncident) -> Environment:
        """Deploy the app and run it under load up to the warm point.

        Raises:
            InfraError: Not ready in time.
        """
        ...

    def drive(self, env: Environment, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that uses the environment to its end, without starting a thread."""
        ...


def find_lab(choice: EnvironmentChoice) -> Lab:
    """Return the lab of an environment.

    Raises:
        UsageError: There is no such environment.
    """
    reference = _OURS.get(choice.kind, choice.kind)
    module, _, name = reference.partition(":")
    if not name:
        hint = f"known: {', '.join(_OURS)}, or module:Class of your own lab"
        raise UsageError(f"no environment {choice.kind!r}", hint=hint)
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"environment {choice.kind!r} cannot be loaded: {error}") from error
    lab: Lab = found(choice.options)
    return lab
