"""The data plane's programmer: what kube-proxy, CoreDNS and a network plugin do with objects.

Reads Services, EndpointSlices and NetworkPolicies; writes the network's tables and names. Like
the real ones it reacts a moment after the objects changed, so that traffic can reach a pod that
has just gone. Connections that exist are not touched.
"""

from __future__ import annotations

from collections.abc import Iterator

from aiopslab.world.kube.controllers.base import Controller, Surroundings
from aiopslab.world.kube.controllers.endpoints import SERVICE_LABEL, is_headless
from aiopslab.world.kube.controllers.queue import Key
from aiopslab.world.kube.objects import Object, deleting, labels_of, name_of, namespace_of
from aiopslab.world.network import Network

DOMAIN = "svc.cluster.local"
_POLICIES: Key = ("", "network-policies")
_NAMESPACES: Key = ("", "namespaces")


class ServiceProxy(Controller):
    """Programs the network from Services, EndpointSlices and NetworkPolicies."""

    name = "kube-proxy"

    def __init__(self, around: Surroundings, network: Network) -> None:
        super().__init__(around)
        self._network = network
        self._names: dict[Key, dict[str, list[str]]] = {}
        self._tables: dict[Key, dict[tuple[str, int], list[tuple[str, int]]]] = {}

    def watch(self) -> None:
        """Follow Services, their slices and the policies."""
        self.follow_own("Service")
        self.follow("EndpointSlice", self._service_of)
        self.follow("NetworkPolicy", lambda _: [_POLICIES])
        self.follow("Namespace", lambda _: [_NAMESPACES])

    def _service_of(self, endpoint_slice: Object) -> list[Key]:
        service = labels_of(endpoint_slice).get(SERVICE_LABEL)
        return [(namespace_of(endpoint_slice), service)] if service else []

    def reconcile(self, namespace: str, name: str) -> None:
        if (namespace, name) == _POLICIES:
            self._network.set_policies(list(self.api.list("NetworkPolicy")))
            return
        if (namespace, name) == _NAMESPACES:
            spaces = {name_of(item): labels_of(item) for item in self.api.list("Namespace")}
            self._network.set_namespaces(spaces)
            return
        service = self.find("Service", name, namespace)
        slices = self.api.list("EndpointSlice", namespace, labels=f"{SERVICE_LABEL}={name}")
        tables: dict[tuple[str, int], list[tuple[str, int]]] = {}
        names: dict[str, list[str]] = {}
        if service is not None and not deleting(service):
            tables, names = _tables(service, slices), _names(service, slices)
        self._program((namespace, name), tables)
        self._publish((namespace, name), names)

    def _program(self, key: Key, tables: dict[tuple[str, int], list[tuple[str, int]]]) -> None:
        before = self._tables.pop(key, {})
        if {vip for vip, _ in before} - {vip for vip, _ in tables} or before.keys() - tables.keys():
            for vip in sorted({vip for vip, _ in before}):
                self._network.remove_service(vip)
            before = {}
        for (vip, port), endpoints in sorted(tables.items()):
            if before.get((vip, port)) != endpoints:
                self._network.program_service(vip, port, endpoints)
        if tables:
            self._tables[key] = tables

    def _publish(self, key: Key, names: dict[str, list[str]]) -> None:
        before = self._names.pop(key, {})
        for fqdn in sorted(before.keys() - names.keys()):
            self._network.dns.withdraw(fqdn)
        for fqdn, ips in sorted(names.items()):
            if before.get(fqdn) != ips:
                self._network.dns.publish(fqdn, ips)
        if names:
            self._names[key] = names


def _usable(slices: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Yield (slice, endpoint) that take traffic; terminating ones only if nobody else serves."""
    pairs = [(item, endpoint) for item in slices for endpoint in item.get("endpoints") or ()]
    ready = [pair for pair in pairs if pair[1].get("conditions", {}).get("ready", True)]
    if ready:
        yield from ready
        return
    for item, endpoint in pairs:
        conditions = endpoint.get("conditions", {})
        if conditions.get("serving") and conditions.get("terminating"):
            yield item, endpoint


def _tables(service: Object, slices: list[Object]) -> dict[tuple[str, int], list[tuple[str, int]]]:
    vip = service["spec"].get("clusterIP")
    if not vip or is_headless(service):
        return {}
    usable = list(_usable(slices))
    tables: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for port in service["spec"].get("ports") or ():
        tables[vip, int(port["port"])] = sorted(
            (address, int(target["port"]))
            for item, endpoint in usable
            for target in item.get("ports") or ()
            if target.get("name", "") == port.get("name", "") and "port" in target
            for address in endpoint["addresses"]
        )
    return tables


def _names(service: Object, slices: list[Object]) -> dict[str, list[str]]:
    fqdn = f"{name_of(service)}.{namespace_of(service)}.{DOMAIN}"
    vip = service["spec"].get("clusterIP")
    if not is_headless(service):
        return {fqdn: [vip]} if vip else {}
    ready = [
        endpoint
        for item in slices
        for endpoint in item.get("endpoints") or ()
        if endpoint.get("conditions", {}).get("ready", True)
    ]
    addresses = sorted({address for endpoint in ready for address in endpoint["addresses"]})
    names = {fqdn: addresses} if addresses else {}
    for endpoint in ready:
        if endpoint.get("hostname"):
            names[f"{endpoint['hostname']}.{fqdn}"] = list(endpoint["addresses"])
    return names
