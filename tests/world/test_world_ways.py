"""Ways between addresses: shaped by pair, by node, by address, felt by connections that stand."""

from __future__ import annotations

import pytest
from test_world_network import PORT, VIP, Lan

from aiopslab.models.network import Shape
from aiopslab.world.ways import Ways

SLOW = Shape(delay_s=0.1)


def seconds(lan: Lan) -> float:
    """Ask over a connection that stands, and return how long the answer took."""
    connection = lan.loop.run_until_complete(
        lan.client.connect(lan.servers[0].ip, PORT, timeout_s=1.0)
    )
    start = lan.loop.time()
    lan.loop.run_until_complete(connection.call("x", timeout_s=9.0))
    return lan.loop.time() - start


def shaped(lan: Lan, what: str) -> None:
    ways = lan.network.ways
    match what:
        case "pair":
            ways.shape_pair("frontend", "rate", SLOW)
        case "source node":
            ways.shape_node("n1", SLOW)
        case "target node":
            ways.shape_node("n2", SLOW)
        case "address":
            ways.shape_address(lan.servers[0].ip, SLOW)


@pytest.mark.parametrize(
    ("what", "added_s"),
    [("pair", 0.1), ("source node", 0.2), ("target node", 0.2), ("address", 0.2)],
)
def test_a_way_is_shaped_by_components_nodes_and_addresses(what: str, added_s: float) -> None:
    lan = Lan()
    lan.serve()
    before = seconds(lan)
    shaped(lan, what)
    assert seconds(lan) - before == pytest.approx(added_s, abs=0.01)


def test_a_connection_that_stands_feels_a_change_and_its_end() -> None:
    lan = Lan()
    lan.serve()
    connection = lan.loop.run_until_complete(
        lan.client.connect(lan.servers[0].ip, PORT, timeout_s=1.0)
    )
    for shape, low, high in ((SLOW, 0.2, 0.22), (Shape(), 0.0, 0.01)):
        lan.network.ways.shape_address(lan.servers[0].ip, shape)
        start = lan.loop.time()
        lan.loop.run_until_complete(connection.call("x", timeout_s=9.0))
        assert low <= lan.loop.time() - start <= high


def test_one_of_two_replicas_is_slow_and_the_other_is_not() -> None:
    lan = Lan()
    lan.serve()
    lan.network.ways.shape_address(lan.servers[0].ip, SLOW)
    took: set[bool] = set()
    for _ in range(40):
        connection = lan.loop.run_until_complete(lan.client.connect(VIP, PORT, timeout_s=9.0))
        start = lan.loop.time()
        lan.loop.run_until_complete(connection.call("x", timeout_s=9.0))
        took.add(lan.loop.time() - start > 0.1)
    assert took == {True, False}


def test_traffic_inside_a_node_does_not_use_its_uplink() -> None:
    lan = Lan()
    lan.serve()
    neighbour = lan.pod("198.19.0.9", "profile", "n1")
    lan.client.listen(PORT, lambda message, peer: _echo(message))
    lan.network.ways.shape_node("n1", Shape(cut=True))
    connection = lan.loop.run_until_complete(neighbour.connect(lan.client.ip, PORT, timeout_s=1.0))
    assert lan.loop.run_until_complete(connection.call("x", timeout_s=1.0)) == "x"


async def _echo(message: object) -> object:
    return message


def test_parts_add_up_and_packets_sent_again_are_counted_by_node() -> None:
    lan = Lan()
    lan.serve()
    ways = lan.network.ways
    source, target = (lan.network.stack(n.ip) for n in (lan.client, lan.servers[0]))
    assert source is not None
    assert target is not None
    link = ways.between(source, target)
    ways.shape_node("n1", Shape(delay_s=0.01, loss=0.5))
    ways.shape_address(target.ip, Shape(delay_s=0.02, loss=0.5))
    assert (link.delay_s, link.loss) == (pytest.approx(0.03), pytest.approx(0.75))
    assert not ways.lost("n1")
    for _ in range(5):
        lan.loop.run_until_complete(
            lan.client.connect(lan.servers[0].ip, PORT, timeout_s=900.0)
        ).close()
    lost = ways.lost("n1")
    assert lost > 0
    ways.forget(lan.client.ip)
    assert ways.lost("n1") == lost


def test_who_gets_an_address_next_starts_with_a_clean_way() -> None:
    ways = Ways()
    lan = Lan()
    source, target = (lan.network.stack(n.ip) for n in (lan.client, lan.servers[0]))
    assert source is not None
    assert target is not None
    ways.shape_address(target.ip, SLOW)
    assert not ways.between(source, target).plain
    ways.forget(target.ip)
    assert ways.between(source, target).plain
