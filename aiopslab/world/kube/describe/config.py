"""``kubectl describe`` of what surrounds pods: nodes, Services, configuration, storage, policy."""

from __future__ import annotations

import base64
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from aiopslab.world.kube import quantity
from aiopslab.world.kube.admission import quota_used, usage_of
from aiopslab.world.kube.describe.page import Page, head
from aiopslab.world.kube.describe.pods import when
from aiopslab.world.kube.describe.source import Source
from aiopslab.world.kube.describe.workloads import conditions
from aiopslab.world.kube.objects import Object, dig, name_of, namespace_of
from aiopslab.world.kube.selectors import format_selector
from aiopslab.world.kube.table.cells import NONE, age, join, labels, node_roles


def node(page: Page, obj: Object, api: Source, now: float) -> None:
    """Write a node with its pods and what they request."""
    spec, status = obj["spec"], obj.get("status") or {}
    page.field(0, "Name", name_of(obj))
    page.field(0, "Roles", node_roles(obj))
    page.mapping(0, "Labels", obj["metadata"].get("labels"))
    page.annotations(0, obj["metadata"].get("annotations"))
    page.field(0, "CreationTimestamp", when(obj["metadata"].get("creationTimestamp")))
    page.values(0, "Taints", map(_taint, spec.get("taints") or ()))
    page.field(0, "Unschedulable", str(bool(spec.get("unschedulable"))).lower())
    lease = api.find("Lease", name_of(obj), "kube-node-lease")
    page.line(0, "Lease:")
    page.field(1, "HolderIdentity", dig(lease, "spec", "holderIdentity", default="<unset>"))
    page.field(1, "RenewTime", when(dig(lease, "spec", "renewTime")))
    names = ("Type", "Status", "LastTransitionTime", "Reason", "Message")
    conditions(page, status.get("conditions"), names)
    page.line(0, "Addresses:")
    for address in status.get("addresses") or ():
        page.field(1, address.get("type", ""), address.get("address", ""))
    for key in ("capacity", "allocatable"):
        page.line(0, f"{key.capitalize()}:")
        for name, value in sorted((status.get(key) or {}).items()):
            page.field(1, name, value)
    page.line(0, "System Info:")
    for key, value in sorted((status.get("nodeInfo") or {}).items()):
        page.field(1, _spaced(key), value)
    _node_pods(page, obj, api, now)


def _taint(taint: Object) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"


def _spaced(key: str) -> str:
    """Print ``kubeletVersion`` as ``Kubelet Version``."""
    words = "".join(f" {c}" if c.isupper() else c for c in key)
    return words[0].upper() + words[1:]


def _node_pods(page: Page, obj: Object, api: Source, now: float) -> None:
    selector = f"spec.nodeName={name_of(obj)},status.phase!=Succeeded,status.phase!=Failed"
    pods = api.list("Pod", fields=selector)
    page.line(0, f"Non-terminated Pods:  ({len(pods)} in total)")
    columns = ("requests.cpu", "limits.cpu", "requests.memory", "limits.memory")
    capacity = dig(obj, "status", "allocatable", default={})
    rows = [["Namespace", "Name", "CPU Requests", "CPU Limits", "Memory Requests", "Memory Limits"]]
    rows[0].append("Age")
    total = dict.fromkeys(columns, Decimal(0))
    for pod in pods:
        used = usage_of(pod)
        amounts = []
        for column in columns:
            value = used.get(column, Decimal(0))
            total[column] += value
            amounts.append(_share(column, value, capacity))
        rows.append([namespace_of(pod), name_of(pod), *amounts, age(pod, now)])
    page.table(1, rows)
    page.line(0, "Allocated resources:")
    page.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)")
    summary = [["Resource", "Requests", "Limits"]]
    for name in ("cpu", "memory"):
        both = (f"requests.{name}", f"limits.{name}")
        summary.append([name, *(_share(column, total[column], capacity) for column in both)])
    page.table(1, summary)


