"""How fast telemetry is queried: the latency figures of ``docs/performance.md``, measured anew.

    python tests/benchmarks/queries.py            a table, measured beside target
    python tests/benchmarks/queries.py --json     one JSON object

The hotel app at its default load for 30 virtual minutes; then every query of each kind several
times through ``Environment.telemetry``, wall time; a busy machine slows it, so its load (runnable
processes, one-minute mean) and the CPU time of the process stand beside. The first time of each is
counted too: agents rarely ask twice. Not a test: nothing fails. Neighbours: ``world`` measures the
world, ``tool_calls`` whole tool calls.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter, process_time
from typing import Any

from aiopslab.environments.sim import Sim
from aiopslab.services.catalogue import load_app

EPOCH = 1_700_000_000.0
RANGE_S, STEP_S = 1800.0, 15.0
TARGET_MS = 50.0
"""For the 95th percentile of every kind."""
LIMIT = 50
"""Rows that a search returns."""

PROMQL = (
    'up{namespace="hotel"}',
    "topk(5, container_memory_working_set_bytes)",
    "sum by (service) (rate(http_server_request_duration_seconds_count[2m]))",
    "sum by (service, http_response_status_code)"
    " (rate(http_server_request_duration_seconds_count[5m]))",
    "sum by (service) (rate(http_server_request_duration_seconds_sum[5m]))"
    " / sum by (service) (rate(http_server_request_duration_seconds_count[5m]))",
    "histogram_quantile(0.95, sum by (le, service)"
    " (rate(http_server_request_duration_seconds_bucket[2m])))",
    "histogram_quantile(0.99, sum by (le) (rate(http_server_request_duration_seconds_bucket[5m])))",
    "histogram_quantile(0.9, sum by (le, service, server_address)"
    " (rate(http_client_request_duration_seconds_bucket[5m])))",
    'sum(rate(http_server_request_duration_seconds_count{http_response_status_code=~"5.."}[5m]))'
    " / sum(rate(http_server_request_duration_seconds_count[5m]))",
    "sum by (pod) (rate(container_cpu_usage_seconds_total[5m]))",
    "max_over_time(container_memory_working_set_bytes[5m])",
    "avg by (service) (avg_over_time(db_client_connection_pending_requests[5m]))",
    "increase(kube_pod_container_status_restarts_total[10m])",
    "max_over_time(sum by (service)"
    " (rate(http_server_request_duration_seconds_count[1m]))[10m:30s])",
    "container_memory_working_set_bytes / on (namespace, pod, container)"
    " container_spec_memory_limit_bytes",
    "quantile by (service) (0.9, rate(container_cpu_usage_seconds_total[2m]))",
    '{__name__=~"db_client_.*_count"}',
)
LOGS: tuple[dict[str, Any], ...] = (
    {"contains": "error"},
    {"contains": "request", "service": "frontend"},
    {"regex": r"status=5\d\d"},
    {"severity": "WARN"},
    {"service": "search", "severity": "ERROR"},
    {"contains": "no such text"},
)
TRACES: tuple[dict[str, Any], ...] = (
    {},
    {"service": "search", "min_ms": 20.0},
    {"errors_only": True},
    {"service": "rate", "errors_only": True},
    {"operation": "GET", "max_ms": 5.0},
    {"service": "frontend", "min_ms": 100.0},
)
Ask = Callable[[], Awaitable[object]]


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--minutes", type=int, default=30, help="virtual minutes (30)")
    parser.add_argument("--rounds", type=int, default=5, help="times each query is asked (5)")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    sim = Sim(load_app("hotel"), options.seed, epoch=EPOCH)
    sim.boot()
    sim.run_for(60.0 * options.minutes)
    found = asyncio.run(measure(sim, options.rounds))
    write = sys.stdout.write
    if options.json:
        write(json.dumps({"machine_load": os.getloadavg()[0], **found}, indent=2) + "\n")
        return
    columns = ("queries", "p50_ms", "p95_ms", "max_ms", "cpu_p50_ms", "cpu_p95_ms")
    write(f"{'kind':<16}" + "".join(f"{c:>12}" for c in columns) + "  slowest\n")
    for kind, row in found.items():
        figures = "".join(f"{row[c]:>12}" for c in columns)
        write(f"{kind:<16}{figures}  {row['slowest']}\n")
    write(f"target: p95 <= {TARGET_MS:g} ms each; machine load {os.getloadavg()[0]:.1f}\n")


async def measure(sim: Sim, rounds: int) -> dict[str, dict[str, Any]]:
    """Return the figures of each kind of query."""
    telemetry, now = sim.telemetry, sim.now()
    span = {"start": now - RANGE_S, "end": now, "limit": LIMIT}
    kinds: dict[str, dict[str, Ask]] = {
        "promql range": {
            q: lambda q=q: telemetry.range(q, now - RANGE_S, now, STEP_S) for q in PROMQL
        },
        "promql instant": {q: lambda q=q: telemetry.instant(q) for q in PROMQL},
        "log search": {str(a): lambda a=a: telemetry.logs(**a, **span) for a in LOGS},
        "trace search": {str(a): lambda a=a: telemetry.traces(**a, **span) for a in TRACES},
    }
    found = {kind: await _timed(questions, rounds) for kind, questions in kinds.items()}
    await sim.aclose()
    return found


async def _timed(questions: dict[str, Ask], rounds: int) -> dict[str, Any]:
    gc.collect()
    walls: list[float] = []
    cpus: list[float] = []
    slowest = (0.0, "")
    for _ in range(rounds):
        for text, ask in questions.items():
            begun, used = perf_counter(), process_time()
            await ask()
            walls.append((perf_counter() - begun) * 1000.0)
            cpus.append((process_time() - used) * 1000.0)
            slowest = max(slowest, (walls[-1], text))
    quantiles, used_cpu = statistics.quantiles(walls, n=20), statistics.quantiles(cpus, n=20)
    return {
        "queries": len(walls),
        "p50_ms": round(quantiles[9], 2),
        "p95_ms": round(quantiles[18], 2),
        "max_ms": round(slowest[0], 2),
        "cpu_p50_ms": round(used_cpu[9], 2),
        "cpu_p95_ms": round(used_cpu[18], 2),
        "slowest": slowest[1],
    }


if __name__ == "__main__":
    main()
