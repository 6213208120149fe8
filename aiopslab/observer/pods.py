"""Which pod a name stands for: what telemetry calls its service, its namespace, node, containers.

A sender says its service and its pod; the rest is looked up, as a collector does it. Not here:
keeping the pods (``mirror``).
"""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from aiopslab.models.kube import Object
from aiopslab.observer.mirror import Mirror
from aiopslab.telemetry.otlp.values import Sender
from aiopslab.world.kube.kubelet.box import component_of
from aiopslab.world.kube.objects import dig, name_of

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Pods:
    """The pods of one app.

    Args:
        mirror: Keeps them.
        namespace: The app's.
    """

    def __init__(self, mirror: Mirror, namespace: str) -> None:
        self._mirror = mirror
        self.namespace = namespace

    def all(self) -> list[Object]:
        """Return every pod."""
        return self._mirror.list("Pod", self.namespace)

    def find(self, name: str) -> Object | None:
        """Return a pod; None if it is gone, or not known yet."""
        return self._mirror.find("Pod", name, self.namespace)

    def sender(self, resource: Resource) -> Sender:
        """Say who sent a batch, by what the batch says and what is known of the pod."""
        said = Sender.of(resource)
        pod = self.find(said.pod)
        if pod is None:
            return Sender(
                service=said.service, namespace=self.namespace, pod=said.pod,
                container=said.container or said.service, node=said.node, instance=said.instance,
            )  # fmt: skip
        return Sender(
            service=component_of(pod),
            namespace=self.namespace,
            pod=said.pod,
            container=said.container or _container(pod, said.service),
            node=str(dig(pod, "spec", "nodeName") or ""),
            instance=said.instance,
        )

    def image(self, pod: str, container: str) -> str:
        """Return the image a container was told to run; empty if the pod is not known."""
        found = self.find(pod)
        specs = containers(found) if found is not None else []
        return next((str(c.get("image") or "") for c in specs if c["name"] == container), "")

    def sends(self, spec: Object) -> bool:
        """Whether a container was told where to send its telemetry."""
        if any(item.get("name") == ENDPOINT for item in spec.get("env") or ()):
            return True
        return any(ENDPOINT in data for data in self._settings(spec))

    def _settings(self, spec: Object) -> Iterator[Object]:
        for source in spec.get("envFrom") or ():
            name = dig(source, "configMapRef", "name")
            found = self._mirror.find("ConfigMap", name, self.namespace) if name else None
            if found is not None:
                yield found.get("data") or {}


def containers(pod: Object) -> list[Object]:
    """Return the specs of a pod's containers."""
    found: list[Object] = dig(pod, "spec", "containers") or []
    return found


def statuses(pod: Object) -> list[Object]:
    """Return what is reported of a pod's containers."""
    found: list[Object] = dig(pod, "status", "containerStatuses") or []
    return found


def running_since(pod: Object, container: str) -> str:
    """Return when a container's present run began, RFC 3339; empty if it does not run."""
    for status in statuses(pod):
        if status.get("name") == container:
            return str(dig(status, "state", "running", "startedAt") or "")
    return ""


def label(pod: Object) -> str:
    """Return what to call a pod in a log."""
    return f"{component_of(pod)} {name_of(pod)}"


def _container(pod: Object, service: str) -> str:
    names = [str(spec["name"]) for spec in containers(pod)]
    return service if service in names or not names else names[0]
