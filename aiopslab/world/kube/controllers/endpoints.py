"""The Endpoints and EndpointSlice controllers: which pods stand behind a Service.

One slice a Service (they hold 100 endpoints; more are split). Not here: what the network does
with them (``serviceproxy``).
"""

from __future__ import annotations

from aiopslab.world.kube import selectors
from aiopslab.world.kube.controllers.base import Controller
from aiopslab.world.kube.controllers.queue import Key
from aiopslab.world.kube.objects import (
    Object,
    annotations_of,
    controller_of,
    deleting,
    dig,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
)
from aiopslab.world.kube.validation.podspec import content_hash, is_finished, is_ready, named_port

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
PER_SLICE = 100


def has_selector(service: Object) -> bool:
    """Services without a selector have endpoints that people write."""
    return bool(service["spec"].get("selector"))


def is_headless(service: Object) -> bool:
    """No virtual address: the name resolves to the pods."""
    return bool(service["spec"].get("clusterIP") == "None")


class _Follower(Controller):
    """What both controllers react to: Services, and pods a Service selects or selected."""

    def watch(self) -> None:
        self.follow_own("Service")
        self.follow("Pod", self._services_of)

    def _services_of(self, pod: Object) -> list[Key]:
        labels = labels_of(pod)
        return [
            (namespace_of(service), name_of(service))
            for service in self.api.list("Service", namespace_of(pod))
            if has_selector(service) and service["spec"]["selector"].items() <= labels.items()
        ]

    def selected(self, service: Object) -> list[Object]:
        """List the pods of a Service that have an address and have not finished, by name."""
        wanted = selectors.from_labels(service["spec"]["selector"])
        pods = [
            pod
            for pod in self.api.list("Pod", namespace_of(service))
            if dig(pod, "status", "podIP")
            and not is_finished(pod)
            and selectors.matches(wanted, labels_of(pod))
        ]
        return sorted(pods, key=name_of)


def _ports(service: Object, pod: Object) -> tuple[tuple[str, int, str], ...]:
    """Resolve (name, target port, protocol) of a Service for one pod."""
    found = []
    for port in service["spec"].get("ports") or ():
        number = named_port(pod["spec"], port.get("targetPort", port["port"]))
        if number is not None:
            found.append((port.get("name", ""), number, port.get("protocol", "TCP")))
    return tuple(found)


def _port_objects(ports: tuple[tuple[str, int, str], ...]) -> list[Object]:
    return [
        {**({"name": name} if name else {}), "port": number, "protocol": protocol}
        for name, number, protocol in ports
    ]


def _target(pod: Object) -> Object:
    return {
        "kind": "Pod",
        "name": name_of(pod),
        "namespace": namespace_of(pod),
        "uid": uid_of(pod),
    }


class EndpointsController(_Follower):
    """Writes the Endpoints object of each Service with a selector."""

    name = "endpoint-controller"

    def reconcile(self, namespace: str, name: str) -> None:
        service = self.find("Service", name, namespace)
        current = self.find("Endpoints", name, namespace)
        if service is None:
            if current is not None and "endpoints.kubernetes.io/service" in annotations_of(current):
                self.api.delete("Endpoints", name, namespace, actor=self.actor)
            return
        if not has_selector(service) or deleting(service):
            return
        subsets = self._subsets(service)
        labels = {**labels_of(service), "endpoints.kubernetes.io/managed-by": self.name}
        if is_headless(service):
            labels["service.kubernetes.io/headless"] = ""
        wanted = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": labels,
                "annotations": {"endpoints.kubernetes.io/service": name},
            },
            **({"subsets": subsets} if subsets else {}),
        }
        if current is None:
            self.api.create(wanted, actor=self.actor)
        elif current.get("subsets", []) != subsets:
            self.api.replace({**wanted, "metadata": current["metadata"]}, actor=self.actor)

    def _subsets(self, service: Object) -> list[Object]:
        everyone = bool(service["spec"].get("publishNotReadyAddresses"))
        groups: dict[tuple[tuple[str, int, str], ...], tuple[list[Object], list[Object]]] = {}
        for pod in self.selected(service):
            ports = _ports(service, pod)
            if (not ports and service["spec"].get("ports")) or (deleting(pod) and not everyone):
                continue
            ready, unready = groups.setdefault(ports, ([], []))
            side = ready if everyone or is_ready(pod) else unready
            side.append(_address(pod, service))
        subsets = []
        for ports, (ready, unready) in sorted(groups.items()):
            subset: Object = {}
            if ready:
                subset["addresses"] = ready
            if unready:
                subset["notReadyAddresses"] = unready
            subsets.append({**subset, **({"ports": _port_objects(ports)} if ports else {})})
        return subsets


