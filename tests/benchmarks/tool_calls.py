"""How long an agent waits for each tool: the table of ``docs/performance.md``, measured anew.

    python tests/benchmarks/tool_calls.py            a table, slowest first
    python tests/benchmarks/tool_calls.py --json     one JSON object

Every reading tool is called on a hotel world of 30 virtual minutes; the declared virtual cost is
not let pass, so only the answering is timed (wall milliseconds of one process). The first call is
shown apart: some tools prepare what later calls use. Not a test: nothing fails, except where a tool
is not measured. Neighbour: ``world``, which measures what stands behind them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
from time import perf_counter, process_time
from typing import Any

from aiopslab.environments.sim import Sim
from aiopslab.services.catalogue import load_app
from aiopslab.telemetry import frames
from aiopslab.tools.catalogue import TOOLS
from aiopslab.tools.context import ToolContext
from aiopslab.tools.toolbox import Toolbox

EPOCH = 1_700_000_000.0
ROUNDS = 20
"""Times each call is made after the first."""
UNTIMED = ("wait", "submit", "queue_command")
"""What they take is what they are told to; the hotel has no queue."""
_P95 = (
    "histogram_quantile(0.95, sum by (le, service)"
    " (rate(http_server_request_duration_seconds_bucket[2m])))"
)

Call = tuple[str, dict[str, Any]]
CALLS: tuple[Call, ...] = (
    ("alerts", {"include_resolved": True}),
    ("services", {}),
    ("topology", {}),
    ("metrics_query", {"query": "sum by (service) (rate(container_cpu_usage_seconds_total[5m]))"}),
    ("metrics_query", {"query": "topk(5, container_memory_working_set_bytes)"}),
    ("metrics_range", {"query": _P95, "start": "now-30m", "step": 15}),
    ("metrics_names", {"match": "http"}),
    ("metrics_metadata", {"metric": "http_server_request_duration_seconds_count"}),
    ("logs_search", {"contains": "request", "start": "now-30m"}),
    ("logs_query", {"query": '{app="frontend"} |= "request"', "start": "now-30m"}),
    (
        "logs_query",
        {"query": 'sum by (app) (rate({namespace="hotel"} [1m]))', "start": "now-30m", "step": 15},
    ),
    ("logs_patterns", {"start": "now-30m"}),
    ("traces_search", {"service": "search", "min_ms": 20.0, "start": "now-30m"}),
    ("traces_search", {"errors_only": True, "start": "now-30m"}),
    ("telemetry_sql", {"sql": "SELECT service_name, count(*) FROM spans GROUP BY 1 ORDER BY 1"}),
    ("k8s_get", {"kind": "Pod"}),
    ("k8s_get", {"kind": "Deployment", "name": "search", "output": "yaml"}),
    ("k8s_describe", {"kind": "Deployment", "name": "search"}),
    ("k8s_events", {}),
    ("changes", {}),
    ("partners", {}),
    ("runbooks", {}),
    ("docs", {}),
    ("cause_kinds", {}),
    ("kubectl", {"args": ["get", "pods", "-o", "wide"]}),
    ("kubectl", {"args": ["describe", "deployment", "search"]}),
    ("k8s_rollout", {"action": "history", "name": "search"}),
    ("sql_query", {"store": "rate-postgres", "sql": "SELECT 1"}),
    ("cache_command", {"store": "rate-valkey", "command": "INFO"}),
)
"""Calls that can be written down; those that need a pod or a trace are added by ``_calls``."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--minutes", type=int, default=30, help="virtual minutes (30)")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    sim = Sim(load_app("hotel"), options.seed, epoch=EPOCH)
    sim.boot()
    frames.preload()
    sim.run_for(options.minutes * 60.0)
    # As the orchestrator does before a trial: the world is out of the collector's sight.
    gc.collect()
    gc.freeze()
    found = asyncio.run(measure(sim))
    gc.unfreeze()
    write = sys.stdout.write
    if options.json:
        write(json.dumps(found, indent=2) + "\n")
        return
    columns = ("first_ms", "p50_ms", "p95_ms", "cpu_p95_ms")
    write(f"{'tool':<24}" + "".join(f"{c:>12}" for c in columns) + "\n")
    for name, row in sorted(found.items(), key=lambda item: -item[1]["p95_ms"]):
        write(f"{name:<24}" + "".join(f"{row[c]:>12g}" for c in columns) + "\n")


async def measure(sim: Sim) -> dict[str, dict[str, float]]:
    """Return ``first_ms``, ``p50_ms``, ``p95_ms``, ``cpu_p95_ms`` by tool, and of all together.

    All calls of all tools are ``all``. CPU time is the process's: a busy machine hardly moves it.
    """

    async def stand_still(seconds: float) -> None:
        del seconds

    toolbox = Toolbox(ToolContext(sim, "diagnosis"), spend=stand_still)
    first: dict[str, list[float]] = {}
    later: dict[str, list[float]] = {}
    cpus: dict[str, list[float]] = {}
    for name, arguments in await _calls(sim):
        for n in range(ROUNDS + 1):
            begun, used = perf_counter(), process_time()
            seen = await toolbox.call(name, arguments)
            took = (perf_counter() - begun) * 1000.0
            cpu = (process_time() - used) * 1000.0
            if not seen.ok:
                raise SystemExit(f"{name} {arguments}: {seen.text}")
            (later if n else first).setdefault(name, []).append(took)
            if n:
                cpus.setdefault(name, []).append(cpu)
    await sim.aclose()
    missing = {t.name for t in TOOLS.values() if t.effect == "read"} - {*first, *UNTIMED}
    if missing:
        raise SystemExit(f"not measured: {', '.join(sorted(missing))}")
    rows = {name: _row(max(first[name]), walls, cpus[name]) for name, walls in later.items()}
    everything = [wall for walls in later.values() for wall in walls]
    all_cpus = [cpu for used in cpus.values() for cpu in used]
    return {**rows, "all": _row(max(map(max, first.values())), everything, all_cpus)}


async def _calls(sim: Sim) -> list[Call]:
    """Add to ``CALLS`` those that name what exists in this very world."""
    now = sim.now()
    pod = (await sim.kube.list("Pod", sim.namespace, labels="app.kubernetes.io/name=search"))[0]
    name = pod["metadata"]["name"]
    slow, _ = await sim.telemetry.traces(
        service="frontend", min_ms=50.0, start=now - 600.0, end=now, limit=1
    )
    trace = {"trace_id": slow[0].trace_id}
    return [
        *CALLS,
        ("k8s_logs", {"pod": name, "tail": 200}),
        ("k8s_exec", {"pod": name, "command": "env"}),
        ("traces_get", trace),
        ("traces_critical_path", trace),
    ]


def _row(first: float, walls: list[float], cpus: list[float]) -> dict[str, float]:
    quantiles = statistics.quantiles(walls, n=20)
    figures = {
        "first_ms": first,
        "p50_ms": quantiles[9],
        "p95_ms": quantiles[18],
        "cpu_p95_ms": statistics.quantiles(cpus, n=20)[18],
    }
    return {name: float(f"{value:.3g}") for name, value in figures.items()}


if __name__ == "__main__":
    main()
