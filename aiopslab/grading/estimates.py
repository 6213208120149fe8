"""Means with intervals by incident, in the shape that results and reports carry.

Not here: the intervals themselves (``statistics``), which values are averaged (the callers).
"""

from __future__ import annotations

from collections.abc import Iterable

from aiopslab.grading.statistics import cluster_bootstrap, mean
from aiopslab.models.run import Estimate


def mean_by_incident(values: Iterable[tuple[str, float]], *, seed: int) -> Estimate:
    """Estimate a mean, resampling incidents; no interval where there is but one of them.

    Args:
        values: (incident, value) of at least one trial.
        seed: Of the resampling.
    """
    clusters: dict[str, list[float]] = {}
    known = list(values)
    for incident, value in known:
        clusters.setdefault(incident, []).append(value)
    bounds = cluster_bootstrap(clusters, seed=seed)
    low, high = bounds or (None, None)
    return Estimate(
        value=mean([value for _, value in known]), low=low, high=high, n=len(known),
        method="cluster-bootstrap" if bounds else "none",
    )  # fmt: skip
