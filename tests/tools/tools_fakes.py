"""An environment in memory: the real API server, canned telemetry, time by addition."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from aiopslab.environments.protocol import (
    LogAnswer,
    LogRow,
    PathSegment,
    Series,
    SpanRow,
    SqlAnswer,
    TraceMatch,
    TraceSummary,
)
from aiopslab.models.app import App
from aiopslab.models.context_profile import ContextChoice
from aiopslab.models.kube import ExecResult, KubeError
from aiopslab.models.signal import Alert, Change, Event
from aiopslab.models.task import Task
from aiopslab.seeds import Streams
from aiopslab.telemetry.answers import LogStream
from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.rules import GroupStatus, Rule, RuleStatus, State
from aiopslab.telemetry.traces import Tree
from aiopslab.tools import Toolbox, ToolContext
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.options import DeleteOptions, WriteOptions

FIRING: State = "firing"
INACTIVE: State = "inactive"
START = 1_773_133_200.0
"""2026-03-10T09:00:00Z."""

APP = App.model_validate(
    {
        "schema": "aiopslab/app@1",
        "name": "shop",
        "title": "Shop",
        "summary": "A shop.",
        "namespace": "shop",
        "nodes": [{"name": "node-a"}],
        "services": {
            "web": {
                "image": {"name": "shop-web", "version": "1.0.0"},
                "language": "go",
                "summary": "Serves pages.",
                "owner": "front",
                "uses": {"db": "web-postgres", "cache": "web-valkey"},
            }
        },
        "stores": {
            "web-postgres": {
                "kind": "postgres",
                "image": {"name": "postgres", "version": "17.5"},
                "summary": "Orders.",
                "owner": "front",
                "port": 5432,
                "database": "shop",
            },
            "web-valkey": {
                "kind": "valkey",
                "image": {"name": "valkey", "version": "8.1"},
                "summary": "Pages.",
                "owner": "front",
                "port": 6379,
            },
        },
        "journeys": {"browse": {"entry": "web", "rate": 5, "steps": [{"request": "GET /"}]}},
        "slos": {"browse": {"success": 0.99, "p95_ms": 250}},
    }
)


def template(name: str, image: str) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app.kubernetes.io/name": name}},
        "spec": {
            "containers": [
                {
                    "name": name,
                    "image": image,
                    "ports": [{"containerPort": 8080}],
                    "env": [{"name": "MODE", "value": "fast"}],
                    "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}},
                }
            ]
        },
    }


def deployment(name: str = "web", image: str = "shop-web:1.0.0") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            "template": template(name, image),
        },
    }


class FakeKube:
    """The API server behind the protocol; ``exec`` answers from a table."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.api = ApiServer(now, Streams(7))
        self.commands: list[list[str]] = []
        self.answer = ExecResult("", "", 0)
        for name in ("shop", "kube-system"):
            self.add({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def add(self, obj: dict[str, Any]) -> dict[str, Any]:
        return self.api.create(copy.deepcopy(obj), actor="system:test")

    def _ask(self, request: Callable[[], Any]) -> Any:
        try:
            return copy.deepcopy(request())
        except KubeError as error:
            raise KubeError(error.code, error.reason, error.message) from error

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Any:
        return self._ask(lambda: self.api.get(kind, name, namespace))

    async def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Any:
        return self._ask(lambda: self.api.list(kind, namespace, labels=labels, fields=fields))

    async def create(self, obj: Any, *, actor: str, dry_run: bool = False) -> Any:
        write, options = self.api.create, WriteOptions(dry_run=dry_run)
        return self._ask(lambda: write(copy.deepcopy(obj), actor=actor, options=options))

    async def replace(self, obj: Any, *, actor: str, dry_run: bool = False) -> Any:
        write, options = self.api.replace, WriteOptions(dry_run=dry_run)
        return self._ask(lambda: write(copy.deepcopy(obj), actor=actor, options=options))

    async def patch(self, kind: str, name: str, patch: Any, **how: Any) -> Any:
        options = WriteOptions(dry_run=how.pop("dry_run", False))
        return self._ask(lambda: self.api.patch(kind, name, patch, options=options, **how))

    async def apply(self, kind: str, name: str, config: Any, **how: Any) -> Any:
        options = WriteOptions(field_manager=how.pop("manager"), dry_run=how.pop("dry_run", False))
        return self._ask(lambda: self.api.apply(kind, name, config, options=options, **how))

    async def delete(self, kind: str, name: str, namespace: str | None = None, **how: Any) -> None:
        options = DeleteOptions(grace_s=how.pop("grace_s", None))
        self._ask(lambda: self.api.delete(kind, name, namespace, options=options, **how))

    async def logs(self, pod: str, namespace: str, **how: Any) -> str:
        return "\n".join(f"line {n}" for n in range(how["tail"]))

    async def exec(self, pod: str, namespace: str, argv: Sequence[str], **how: Any) -> ExecResult:
        self.commands.append([*argv])
        return self.answer

    async def describe(self, kind: str, name: str, namespace: str | None = None) -> str:
        return f"Name: {name}"

    async def table(
        self, kind: str, namespace: str | None = None, *, labels: str = "", wide: bool = False
    ) -> str:
        names = [o["metadata"]["name"] for o in self.api.list(kind, namespace, labels=labels)]
        return "\n".join(["NAME", *names])


class FakeTelemetry:
    """What the monitoring knows: two services' worth of lines."""

    def __init__(self) -> None:
        self.lines = [
            LogRow(START - n, "web", "web-1", "ERROR", f"request {n} failed") for n in range(300)
        ]
        self.asked: dict[str, Any] = {}

    async def instant(self, promql: str, at: float | None = None) -> list[Series]:
        if promql == "up{":
            raise QueryError("unexpected end of input")
        if "up" not in promql:
            return []
        return [Series({"__name__": "up", "service": "web"}, [(at or START, 1.0)])]

    async def range(self, promql: str, start: float, end: float, step: float) -> list[Series]:
        self.asked = {"start": start, "end": end, "step": step}
        return [Series({"service": "web"}, [(start, 1.0), (end, 3.0)])]

    async def metric_names(self, match: str = "") -> list[str]:
        return ["http_server_request_duration_seconds_count", "up"]

    async def metadata(self, metric: str) -> dict[str, str]:
        return {"type": "gauge"}

    async def labels(self, metric: str) -> dict[str, list[str]]:
        return {"service": ["web"]}

    async def logs(self, **how: Any) -> tuple[list[LogRow], int]:
        self.asked = how
        fitting = [r for r in self.lines if how["contains"] in r.line]
        return fitting[: how["limit"]], len(fitting)

    async def log_patterns(self, **how: Any) -> list[tuple[str, str, int, float, float]]:
        return [("web", "request <n> failed", 300, START - 300, START)]

    async def logql(self, query: str, start: float, end: float, **how: Any) -> LogAnswer:
        self.asked = {"query": query, "start": start, "end": end, **how}
        if "rate" in query:
            series = Series({"app": "web"}, [(start, 1.0), (end, 3.0)])
            return LogAnswer("matrix", series=[series])
        if "nothing" in query:
            return LogAnswer("streams", total=0)
        streams = [
            LogStream(
                {"app": "web", "pod": f"web-{n}", "detected_level": "error", "code": "E7"},
                [(START - n, f"request {n} failed"), (START - n - 10, f"request {n + 10} failed")],
            )
            for n in (1, 2)
        ]
        return LogAnswer("streams", streams, total=None)

    async def log_label_values(self, name: str, start: float, end: float, **how: Any) -> list[str]:
        return ["web"]

    async def traceql(
        self, query: str, start: float, end: float, **how: Any
    ) -> tuple[list[TraceMatch], int]:
        found, total = await self.traces(service=None)
        return [TraceMatch(summary, [], 1) for summary in found], total

    async def critical_path(self, trace_id: str) -> list[PathSegment]:
        return Tree(await self.trace(trace_id)).critical_path()

    async def sql(self, query: str, *, limit: int = 1000) -> SqlAnswer:
        rows = [("web", 1.5, {"a": "1"}), ("web", None, {})]
        return SqlAnswer(["s", "s", "m"], ["VARCHAR", "DOUBLE", "MAP"], rows, True, False)

    async def traces(self, **how: Any) -> tuple[list[TraceSummary], int]:
        self.asked = how
        if how["service"] not in (None, "web"):
            return [], 0
        return [TraceSummary("a1", "web", "GET /", START - 5, 30.0, 2, 1, ["web"])], 1

    async def trace(self, trace_id: str) -> list[SpanRow]:
        if trace_id != "a1":
            return []
        return [
            SpanRow("a1", "1", "", "web", "web-1", "GET /", "server", START, 30.0, "500"),
            SpanRow(
                "a1", "2", "1", "web", "web-1", "SELECT", "client", START + 0.01, 15.0, "42501"
            ),
        ]

    async def service_graph(
        self, start: float, end: float
    ) -> list[tuple[str, str, int, int, float]]:
        return [("web", "web-postgres", 10, 2, 4.5)]

    async def alerts(self, *, include_resolved: bool = False) -> list[Alert]:
        return [
            Alert(
                name="HighErrorRatio", state="firing", severity="page", labels={"service": "web"},
                annotations={"summary": "web fails"}, active_at=START - 60, value=0.5,
            )
        ]  # fmt: skip

    async def events(self, **how: Any) -> list[Event]:
        return [
            Event(
                time=START, type="Warning", reason="BackOff", namespace="shop", kind="Pod",
                name="web-1", message="Back-off restarting", component="kubelet",
            )
        ]  # fmt: skip

    async def changes(self, *, component: str = "", since: float) -> list[Change]:
        change = Change(
            time=START - 100, actor="ci", kind="rollout", component="web", summary="rollout web"
        )
        return [change] if since < change.time else []

    async def rule_groups(self) -> list[GroupStatus]:
        firing = Rule.model_validate(
            {"alert": "HighErrorRatio", "expr": "errors\n  > 0.05", "for": "1m",
             "labels": {"severity": "warning"}}
        )  # fmt: skip
        calm = Rule(alert="TargetDown", expr="up == 0")
        recorded = Rule(record="web:errors", expr="sum(errors)")
        rules = [
            RuleStatus(rule, "ok", "", state, [], START)
            for rule, state in ((firing, FIRING), (calm, INACTIVE), (recorded, INACTIVE))
        ]
        return [GroupStatus("web", "web.yaml", 30.0, rules, START)]


class FakeEnvironment:
    """One app at rest."""

    def __init__(self) -> None:
        self.app = APP
        self.namespace = "shop"
        self.time = START
        self.kube = FakeKube(self.now)
        self.telemetry = FakeTelemetry()

    def now(self) -> float:
        return self.time

    async def advance(self, seconds: float) -> None:
        self.time += seconds


def toolbox(
    task: Task = "mitigation", choice: ContextChoice | None = None, **how: Any
) -> tuple[FakeEnvironment, Toolbox]:
    env = FakeEnvironment()
    context = ToolContext(env, task, choice or ContextChoice())  # type: ignore[arg-type]  # traffic and substrate are unused
    return env, Toolbox(context, **how)


def add_pod(env: FakeEnvironment, name: str, component: str) -> None:
    """Create a running pod of a component."""
    labels = {"app.kubernetes.io/name": component}
    spec = {"containers": [{"name": component, "image": "x:1"}]}
    env.kube.add(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "labels": labels},
            "spec": spec,
        }
    )
    env.kube.api.update_status("Pod", name, "shop", {"phase": "Running"}, actor="system:kubelet")
