"""The metrics that are looked at and the cause each is blamed on: ``metrics.yaml``, as types.

Not here: scores (``scorer``).
"""

from __future__ import annotations

from pathlib import Path

from aiopslab.content import load_yaml
from aiopslab.models.base import Model


class Metric(Model):
    """One line of the table."""

    metric: str
    query: str
    """PromQL; its series name a component by service, server_address, node, deployment or pod."""
    cause: str
    """Cause kind that a rise is blamed on."""
    floor: float
    """Least spread, in the metric's unit."""
    watched: bool = False
    """Whether it says that and when something changed."""


def metrics() -> list[Metric]:
    """Return the table, in the order of the file."""
    rows = load_yaml(Path(__file__).with_name("metrics.yaml"))
    return [Metric.model_validate(row) for row in rows]
