"""NetworkPolicies."""

from __future__ import annotations

from typing import Any

import pytest

from aiopslab.seeds import Streams
from aiopslab.services.protocols import ConnectTimeout
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.netns import Netns, Stack
from aiopslab.world.network import Network
from aiopslab.world.policy import PolicySet

FRONT = Stack("198.19.0.1", "hotel", "frontend", {"app": "frontend"}, "n1")
RATE = Stack("198.19.0.2", "hotel", "rate", {"app": "rate"}, "n2", {"grpc": 9000})
OTHER = Stack("198.19.0.3", "other", "job", {"app": "frontend"}, "n2")
EDGE = Stack("198.18.250.1", "", "edge", {})


def policy(**spec: Any) -> dict[str, Any]:
    """Return a policy of namespace hotel."""
    spec.setdefault("podSelector", {"matchLabels": {"app": "rate"}})
    return {"metadata": {"name": "p", "namespace": "hotel"}, "spec": spec}


def ingress(*others: dict[str, Any], ports: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return a policy with one ingress rule on rate."""
    rule: dict[str, Any] = {"from": list(others)}
    if ports is not None:
        rule["ports"] = ports
    return policy(ingress=[rule])


FROM_FRONT = {"podSelector": {"matchLabels": {"app": "frontend"}}}


def test_without_a_policy_everything_is_allowed() -> None:
    policies = PolicySet()
    assert not policies
    assert policies.allows(EDGE, RATE, 80)


def test_a_policy_concerns_only_pods_it_selects_in_its_namespace() -> None:
    policies = PolicySet([policy(ingress=[])])
    assert not policies.allows(FRONT, RATE, 80)
    assert policies.allows(RATE, FRONT, 80)
    assert policies.allows(RATE, OTHER, 80)


def test_rules_add_up() -> None:
    nobody, front = policy(ingress=[]), ingress(FROM_FRONT)
    assert PolicySet([nobody, front]).allows(FRONT, RATE, 80)


@pytest.mark.parametrize(
    ("rule", "source", "allowed"),
    [
        (ingress(FROM_FRONT), FRONT, True),
        (ingress(FROM_FRONT), OTHER, False),  # the same labels in another namespace
        (ingress(FROM_FRONT), EDGE, False),
        (ingress({"namespaceSelector": {}}), OTHER, True),
        (ingress({"namespaceSelector": {}}), EDGE, False),
        (ingress({"namespaceSelector": {"matchLabels": {"team": "x"}}}), OTHER, True),
        (ingress({"namespaceSelector": {"matchLabels": {"team": "y"}}}), OTHER, False),
        (
            ingress(
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}
            ),
            OTHER,
            True,
        ),
        (
            ingress({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "x"}}}),
            OTHER,
            False,
        ),
        (ingress({"ipBlock": {"cidr": "198.18.250.0/24"}}), EDGE, True),
        (ingress({"ipBlock": {"cidr": "198.18.250.0/24", "except": ["198.18.250.1/32"]}}), EDGE,
         False),
        (ingress({"ipBlock": {"cidr": "::/0"}}), EDGE, False),
        (ingress({"ipBlock": {"cidr": "not a block"}}), EDGE, False),
        (ingress(), EDGE, True),  # an empty list of peers is everybody
        (policy(ingress=[{}]), EDGE, True),
    ],
)  # fmt: skip
def test_peers(rule: dict[str, Any], source: Stack, allowed: bool) -> None:
    policies = PolicySet([rule], {"other": {"team": "x"}})
    assert policies.allows(source, RATE, 80) is allowed


@pytest.mark.parametrize(
    ("ports", "port", "allowed"),
    [
        ([{"port": 80}], 80, True),
        ([{"port": 80}], 81, False),
        ([{"port": 80, "endPort": 90}], 85, True),
        ([{"port": 80, "endPort": 90}], 91, False),
        ([{"port": "grpc"}], 9000, True),
        ([{"port": "http"}], 9000, False),
        ([{"protocol": "UDP", "port": 80}], 80, False),
        ([{"protocol": "TCP"}], 80, True),
        ([], 80, True),
    ],
)
def test_ports(ports: list[dict[str, Any]], port: int, allowed: bool) -> None:
    assert PolicySet([ingress(ports=ports)]).allows(FRONT, RATE, port) is allowed


def test_policy_types_default_to_ingress_and_to_egress_where_it_has_rules() -> None:
    only_egress = policy(egress=[{"to": [FROM_FRONT]}])
    assert not PolicySet([only_egress]).allows(FRONT, RATE, 80)  # ingress without rules
    explicit = policy(egress=[{"to": [FROM_FRONT]}], policyTypes=["Egress"])
    assert PolicySet([explicit]).allows(FRONT, RATE, 80)
    assert PolicySet([explicit]).allows(RATE, FRONT, 80)
    assert not PolicySet([explicit]).allows(RATE, OTHER, 80)


class Pair:
    """Two pods on a network, one of which listens."""

    def __init__(self) -> None:
        self.loop = VirtualLoop(0.0)
        self.network = Network(self.loop, Streams(1))
        self.front, self.rate = (
            self.network.netns(
                stack.ip, namespace="hotel", component=stack.component, labels=stack.labels,
                node=stack.node,
            )
            for stack in (FRONT, RATE)
        )  # fmt: skip
        self.network.dns.publish("rate.hotel.svc.cluster.local", [self.rate.ip])

        async def echo(message: object, peer: object) -> object:
            return message

        self.rate.listen(80, echo)

    def dial(self, source: Netns | None = None, host: str = "rate") -> None:
        dial = (source or self.front).connect(host, 80, timeout_s=2.0)
        self.loop.run_until_complete(dial)


def test_denied_packets_vanish_and_established_connections_stay() -> None:
    pair = Pair()
    connection = pair.loop.run_until_complete(pair.front.connect("rate", 80, timeout_s=1.0))
    pair.network.set_policies([policy(ingress=[])])
    with pytest.raises(ConnectTimeout):
        pair.dial()
    assert pair.loop.run_until_complete(connection.call("x", timeout_s=1.0)) == "x"
    pair.network.set_policies([])
    pair.dial()


def test_policies_follow_the_labels_of_pods_and_namespaces() -> None:
    pair = Pair()
    pair.network.set_policies([policy(ingress=[])])
    pair.rate.relabel({"app": "rate-quarantined"})
    pair.dial()
    pair.rate.relabel({"app": "rate"})
    with pytest.raises(ConnectTimeout):
        pair.dial()
    pair.network.set_policies([ingress({"namespaceSelector": {"matchLabels": {"team": "x"}}})])
    with pytest.raises(ConnectTimeout):
        pair.dial()
    pair.network.set_namespaces({"hotel": {"team": "x"}})
    pair.dial()


def test_lookups_need_egress_to_the_dns_server() -> None:
    pair = Pair()
    front = {"matchLabels": {"app": "frontend"}}
    to_rate = {"to": [{"podSelector": {"matchLabels": {"app": "rate"}}}]}
    pair.network.set_policies([policy(podSelector=front, egress=[to_rate], policyTypes=["Egress"])])
    with pytest.raises(ConnectTimeout, match=r"lookup rate on 198\.18\.0\.10:53: i/o timeout"):
        pair.dial()
    pair.dial(host=pair.rate.ip)
    to_dns = {
        "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
        "ports": [{"protocol": "UDP", "port": 53}],
    }
    pair.network.set_policies(
        [policy(podSelector=front, egress=[to_rate, to_dns], policyTypes=["Egress"])]
    )
    pair.dial()


def test_a_node_reaches_its_own_pods_whatever_policies_say() -> None:
    pair = Pair()
    pair.network.set_policies([policy(ingress=[])])
    own, foreign = (
        pair.network.netns(f"198.18.240.{n}", namespace="", component="node", labels={}, node=node)
        for n, node in ((1, "n2"), (2, "n1"))
    )
    pair.dial(own, pair.rate.ip)
    with pytest.raises(ConnectTimeout):
        pair.dial(foreign, pair.rate.ip)
