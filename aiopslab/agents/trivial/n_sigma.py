"""``n-sigma``: the series that left its own past farthest is the culprit.

The classic baseline of the root-cause literature (BARO's comparison calls it N-Sigma): z-scores of
the last minutes against the first ones, the largest wins. Neighbour: ``deviation`` scores. Not
here: anything but metrics.
"""

from __future__ import annotations

from typing import Any

from aiopslab.agents.deviation import z_score
from aiopslab.agents.protocol import TrialHandle
from aiopslab.agents.trivial.guess import MOST, Guess, Guesser, Suspicion, restart, workloads

_SERVED = "http_server_request_duration_seconds"
SERIES = {
    "errors": (
        f'sum by (service) (rate({_SERVED}_count{{http_response_status_code=~"5.."}}[1m]))',
        "errors_in_release",
    ),
    "latency": (
        f"histogram_quantile(0.95, sum by (service, le) (rate({_SERVED}_bucket[1m])))",
        "cpu_regression_in_release",
    ),
    "traffic": (f"sum by (service) (rate({_SERVED}_count[1m]))", "service_port_mismatch"),
    "cpu": ("sum by (pod) (rate(container_cpu_usage_seconds_total[1m]))", "noisy_neighbour"),
    "memory": ("sum by (pod) (container_memory_working_set_bytes)", "memory_leak"),
    "throttling": (
        "sum by (pod) (rate(container_cpu_cfs_throttled_periods_total[1m]))",
        "cpu_limit_too_low",
    ),
}
"""Name to (PromQL, the cause a shift of it is blamed on)."""
N = 3.0
"""Standard deviations beyond which a shift counts."""


class NSigma(Guesser):
    """Blames the component with the largest z-score; restarts it."""

    async def guess(self, trial: TrialHandle) -> Guess:
        """Ask for each metric once and compare its end with its beginning."""
        known = {name: kind for kind, name in await workloads(trial)}
        scores: dict[tuple[str, str], float] = {}
        for query, cause in SERIES.values():
            seen = await trial.call("metrics_range", query=query, start="now-30m", step=30)
            for series in seen.data or []:
                name = _component(series["labels"], known)
                score = z_score([v for _, v in series["points"] if v is not None])
                if name and score > scores.get((name, cause), 0.0):
                    scores[name, cause] = score
        ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:MOST]
        total = sum(score for _, score in ranked)
        suspicions = [Suspicion(n, c, 0.9 * s / total) for (n, c), s in ranked if s > N]
        repair = [restart(known[s.component], s.component) for s in suspicions[:1]]
        return Guess(0.9 if suspicions else 0.1, suspicions, repair)


def _component(labels: dict[str, Any], known: dict[str, str]) -> str:
    """Return the component of a series, or an empty string."""
    if labels.get("service") in known:
        return str(labels["service"])
    owners = [name for name in known if str(labels.get("pod", "")).startswith(f"{name}-")]
    return max(owners, key=len, default="")
