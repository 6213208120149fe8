"""``services`` and ``topology``: what the app consists of, how it is, and who calls whom.

Health here is what a first look at dashboards shows; nothing is concluded. Not here: objects in
full (``kube_read``), single traces (``traces``).
"""

from __future__ import annotations

import math
from typing import Any

from aiopslab.content import near
from aiopslab.models.kube import Object
from aiopslab.models.timestamps import rfc3339
from aiopslab.tools.context import Paged, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.tables import table
from aiopslab.tools.times import parse_window, range_line

_RATE = "sum by (service) (rate(http_server_request_duration_seconds_count[2m]))"
_FAILED = (
    "sum by (service) (rate(http_server_request_duration_seconds_count"
    '{http_response_status_code=~"5.."}[2m]))'
)
_P95 = (
    "histogram_quantile(0.95, sum by (service, le)"
    " (rate(http_server_request_duration_seconds_bucket[2m])))"
)


class ServicesArgs(Paged):
    """``services`` takes no arguments."""


@tool(ServicesArgs)
async def services(context: ToolContext, args: ServicesArgs) -> Result:
    """List components and nodes: owner, replicas, restarts, requests/s, 5xx, p95 latency."""
    data = [*await _components(context), *_externals(context), *await _nodes(context)]
    columns = ["component", "kind", "ready", "restarts", "req/s", "5xx", "p95_ms", "owner", "what"]
    rows = [
        [
            row["component"], row["kind"],
            "" if row["wanted"] is None else f"{row['ready']}/{row['wanted']}", row["restarts"],
            row["requests_per_s"], row["error_ratio"], row["p95_ms"], row["owner"], row["summary"],
        ]
        for row in data
    ]  # fmt: skip
    return Result(f"at: {rfc3339(context.env.now())}\n{table(columns, rows)}", data, len(rows))


async def _components(context: ToolContext) -> list[dict[str, Any]]:
    """Describe services, stores and jobs; rates and latencies over the last two minutes."""
    app = context.env.app
    rate, failed, p95 = [await _by_service(context, query) for query in (_RATE, _FAILED, _P95)]
    state = await _workloads(context)
    found: list[dict[str, Any]] = []
    for name in app.components():
        kind, ready, wanted, restarts = state.get(name, ("missing", 0, 0, 0))
        requests = rate.get(name)
        about = app.services.get(name) or app.stores.get(name) or app.jobs[name]
        found.append(
            {
                "component": name, "kind": kind, "ready": ready, "wanted": wanted,
                "restarts": restarts, "requests_per_s": requests,
                "error_ratio": failed.get(name, 0.0) / requests if requests else None,
                "p95_ms": p95[name] * 1000.0 if name in p95 else None,
                "owner": about.owner, "summary": about.summary,
            }
        )  # fmt: skip
    return found


def _externals(context: ToolContext) -> list[dict[str, Any]]:
    """Describe parties outside the cluster in the same form; nothing of them is measured here."""
    return [
        {
            "component": name, "kind": "External", "ready": None, "wanted": None,
            "restarts": None, "requests_per_s": None, "error_ratio": None, "p95_ms": None,
            "owner": spec.owner, "summary": f"{spec.summary} ({spec.provider}, {spec.host})",
        }
        for name, spec in sorted(context.env.app.externals.items())
    ]  # fmt: skip


async def _nodes(context: ToolContext) -> list[dict[str, Any]]:
    """Describe the nodes in the same form; ready is 1 or 0 of 1."""
    found: list[dict[str, Any]] = []
    for node in await context.env.kube.list("Node"):
        conditions = node.get("status", {}).get("conditions", [])
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        found.append(
            {
                "component": node["metadata"]["name"], "kind": "Node", "ready": int(ready),
                "wanted": 1, "restarts": None, "requests_per_s": None, "error_ratio": None,
                "p95_ms": None, "owner": "platform", "summary": "Node of the cluster.",
            }
        )  # fmt: skip
    return found


class TopologyArgs(Paged):
    """Arguments of ``topology``."""

    component: str = ""
    """Only edges from and to this component; empty shows all."""
    start: str = "now-10m"
    """Begin of the window in which calls are counted."""
    end: str = "now"
    """End of it."""


@tool(TopologyArgs)
async def topology(context: ToolContext, args: TopologyArgs) -> Result:
    """Show who calls whom: declared dependencies beside calls, errors and p95 seen in traces."""
    env = context.env
    known = sorted([*env.app.components(), *env.app.externals])
    if args.component and args.component not in known:
        hint = near(args.component, known) or f"components: {', '.join(known)}"
        raise ToolRefused(f"there is no component {args.component!r}; {hint}")
    start, end = parse_window(args.start, args.end, env.now())
    declared = {(n, t) for n, s in env.app.services.items() for t in s.depends_on()}
    edges = await env.telemetry.service_graph(start, end)
    seen = {(caller, callee): (calls, errors, p95) for caller, callee, calls, errors, p95 in edges}
    rows: list[list[object]] = []
    data: list[dict[str, Any]] = []
    for caller, callee in sorted(declared | set(seen)):
        if args.component and args.component not in (caller, callee):
            continue
        calls, errors, p95 = seen.get((caller, callee), (0, 0, None))
        is_declared = (caller, callee) in declared
        rows.append([caller, callee, is_declared, calls, errors, p95])
        data.append(
            {
                "caller": caller, "callee": callee, "declared": is_declared, "calls": calls,
                "errors": errors, "p95_ms": p95,
            }
        )  # fmt: skip
    text = table(["caller", "callee", "declared", "calls", "errors", "p95_ms"], rows)
    return Result(f"{range_line(start, end)}\n{text}", data, len(rows))


async def _by_service(context: ToolContext, query: str) -> dict[str, float]:
    """Evaluate now; values that are not a number are left out."""
    series = await context.env.telemetry.instant(query)
    values = {s.labels.get("service", ""): s.points[-1][1] for s in series if s.points}
    return {name: value for name, value in values.items() if math.isfinite(value)}


async def _workloads(context: ToolContext) -> dict[str, tuple[str, int, int, int]]:
    """Return (kind, ready, wanted, restarts) by workload."""
    kube, ns = context.env.kube, context.namespace
    restarts: dict[str, int] = {}
    for pod in await kube.list("Pod", ns):
        name = pod["metadata"].get("labels", {}).get("app.kubernetes.io/name", "")
        restarts[name] = restarts.get(name, 0) + _restarts(pod)
    found = {}
    for kind in ("Deployment", "StatefulSet"):
        for obj in await kube.list(kind, ns):
            name = obj["metadata"]["name"]
            ready = obj.get("status", {}).get("readyReplicas", 0)
            wanted = obj["spec"].get("replicas", 1)
            found[name] = (kind, ready, wanted, restarts.get(name, 0))
    for obj in await kube.list("CronJob", ns):
        running = len(obj.get("status", {}).get("active", []))
        name = obj["metadata"]["name"]
        found[name] = ("CronJob", running, running, restarts.get(name, 0))
    return found


def _restarts(pod: Object) -> int:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return sum(int(s.get("restartCount", 0)) for s in statuses)


TOOLS = (services, topology)
