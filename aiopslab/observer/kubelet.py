"""What a kubelet says, as the names and labels of the catalogue: containers, volumes, the machine.

Asked through the API server: cAdvisor's metrics and the kubelet's own summary. Of the machine
there is what these two know, under node_exporter's names; what they do not know is absent
(``docs/observer.md`` lists it). Not here: when it is asked (``rounds``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from aiopslab.environments.cluster.connection import Connection, Request
from aiopslab.telemetry.exposition import Exposed, read
from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.otlp.metrics import Sample
from aiopslab.world.kube.objects import dig

CONTAINER = (
    "container_cpu_usage_seconds_total",
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
    "container_cpu_cfs_throttled_seconds_total",
    "container_memory_working_set_bytes",
    "container_memory_rss",
    "container_start_time_seconds",
    "container_spec_cpu_period",
    "container_spec_cpu_quota",
    "container_spec_memory_limit_bytes",
)
"""What cAdvisor says of containers under these very names."""
_MODES = {
    "container_cpu_user_seconds_total": "user",
    "container_cpu_system_seconds_total": "system",
}
_PRESSURE = {
    "container_pressure_cpu_waiting_seconds_total": "node_pressure_cpu_waiting_seconds_total",
    "container_pressure_memory_waiting_seconds_total": "node_pressure_memory_waiting_seconds_total",
}
_ASKED = ("machine_cpu_cores", "machine_memory_bytes")
_NAMES = frozenset({*CONTAINER, *_MODES, *_PRESSURE, *_ASKED})
_SUMMARY = {
    "node_memory_MemAvailable_bytes": ("memory", "availableBytes"),
    "node_filesystem_size_bytes": ("fs", "capacityBytes"),
    "node_filesystem_avail_bytes": ("fs", "availableBytes"),
}
"""Where the kubelet's summary of its node says it."""
MACHINE = (
    "node_boot_time_seconds", "node_cpu_seconds_total", "node_memory_MemTotal_bytes",
    *_PRESSURE.values(), *_SUMMARY,
)  # fmt: skip
"""What is known of the machine, if the kubelet and its kernel tell."""
VOLUME = tuple(f"kubelet_volume_stats_{n}_bytes" for n in ("capacity", "used", "available"))
_START = "container_start_time_seconds"
_USAGE = "container_cpu_usage_seconds_total"
_ROOT: Labels = (("device", "rootfs"), ("fstype", ""), ("mountpoint", "/"))

Containers = dict[tuple[str, str], dict[str, float]]
"""Figures of the present run, by (pod, container)."""


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """What one kubelet said."""

    containers: Containers = field(default_factory=dict)
    volumes: list[Sample] = field(default_factory=list)
    machine: list[Sample] = field(default_factory=list)


def ask(connection: Connection, node: str, namespace: str, time: float) -> NodeFigures:
    """Ask one kubelet, in the calling thread.

    Raises:
        KubeError: The API server or the kubelet refused.
        InfraError: There was no answer.
    """
    proxy = f"/api/v1/nodes/{node}/proxy"
    text = connection.text(Request("GET", f"{proxy}/metrics/cadvisor", accept="text/plain"))
    summary = _json(connection.text(Request("GET", f"{proxy}/stats/summary")))
    return understood(read(text, _NAMES), summary, namespace, time)


def understood(
    exposed: Iterable[Exposed], summary: Any, namespace: str, time: float
) -> NodeFigures:
    """Make figures of what cAdvisor exposed and the kubelet summed up."""
    found = list(exposed)
    return NodeFigures(
        containers(found, namespace), volumes(summary, namespace), machine(found, summary, time)
    )


def containers(exposed: Iterable[Exposed], namespace: str) -> Containers:
    """Return the figures of a namespace's containers.

    A container that was restarted is told twice for a while: the younger run counts.
    """
    runs: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for sample in exposed:
        labels = sample.labels
        name = labels.get("container", "")
        if sample.name not in CONTAINER or labels.get("namespace") != namespace:
            continue
        if name in ("", "POD"):
            continue
        run = runs.setdefault((labels.get("pod", ""), name), {})
        figures = run.setdefault(labels.get("id", ""), {})
        figures[sample.name] = figures.get(sample.name, 0.0) + sample.value
    return {key: max(run.values(), key=_started) for key, run in runs.items()}


def _started(figures: dict[str, float]) -> float:
    return figures.get(_START, 0.0)


def volumes(summary: Any, namespace: str) -> list[Sample]:
    """Return the figures of the volumes that pods of a namespace have claimed."""
    found = []
    for pod in records(summary, "pods"):
        if dig(pod, "podRef", "namespace") != namespace:
            continue
        for volume in records(pod, "volume"):
            claim = dig(volume, "pvcRef", "name")
            if not claim:
                continue
            labels = {
                "namespace": namespace, "pod": str(dig(pod, "podRef", "name") or ""),
                "persistentvolumeclaim": str(claim),
            }  # fmt: skip
            for name in ("capacity", "used", "available"):
                value = volume.get(f"{name}Bytes")
                if isinstance(value, int | float):
                    metric = f"kubelet_volume_stats_{name}_bytes"
                    found.append(Sample(metric, tuple(labels.items()), float(value)))
    return found


def machine(exposed: Iterable[Exposed], summary: Any, time: float) -> list[Sample]:
    """Return what is known of the machine itself."""
    own = {s.name: s.value for s in exposed if s.labels.get("id", "/") == "/"}
    found = [Sample(_PRESSURE[n], (), own[n]) for n in _PRESSURE if n in own]
    if "machine_memory_bytes" in own:
        found.append(Sample("node_memory_MemTotal_bytes", (), own["machine_memory_bytes"]))
    found += _summed(summary)
    if _START in own:
        found.append(Sample("node_boot_time_seconds", (), own[_START]))
    return found + _cpu(own, time)


def _cpu(own: dict[str, float], time: float) -> list[Sample]:
    """Return the time of each CPU by mode; cAdvisor knows the sum of all, so each has its part."""
    cores = round(own.get("machine_cpu_cores", 0.0))
    if not cores or not {_START, _USAGE, *_MODES} <= own.keys():
        return []
    modes = {mode: own[name] for name, mode in _MODES.items()}
    modes["idle"] = max(0.0, (time - own[_START]) * cores - own[_USAGE])
    return [
        Sample("node_cpu_seconds_total", (("cpu", str(core)), ("mode", mode)), seconds / cores)
        for core in range(cores)
        for mode, seconds in sorted(modes.items())
    ]


def _summed(summary: Any) -> list[Sample]:
    found = []
    for name, path in _SUMMARY.items():
        value = dig(summary, "node", *path)
        labels = _ROOT if name.startswith("node_filesystem_") else ()
        if isinstance(value, int | float):
            found.append(Sample(name, labels, float(value)))
    return found


def records(page: Any, *path: str) -> list[dict[str, Any]]:
    """Return the objects of a list in JSON that somebody else wrote; none if there is no list."""
    found = dig(page, *path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}
