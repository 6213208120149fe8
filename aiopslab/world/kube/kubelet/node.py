"""The Node object as its kubelet keeps it: capacity, conditions, the lease.

Not here: what others make of a silent node (``controllers.node_lifecycle``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from aiopslab.models.timestamps import rfc3339
from aiopslab.world.kube.kubelet.runtime import Runtime
from aiopslab.world.kube.objects import Object, clone, set_condition

LEASE_NAMESPACE = "kube-node-lease"
RENEW_S = 10.0
"""Renewal period of the lease."""
REPORT_S = 300.0
"""The status is written this often even if nothing changed (nodeStatusReportFrequency)."""
SYSTEM_CPU = 0.1
"""Cores that are kept from pods for system and kubelet."""
SYSTEM_MEMORY = 512 * 2**20
"""Bytes that are kept from pods."""
MAX_PODS = 110
VERSION = "v1.34.2"


class NodeReporter:
    """Registers a node and keeps its status and lease fresh.

    Args:
        runtime: The kubelet's surroundings.
        pod_cidr: The pod network of this node.
        on_beat: Called after each heartbeat.
    """

    def __init__(self, runtime: Runtime, *, pod_cidr: str, on_beat: Callable[[], None]) -> None:
        self._on_beat = on_beat
        self._runtime = runtime
        self._pod_cidr = pod_cidr
        self._reported = float("-inf")

    def register(self) -> None:
        """Create the Node and its lease unless they exist."""
        runtime, node = self._runtime, self._runtime.node
        if runtime.api.find("Node", node.name) is None:
            runtime.api.create(self._node(), actor=runtime.actor)
        if runtime.api.find("Namespace", LEASE_NAMESPACE) is None:
            namespace = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": LEASE_NAMESPACE},
            }
            runtime.api.create(namespace, actor=runtime.actor)
        self._beat()

    def start(self) -> None:
        """Send heartbeats from now on."""
        self._again(self._runtime.draw.uniform(0.0, RENEW_S))

    def _again(self, delay_s: float) -> None:
        self._runtime.loop.call_later(delay_s, self._due)

    def _due(self) -> None:
        if not self._runtime.silent:
            self._beat()
            self._on_beat()
        self._again(RENEW_S)

    def _beat(self) -> None:
        self._renew()
        node = self._runtime.api.get("Node", self._runtime.node.name)
        status = self._status(node)
        due = self._runtime.now() - self._reported >= REPORT_S
        if due or _facts(status) != _facts(node.get("status") or {}):
            self._reported = self._runtime.now()
            self._runtime.api.update_status(
                "Node", self._runtime.node.name, None, status, actor=self._runtime.actor
            )

    def _renew(self) -> None:
        runtime, name = self._runtime, self._runtime.node.name
        lease = runtime.api.find("Lease", name, LEASE_NAMESPACE)
        renewed = rfc3339(runtime.now()).replace("Z", ".000000Z")
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renewed}
        if lease is None:
            created = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "namespace": LEASE_NAMESPACE},
                "spec": spec,
            }
            runtime.api.create(created, actor=runtime.actor)
        else:
            runtime.api.replace({**lease, "spec": spec}, actor=runtime.actor)

    # -- the object -------------------------------------------------------------------------------

    def _node(self) -> Object:
        node = self._runtime.node
        spec: Object = {"podCIDR": self._pod_cidr, "podCIDRs": [self._pod_cidr]}
        if node.taints:
            spec["taints"] = [
                {"key": key, "value": value, "effect": "NoSchedule"}
                for key, value in sorted(node.taints.items())
            ]
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": node.name, "labels": dict(node.labels)},
            "spec": spec,
            "status": self._fixed(),
        }

    def _fixed(self) -> Object:
        node = self._runtime.node
        identity = hashlib.sha256(node.name.encode()).hexdigest()
        memory = node.memory.capacity
        disk = f"{node.disk.capacity // 1024}Ki"
        common = {"ephemeral-storage": disk, "pods": str(MAX_PODS)}
        return {
            "capacity": {"cpu": f"{node.cores:g}", "memory": f"{memory // 1024}Ki", **common},
            "allocatable": {
                "cpu": f"{round((node.cores - SYSTEM_CPU) * 1000)}m",
                "memory": f"{(memory - SYSTEM_MEMORY) // 1024}Ki",
                **common,
            },
            "addresses": [
                {"type": "InternalIP", "address": node.ip},
                {"type": "Hostname", "address": node.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "machineID": identity[:32],
                "systemUUID": f"{identity[:8]}-{identity[8:12]}-{identity[12:16]}-"
                f"{identity[16:20]}-{identity[20:32]}",
                "bootID": f"{identity[32:40]}-{identity[40:44]}-{identity[44:48]}-"
                f"{identity[48:52]}-{identity[52:64]}",
                "kernelVersion": "6.8.0-87-generic",
                "osImage": "Ubuntu 24.04.3 LTS",
                "containerRuntimeVersion": "containerd://2.1.4",
                "kubeletVersion": VERSION,
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        }

    def _status(self, node: Object) -> Object:
        now = rfc3339(self._runtime.now())
        status = {**clone(node.get("status") or {}), **self._fixed()}
        disk = self._runtime.node.disk
        full = disk.capacity > 0 and disk.used / disk.capacity > 0.9
        conditions: list[Object] = status.get("conditions") or []
        for kind, holds, good, bad in (
            ("MemoryPressure", self._runtime.node.memory.pressure,
             ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
             ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available")),
            ("DiskPressure", full,
             ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
             ("KubeletHasDiskPressure", "kubelet has disk pressure")),
            ("PIDPressure", False,
             ("KubeletHasSufficientPID", "kubelet has sufficient PID available"), ("", "")),
        ):  # fmt: skip
            reason, message = bad if holds else good
            item = {
                "type": kind, "status": str(holds), "reason": reason, "message": message,
                "lastHeartbeatTime": now,
            }  # fmt: skip
            conditions = set_condition(conditions, item, now)
        ready = {
            "type": "Ready", "status": "True", "reason": "KubeletReady",
            "message": "kubelet is posting ready status", "lastHeartbeatTime": now,
        }  # fmt: skip
        status["conditions"] = set_condition(conditions, ready, now)
        return status


def _facts(status: Object) -> Object:
    """Return a status without the times that move with every heartbeat."""
    moving = ("lastHeartbeatTime", "lastTransitionTime")
    conditions = [
        {key: value for key, value in item.items() if key not in moving}
        for item in status.get("conditions") or ()
    ]
    return {**status, "conditions": conditions}
