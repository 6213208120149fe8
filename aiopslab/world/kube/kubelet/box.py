"""From a pod's container spec to a ``world.container.Container``: what the runtime is told.

Not here: resolving references (``kubelet.config``), when this happens (``kubelet.container``).
"""

from __future__ import annotations

from collections.abc import Mapping

from aiopslab.world.container import Container, ContainerSpec, PodIdentity
from aiopslab.world.kube.kubelet import config as kubelet_config
from aiopslab.world.kube.kubelet.config import Mounts
from aiopslab.world.kube.kubelet.runtime import Runtime
from aiopslab.world.kube.objects import Object, dig, labels_of, name_of, namespace_of, uid_of
from aiopslab.world.kube.quantity import amount
from aiopslab.world.kube.validation.podspec import requests_of
from aiopslab.world.netns import Netns

_NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
COMPONENT_LABELS = ("app.kubernetes.io/name", "app", "k8s-app", "job-name")


def component_of(pod: Object) -> str:
    """Name the component a pod belongs to, for network and telemetry: its label, else its name."""
    labels = labels_of(pod)
    return next((labels[key] for key in COMPONENT_LABELS if labels.get(key)), name_of(pod))


def identity(pod: Object, ip: str) -> PodIdentity:
    """Describe a pod to its containers."""
    return PodIdentity(
        name=name_of(pod),
        namespace=namespace_of(pod),
        uid=uid_of(pod),
        ip=ip,
        labels=dict(labels_of(pod)),
        component=component_of(pod),
        node_name=str(pod["spec"].get("nodeName") or ""),
    )


def build_box(
    runtime: Runtime,
    pod: Object,
    spec: Object,
    *,
    env: Mapping[str, str],
    netns: Netns,
    mounts: Mounts,
) -> Container:
    """Create a container, ready to be started."""
    requests = requests_of(spec)
    limits: Object = dig(spec, "resources", "limits", default={})
    automount = pod["spec"].get("automountServiceAccountToken", True)
    files = {**({_NAMESPACE_FILE: namespace_of(pod)} if automount else {}), **mounts.files}
    return Container(
        ContainerSpec(
            name=str(spec["name"]),
            image_ref=str(spec["image"]),
            env=dict(env),
            files=files,
            command=kubelet_config.arguments(spec.get("command"), env),
            args=kubelet_config.arguments(spec.get("args"), env),
            volumes=dict(mounts.volumes),
            cpu_request=requests.get("cpu", 0.0),
            cpu_limit=amount(limits["cpu"]) if "cpu" in limits else None,
            memory_request=int(requests.get("memory", 0.0)),
            memory_limit=int(amount(limits["memory"])) if "memory" in limits else None,
        ),
        identity(pod, netns.ip),
        node=runtime.node,
        netns=netns,
        streams=runtime.streams,
        store=runtime.store,
        shell=runtime.shell,
    )
