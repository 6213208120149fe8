"""The LLM platform on a whole world: promises kept, and what its parts tell."""

from __future__ import annotations

import pytest

from aiopslab.environments.sim import Sim
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app

LLMSERVE = load_app("llmserve")
WARM_UP_S = 60.0
WATCHED_S = 120.0


@pytest.fixture(scope="module", params=[3, 4])
def sim(request: pytest.FixtureRequest) -> Sim:
    key = world_key(LLMSERVE, request.param)
    sim = Sim(LLMSERVE, key.seed, epoch=key.epoch)
    sim.boot()
    sim.run_for(WARM_UP_S + WATCHED_S)
    return sim


def value(sim: Sim, query: str) -> float:
    [series] = sim.run_sync(sim.telemetry.instant(query))
    return series.points[-1][1]


def test_every_promise_is_kept_and_no_alert_fires(sim: Sim) -> None:
    now = sim.now()
    windows = sim.run_sync(sim.traffic.slis(now - WATCHED_S, now))
    assert {w.journey for w in windows} == set(LLMSERVE.slos)
    assert [w for w in windows if not w.met or w.succeeded < w.offered] == []
    for window in windows:
        if window.slo_tbt_p99_ms is not None:
            assert window.tbt_p99_ms is not None
            assert window.ttft_p95_ms is not None
            assert window.tbt_p99_ms < 0.7 * window.slo_tbt_p99_ms
    assert sim.run_sync(sim.telemetry.alerts()) == []


def test_engines_work_without_preemptions_and_reuse_prefixes(sim: Sim) -> None:
    assert value(sim, "sum(vllm:num_preemptions_total)") == 0.0
    assert 0.02 < value(sim, "avg(vllm:kv_cache_usage_perc)") < 0.5
    hits = "sum(vllm:prefix_cache_hits_total) / sum(vllm:prefix_cache_queries_total)"
    assert value(sim, hits) > 0.04
    assert value(sim, "min(llmserve_len_pred_rank_corr)") > 0.7


def test_a_trace_tells_every_stage_of_a_request(sim: Sim) -> None:
    names: set[str] = set()
    now = sim.now()
    traces, _ = sim.run_sync(
        sim.telemetry.traces(service="edge-gateway", start=now - 110.0, end=now - 40.0, limit=20)
    )
    for found in traces:
        spans = sim.run_sync(sim.telemetry.trace(found.trace_id))
        names |= {f"{s.service}: {s.name}" for s in spans}
    stages = {name.partition(": ")[2] for name in names}
    assert {"admission", "route", "queue", "prefill", "decode"} <= stages


def test_a_live_key_is_followed_and_a_wrong_one_refused(sim: Sim) -> None:
    def set_policy(policy: str) -> str:
        patch = {"data": {"QUEUE_POLICY": policy}}
        name = "queue-mgr-west-config"
        sim.run_sync(
            sim.kube.patch(
                "ConfigMap", name, patch, namespace=sim.namespace, type="merge", actor="a.obi"
            )
        )
        sim.run_for(95.0)
        return control(sim, "queue-mgr-west", "get", "QUEUE_POLICY")

    assert set_policy("edf") == "QUEUE_POLICY=edf\n"
    assert set_policy("whatever") == "QUEUE_POLICY=edf\n"
    assert set_policy("ssjf") == "QUEUE_POLICY=ssjf\n"


def control(sim: Sim, service: str, *words: str) -> str:
    pods = sim.run_sync(sim.kube.list("Pod", sim.namespace))
    pod = next(p for p in pods if p["metadata"]["name"].startswith(f"{service}-"))
    argv = ["llmctl", *words]
    result = sim.run_sync(sim.kube.exec(pod["metadata"]["name"], sim.namespace, argv))
    assert result.code == 0, result.stderr
    return result.stdout


def test_a_drained_engine_gets_nothing_until_it_is_resumed(sim: Sim) -> None:
    assert "draining" in control(sim, "engine-east-0", "drain")
    sim.run_for(60.0)
    assert value(sim, 'sum(vllm:num_requests_running{service="engine-east-0"})') == 0.0
    assert "serving" in control(sim, "engine-east-0", "resume")
    sim.run_for(30.0)
    assert value(sim, 'sum(vllm:num_requests_running{service="engine-east-0"})') > 0.0
