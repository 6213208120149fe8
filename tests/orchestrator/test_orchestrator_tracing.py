"""Traces of runs: what arrives at a collector, and that nothing happens where nobody traces."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from aiopslab.models.observation import Observation
from aiopslab.models.run import RunConfig
from aiopslab.models.trial import Usage
from aiopslab.orchestrator import spans as noting
from aiopslab.orchestrator import tracing
from aiopslab.orchestrator.run import RunReport, run_sync
from aiopslab.wire.gate import Call, Turn

LAB = "orchestrator_fakes:FakeLab"


class Collector:
    """An OTLP/HTTP receiver on a thread."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Keep the terminal clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        for batch in request.resource_spans:
            told = {a.key: a.value.string_value for a in batch.resource.attributes}
            self.services.add(told["service.name"])
            for scoped in batch.scope_spans:
                self.spans.extend(scoped.spans)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def tree(self) -> dict[str, list[Span]]:
        """Spans by the names on their way from the root, joined by ``/``."""
        by_id = {s.span_id: s for s in self.spans}

        def path(s: Span) -> str:
            parent = by_id.get(s.parent_span_id)
            return s.name if parent is None else f"{path(parent)}/{s.name}"

        found: dict[str, list[Span]] = {}
        for s in sorted(self.spans, key=lambda s: s.start_time_unix_nano):
            found.setdefault(path(s), []).append(s)
        return found


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    for name in [n for n in os.environ if n.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    collector = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    try:
        yield collector
    finally:
        collector.close()


def told(span: Span) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def play(tmp_path: Path, agent: str = "Repairer", **fields: Any) -> RunReport:
    options = fields.pop("options", {})
    return run_sync(
        RunConfig.model_validate(
            {
                "targets": ["one"],
                "agent": agent if agent == "noop" else f"orchestrator_fakes:{agent}",
                "environment": {"kind": LAB, "options": options},
                "runs_dir": str(tmp_path),
                "concurrency": 2,
                "retry_infra": 0,
                **fields,
            }
        )
    )


@pytest.mark.parametrize("cold", [{}, {"cold": "yes"}], ids=["forked", "cold"])
def test_a_run_is_one_trace_from_its_root_to_every_tool_call(collector, tmp_path, cold) -> None:
    report = play(tmp_path, options=cold, model="openai/gpt-x")
    tree = collector.tree()
    assert len({s.trace_id for s in collector.spans}) == 1
    assert len({s.span_id for s in collector.spans}) == len(collector.spans)
    assert len(tree["run"]) == 1
    trials = [report.directory / "trials" / p.directory for p in report.record.trials]
    assert len(tree["run/trial"]) == len(trials) == 4
    agent = "run/trial/invoke_agent orchestrator_fakes:Repairer"
    assert len(tree[agent]) == 4
    calls = [s for path, spans in tree.items() if path.startswith(f"{agent}/") for s in spans]
    steps = sum((t / "steps.jsonl").read_text().count("\n") for t in trials)
    assert len(calls) == steps > 0
    assert {"run/deploy", "run/baseline", "run/symptom"} <= tree.keys()
    assert {"run/trial/evidence", "run/trial/telemetry"} <= tree.keys()
    assert collector.services == {"aiopslab"}


def test_spans_say_what_the_genai_conventions_ask_for(collector, tmp_path) -> None:
    play(tmp_path, model="openai/gpt-x", tasks=["mitigation"])
    tree = collector.tree()
    [trial] = tree["run/trial"]
    assert told(trial).items() >= {
        "aiopslab.problem": "one-mitigation", "aiopslab.task": "mitigation",
        "aiopslab.attempt": 1, "aiopslab.outcome": "passed",
        "gen_ai.agent.name": "orchestrator_fakes:Repairer",
    }.items()  # fmt: skip
    [agent] = tree["run/trial/invoke_agent orchestrator_fakes:Repairer"]
    assert told(agent).items() >= {
        "gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "openai/gpt-x",
        "gen_ai.provider.name": "openai",
    }.items()  # fmt: skip
    calls = [s for s in collector.spans if s.name.startswith("execute_tool ")]
    for call in calls:
        about = told(call)
        assert about["gen_ai.operation.name"] == "execute_tool"
        assert call.name == f"execute_tool {about['gen_ai.tool.name']}"
        assert about["gen_ai.tool.call.id"].startswith("obs-")
    assert all(s.end_time_unix_nano >= s.start_time_unix_nano for s in collector.spans)


def test_stages_that_trials_share_name_their_incident(collector, tmp_path) -> None:
    play(tmp_path, "noop", attempts=2, tasks=["detection"])
    baselines = [told(s) for s in collector.tree()["run/baseline"]]
    assert sorted((b["aiopslab.incident"], b["aiopslab.attempt"]) for b in baselines) == [
        ("one", 1), ("one", 2),
    ]  # fmt: skip


def test_a_failed_agent_is_a_failed_span_with_the_reason(collector, tmp_path) -> None:
    play(tmp_path, "Crasher", tasks=["detection"])
    tree = collector.tree()
    [agent] = tree["run/trial/invoke_agent orchestrator_fakes:Crasher"]
    [trial] = tree["run/trial"]
    assert agent.status.code == trial.status.code == Status.STATUS_CODE_ERROR
    assert told(trial)["error.type"] == "agent_error"


@pytest.mark.parametrize(
    ("agent", "options", "outcome"),
    [("Suicidal", {}, "agent_error"), ("noop", {"fail": "boot"}, "infra_error")],
)
def test_a_trial_whose_process_is_gone_is_traced_all_the_same(
    collector, tmp_path, agent, options, outcome
) -> None:
    play(tmp_path, agent, options=options, tasks=["detection"])
    [trial] = collector.tree()["run/trial"]
    assert told(trial)["aiopslab.outcome"] == outcome


def test_an_endpoint_that_is_down_costs_one_warning_and_nothing_else(
    monkeypatch, tmp_path, caplog
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with caplog.at_level(logging.WARNING):
        report = play(tmp_path, tasks=["detection", "mitigation"])
    assert report.record.status == "success"
    said = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert [r.name for r in said] == ["aiopslab.orchestrator.trace_export"]


def test_records_are_the_same_with_and_without_tracing(collector, tmp_path, monkeypatch) -> None:
    traced = play(tmp_path, name="traced")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    silent = play(tmp_path, name="silent")
    for plan in traced.record.trials:
        one, two = (r.directory / "trials" / plan.directory for r in (traced, silent))
        for name in ("steps.jsonl", "answer.json", "evidence.json", "grade.json"):
            assert (one / name).read_bytes() == (two / name).read_bytes()


def test_without_an_endpoint_no_process_of_a_run_loads_opentelemetry(tmp_path) -> None:
    """In a fresh interpreter, agent included: every process of the run is checked."""
    code = """
import json, sys
from aiopslab.models.run import RunConfig
from aiopslab.orchestrator.run import run_sync

def loaded():
    return sorted(m for m in sys.modules if m.startswith("opentelemetry"))

class Watcher:
    async def run(self, trial):
        trial.note(" ".join(loaded()) or "none")
        await trial.call("submit", anomaly=True, confidence=1.0)

if __name__ == "__main__":
    report = run_sync(RunConfig.model_validate({
        "targets": ["one"], "agent": "watching:Watcher", "tasks": ["detection"],
        "environment": {"kind": "orchestrator_fakes:FakeLab"}, "runs_dir": sys.argv[1],
    }))
    [steps] = report.directory.glob("trials/*/steps.jsonl")
    print(loaded(), json.loads(steps.read_text())["thought"])
"""
    (tmp_path / "watching.py").write_text(code, encoding="utf-8")
    here = Path(__file__).parent
    env = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "watching.py"), str(tmp_path / "runs")],
        capture_output=True, text=True, check=False,
        env={**env, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(here)])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[] none\n"


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_environment_decides_whether_a_run_is_traced(environ, wanted) -> None:
    assert tracing.is_wanted(environ) is wanted


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("react", "react"),
        ("mine:Agent", "mine:Agent"),
        ("cmd:/opt/bin/assistant --key s3cret", "cmd:assistant"),
        ("cmd:", "cmd:"),
        ("webhook:https://user:s3cret@host/path", "webhook"),
    ],
)
def test_names_of_agents_carry_no_secrets(agent, name) -> None:
    spans: list[dict[str, Any]] = []
    config = RunConfig(targets=["one"], agent=agent)
    with tracing.root("label", config, spans.append):
        pass
    assert spans[0]["span"]["attributes"]["gen_ai.agent.name"] == name


