"""The incidents of this installation, expanded and drawn: what every lab of ours does alike.

Neighbours: ``sim_lab`` and ``real_lab`` make the worlds. Not here: the files (``problems``).
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopslab.models.app import App
from aiopslab.models.task import Problem, Task
from aiopslab.problems import catalogue
from aiopslab.problems.draw import DrawnIncident, draw
from aiopslab.services.catalogue import load_app


class Library:
    """Incidents by name; an app is read once: that takes longer than drawing all its incidents."""

    def __init__(self) -> None:
        self._apps: dict[str, App] = {}

    def expand(self, targets: Sequence[str], tasks: Sequence[Task]) -> tuple[str, list[Problem]]:
        """Expand what the user typed to a label and problems.

        Raises:
            UsageError: A target is unknown.
        """
        return catalogue.expand(targets, tasks)

    def draw(self, incident: str, seed: int) -> DrawnIncident:
        """Draw an incident for a seed."""
        spec = catalogue.load_incident(incident)
        if spec.app not in self._apps:
            self._apps[spec.app] = load_app(spec.app)
        return draw(spec, self._apps[spec.app], seed)
