"""The incidents of this installation, expanded and drawn: what every lab of ours does alike.

Neighbours: ``sim_lab`` and ``real_lab`` make the worlds. Not here: the files (``problems``).
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopslab.models.task import Problem, Task
from aiopslab.problems import catalogue
from aiopslab.problems.draw import DrawnIncident, draw
from aiopslab.services.catalogue import load_app


class Library:
    """Incidents by name."""

    def expand(self, targets: Sequence[str], tasks: Sequence[Task]) -> tuple[str, list[Problem]]:
        """Expand what the user typed to a label and problems.

        Raises:
            UsageError: A target is unknown.
        """
        return catalogue.expand(targets, tasks)

    def draw(self, incident: str, seed: int) -> DrawnIncident:
        """Draw an incident for a seed."""
        spec = catalogue.load_incident(incident)
        return draw(spec, load_app(spec.app), seed)