def _hostname(pod: Object, service: Object) -> dict[str, str]:
    spec = pod["spec"]
    if spec.get("hostname") and spec.get("subdomain") == name_of(service):
        return {"hostname": spec["hostname"]}
    return {}


def _address(pod: Object, service: Object) -> Object:
    return {
        "ip": pod["status"]["podIP"],
        **_hostname(pod, service),
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": _target(pod),
    }


class EndpointSliceController(_Follower):
    """Writes the EndpointSlices of each Service with a selector."""

    name = "endpointslice-controller"

    def reconcile(self, namespace: str, name: str) -> None:
        service = self.find("Service", name, namespace)
        current = {
            name_of(item): item
            for item in self.api.list("EndpointSlice", namespace, labels=f"{SERVICE_LABEL}={name}")
            if labels_of(item).get(MANAGED_BY) == self.actor_label
        }
        alive = service is not None and not deleting(service) and has_selector(service)
        wanted = self._slices(service) if service is not None and alive else []
        for item in wanted:
            self._write(current.pop(name_of(item), None), item)
        for leftover in sorted(current):
            self.api.delete("EndpointSlice", leftover, namespace, actor=self.actor)

    actor_label = "endpointslice-controller.k8s.io"

    def _write(self, old: Object | None, new: Object) -> None:
        if old is None:
            self.api.create(new, actor=self.actor)
        elif any(old.get(part, []) != new.get(part, []) for part in ("endpoints", "ports")):
            self.api.replace({**new, "metadata": old["metadata"]}, actor=self.actor)

    def _slices(self, service: Object) -> list[Object]:
        groups: dict[tuple[tuple[str, int, str], ...], list[Object]] = {}
        for pod in self.selected(service):
            ports = _ports(service, pod)
            if ports or not service["spec"].get("ports"):
                groups.setdefault(ports, []).append(_endpoint(pod, service))
        if not groups:
            groups[()] = []  # an empty slice says: selected, and nobody is there
        result: list[Object] = []
        for ports, endpoints in sorted(groups.items()):
            for start in range(0, max(len(endpoints), 1), PER_SLICE):
                part = endpoints[start : start + PER_SLICE]
                result.append(self._slice(service, ports, part, index=len(result)))
        return result

    def _slice(
        self,
        service: Object,
        ports: tuple[tuple[str, int, str], ...],
        endpoints: list[Object],
        *,
        index: int,
    ) -> Object:
        suffix = content_hash([uid_of(service), index], length=5)
        labels = {
            **labels_of(service),
            SERVICE_LABEL: name_of(service),
            MANAGED_BY: self.actor_label,
        }
        if is_headless(service):
            labels["service.kubernetes.io/headless"] = ""
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name_of(service)}-{suffix}",
                "namespace": namespace_of(service),
                "labels": labels,
                "ownerReferences": [owner_reference(service)],
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": _port_objects(ports),
        }


def _endpoint(pod: Object, service: Object) -> Object:
    everyone = bool(service["spec"].get("publishNotReadyAddresses"))
    serving, going = is_ready(pod), deleting(pod)
    owner = controller_of(pod)
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": everyone or (serving and not going),
            "serving": everyone or serving,
            "terminating": going,
        },
        **(_hostname(pod, service) if owner is not None else {}),
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": _target(pod),
    }
