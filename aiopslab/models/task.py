"""The four tasks every incident is asked as, and the problem: one incident, one task."""

from __future__ import annotations

from typing import Literal, get_args

from aiopslab.models.base import Model

Task = Literal["detection", "localization", "diagnosis", "mitigation"]
TASKS: tuple[Task, ...] = get_args(Task)


class Problem(Model):
    """An incident asked as one task; what a run is a list of."""

    id: str
    """Public id, ``<incident>-<task>``. Never shown to the agent: incident names speak."""
    incident: str
    """Name of the incident file, without suffix."""
    task: Task


def all_tasks() -> list[Task]:
    """Return the four tasks as a fresh list, in their usual order."""
    return list(TASKS)
