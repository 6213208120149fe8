"""Export of a whole application's telemetry: whatever the hotel emits, nothing is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import duckdb
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from aiopslab.environments.sim import Sim
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app
from aiopslab.telemetry import catalogue
from aiopslab.telemetry.export import FORMATS, export

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PROMTOOL = shutil.which("promtool")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute and a half of the hotel under load."""
    app = load_app("hotel")
    key = world_key(app, 3)
    sim = Sim(app, key.seed, epoch=key.epoch, load=key.load_scale)
    sim.boot()
    sim.run_for(90.0)
    directory = tmp_path_factory.mktemp("hotel") / "telemetry"
    directory.mkdir()
    sim.run_sync(sim.telemetry.write_parquet(directory))
    return directory


@pytest.fixture(scope="module")
def exported(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("exported")
    for name in FORMATS:
        export(recorded, root / name, format=name)
    return {name: root / name for name in FORMATS}


def counts(recorded: Path, signal: str, column: str) -> Counter[str]:
    with duckdb.connect(":memory:") as connection:
        path = {"path": str(recorded / f"{signal}.parquet")}
        sql = f"SELECT {column}, count(*) FROM read_parquet($path) GROUP BY 1"
        return Counter(dict(connection.execute(sql, path).fetchall()))


def test_every_span_is_in_the_otlp_file_under_its_service(recorded, exported) -> None:
    data = (exported["otlp"] / "traces.binpb").read_bytes()
    found: Counter[str] = Counter()
    for batch in ExportTraceServiceRequest.FromString(data).resource_spans:
        about = {a.key: a.value.string_value for a in batch.resource.attributes}
        assert about["k8s.namespace.name"] == "hotel"
        found[about["service.name"]] += sum(len(s.spans) for s in batch.scope_spans)
    assert found == counts(recorded, "spans", "service")
    assert len(found) >= 10


def test_every_sample_is_in_the_otlp_file_under_its_metric(recorded, exported) -> None:
    data = (exported["otlp"] / "metrics.binpb").read_bytes()
    found: Counter[str] = Counter()
    for batch in ExportMetricsServiceRequest.FromString(data).resource_metrics:
        for metric in batch.scope_metrics[0].metrics:
            kind = metric.WhichOneof("data")
            known = catalogue.load().get(metric.name)
            if known is None:
                # The series of a recording rule.
                assert (":" in metric.name, kind) == (True, "gauge"), metric.name
            else:
                assert kind == {"counter": "sum"}.get(known.type, known.type), metric.name
            points = getattr(metric, kind).data_points
            if kind == "histogram":
                found[f"{metric.name}_bucket"] += sum(len(p.bucket_counts) for p in points)
                found[f"{metric.name}_sum"] += len(points)
                found[f"{metric.name}_count"] += len(points)
            else:
                found[metric.name] += len(points)
    assert found == counts(recorded, "samples", "metric")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian: prometheus) is not installed")
def test_promtool_reads_and_loads_every_sample(recorded, exported, tmp_path) -> None:
    file = exported["openmetrics"] / "metrics.txt"
    with file.open("rb") as text:
        checked = subprocess.run(
            [PROMTOOL, "check", "metrics"], stdin=text, capture_output=True, text=True, check=False
        )
    assert checked.returncode in (0, 3), checked.stderr
    assert "error while linting" not in checked.stderr
    load = [PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", str(file), str(tmp_path)]
    subprocess.run(load, capture_output=True, check=True)
    stats = [json.loads(p.read_text())["stats"] for p in tmp_path.glob("*/meta.json")]
    assert sum(s["numSamples"] for s in stats) == counts(recorded, "samples", "metric").total()
    series = counts(recorded, "samples", "metric || labels")
    assert max(s["numSeries"] for s in stats) <= len(series) <= sum(s["numSeries"] for s in stats)
