"""``alert-name``: takes the first firing alert at its word."""

from __future__ import annotations

from typing import Any

from aiopslab.agents.protocol import TrialHandle
from aiopslab.agents.trivial.guess import Guess, Guesser, Suspicion, restart, workloads

CAUSES = {
    "CacheEvictions": "cache_undersized",
    "CacheHitRatioLow": "cache_flushed",
    "ConnectionPoolExhausted": "connection_pool_too_small",
    "ContainerConfigError": "missing_configuration",
    "ContainerCpuThrottlingHigh": "cpu_limit_too_low",
    "ContainerMemoryNearLimit": "memory_leak",
    "ContainerOOMKilled": "memory_limit_too_low",
    "DependencyErrors": "network_policy_denied",
    "EdgeHighLatency": "traffic_surge",
    "HighLatency": "cpu_regression_in_release",
    "ImagePullFailing": "image_not_pullable",
    "NodeCpuPressure": "noisy_neighbour",
    "NodeDiskAlmostFull": "disk_full",
    "NodeNotReady": "node_failure",
    "PodCrashLooping": "missing_configuration",
    "PodRestartingOften": "liveness_probe_misconfigured",
    "PostgresConnectionsNearMax": "too_many_connections",
    "PostgresDown": "volume_unavailable",
    "ServiceWithoutEndpoints": "service_selector_mismatch",
    "StoreErrors": "database_permission_revoked",
    "VolumeAlmostFull": "disk_full",
}
"""Alert to what its name suggests."""
OTHERWISE = "errors_in_release"
_PLACES = ("service", "deployment", "statefulset", "container", "pod", "node", "instance")
"""Labels that may name a component, the best first."""


class AlertName(Guesser):
    """Blames what the oldest critical alert names; restarts it."""

    async def guess(self, trial: TrialHandle) -> Guess:
        """Read the alerts."""
        seen = await trial.call("alerts")
        firing = [a for a in seen.data or [] if a["state"] == "firing"]
        if not firing:
            return Guess(anomaly=0.1)
        known = {name: kind for kind, name in await workloads(trial)}
        rank = {"critical": 0, "page": 0}
        ordered = sorted(firing, key=lambda a: (rank.get(a["severity"], 1), a["active_at"]))
        suspicions: list[Suspicion] = []
        for alert in ordered:
            place = _place(alert, known)
            if place and place not in {s.component for s in suspicions}:
                cause = CAUSES.get(alert["name"], OTHERWISE)
                suspicions.append(Suspicion(place, cause, 0.6 / 2 ** len(suspicions)))
        first = suspicions[0].component if suspicions else ""
        repair = [restart(known[first], first)] if first in known else []
        return Guess(anomaly=0.9, suspicions=suspicions[:4], repair=repair)


def _place(alert: dict[str, Any], known: dict[str, str]) -> str:
    """Return the component an alert's labels name, or an empty string."""
    labels = alert["labels"]
    for key in _PLACES:
        value = str(labels.get(key, ""))
        if value in known or (value and key in ("node", "instance")):
            return value
        owners = [name for name in known if value.startswith(f"{name}-")]
        if key == "pod" and owners:
            return max(owners, key=len)
    return ""
