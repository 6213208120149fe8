"""How fast the simulated world is: the figures of ``docs/performance.md``, measured anew.

    python tests/benchmarks/world.py            a table, measured beside target
    python tests/benchmarks/world.py --json     one JSON object

The hotel app at its default load (20 requests/s) for 30 virtual minutes, telemetry on; then forks,
tool calls and Parquet files on that world, and the start of the command line. Rates are CPU time
of one process; a busy machine still slows it (shared caches, stolen cores), so the best virtual
minute and the machine's load (runnable processes, one-minute mean) stand beside the mean. What a
person waits for (forks, tools, start) is wall time. Not a test: nothing fails.
Neighbours: the soundness proofs (``aiopslab check``) say whether the world is right.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import tool_calls

from aiopslab.environments.sim import Sim
from aiopslab.services.catalogue import load_app
from aiopslab.telemetry import frames
from aiopslab.telemetry.rules import RuleEvaluator
from aiopslab.world.scrape import Scraper

EPOCH = 1_700_000_000.0
SETTLE_S = 60.0
"""Virtual seconds after boot before measuring: pools fill, caches warm up."""
FORKS = 20
ROUNDS = 5
"""Times each command is started."""

TARGETS: dict[str, tuple[str, str]] = {
    "realtime_factor": ("x", ">= 100"),
    "best_minute_factor": ("x", ""),
    "machine_load": ("", ""),
    "spans_per_s": ("/CPU s", ""),
    "us_per_span": ("us", "<= 40"),
    "requests_per_virtual_s": ("/s", ""),
    "spans_per_request": ("", ""),
    "scrape_ms": ("ms", ""),
    "rules_ms": ("ms", ""),
    "monitoring_share": ("", ""),
    "peak_rss_mb": ("MB", "<= 600"),
    "cold_start_s": ("s", ""),
    "fork_ms": ("ms", "<= 100"),
    "tool_p50_ms": ("ms", ""),
    "tool_p95_ms": ("ms", "<= 50"),
    "tool_first_max_ms": ("ms", ""),
    "parquet_s": ("CPU s", ""),
    "parquet_mb": ("MB", ""),
    "import_s": ("s", "<= 0.3"),
    "help_s": ("s", "<= 0.6"),
}
"""Figure to its unit and the target of the design."""


class Meter:
    """CPU seconds and calls of one method, measured by wrapping it."""

    def __init__(self, owner: type, name: str) -> None:
        self.seconds = 0.0
        self.calls = 0
        inner: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = process_time()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds += process_time() - begun
                self.calls += 1

        setattr(owner, name, timed)

    @property
    def mean_ms(self) -> float:
        """CPU milliseconds a call."""
        return self.seconds / max(1, self.calls) * 1000.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--minutes", type=int, default=30, help="virtual minutes (30)")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    found = measure(options.seed, options.minutes)
    write = sys.stdout.write
    if options.json:
        write(json.dumps(found, indent=2) + "\n")
        return
    write(f"{'figure':<24}{'measured':>12} {'unit':<8}target\n")
    for name, (unit, target) in TARGETS.items():
        write(f"{name:<24}{found[name]:>12g} {unit:<8}{target}\n")


def measure(seed: int, minutes: int) -> dict[str, float]:
    """Return every figure by name, rounded for reading."""
    begun = process_time()
    sim = Sim(load_app("hotel"), seed, epoch=EPOCH)
    sim.boot()
    found = {"cold_start_s": process_time() - begun}
    sim.run_for(SETTLE_S)
    found |= run(sim, minutes)
    found["fork_ms"] = statistics.median(fork_ms(sim) for _ in range(FORKS))
    found |= write_telemetry(sim)
    found |= asyncio.run(call_tools(sim))
    found["import_s"] = start_s("-c", "import aiopslab")
    found["help_s"] = start_s("-c", "from aiopslab.cli import main; main()", "--help")
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def run(sim: Sim, minutes: int) -> dict[str, float]:
    """Let the world run and count what it did."""
    scrape, rules = Meter(Scraper, "scrape"), Meter(RuleEvaluator, "evaluate")
    before = len(sim.world.store.spans.columns())
    served = len(sim.world.slis)
    laps = []
    for _ in range(minutes):
        begun = process_time()
        sim.run_for(60.0)
        laps.append(process_time() - begun)
    seconds = sum(laps)
    spans = len(sim.world.store.spans.columns()) - before
    requests = len(sim.world.slis) - served
    return {
        "realtime_factor": minutes * 60.0 / seconds,
        "best_minute_factor": 60.0 / min(laps),
        "machine_load": os.getloadavg()[0],
        "spans_per_s": spans / seconds,
        "us_per_span": seconds / spans * 1e6,
        "requests_per_virtual_s": requests / (minutes * 60.0),
        "spans_per_request": spans / requests,
        "scrape_ms": scrape.mean_ms,
        "rules_ms": rules.mean_ms,
        "monitoring_share": (scrape.seconds + rules.seconds) / seconds,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    }


def fork_ms(sim: Sim) -> float:
    """Fork as the orchestrator does; return wall milliseconds until the child can act."""
    gc.collect()
    gc.freeze()
    reading, writing = os.pipe()
    begun = perf_counter()
    pid = os.fork()
    if pid == 0:
        sim.run_for(0.1)
        os.write(writing, b"r")
        os._exit(0)
    os.read(reading, 1)
    ready = perf_counter() - begun
    os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)
    gc.unfreeze()
    return ready * 1000.0


def write_telemetry(sim: Sim) -> dict[str, float]:
    """Write the Parquet files of the whole world, libraries loaded before."""
    frames.preload()
    with tempfile.TemporaryDirectory() as name:
        begun = process_time()
        sim.world.store.write_parquet(Path(name))
        seconds = process_time() - begun
        size = sum(path.stat().st_size for path in Path(name).iterdir())
    return {"parquet_s": seconds, "parquet_mb": size / 1e6}


async def call_tools(sim: Sim) -> dict[str, float]:
    """Call every reading tool; ``tool_calls`` shows each for itself."""
    everything = (await tool_calls.measure(sim))["all"]
    return {
        "tool_p50_ms": everything["p50_ms"],
        "tool_p95_ms": everything["p95_ms"],
        "tool_first_max_ms": everything["first_ms"],
    }


def start_s(*arguments: str) -> float:
    """Return the best wall seconds of starting Python with arguments, files cached."""
    walls = []
    for _ in range(ROUNDS):
        begun = perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        walls.append(perf_counter() - begun)
    return min(walls)


if __name__ == "__main__":
    main()
