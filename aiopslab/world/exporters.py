"""What cAdvisor, the kubelet and node_exporter export: usage of containers, volumes and nodes.

Real are all figures that the world computes: CPU, throttling, memory, disks, pressure. Modelled is
the split of CPU time into user and system. Not here: objects' state (``kube_state``), what lies
under a node (``host_exporter``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.samples import Target
from aiopslab.world.container import Container
from aiopslab.world.host_exporter import HostFigures
from aiopslab.world.kube.objects import Object, dig
from aiopslab.world.node import Node

_PERIOD_US = 100_000
_SYSTEM_SHARE = 0.18
"""Part of busy CPU time that is reported as system; the rest is user."""


class _Columns:
    """Columns of one container or node, found once."""

    __slots__ = ("_columns", "_labels", "_target")

    def __init__(self, target: Target, labels: dict[str, str]) -> None:
        self._target = target
        self._labels = labels
        self._columns: dict[tuple[str, Labels], int] = {}

    def add(self, out: dict[int, float], name: str, value: float, extra: Labels = ()) -> None:
        """Put a value into a round."""
        column = self._columns.get((name, extra))
        if column is None:
            pairs = tuple(sorted({**self._labels, **dict(extra)}.items()))
            column = self._columns[name, extra] = self._target.column(name, pairs)
        out[column] = value


class Cadvisor:
    """Containers and volumes of one node.

    Args:
        target: The target ``job="kubelet"`` of the node.
        node: The node's name.
    """

    def __init__(self, target: Target, node: str) -> None:
        self._target = target
        self._node = node
        self._known: dict[tuple[str, str, str], _Columns] = {}

    def fail(self, time: float) -> None:
        """Record that the kubelet did not answer."""
        self._target.fail(time)

    def scrape(self, time: float, boxes: Iterable[tuple[Object, Container]]) -> None:
        """Record the usage of the containers that run (pod object, container)."""
        out: dict[int, float] = {}
        seen: dict[tuple[str, str, str], _Columns] = {}
        for pod, box in boxes:
            if box.exit is not None:
                continue
            key = (box.pod.namespace, box.pod.name, box.name)
            columns = self._known.get(key)
            if columns is None:
                namespace, name, container = key
                columns = _Columns(
                    self._target,
                    {
                        "namespace": namespace, "pod": name, "container": container,
                        "image": box.image_ref, "node": self._node,
                    },
                )  # fmt: skip
            seen[key] = columns
            _container(out, columns, box)
            _volumes(out, columns, pod, box)
        self._known = seen
        self._target.write(time, list(out), list(out.values()))


def _container(out: dict[int, float], columns: _Columns, box: Container) -> None:
    cpu, memory, add = box.cpu, box.memory, columns.add
    add(out, "container_cpu_usage_seconds_total", cpu.usage_seconds)
    add(out, "container_cpu_cfs_periods_total", cpu.periods)
    add(out, "container_cpu_cfs_throttled_periods_total", cpu.throttled_periods)
    add(out, "container_cpu_cfs_throttled_seconds_total", cpu.throttled_seconds)
    add(out, "container_memory_working_set_bytes", memory.working_set)
    add(out, "container_memory_rss", memory.working_set)
    add(out, "container_start_time_seconds", box.started_at)
    add(out, "container_spec_cpu_period", _PERIOD_US)
    if cpu.limit is not None:
        add(out, "container_spec_cpu_quota", cpu.limit * _PERIOD_US)
    # cAdvisor reports 0 where there is no limit.
    add(out, "container_spec_memory_limit_bytes", memory.limit or 0.0)


def _volumes(out: dict[int, float], columns: _Columns, pod: Object, box: Container) -> None:
    if not box.volumes:
        return
    claims = {
        volume["name"]: claim
        for volume in dig(pod, "spec", "volumes") or ()
        if (claim := dig(volume, "persistentVolumeClaim", "claimName"))
    }
    for container in dig(pod, "spec", "containers") or ():
        if container["name"] != box.name:
            continue
        for mount in container.get("volumeMounts") or ():
            claim, volume = claims.get(mount["name"]), box.volumes.get(mount["mountPath"])
            if claim and volume is not None:
                # The kubelet's own metric knows the claim, not the container.
                extra = (("container", ""), ("image", ""), ("persistentvolumeclaim", claim))
                for name, value in (
                    ("capacity", volume.capacity),
                    ("used", volume.used),
                    ("available", volume.available),
                ):
                    columns.add(out, f"kubelet_volume_stats_{name}_bytes", value, extra)


class NodeExporter:
    """One node.

    Args:
        target: The target ``job="node-exporter"`` of the node.
        node: The machine.
    """

    def __init__(self, target: Target, node: Node) -> None:
        self._target = target
        self._node = node
        self._columns = _Columns(target, {"node": node.name})
        self._host = HostFigures(node, self._columns.add)
        self._loads = {1: 0.0, 5: 0.0, 15: 0.0}
        self._loaded_at = node.booted_at

    def scrape(self, time: float) -> None:
        """Record the figures of now, or that the machine does not answer."""
        out: dict[int, float] = {}
        node = self._node
        if not node.powered:
            self._target.fail(time)
            return
        self._cpu(out, time)
        self._host.put(out, time)

        def add(name: str, value: float) -> None:
            self._columns.add(out, name, value)

        add("node_pressure_cpu_waiting_seconds_total", node.cpu.pressure_seconds)
        add("node_boot_time_seconds", node.booted_at)
        add("node_time_seconds", time + node.clock.ahead_s)
        add("node_netstat_Tcp_RetransSegs", node.retransmitted())
        add("node_memory_MemTotal_bytes", node.memory.capacity)
        add("node_memory_MemAvailable_bytes", max(0, node.memory.available))
        root = (("device", "/dev/vda1"), ("fstype", "ext4"), ("mountpoint", "/"))
        self._columns.add(out, "node_filesystem_size_bytes", node.disk.capacity, root)
        self._columns.add(out, "node_filesystem_avail_bytes", node.disk.available, root)
        self._columns.add(out, "node_filesystem_free_bytes", node.disk.available, root)
        self._load(time)
        for minutes, load in self._loads.items():
            add(f"node_load{minutes}", load)
        self._target.write(time, list(out), list(out.values()))

    def _cpu(self, out: dict[int, float], time: float) -> None:
        node = self._node
        spent = node.cpu.spent
        used, stolen, waited = spent.used, spent.stolen, spent.stalled
        there = (time - node.booted_at) * node.cores - spent.offline
        modes = {
            "idle": max(0.0, there - used - stolen - waited), "iowait": waited, "steal": stolen,
            "system": used * _SYSTEM_SHARE, "user": used * (1.0 - _SYSTEM_SHARE),
        }  # fmt: skip
        # The world's cores are alike: each has the same part.
        count = max(1, round(node.cores))
        for core in range(count):
            for mode, seconds in modes.items():
                labels = (("cpu", str(core)), ("mode", mode))
                self._columns.add(out, "node_cpu_seconds_total", seconds / count, labels)

    def _load(self, time: float) -> None:
        """Average the run queue as the kernel does, with exponential decay."""
        elapsed, self._loaded_at = time - self._loaded_at, time
        for minutes, load in self._loads.items():
            decay = math.exp(-elapsed / (60.0 * minutes))
            self._loads[minutes] = load * decay + self._node.cpu.runnable * (1.0 - decay)
