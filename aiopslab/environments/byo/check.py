"""Whether an existing monitoring stack has what is needed, asked before anything is run.

Needed are the metrics that our alert rules read, as far as the app has what they are about, with
the labels that rules and tools join on; log streams and spans of every service. Not here: copying
it (``byo.telemetry``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aiopslab.environments.byo.sources import Source, Urls, logged, present, traced
from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.telemetry import catalogue
from aiopslab.telemetry.rules import load_rules

WINDOW_S = 900.0
"""Seconds back in which services must have logged."""
_STORES = {
    "pg_": "postgres", "redis_": "valkey", "nats_": "nats", "jetstream_": "nats",
    "messaging_": "nats",
}  # fmt: skip
_LLM = ("vllm:", "llmserve_", "DCGM_")
_AT_TIMES = (
    "ALERTS", "circuit_breaker_state", "kube_job_failed", "kube_job_complete",
    "kube_pod_container_status_waiting_reason", "kube_pod_container_status_last_terminated_reason",
)  # fmt: skip
"""Metrics that are there only when something is the matter."""
_NODES = ("node_", "kube_node_")
_JOINED = {
    "container_": "pod", "kube_pod_": "pod", "http_": "service", "pg_": "service",
    "redis_": "service", "node_": "node", "kube_node_": "node",
}  # fmt: skip
"""What metrics begin with, and the label on which rules and tools join them."""


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that a stack does not have."""

    what: str
    """``metric``, ``label``, ``logs``, ``traces`` or ``api``."""
    name: str
    """Which."""
    why: str

    def __str__(self) -> str:
        return f"{self.what} {self.name}: {self.why}"


def needed(app: App) -> list[str]:
    """Return the metrics that rules read, as far as they are about something the app has."""
    entries = (journey.entry for journey in app.journeys.values())
    rules = [rule for group in load_rules(entries) for rule in group.rules]
    words = {word for rule in rules for word in re.findall(r"[a-zA-Z_:][\w:]*", rule.expr)}
    kinds = {store.kind for store in app.stores.values()}
    found = []
    for name, metric in sorted(catalogue.load().items()):
        used = {name, *(f"{name}{s}" for s in ("_bucket", "_sum", "_count"))} & words
        about = next((kind for prefix, kind in _STORES.items() if name.startswith(prefix)), None)
        if not used or name in _AT_TIMES or (about is not None and about not in kinds):
            continue
        if name.startswith(_LLM) and app.name != "llmserve":
            continue
        found.append(f"{name}_count" if metric.type == "histogram" else name)
    return found


async def check(
    urls: Urls, app: App, now: float, sources: Callable[[str], Source] = Source
) -> list[Missing]:
    """Return what is missing; nothing if the stack will do."""
    found: list[Missing] = []
    for part in (_metrics, _logs, _traces):
        try:
            found += await part(urls, app, now, sources)
        except InfraError as error:
            found.append(Missing("api", error.message.partition(": ")[0], error.message))
    return found


async def _metrics(
    urls: Urls, app: App, now: float, sources: Callable[[str], Source]
) -> list[Missing]:
    source = sources(urls.prometheus)
    found: list[Missing] = []
    for name in needed(app):
        is_node = name.startswith(_NODES)
        matcher = "" if is_node else f'{{namespace="{app.namespace}"}}'
        series = await present(source, f"{name}{matcher}", now)
        if not series:
            where = "" if is_node else f" with namespace={app.namespace!r}"
            found.append(Missing("metric", name, f"there is no series{where}"))
        found += _labels(name, series)
    return found


def _labels(name: str, series: Iterable[dict[str, str]]) -> list[Missing]:
    """Return the labels that series lack, which rules and tools join on."""
    label = next((label for prefix, label in _JOINED.items() if name.startswith(prefix)), "")
    if label and any(label not in labels for labels in series):
        return [Missing("label", f"{name}{{{label}}}", "some series do not have it")]
    return []


async def _logs(
    urls: Urls, app: App, now: float, sources: Callable[[str], Source]
) -> list[Missing]:
    selector = f'{{namespace="{app.namespace}"}}'
    there = await logged(sources(urls.loki), selector, now - WINDOW_S, now)
    return [
        Missing("logs", name, f"no stream in {WINDOW_S / 60:g} minutes names it")
        for name in sorted(app.services.keys() - there)
    ]


async def _traces(
    urls: Urls, app: App, now: float, sources: Callable[[str], Source]
) -> list[Missing]:
    there = await traced(sources(urls.jaeger))
    gone = sorted(app.services.keys() - set(there))
    return [Missing("traces", name, "it has recorded no span") for name in gone]
