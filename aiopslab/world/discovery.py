"""What Prometheus would find to scrape among pods: every container with a port is a target.

Pods say by annotation whether they are scraped and where; a pod on no node yet, or that has ended,
is no target. Not here: scraping (``scrape``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aiopslab.world.kube.kubelet.box import component_of
from aiopslab.world.kube.objects import (
    Object,
    annotations_of,
    dig,
    name_of,
    namespace_of,
    uid_of,
)

SCRAPE, PORT = "prometheus.io/scrape", "prometheus.io/port"
"""Annotations of a pod that discovery heeds: whether to scrape it, and on which port."""


@dataclass(frozen=True, slots=True)
class Found:
    """One container to scrape."""

    pod: Object
    spec: Object
    """The container's, in the pod."""

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all others: uid of the pod, name of the container."""
        return uid_of(self.pod), self.spec["name"]

    @property
    def exports(self) -> bool:
        """Whether metrics are served where the pod's annotation says."""
        port = annotations_of(self.pod).get(PORT)
        return port is None or port in {str(p["containerPort"]) for p in self.spec["ports"]}

    def labels(self) -> dict[str, str]:
        """Return the labels that every series of it has."""
        component = component_of(self.pod)
        port = self.spec["ports"][0]["containerPort"]
        return {
            "job": component,
            "service": component,
            "namespace": namespace_of(self.pod),
            "pod": name_of(self.pod),
            "node": dig(self.pod, "spec", "nodeName"),
            "instance": f"{name_of(self.pod)}:{port}",
        }


def discover(pods: Iterable[Object]) -> Iterator[Found]:
    """Iterate over what is to be scraped, in the order of pods and containers."""
    for pod in pods:
        if not dig(pod, "spec", "nodeName") or _finished(pod):
            continue
        if annotations_of(pod).get(SCRAPE) == "false":
            continue
        for spec in pod["spec"]["containers"]:
            # Without a port nothing listens: discovery has no address for it.
            if spec.get("ports"):
                yield Found(pod, spec)


def job_labels(job: str, instance: str) -> dict[str, str]:
    """Return the labels of a target that is no pod of the app."""
    return {"job": job, "instance": instance}


def kube_state_labels() -> dict[str, str]:
    """Return the labels of the one target that tells the state of objects."""
    return job_labels("kube-state-metrics", "kube-state:8080")


def kubelet_labels(node: str) -> dict[str, str]:
    """Return the labels of the target that tells what containers of a node use."""
    return job_labels("kubelet", f"{node}:10250")


def machine_labels(node: str) -> dict[str, str]:
    """Return the labels of the target that tells what a node itself uses."""
    return job_labels("node-exporter", f"{node}:9100")


def _finished(pod: Object) -> bool:
    return dig(pod, "status", "phase") in ("Succeeded", "Failed")