def _share(column: str, value: Decimal, capacity: Object) -> str:
    """Print an amount and its whole percentage of the node."""
    whole = quantity.parse(capacity.get(column.rpartition(".")[2], 0))
    percent = int(value * 100 / whole) if whole else 0
    return f"{quantity.format_resource(column, value)} ({percent}%)"


def service(page: Page, obj: Object, api: Source, _now: float) -> None:
    """Write a Service with the ready endpoints of each port."""
    spec = obj["spec"]
    head(page, obj)
    page.field(0, "Selector", labels(spec.get("selector")))
    page.field(0, "Type", spec["type"])
    page.field(0, "IP Family Policy", spec.get("ipFamilyPolicy", NONE))
    page.field(0, "IP Families", join(spec.get("ipFamilies")))
    page.field(0, "IP", spec.get("clusterIP", ""))
    page.field(0, "IPs", join(spec.get("clusterIPs")))
    if spec["type"] == "ExternalName":
        page.field(0, "External Name", spec.get("externalName"))
    endpoints = api.find("Endpoints", name_of(obj), namespace_of(obj))
    for port in spec.get("ports") or ():
        name = port.get("name") or "<unset>"
        page.field(0, "Port", f"{name}  {port['port']}/{port['protocol']}")
        page.field(0, "TargetPort", f"{port.get('targetPort')}/{port['protocol']}")
        if port.get("nodePort"):
            page.field(0, "NodePort", f"{name}  {port['nodePort']}/{port['protocol']}")
        page.field(0, "Endpoints", _endpoints_of(endpoints, port.get("name")))
    page.field(0, "Session Affinity", spec.get("sessionAffinity", "None"))
    page.field(0, "Internal Traffic Policy", spec.get("internalTrafficPolicy", "Cluster"))


def _endpoints_of(endpoints: Object | None, port_name: str | None) -> str:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in (endpoints or {}).get("subsets") or ()
        for port in subset.get("ports") or ()
        if (port.get("name") or None) == (port_name or None)
        for address in subset.get("addresses") or ()
    ]
    return join(found, limit=3) if found else ""


def config_map(page: Page, obj: Object, _api: Source, _now: float) -> None:
    """Write a ConfigMap with its values."""
    head(page, obj)
    page.line(0, "")
    page.line(0, "Data")
    page.line(0, "====")
    for key, value in sorted((obj.get("data") or {}).items()):
        page.line(0, f"{key}:")
        page.line(0, "----")
        for text in value.split("\n"):
            page.line(0, text)
        page.line(0, "")


def secret(page: Page, obj: Object, _api: Source, _now: float) -> None:
    """Write a Secret: sizes of its values, never the values."""
    head(page, obj)
    page.line(0, "")
    page.field(0, "Type", obj.get("type", "Opaque"))
    page.line(0, "")
    page.line(0, "Data")
    page.line(0, "====")
    for key, value in sorted((obj.get("data") or {}).items()):
        page.field(0, key, f"{len(base64.b64decode(value))} bytes")


def claim(page: Page, obj: Object, api: Source, _now: float) -> None:
    """Write a PersistentVolumeClaim and who uses it."""
    spec, status = obj["spec"], obj.get("status") or {}
    page.field(0, "Name", name_of(obj))
    page.field(0, "Namespace", namespace_of(obj))
    page.field(0, "StorageClass", spec.get("storageClassName", ""))
    page.field(0, "Status", status.get("phase", "Pending"))
    page.field(0, "Volume", spec.get("volumeName", ""))
    page.mapping(0, "Labels", obj["metadata"].get("labels"))
    page.annotations(0, obj["metadata"].get("annotations"))
    page.field(0, "Capacity", dig(status, "capacity", "storage", default=""))
    page.field(0, "Access Modes", join(spec.get("accessModes")))
    page.field(0, "VolumeMode", spec.get("volumeMode", "Filesystem"))
    users = [
        name_of(pod)
        for pod in api.list("Pod", namespace_of(obj))
        if any(
            dig(v, "persistentVolumeClaim", "claimName") == name_of(obj)
            for v in pod["spec"].get("volumes", ())
        )
    ]
    page.values(0, "Used By", users)


