"""What the API server allocates for a Service: its address and its node ports.

Numbers are drawn from a seeded stream and checked against the Services that exist, so nothing is
kept that could drift. Neighbours: ``admission`` (what else is filled in), ``api`` (who asks).
"""

from __future__ import annotations

import ipaddress
import random

from aiopslab.models.kube import KubeError
from aiopslab.world.kube.errors import Cause, invalid
from aiopslab.world.kube.kinds import BY_KIND
from aiopslab.world.kube.objects import Object, name_of, namespace_of
from aiopslab.world.kube.store import ObjectStore

SERVICE_NETWORK = ipaddress.ip_network("198.18.0.0/20")
_RESERVED = 16
"""First addresses of the service network, kept for the cluster's own (DNS is .10)."""
NODE_PORTS = range(30000, 32768)


def allocate_service(service: Object, store: ObjectStore, stream: random.Random) -> None:
    """Give a Service its cluster IP and node ports.

    Raises:
        KubeError: 422, the address asked for is taken or outside the network.
    """
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        return
    me = (namespace_of(service), name_of(service))
    others = [
        other["spec"]
        for other in store.list("Service", None)
        if (namespace_of(other), name_of(other)) != me
    ]
    taken = {s.get("clusterIP") for s in others}
    wanted = spec.get("clusterIP")
    if not wanted:
        free = range(_RESERVED, SERVICE_NETWORK.num_addresses - 1)
        if len(others) >= len(free):
            raise KubeError(500, "InternalError", "failed to allocate a serviceIP: range is full")
        while (wanted := str(SERVICE_NETWORK[stream.choice(free)])) in taken:
            pass
    elif wanted != "None":
        _check_address(service, wanted, taken)
    spec["clusterIP"], spec["clusterIPs"] = wanted, [wanted]
    if spec["type"] in ("NodePort", "LoadBalancer"):
        ports = {p["nodePort"] for s in others for p in s.get("ports") or () if p.get("nodePort")}
        _allocate_ports(service, ports, stream)


def _allocate_ports(service: Object, taken: set[int], stream: random.Random) -> None:
    """Give the ports of a Service their node ports, or check those that were asked for.

    Raises:
        KubeError: 422, a port is taken or outside the range; 500, no port is left.
    """
    others = set(taken)
    mine: set[tuple[int, str]] = set()
    for index, port in enumerate(service["spec"].get("ports", ())):
        number = port.get("nodePort")
        if number:
            why = ""
            if number not in NODE_PORTS:
                span = f"{NODE_PORTS[0]}-{NODE_PORTS[-1]}"
                why = f"not in the valid range. The range of valid ports is {span}"
            elif number in others or (number, port["protocol"]) in mine:
                why = "already allocated"
            if why:
                words = f"Invalid value: {number}: provided port is {why}"
                cause = Cause(f"spec.ports[{index}].nodePort", words)
                raise invalid(BY_KIND["Service"], name_of(service), [cause])
        elif len(taken) == len(NODE_PORTS):
            raise KubeError(500, "InternalError", "failed to allocate a nodePort: range is full")
        else:
            while (number := stream.choice(NODE_PORTS)) in taken:
                pass
            port["nodePort"] = number
        taken.add(number)
        mine.add((number, port["protocol"]))


def _check_address(service: Object, wanted: str, taken: set[str | None]) -> None:
    why = ""
    try:
        inside = ipaddress.ip_address(wanted) in SERVICE_NETWORK
    except ValueError:
        inside = False
    if not inside:
        why = (
            f"failed to allocate IP {wanted}: the provided IP ({wanted}) is not in the valid "
            f"range. The range of valid IPs is {SERVICE_NETWORK}"
        )
    elif wanted in taken:
        why = f"failed to allocate IP {wanted}: provided IP is already allocated"
    if why:
        cause = Cause("spec.clusterIPs", f'Invalid value: ["{wanted}"]: {why}')
        raise invalid(BY_KIND["Service"], name_of(service), [cause])
