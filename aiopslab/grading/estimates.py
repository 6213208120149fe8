"""Means with intervals by incident, in the shape that results and reports carry.

Not here: the intervals themselves (``statistics``), which values are averaged (the callers).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aiopslab.grading.statistics import cluster_bootstrap, mean
from aiopslab.models.run import Estimate


def alike(values: Iterable[tuple[str, float]]) -> bool:
    """Return whether all incidents have the same mean: resampling them would claim certainty.

    Args:
        values: (incident, value) of at least one trial.
    """
    return _alike(_by_incident(values))


def mean_by_incident(values: Iterable[tuple[str, float]], *, seed: int) -> Estimate:
    """Estimate a mean, resampling incidents; no interval where there is nothing to be seen by that.

    Args:
        values: (incident, value) of at least one trial.
        seed: Of the resampling.
    """
    clusters = _by_incident(values)
    known = [value for of_one in clusters.values() for value in of_one]
    bounds = None if _alike(clusters) else cluster_bootstrap(clusters, seed=seed)
    low, high = bounds or (None, None)
    return Estimate(
        value=mean(known), low=low, high=high, n=len(known),
        method="cluster-bootstrap" if bounds else "none",
    )  # fmt: skip


def _alike(clusters: Mapping[str, Sequence[float]]) -> bool:
    return len({mean(of_one) for of_one in clusters.values()}) == 1


def _by_incident(values: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for incident, value in values:
        found.setdefault(incident, []).append(value)
    return found
