"""How the API server reaches a webhook: Service, endpoint, the program that listens.

The server stands outside the pod network and asks synchronously; what it meets on the way is what
a client in the cluster would: no Service, no endpoint, no listener. Neighbours: ``kube.webhooks``.
"""

from __future__ import annotations

from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.objects import dig
from aiopslab.world.kube.webhooks import Dial, Reviewer, Unreachable
from aiopslab.world.network import Network


def dialler(api: ApiServer, network: Network) -> Dial:
    """Return what finds the program behind a Service's port."""

    def dial(namespace: str, name: str, port: int) -> Reviewer:
        service = api.find("Service", name, namespace)
        if service is None:
            raise Unreachable(f'service "{name}" not found')
        address = dig(service, "spec", "clusterIP", default="")
        backends = network.backends(address, port)
        if not backends:
            raise Unreachable(f'no endpoints available for service "{name}"')
        ip, target = backends[0]
        stack = network.stack(ip)
        if stack is None:
            raise Unreachable("context deadline exceeded")
        listener = stack.listeners.get(target)
        if listener is None:
            raise Unreachable(f"dial tcp {address}:{port}: connect: connection refused")
        reviewer: Reviewer | None = getattr(listener.handler, "review", None)
        if reviewer is None:
            raise Unreachable("the server could not find the requested resource")
        return reviewer

    return dial
