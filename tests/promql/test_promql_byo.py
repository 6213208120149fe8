"""A real Prometheus that has a world's samples stands in for the lab's own.

Skipped where no ``prometheus`` and ``promtool`` are on PATH. Loki and Jaeger are silent here.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from promql_data import remote_write
from promql_oracle import prometheus

from aiopslab.environments.byo.check import check
from aiopslab.environments.byo.sources import Source, Urls
from aiopslab.environments.byo.telemetry import ByoTelemetry
from aiopslab.environments.sim import Sim
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app
from aiopslab.telemetry.export import export

SINCE_S = 80.0
SILENT = "http://127.0.0.1:1"
EXPRESSIONS = (
    "up",
    "kube_pod_info",
    "node_load1",
    "rate(container_cpu_usage_seconds_total[1m])",
    "sum by (service) (rate(http_server_request_duration_seconds_count[1m]))",
    "histogram_quantile(0.95, sum by (le, service) "
    "(rate(http_server_request_duration_seconds_bucket[1m])))",
)


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    """Two minutes of the hotel with few users."""
    app = load_app("hotel")
    key = world_key(app, 31)
    sim = Sim(app, key.seed, epoch=key.epoch, load=0.1)
    sim.boot()
    sim.run_for(120.0)
    yield sim
    asyncio.run(sim.aclose())


@pytest.fixture(scope="module")
def url(sim: Sim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a Prometheus answers that was given everything the world sampled."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on PATH; Debian's package 'prometheus' has it")
    folder = tmp_path_factory.mktemp("prometheus")
    recorded, written = folder / "recorded", folder / "written"
    recorded.mkdir()
    sim.run_sync(sim.telemetry.write_parquet(recorded))
    export(recorded, written, format="openmetrics")
    blocks = "tsdb", "create-blocks-from", "openmetrics", written / "metrics.txt", folder / "data"
    subprocess.run([promtool, *blocks], capture_output=True, check=True)
    with prometheus(folder, remote_write({})) as server:
        yield server.url


def sources(url: str) -> Source:
    """Return a source that asks Prometheus, or one that has nothing."""
    if not url.startswith(SILENT):
        return Source(url)
    nothing: dict[str, Any] = {"data": {}}

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text=json.dumps(nothing))

    return Source(url, lambda: httpx2.AsyncClient(transport=httpx2.MockTransport(answer)))


def shown(series: list[Any]) -> dict[str, float]:
    """Return the values of series of the app and of nodes by their labels."""
    return {
        repr(sorted(s.labels.items())): s.points[-1][1]
        for s in series
        if s.labels.get("namespace", "hotel") == "hotel"
    }


def test_what_a_real_prometheus_has_is_answered_as_the_lab_would(sim: Sim, url: str) -> None:
    urls = Urls(url, f"{SILENT}/loki", f"{SILENT}/jaeger")

    async def scene() -> None:
        now = sim.now()
        mine = ByoTelemetry(urls, sim.app, now=sim.now, since=now - SINCE_S, sources=sources)
        sampled = await mine.sampled()
        assert sampled is not None
        for expression in EXPRESSIONS:
            found = await mine.instant(expression, sampled[1])
            theirs = await sim.telemetry.instant(expression, sampled[1])
            assert found, expression
            # Sums are added up in another order.
            assert shown(found) == pytest.approx(shown(theirs), rel=1e-12), expression

    asyncio.run(scene())


def test_a_real_prometheus_lacks_none_of_the_metrics_that_rules_read(sim: Sim, url: str) -> None:
    urls = Urls(url, f"{SILENT}/loki", f"{SILENT}/jaeger")
    missing = asyncio.run(check(urls, sim.app, sim.now(), sources))
    assert {one.what for one in missing} == {"logs", "traces"}
    elsewhere = sim.app.model_copy(update={"namespace": "elsewhere"})
    lacking = asyncio.run(check(urls, elsewhere, sim.now(), sources))
    assert any(one.what == "metric" and "'elsewhere'" in one.why for one in lacking)
