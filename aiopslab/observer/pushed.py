"""Metrics that pods send: the latest points of each pod, until the next round takes them.

A pod that sends is a scrape target as it is in the simulated world: up while its latest points are
fresh and of the process that runs. Not here: rounds (``rounds``), pods that are asked (``stores``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from aiopslab.models.timestamps import unix
from aiopslab.observer.pods import Pods
from aiopslab.telemetry.otlp.metrics import Sample, points
from aiopslab.telemetry.otlp.rejected import Rejected, Tally
from aiopslab.telemetry.samples import SCRAPE_S

FRESH_S = 2.5 * SCRAPE_S
"""Seconds after which points are no answer to a scrape any more."""
MOST_SERIES = 5000
"""Series of one pod; a series costs memory in every round."""
MOST_PODS = 500


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a pod sent at once."""

    at: float
    """When it came."""
    samples: tuple[Sample, ...]


class PushedMetrics:
    """Keeps what pods sent last.

    Args:
        pods: Say who sent it.
        now: Unix seconds.
    """

    def __init__(self, pods: Pods, now: Callable[[], float]) -> None:
        self._pods = pods
        self._now = now
        self._latest: dict[str, Pushed] = {}

    def take(self, request: ExportMetricsServiceRequest) -> Rejected:
        """Keep the points of a request; those of one pod replace what it sent before."""
        tally, now = Tally(), self._now()
        for batch in request.resource_metrics:
            pod = self._pods.sender(batch.resource).pod
            # As with a scrape, it counts when they came, not what a pod's clock says.
            found = [s for _, samples in points(batch, {}, None, tally) for s in samples]
            if not pod:
                tally.refuse("the resource names no pod", len(found))
            elif len(self._latest) >= MOST_PODS and pod not in self._latest:
                tally.refuse(f"more than {MOST_PODS} pods", len(found))
            else:
                if len(found) > MOST_SERIES:
                    tally.refuse(f"more than {MOST_SERIES} series", len(found) - MOST_SERIES)
                kept = tuple(s for s in found[:MOST_SERIES] if s.value == s.value)
                self._latest[pod] = Pushed(now, kept)
        return tally.result()

    def fresh(self, pod: str, since: str, time: float) -> tuple[Sample, ...] | None:
        """Return what a pod's process would have answered at a time; None if nothing.

        Args:
            pod: Its name.
            since: When the process began, RFC 3339; empty: it does not run.
            time: The time of the round.
        """
        pushed = self._latest.get(pod)
        if pushed is None or not since:
            return None
        if pushed.at < time - FRESH_S or pushed.at < unix(since):
            return None
        return pushed.samples

    def keep(self, pods: set[str]) -> None:
        """Forget all pods but these, and those that sent a moment ago and may be new."""
        old = self._now() - 60.0
        for pod in [p for p, pushed in self._latest.items() if p not in pods and pushed.at < old]:
            del self._latest[pod]
