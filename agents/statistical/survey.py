"""One round of looking: everything the rules need, fetched by the tools in a fixed order.

The result is plain data with the ids of the observations it came from. Not here: what it means
(``state_rules``, ``signal_rules``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiopslab.agents import TrialHandle

Row = dict[str, Any]

KINDS = ("Deployment", "StatefulSet", "ReplicaSet", "Pod", "Service", "ConfigMap", "NetworkPolicy")

_SERVED = "http_server_request_duration_seconds"
_CALLED = "http_client_request_duration_seconds"
QUERIES = {
    "rate": f"sum by (service) (rate({_SERVED}_count[1m]))",
    "errors": (
        f'sum by (service) (rate({_SERVED}_count{{http_response_status_code=~"5.."}}[1m]))'
        f" / sum by (service) (rate({_SERVED}_count[1m]))"
    ),
    "p95": f"histogram_quantile(0.95, sum by (service, le) (rate({_SERVED}_bucket[1m])))",
    "call_p95": (
        "histogram_quantile(0.95,"
        f" sum by (service, server_address, le) (rate({_CALLED}_bucket[1m])))"
    ),
    "call_errors": (
        "sum by (service, server_address, error_type)"
        f' (rate({_CALLED}_count{{error_type!=""}}[1m]))'
    ),
    "throttled": (
        "sum by (pod) (rate(container_cpu_cfs_throttled_periods_total[1m]))"
        " / sum by (pod) (rate(container_cpu_cfs_periods_total[1m]))"
    ),
    "cpu": "sum by (pod) (rate(container_cpu_usage_seconds_total[1m]))",
    "memory": (
        "max by (pod) (container_memory_working_set_bytes)"
        " / max by (pod) (container_spec_memory_limit_bytes)"
    ),
    "statements": "sum by (service) (rate(db_client_operation_duration_seconds_count[1m]))",
    "pool_pending": "max by (service, pool_name) (db_client_connection_pending_requests)",
    "cache_hits": (
        'sum by (server_address) (rate(cache_requests_total{result="hit"}[1m]))'
        " / sum by (server_address) (rate(cache_requests_total[1m]))"
    ),
    "evictions": "sum by (service) (rate(redis_evicted_keys_total[1m]))",
    "node_busy": '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[1m]))',
}
"""Name to PromQL; ratios whose numerator is absent give no series, which counts as zero."""


@dataclass(slots=True)
class Survey:
    """What was seen, and in which observation."""

    components: list[Row] = field(default_factory=list)
    edges: list[Row] = field(default_factory=list)
    alerts: list[Row] = field(default_factory=list)
    changes: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    patterns: list[Row] = field(default_factory=list)
    objects: dict[str, list[Row]] = field(default_factory=dict)
    series: dict[str, list[Row]] = field(default_factory=dict)
    error_origins: dict[str, int] = field(default_factory=dict)
    """Service to the number of sampled traces whose error began there."""
    slow_in: dict[str, float] = field(default_factory=dict)
    """Service to milliseconds on the critical path of sampled slow traces."""
    ids: dict[str, str] = field(default_factory=dict)
    """Source (``changes``, ``Pod``, ``errors``, ...) to observation id."""

    def names(self, kind: str | None = None) -> list[str]:
        """Name the components, all or those of a workload kind."""
        return [c["component"] for c in self.components if kind in (None, c["kind"])]

    def component_of_pod(self, pod: str) -> str:
        """Return the component of a pod by its name, or an empty string."""
        fitting = [n for n in self.names() if pod.startswith(f"{n}-")]
        return max(fitting, key=len, default="")

    def named(self, kind: str, name: str) -> Row | None:
        """Find an object."""
        return next((o for o in self.objects[kind] if o["metadata"]["name"] == name), None)

    def component_named_in(self, name: str) -> str:
        """Return the component an object's name begins with, or an empty string."""
        fitting = [n for n in self.names() if name == n or name.startswith(f"{n}-")]
        return max(fitting, key=len, default="")


async def survey(trial: TrialHandle) -> Survey:
    """Look at everything once."""
    seen = Survey()

    async def ask(source: str, tool: str, **arguments: Any) -> list[Row]:
        got = await trial.call(tool, **arguments)
        seen.ids[source] = got.id
        return got.data if got.ok and isinstance(got.data, list) else []

    seen.alerts = await ask("alerts", "alerts")
    seen.components = await ask("services", "services")
    seen.edges = await ask("topology", "topology", start="now-5m")
    seen.changes = await ask("changes", "changes", start="now-45m")
    seen.events = await ask("events", "k8s_events", warnings_only=True, start="now-20m")
    seen.patterns = await ask("logs", "logs_patterns", severity="warn", start="now-8m", limit=100)
    for kind in KINDS:
        seen.objects[kind] = await ask(kind, "k8s_get", kind=kind)
    for name, query in QUERIES.items():
        seen.series[name] = await ask(name, "metrics_range", query=query, start="now-40m", step=30)
    await _sample_traces(trial, seen)
    return seen


async def _sample_traces(trial: TrialHandle, seen: Survey) -> None:
    """Look where errors begin and what slow requests wait for, in a few traces each."""
    failed = await trial.call("traces_search", errors_only=True, start="now-4m", limit=20)
    seen.ids["traces"] = failed.id
    for trace in _spread(failed.data or [], 3):
        tree = await trial.call("traces_get", trace_id=trace["trace_id"])
        for span in tree.data or []:
            if span["origin"]:
                name = span["attributes"].get("server.address", span["service"])
                where = str(name) if span["kind"] == "client" else span["service"]
                seen.error_origins[where] = seen.error_origins.get(where, 0) + 1
    slow = await trial.call("traces_search", min_ms=400, start="now-4m", limit=20)
    for trace in _spread(slow.data or [], 2):
        path = await trial.call("traces_critical_path", trace_id=trace["trace_id"])
        for part in path.data or []:
            seen.slow_in[part["service"]] = seen.slow_in.get(part["service"], 0.0) + part["ms"]


def _spread(rows: list[Row], count: int) -> list[Row]:
    """Take some rows evenly."""
    return rows[:: max(1, len(rows) // count)][:count]
