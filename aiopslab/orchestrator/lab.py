"""A lab makes worlds: it knows the incidents, draws them, and boots what they run on.

Ours are ``sim_lab``, on the simulated cluster, and ``real_lab``, on real ones. A user's lab is
named ``module:Class`` in the run's configuration and has the same methods. What a lab does before
an agent exists is synchronous; agents then see the Environment alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Coroutine, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from aiopslab.environments.protocol import Environment
from aiopslab.errors import UsageError
from aiopslab.models.run import EnvironmentChoice
from aiopslab.models.task import Problem, Task
from aiopslab.orchestrator.staging import Staged
from aiopslab.problems.draw import DrawnIncident

T = TypeVar("T")
_OURS = {
    "sim": "aiopslab.orchestrator.sim_lab:SimLab",
    "kind": "aiopslab.orchestrator.real_lab:KindLab",
    "kubeconfig": "aiopslab.orchestrator.real_lab:KubeconfigLab",
}
"""Imported when asked for: a run from cold elsewhere need not load a world."""


@dataclass(frozen=True, slots=True)
class Place:
    """A world at its warm point or later, for one incident."""

    env: Environment
    drawn: DrawnIncident
    """The incident, on the app as it is called there."""
    passed_s: float = 0.0
    """Seconds since the warm point, in which nothing of the incident was due."""


class Lab(Protocol):
    """What the orchestrator needs of whoever makes worlds. Constructed with ``options``."""

    forkable: bool
    """Whether a booted world survives ``os.fork`` (one process, no threads, no connections)."""
    patient: bool
    """Whether a world that was placed stays as it is while tasks that only read follow one another.

    Where that costs less than to place it anew for each of them (``cold``).
    """
    run: str
    """Opaque name of the run that worlds are made for, the same in all its processes."""
    seat: int
    """Which of the processes that the run keeps at work this is, counted from 0."""

    @property
    def cluster(self) -> str:
        """Name of the cluster that worlds are made on, by ``seat``; empty if it has none."""
        ...

    def clusters(self) -> Sequence[str]:
        """Return the names of all clusters of the run; none where worlds are simulated.

        Raises:
            UsageError: One of them is unknown, or must not be used.
            PreflightError: There is nothing to find them by.
        """
        ...

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

    async def place(self, drawn: DrawnIncident) -> Place:
        """Return a world for one trial from cold; whoever has it gives it back by ``release``.

        Raises:
            InfraError: Not ready in time.
        """
        ...

    async def accompany(self, env: Environment, work: Coroutine[Any, Any, T]) -> T:
        """Do what ``drive`` does, from the loop of whoever awaits it."""
        ...

    async def release(self, env: Environment, staged: Staged | None) -> str:
        """Take a placed world back: leave nothing of it, or make it fit for the next trial.

        Args:
            env: The world.
            staged: How its incident was staged; None: that failed.

        Returns:
            Why it could not be used again, for the record; empty if nothing was wrong.
        """
        ...

    async def aclose(self) -> None:
        """Leave nothing behind of what this lab made."""
        ...

    async def sweep(self) -> None:
        """Leave nothing behind of what any lab of the same run made, were it killed meanwhile.

        On whichever cluster that was.
        """
        ...

    def drive(self, env: Environment, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that uses the environment to its end, without starting a thread."""
        ...


def find_lab(choice: EnvironmentChoice) -> Lab:
    """Return the lab of an environment.

    Raises:
        UsageError: There is no such environment, or an option of it is wrong.
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