def test_calls_from_a_server_s_tasks_hang_under_the_running_agent() -> None:
    spans: list[dict[str, Any]] = []

    class Session:
        @tracing.tool_call
        async def call(self, name: str, /, **arguments: Any) -> Observation:
            return Observation(
                id="obs-1",
                tool=name,
                arguments=arguments,
                ok=name != "bad",
                text="no\nmore",
                time="",
            )

        def used(self) -> Usage:
            return Usage(tokens_in=7, tokens_out=2)

    async def drive() -> None:
        session, asked, answered = Session(), asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            await asked.wait()
            await session.call("bad")
            answered.set()

        @tracing.agent_run
        async def agent(_: object, session: Session) -> None:
            asked.set()
            await answered.wait()

        async with asyncio.TaskGroup() as group:
            group.create_task(serve())
            await agent(None, session)

    with tracing.root("label", RunConfig(targets=["one"]), spans.append):
        asyncio.run(drive())
    call, agent, _ = (s["span"] for s in spans)
    assert call["parent_id"] == agent["span_id"]
    assert (call["failed"], call["message"]) == (True, "no")
    assert agent["attributes"]["gen_ai.usage.input_tokens"] == 7


def test_a_request_of_a_wire_api_is_a_tool_call_that_lasts_its_turn() -> None:
    spans: list[dict[str, Any]] = []

    class Session:
        @tracing.tool_turn
        @asynccontextmanager
        async def turn(self, call: Call) -> AsyncIterator[Turn]:
            yield Turn(id="obs-3")

    async def ask(*, ok: bool) -> None:
        async with Session().turn(Call("kubernetes.list")) as turn:
            turn.saw("denied", ok=ok)

    with tracing.root("label", RunConfig(targets=["one"]), spans.append):
        asyncio.run(ask(ok=True))
        asyncio.run(ask(ok=False))
    asyncio.run(ask(ok=True))
    served, refused, _ = (s["span"] for s in spans)
    assert served["name"] == "execute_tool kubernetes.list"
    assert served["attributes"]["gen_ai.tool.call.id"] == "obs-3"
    assert (served["failed"], refused["failed"]) == (False, True)