def quota(page: Page, obj: Object, api: Source, _now: float) -> None:
    """Write a ResourceQuota with present usage."""
    page.field(0, "Name", name_of(obj))
    page.field(0, "Namespace", namespace_of(obj))
    hard = obj["spec"].get("hard") or {}
    used = quota_used(obj, api)
    rows = [["Resource", "Used", "Hard"]]
    page.table(0, [*rows, *([name, used[name], str(hard[name])] for name in sorted(hard))])


def limit_range(page: Page, obj: Object, _api: Source, _now: float) -> None:
    """Write a LimitRange."""
    page.field(0, "Name", name_of(obj))
    page.field(0, "Namespace", namespace_of(obj))
    parts = ("min", "max", "defaultRequest", "default")
    rows = [["Type", "Resource", "Min", "Max", "Default Request", "Default Limit"]]
    for item in obj["spec"].get("limits") or ():
        names = sorted({name for part in parts for name in item.get(part) or {}})
        for name in names:
            values = (str(dig(item, part, name, default="-")) for part in parts)
            rows.append([item["type"], name, *values])
    page.table(0, rows)


def network_policy(page: Page, obj: Object, _api: Source, _now: float) -> None:
    """Write a NetworkPolicy."""
    spec = obj["spec"]
    page.field(0, "Name", name_of(obj))
    page.field(0, "Namespace", namespace_of(obj))
    page.field(0, "Created on", when(obj["metadata"]["creationTimestamp"]))
    page.mapping(0, "Labels", obj["metadata"].get("labels"))
    page.annotations(0, obj["metadata"].get("annotations"))
    page.line(0, "Spec:")
    picked = format_selector(spec.get("podSelector"))
    everything = "<none> (Allowing the specific traffic to all pods in this namespace)"
    page.line(1, f"PodSelector: {everything if picked == NONE else picked}")
    types = spec.get("policyTypes") or ()
    for type_, peers, word in (("Ingress", "from", "From"), ("Egress", "to", "To")):
        if type_ not in types:
            page.line(1, f"Not affecting {type_.lower()} traffic")
            continue
        page.line(1, f"Allowing {type_.lower()} traffic:")
        _policy_rules(page, spec.get(type_.lower()) or (), peers, word)
    page.line(1, f"Policy Types: {', '.join(types)}")


def _policy_rules(page: Page, rules: Any, peers: str, word: str) -> None:
    if not rules:
        direction = "ingress" if word == "From" else "egress"
        page.line(2, f"<none> (Selected pods are isolated for {direction} connectivity)")
    for rule in rules:
        ports = rule.get("ports") or ()
        if not ports:
            page.line(2, "To Port: <any> (traffic allowed to all ports)")
        for port in ports:
            page.line(2, f"To Port: {port.get('port', '<any>')}/{port.get('protocol', 'TCP')}")
        if not rule.get(peers):
            page.line(2, f"{word}: <any> (traffic not restricted by destination)")
        for peer in rule.get(peers) or ():
            page.line(2, f"{word}:")
            if peer.get("ipBlock"):
                page.line(3, f"IPBlock: CIDR: {peer['ipBlock']['cidr']}")
            for key, title in (("namespaceSelector", "Namespace"), ("podSelector", "Pod")):
                if peer.get(key) is not None:
                    page.line(3, f"{title}Selector: {format_selector(peer[key])}")


DESCRIBED: dict[str, Callable[[Page, Object, Source, float], None]] = {
    "ConfigMap": config_map,
    "LimitRange": limit_range,
    "NetworkPolicy": network_policy,
    "Node": node,
    "PersistentVolumeClaim": claim,
    "ResourceQuota": quota,
    "Secret": secret,
    "Service": service,
}
