"""Everything an agent can read, read: every read tool, on every component, object and pod."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from aiopslab.environments.protocol import Environment
from aiopslab.models.context_profile import ContextChoice
from aiopslab.models.observation import Observation
from aiopslab.orchestrator.sim_lab import SimLab
from aiopslab.orchestrator.staging import Staged, lead, strike
from aiopslab.tools.catalogue import TOOLS
from aiopslab.tools.context import ToolContext
from aiopslab.tools.toolbox import Toolbox
from aiopslab.world.kube import kinds

NO_BOUND = 10**9
EVERYTHING = ContextChoice(profile="P5")
READ_TOOLS = {t.name for t in TOOLS.values() if t.effect == "read"}
COMMANDS = (
    "env", "ps aux", "ls -la /", "df -h", "hostname", "cat /etc/resolv.conf", "cat /etc/hosts",
    "cat /proc/1/cmdline", "mount", "whoami", "uname -a", "ls -R /etc/config",
)  # fmt: skip
SQL = (
    "SELECT version()", "SELECT * FROM pg_stat_activity", "SHOW ALL", "\\dt", "\\dp", "\\du", "\\l",
    "SELECT * FROM pg_stat_statements", "SELECT * FROM pg_locks",
)  # fmt: skip
CACHE = ("INFO", "CONFIG GET *", "CLIENT LIST", "DBSIZE", "SLOWLOG GET 10")
QUEUE = ("stream ls", "stream report", "account info")
Call = tuple[str, dict[str, Any]]


def staged(incident: str, seed: int) -> Staged:
    """Boot a world, break it, and stop at hand-over."""
    lab = SimLab({})
    drawn = lab.draw(incident, seed)
    env = lab.boot(drawn)
    led = lab.drive(env, lead(env, drawn))
    return lab.drive(env, strike(led, twin=False))


def answering(env: Environment) -> set[str]:
    """Name the read tools that have something to answer here: a kind of store may be missing."""
    kinds = {store.kind for store in env.app.stores.values()}
    return READ_TOOLS - (set() if "nats" in kinds else {"queue_command"})


async def calls(env: Environment) -> AsyncIterator[Call]:
    """Yield calls of every read tool with everything that can be asked for."""
    for name in sorted(READ_TOOLS - {"k8s_rollout", "traces_get", "traces_critical_path"}):
        if not TOOLS[name].args.model_json_schema().get("required"):
            yield name, {}
    yield "alerts", {"include_resolved": True}
    yield "wait", {"seconds": 1}
    yield "logs_search", {"start": "now-60m", "limit": 500}
    for component in env.app.components():
        yield "topology", {"component": component}
        yield "changes", {"component": component}
        yield "search_incidents", {"query": f"{component} latency errors", "limit": 10}
        yield "logs_search", {"service": component, "start": "now-60m", "severity": "warn"}
    async for call in _telemetry(env):
        yield call
    async for call in _objects(env):
        yield call
    async for call in _kubectl(env):
        yield call
    async for call in _inside(env):
        yield call


async def _telemetry(env: Environment) -> AsyncIterator[Call]:
    yield "logs_query", {"query": '{namespace=~".+"}', "start": "now-60m", "limit": 500}
    yield "logs_query", {"query": 'sum by (app) (rate({namespace=~".+"}[1m]))', "start": "now-10m"}
    for table in ("spans", "logs", "samples", "events", "alerts", "changes"):
        yield "telemetry_sql", {"sql": f"DESCRIBE {table}"}
        yield "telemetry_sql", {"sql": f"SELECT DISTINCT * FROM {table} LIMIT 1000"}
    for metric in await env.telemetry.metric_names():
        yield "metrics_metadata", {"metric": metric}
        yield "metrics_query", {"query": metric}
    yield "metrics_range", {"query": "up", "start": "now-10m", "step": 60}
    yield "logs_query", {"query": '{namespace=~".+"} | json | logfmt', "start": "now-60m"}
    yield "telemetry_sql", {"sql": "SELECT DISTINCT metric_name, attributes FROM samples"}
    for name in ("logs", "events", "changes", "alerts"):
        yield "telemetry_sql", {"sql": f"SELECT * FROM {name} ORDER BY ALL", "limit": 1000}
    spans = "SELECT DISTINCT span_name, status_message, attributes FROM spans"
    yield "telemetry_sql", {"sql": spans, "limit": 1000}
    now = env.now()
    for errors_only in (False, True):
        found, _ = await env.telemetry.traces(
            start=now - 600, end=now, limit=5, errors_only=errors_only
        )
        for trace in found:
            yield "traces_get", {"trace_id": trace.trace_id}
            yield "traces_critical_path", {"trace_id": trace.trace_id}


async def _objects(env: Environment) -> AsyncIterator[Call]:
    for kind in sorted(kinds.BY_KIND):
        for output in ("wide", "yaml"):
            yield "k8s_get", {"kind": kind, "output": output}
        for obj in await env.kube.list(kind, env.namespace):
            yield "k8s_describe", {"kind": kind, "name": obj["metadata"]["name"]}
    workloads = [("Deployment", s) for s in env.app.services]
    workloads += [("StatefulSet", s) for s in env.app.stores]
    for kind, name in workloads:
        for action in ("status", "history"):
            yield "k8s_rollout", {"action": action, "kind": kind, "name": name}
    for document in ("runbooks", "docs"):
        yield document, {}


async def _kubectl(env: Environment) -> AsyncIterator[Call]:
    for line in (
        "api-resources", "version", "auth can-i --list", "explain deployment.spec", "top pods",
        "get all -A -o wide", "get events -A", "get --raw /api/v1/pods", "describe nodes",
        "get deploy,cm,secret,netpol,rs -A -o yaml --show-managed-fields",
    ):  # fmt: skip
        yield "kubectl", {"args": line.split()}


async def _inside(env: Environment) -> AsyncIterator[Call]:
    for pod in await env.kube.list("Pod", env.namespace):
        name = pod["metadata"]["name"]
        yield "k8s_logs", {"pod": name, "tail": 1000}
        yield "k8s_logs", {"pod": name, "tail": 1000, "previous": True}
        for command in COMMANDS:
            yield "k8s_exec", {"pod": name, "command": command}
    for store, spec in sorted(env.app.stores.items()):
        if spec.kind == "postgres":
            for sql in SQL:
                yield "sql_query", {"store": store, "sql": sql}
        elif spec.kind == "valkey":
            for command in CACHE:
                yield "cache_command", {"store": store, "command": command}
        else:
            for command in QUEUE:
                yield "queue_command", {"store": store, "command": command}


async def _free(_: float) -> None:
    """Cost nothing: hundreds of calls would otherwise let an hour of traffic pass."""


async def read_everything(env: Environment) -> list[Observation]:
    """Call them all; refusals count too, for they are read as well."""
    toolbox = Toolbox(ToolContext(env, "mitigation", EVERYTHING), spend=_free, limit=NO_BOUND)
    seen = [await toolbox.call(name, arguments) async for name, arguments in calls(env)]
    for document in ("runbooks", "docs"):
        listed = next(o for o in seen if o.tool == document)
        for entry in listed.data or []:
            name = entry["name"] if isinstance(entry, dict) else entry
            seen.append(await toolbox.call(document, {"name": name}))
    return seen


def texts(seen: list[Observation], toolbox_of: Environment) -> list[str]:
    """Return what was read, and what describes the tools themselves."""
    described = Toolbox(ToolContext(toolbox_of, "mitigation", EVERYTHING)).tools
    read = [f"{o.text}\n{json.dumps(o.data, default=str)}" for o in seen]
    return read + [t.model_dump_json() for t in described]