def test_a_long_message_of_a_failure_is_cut() -> None:
    spans: list[dict[str, Any]] = []
    config = RunConfig(targets=["one"])
    with (
        tracing.root("label", config, spans.append),
        pytest.raises(ValueError, match="x"),
        noting.span("stage"),
    ):
        raise ValueError("x" * 5000)
    assert len(spans[0]["span"]["message"]) == 500


def test_names_that_an_agent_chose_cannot_break_the_way_up(collector, tmp_path) -> None:
    report = play(tmp_path, "Babbler", tasks=["detection"])
    [path] = report.directory.glob("trials/*/trial.json")
    assert json.loads(path.read_text(encoding="utf-8"))["outcome"] in ("passed", "failed")
    names = [s.name for s in collector.spans if s.name.startswith("execute_tool")]
    assert [len(names[0]), *names[1:]] == [
        500, "execute_tool ?", "execute_tool alerts", "execute_tool submit",
    ]  # fmt: skip


def test_an_error_of_any_length_is_the_agent_s_and_the_run_goes_on(collector, tmp_path) -> None:
    report = play(tmp_path, "Screamer", tasks=["detection", "mitigation"], concurrency=1)
    trials = [
        json.loads(p.read_text("utf-8")) for p in report.directory.glob("trials/*/trial.json")
    ]
    assert [t["outcome"] for t in trials] == ["agent_error", "agent_error"]
    assert len(collector.tree()["run/trial"]) == 2
