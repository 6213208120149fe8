"""How fast the monitoring APIs answer: the table of ``docs/wire-apis.md``, measured anew.

    python tests/benchmarks/wire.py            a table
    python tests/benchmarks/wire.py --json     one JSON object

The hotel app at its default load for 30 virtual minutes; every request goes through guard, routing,
evaluation and JSON, in memory, so sockets are left out. Not a test: nothing fails. Neighbour:
``queries`` measures the query engines alone.
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

import httpx2

from aiopslab.environments.sim import Sim
from aiopslab.services.catalogue import load_app
from aiopslab.wire.gate import StandingGate
from aiopslab.wire.identity import Tokens, administrator
from aiopslab.wire.monitoring.jaeger import jaeger_app, jaeger_refusal
from aiopslab.wire.monitoring.loki import loki_app, loki_refusal
from aiopslab.wire.monitoring.prometheus import prometheus_app, prometheus_refusal
from aiopslab.wire.monitoring.tempo import tempo_app, tempo_refusal
from aiopslab.wire.site import Mount, Site

EPOCH = 1_700_000_000.0
PROM, LOKI, JAEGER, TEMPO = "/prometheus/api/v1", "/loki/loki/api/v1", "/jaeger/api", "/tempo/api"
RATE = "sum by (service) (rate(http_server_request_duration_seconds_count[1m]))"
P95 = (
    "histogram_quantile(0.95, sum by (service, le)"
    " (rate(http_server_request_duration_seconds_bucket[2m])))"
)
ALL = '{namespace="hotel"}'
SLOW = '{ resource.service.name = "search" && duration > 200ms }'
RANGE: dict[str, Any] = {"start": "now-30m", "end": "now", "step": "15s"}
WINDOW: dict[str, Any] = {"start": "now-30m", "end": "now"}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "PromQL, instant, rates by service": (f"{PROM}/query", {"query": RATE}),
    "PromQL over 30 minutes at 15 s, rates by service": (
        f"{PROM}/query_range", {"query": RATE, **RANGE},
    ),
    "PromQL over 30 minutes at 15 s, p95 by histogram": (
        f"{PROM}/query_range", {"query": P95, **RANGE},
    ),
    "Prometheus, every series of the namespace": (f"{PROM}/series", {"match[]": ALL}),
    "LogQL, 100 lines by substring, 30 minutes": (
        f"{LOKI}/query_range", {"query": f'{ALL} |= "status=200"', **WINDOW},
    ),
    "LogQL, 1000 lines by regular expression, 30 minutes": (
        f"{LOKI}/query_range", {"query": f'{ALL} |~ "(?i)error|timeout"', "limit": 1000, **WINDOW},
    ),
    "LogQL, counts by service, 30 minutes at 15 s": (
        f"{LOKI}/query_range",
        {"query": f"sum by (service_name) (count_over_time({ALL}[1m]))", **RANGE},
    ),
    "Jaeger, 20 whole traces by tag": (
        f"{JAEGER}/traces",
        {"service": "search", "tag": "http.response.status_code:200", "limit": 20, **WINDOW},
    ),
    "Jaeger, 100 whole traces by duration (1 MB)": (
        f"{JAEGER}/traces", {"service": "search", "minDuration": "100ms", "limit": 100, **WINDOW},
    ),
    "Tempo, 20 traces by TraceQL": (f"{TEMPO}/search", {"q": SLOW, "limit": 20, **WINDOW}),
    "Tempo, TraceQL metrics, quantiles by service": (
        f"{TEMPO}/metrics/query_range",
        {"q": "{} | quantile_over_time(duration, 0.95) by (resource.service.name)", **RANGE},
    ),
}  # fmt: skip


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--minutes", type=int, default=30, help="virtual minutes (30)")
    parser.add_argument("--rounds", type=int, default=20, help="times each is asked (20)")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    sim = Sim(load_app("hotel"), options.seed, epoch=EPOCH)
    sim.boot()
    sim.run_for(60.0 * options.minutes)
    found = asyncio.run(measure(sim, options.rounds))
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    sys.stdout.write(
        f"{'':<52} " + " ".join(f"{c:>8}" for c in ("cpu", "p50", "p95", "bytes")) + "\n"
    )
    for name, row in found.items():
        figures = " ".join(f"{figure:>8}" for figure in row.values())
        sys.stdout.write(f"{name:<52} {figures}\n")


async def measure(sim: Sim, rounds: int) -> dict[str, dict[str, float]]:
    """Return milliseconds (median of CPU time; wall) and size of each request."""
    tokens = Tokens()
    headers = {"Authorization": f"Bearer {tokens.issue(administrator())}"}
    transport = httpx2.ASGITransport(app=site(sim, tokens))
    found = {}
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://127.0.0.1", headers=headers
    ) as client:
        for name, (path, params) in REQUESTS.items():
            gc.collect()
            walls, cpus = [], []
            for _ in range(rounds):
                begun, used = perf_counter(), process_time()
                answer = await client.get(path, params=params)
                walls.append((perf_counter() - begun) * 1000.0)
                cpus.append((process_time() - used) * 1000.0)
                answer.raise_for_status()
            quantiles = statistics.quantiles(walls, n=20, method="inclusive")
            found[name] = {
                "cpu_ms": round(statistics.median(cpus), 1),
                "p50_ms": round(quantiles[9], 1),
                "p95_ms": round(quantiles[18], 1),
                "bytes": len(answer.content),
            }
    await sim.aclose()
    return found


def site(sim: Sim, tokens: Tokens) -> Site:
    """Mount the APIs that are measured."""
    gate = StandingGate(sim, 1.0)
    mounts = [
        Mount("/prometheus", prometheus_app(sim, gate), prometheus_refusal),
        Mount("/loki", loki_app(sim, gate), loki_refusal),
        Mount("/jaeger", jaeger_app(sim, gate), jaeger_refusal),
        Mount("/tempo", tempo_app(sim, gate), tempo_refusal),
    ]
    return Site(mounts, tokens)


if __name__ == "__main__":
    main()
