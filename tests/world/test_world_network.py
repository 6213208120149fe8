"""Names, Services, connections, loss, cuts and TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.seeds import Streams
from aiopslab.services.protocols import (
    ConnectionRefused,
    ConnectionReset,
    ConnectTimeout,
    NetError,
    NoSuchHost,
    RequestTimeout,
    TlsError,
)
from aiopslab.world.clock import VirtualLoop, WorldFailure
from aiopslab.world.connection import Peer
from aiopslab.world.dns import Dns
from aiopslab.world.netns import Netns
from aiopslab.world.network import Network
from aiopslab.world.process import Process
from aiopslab.world.resolver import OUTSIDE, of_namespace, of_pod
from aiopslab.world.tls import Certificate, ClientTls, ServerTls

START = 1_773_133_200.0
VIP = "198.18.1.7"
PORT = 8080
HOTEL = of_namespace("hotel")


class Lan:
    """A network with a client, two servers and a Service in front of them."""

    def __init__(self, seed: int = 7) -> None:
        self.loop = VirtualLoop(START)
        self.network = Network(self.loop, Streams(seed))
        self.client = self.pod("198.19.0.1", "frontend", "n1")
        self.servers = [self.pod(f"198.19.0.{n}", "rate", "n2") for n in (2, 3)]
        self.network.dns.publish("rate.hotel.svc.cluster.local", [VIP])
        self.network.program_service(VIP, PORT, [(s.ip, PORT) for s in self.servers])

    def pod(self, ip: str, component: str, node: str) -> Netns:
        return self.network.netns(
            ip, namespace="hotel", component=component, labels={"app": component}, node=node
        )

    def serve(self, reply: str = "", delay_s: float = 0.0) -> list[str]:
        """Have both servers answer with their address, or with ``reply``; returns what came in."""
        seen: list[str] = []

        def handler(ip: str) -> Callable[[Any, Peer], Awaitable[str]]:
            async def answer(message: Any, peer: Peer) -> str:
                await asyncio.sleep(delay_s)
                seen.append(message)
                return reply or ip

            return answer

        for server in self.servers:
            server.listen(PORT, handler(server.ip))
        return seen

    def ask(self, host: str = "rate", port: int = PORT, *, timeout_s: float = 1.0) -> Any:
        """Connect, call once, close."""

        async def once() -> Any:
            connection = await self.client.connect(host, port, timeout_s=timeout_s)
            try:
                return await connection.call("hello", timeout_s=timeout_s)
            finally:
                connection.close()

        return self.loop.run_until_complete(once())

    def fails(self, kind: type[NetError], **call: Any) -> tuple[NetError, float]:
        """Ask, expecting an error; returns it and the seconds it took."""
        begin = self.loop.time()
        with pytest.raises(kind) as caught:
            self.ask(**call)
        assert type(caught.value) is kind
        return caught.value, self.loop.time() - begin


def test_a_call_costs_a_lookup_a_handshake_and_a_round_trip() -> None:
    lan = Lan()
    lan.serve()
    begin = lan.loop.time()
    assert lan.ask() in {"198.19.0.2", "198.19.0.3"}
    first = lan.loop.time() - begin
    assert 0.0003 + 4 * 0.00035 * 0.9 < first < 0.0003 + 4 * 0.00035 * 1.1
    begin = lan.loop.time()
    lan.ask()
    assert lan.loop.time() - begin == pytest.approx(4 * 0.00035, rel=0.1)  # the name is cached


def test_new_connections_are_spread_and_standing_ones_stay_on_their_pod() -> None:
    lan = Lan()
    lan.serve()
    assert {lan.ask() for _ in range(20)} == {"198.19.0.2", "198.19.0.3"}

    async def many() -> set[str]:
        connection = await lan.client.connect("rate", PORT, timeout_s=1.0)
        return {await connection.call("x", timeout_s=1.0) for _ in range(20)}

    assert len(lan.loop.run_until_complete(many())) == 1


def test_the_same_seed_gives_the_same_times_and_choices() -> None:
    def run(seed: int) -> list[tuple[str, float]]:
        lan = Lan(seed)
        lan.serve()
        return [(lan.ask(), lan.loop.time()) for _ in range(10)]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_the_errors_of_connecting_are_distinct_and_say_where() -> None:
    lan = Lan()
    error, _ = lan.fails(NoSuchHost, host="rates")
    assert (error.host, error.port, error.address) == ("rates", PORT, "")
    assert "no such host" in error.detail

    error, took = lan.fails(ConnectionRefused)  # pods are up, nobody listens
    assert (error.host, error.address) == ("rate", f"{VIP}:{PORT}")
    assert took < 0.01

    error, took = lan.fails(ConnectTimeout, host="198.19.9.9", timeout_s=0.5)
    assert error.address == f"198.19.9.9:{PORT}"
    assert took == pytest.approx(0.5)

    _, took = lan.fails(ConnectTimeout, port=81, timeout_s=0.5)  # not a port of the Service
    assert took == pytest.approx(0.5)

    lan.network.program_service(VIP, PORT, [])
    _, took = lan.fails(ConnectionRefused)
    assert took < 0.001

    lan.network.remove_service(VIP)
    lan.fails(ConnectTimeout)


def test_a_closed_listener_refuses_and_lets_standing_connections_go_on() -> None:
    lan = Lan()
    listener = lan.servers[0].listen(PORT, _echo)
    lan.network.program_service(VIP, PORT, [(lan.servers[0].ip, PORT)])
    connection = lan.loop.run_until_complete(lan.client.connect("rate", PORT, timeout_s=1.0))
    listener.close()
    assert lan.loop.run_until_complete(connection.call("still", timeout_s=1.0)) == "still"
    lan.fails(ConnectionRefused)
    with pytest.raises(OSError, match="address already in use"):
        lan.servers[1].listen(PORT, _echo) and lan.servers[1].listen(PORT, _echo)


async def _echo(message: Any, peer: Peer) -> Any:
    return message


def test_a_client_that_times_out_does_not_stop_the_server() -> None:
    lan = Lan()
    seen = lan.serve(delay_s=2.0)
    error, took = lan.fails(RequestTimeout, timeout_s=0.5)
    assert error.address == f"{VIP}:{PORT}"
    assert 0.5 < took < 0.51
    assert seen == []
    lan.loop.run_until(lan.loop.time() + 2.0)
    assert seen == ["hello"]


def test_a_pod_that_is_killed_resets_calls_in_flight_and_then_swallows_packets() -> None:
    lan = Lan()
    lan.serve(delay_s=2.0)
    for server in lan.servers:
        lan.loop.call_later(0.5, server.close)
    _, took = lan.fails(ConnectionReset, timeout_s=10.0)
    assert took == pytest.approx(0.5, abs=0.01)
    lan.fails(ConnectTimeout)


def test_both_ends_learn_that_a_connection_is_over() -> None:
    lan = Lan()
    told: list[str] = []

    async def handler(message: str, peer: Peer) -> str:
        peer.on_close(lambda: told.append("server"))
        if message == "bye":
            peer.close()
        return message

    lan.servers[0].listen(PORT, handler)

    async def run() -> None:
        first = await lan.client.connect(lan.servers[0].ip, PORT, timeout_s=1.0)
        await first.call("x", timeout_s=1.0)
        first.close()
        assert told == []
        await asyncio.sleep(0.01)
        assert told == ["server"]
        second = await lan.client.connect(lan.servers[0].ip, PORT, timeout_s=1.0)
        second.on_close(lambda: told.append("client"))
        # What a server says before it hangs up arrives before the hang-up does.
        assert await second.call("bye", timeout_s=1.0) == "bye"
        await asyncio.sleep(0.01)
        assert second.closed
        assert told == ["server", "server", "client"]
        with pytest.raises(ConnectionReset):
            await second.call("x", timeout_s=1.0)

    lan.loop.run_until_complete(run())


def test_an_error_that_escapes_a_handler_stops_the_world() -> None:
    lan = Lan()

    async def broken(message: Any, peer: Peer) -> Any:
        raise KeyError("ours")

    for server in lan.servers:
        server.listen(PORT, broken)
    with pytest.raises(WorldFailure, match="ours"):
        lan.ask()


def test_sockets_end_with_their_process_and_those_of_other_processes_stay() -> None:
    lan = Lan()
    first, second = Process(lan.loop), Process(lan.loop)
    one, two = lan.servers[0].join(first), lan.servers[0].join(second)
    one.listen(PORT, _echo)
    two.listen(9000, _echo)
    ip = lan.servers[0].ip
    a, b = (
        lan.loop.run_until_complete(lan.client.connect(ip, p, timeout_s=1.0)) for p in (PORT, 9000)
    )
    first.end()
    one.leave()
    lan.loop.run_until(lan.loop.time() + 0.01)
    assert (a.closed, b.closed) == (True, False)
    lan.fails(ConnectionRefused, host=ip)
    assert lan.ask(host=ip, port=9000) == "hello"
    assert lan.servers[0].listening() == [9000]


def test_added_latency_counts_in_one_direction_until_it_is_taken_away() -> None:
    lan = Lan()
    lan.serve()
    lan.network.shape("frontend", "rate", delay_s=0.2)
    begin = lan.loop.time()
    lan.ask()
    assert lan.loop.time() - begin == pytest.approx(0.4, abs=0.01)  # SYN and request
    lan.network.shape("frontend", "rate")
    begin = lan.loop.time()
    lan.ask()
    assert lan.loop.time() - begin < 0.01


def test_loss_shows_as_stalls_of_the_retransmission_timer() -> None:
    lan = Lan()
    lan.serve()
    connection = lan.loop.run_until_complete(lan.client.connect("rate", PORT, timeout_s=1.0))
    lan.network.shape("frontend", "rate", loss=0.3)

    async def times() -> list[float]:
        found = []
        for _ in range(200):
            begin = lan.loop.time()
            await connection.call("x", timeout_s=60.0)
            found.append(lan.loop.time() - begin)
        return found

    took = lan.loop.run_until_complete(times())
    rounded = {round(t, 2) for t in took}
    assert rounded <= {0.0, 0.2, 0.6, 1.4, 3.0, 6.2, 12.6, 25.4}
    stalled = sum(t > 0.1 for t in took) / len(took)
    assert 0.2 < stalled < 0.4


def test_nothing_passes_a_cut_and_what_was_sent_arrives_once_it_heals() -> None:
    lan = Lan()
    seen = lan.serve()
    connection = lan.loop.run_until_complete(lan.client.connect("rate", PORT, timeout_s=1.0))
    lan.network.shape("frontend", "rate", cut=True)
    lan.fails(ConnectTimeout, timeout_s=3.0)
    with pytest.raises(RequestTimeout):
        lan.loop.run_until_complete(connection.call("late", timeout_s=1.0))
    assert seen == []
    lan.network.shape("frontend", "rate")
    lan.loop.run_until(lan.loop.time() + 10.0)
    assert seen == ["late"]
    assert lan.ask()


def test_a_partition_does_not_reset_connections_of_a_pod_that_dies_behind_it() -> None:
    lan = Lan()
    lan.serve(delay_s=5.0)
    lan.loop.call_later(0.5, lambda: lan.network.shape("rate", "frontend", cut=True))
    for server in lan.servers:
        lan.loop.call_later(1.0, server.close)
    lan.fails(RequestTimeout, timeout_s=3.0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["send", "cut", "heal", "lossy", "wait"]), max_size=40))
def test_packets_of_one_direction_arrive_in_order(acts: list[str]) -> None:
    lan = Lan()
    path, _ = lan.network.paths(lan.client._stack, lan.servers[0]._stack)
    path.rto_s = 0.2
    arrived: list[int] = []
    sent = 0
    for act in acts:
        match act:
            case "send":
                path.send(arrived.append, sent)
                sent += 1
            case "cut" | "heal":
                lan.network.shape("frontend", "rate", cut=act == "cut")
            case "lossy":
                lan.network.shape("frontend", "rate", loss=0.5)
            case _:
                lan.loop.run_until(lan.loop.time() + 0.3)
    lan.network.shape("frontend", "rate")
    lan.loop.run_until(lan.loop.time() + 1000.0)
    assert arrived == list(range(sent))


# -- names ----------------------------------------------------------------------------------------


def test_names_are_searched_as_resolv_conf_says() -> None:
    dns = Dns()
    dns.publish("rate.hotel.svc.cluster.local", ["198.18.1.1"])
    dns.publish("Partner.Example.", ["198.18.250.9"])
    for name in ("rate", "rate.hotel", "rate.hotel.svc", "rate.hotel.svc.cluster.local."):
        assert dns.resolve(name, HOTEL) == ["198.18.1.1"]
    assert dns.resolve("rate.hotel", of_namespace("other")) == ["198.18.1.1"]
    assert dns.resolve("partner.example", HOTEL) == ["198.18.250.9"]
    for name, resolver in (("rate", of_namespace("other")), ("rate", OUTSIDE), ("rate.", HOTEL)):
        with pytest.raises(NoSuchHost):
            dns.resolve(name, resolver)
    assert HOTEL.candidates("a.b.c.d.e.f")[0] == "a.b.c.d.e.f"


def test_a_pod_with_the_nodes_resolver_knows_the_world_outside_alone() -> None:
    dns = Dns()
    dns.publish("rate.hotel.svc.cluster.local", ["198.18.1.1"])
    dns.publish("partner.example", ["198.18.250.9"])
    resolver = of_pod({"dnsPolicy": "Default"}, "hotel")
    assert dns.resolve("partner.example", resolver) == ["198.18.250.9"]
    for name in ("rate", "rate.hotel.svc.cluster.local"):
        with pytest.raises(NoSuchHost):
            dns.resolve(name, resolver)
    assert resolver.resolv_conf() == "nameserver 198.18.0.2\n"


def test_a_host_alias_answers_before_any_server() -> None:
    dns = Dns()
    dns.publish("rate.hotel.svc.cluster.local", ["198.18.1.1"])
    aliases = [{"ip": "198.18.9.9", "hostnames": ["rate", "Old-Rate"]}]
    resolver = of_pod({"hostAliases": aliases}, "hotel")
    assert dns.resolve("rate", resolver) == dns.resolve("old-rate", resolver) == ["198.18.9.9"]
    assert dns.resolve("rate.hotel", resolver) == ["198.18.1.1"]
    assert resolver.host_lines() == "198.18.9.9\trate\n198.18.9.9\told-rate\n"


def test_a_pod_without_policy_has_what_its_own_configuration_says() -> None:
    dns = Dns()
    dns.publish("rate.hotel.svc.cluster.local", ["198.18.1.1"])
    config = {
        "nameservers": ["198.18.0.10"],
        "searches": ["hotel.svc.cluster.local"],
        "options": [{"name": "ndots", "value": "2"}],
    }
    resolver = of_pod({"dnsPolicy": "None", "dnsConfig": config}, "hotel")
    assert dns.resolve("rate", resolver) == ["198.18.1.1"]
    assert resolver.candidates("a.b.c")[0] == "a.b.c"
    with pytest.raises(NoSuchHost):
        dns.resolve("rate", of_pod({"dnsPolicy": "None"}, "hotel"))


def test_a_headless_name_gives_pods_and_none_when_nobody_is_ready() -> None:
    lan = Lan()
    lan.serve()
    name = "rate-headless.hotel.svc.cluster.local"
    lan.network.dns.publish(name, [s.ip for s in lan.servers])
    assert {lan.ask(host="rate-headless") for _ in range(20)} == {"198.19.0.2", "198.19.0.3"}
    lan.network.dns.publish(name, [])
    lan.loop.run_until(lan.loop.time() + 6.0)  # the client's cache
    lan.fails(NoSuchHost, host="rate-headless")


def test_a_client_believes_an_answer_for_five_seconds() -> None:
    lan = Lan()
    lan.serve()
    lan.ask()
    lan.network.dns.withdraw("rate.hotel.svc.cluster.local")
    lan.loop.run_until(lan.loop.time() + 4.0)
    lan.ask()
    lan.loop.run_until(lan.loop.time() + 2.0)
    lan.fails(NoSuchHost)


def test_localhost_is_the_own_address() -> None:
    lan = Lan()
    lan.client.listen(15000, _echo)
    assert lan.ask(host="localhost", port=15000) == "hello"
    assert lan.ask(host="127.0.0.1", port=15000) == "hello"


def test_an_address_is_up_once_at_a_time() -> None:
    lan = Lan()
    with pytest.raises(ValueError, match=r"198\.19\.0\.1"):
        lan.pod("198.19.0.1", "other", "n1")
    lan.client.close()
    with pytest.raises(NetError, match="unreachable"):
        lan.ask()
    assert lan.pod("198.19.0.1", "other", "n1").up


# -- TLS ------------------------------------------------------------------------------------------

CERTIFICATE = Certificate("hotel-ca", ("rate", "*.hotel"), START - 3600.0, START + 3600.0)
TRUST = ClientTls(frozenset({"hotel-ca"}))


@pytest.mark.parametrize(
    ("host", "at", "trust", "detail"),
    [
        ("rate", START, TRUST, ""),
        ("rate.hotel", START, TRUST, ""),
        ("rate", START, ClientTls(frozenset(), verify=False), ""),
        (
            "rate",
            START + 3601.0,
            TRUST,
            "x509: certificate has expired or is not yet valid: current time "
            "2026-03-10T10:00:01Z is after 2026-03-10T10:00:00Z",
        ),
        (
            "rate",
            START,
            ClientTls(frozenset({"x"})),
            "x509: certificate signed by unknown authority",
        ),
        (
            "rate",
            START,
            ClientTls(TRUST.roots, server_name="geo"),
            "x509: certificate is valid for rate, *.hotel, not geo",
        ),
    ],
)
def test_certificates_are_checked_in_the_handshake(
    host: str, at: float, trust: ClientTls, detail: str
) -> None:
    lan = Lan()
    for server in lan.servers:
        server.listen(PORT, _echo, tls=ServerTls(CERTIFICATE))
    lan.loop.run_until(at)
    dial = lan.client.connect(host, PORT, timeout_s=1.0, tls=trust)
    if not detail:
        assert lan.loop.run_until_complete(dial).remote.endswith(f":{PORT}")
        return
    with pytest.raises(TlsError) as caught:
        lan.loop.run_until_complete(dial)
    assert caught.value.detail.endswith(detail)


def test_a_certificate_can_be_not_valid_yet() -> None:
    early = Certificate("hotel-ca", ("rate",), START + 60.0, START + 3600.0)
    lan = Lan()
    for server in lan.servers:
        server.listen(PORT, _echo, tls=ServerTls(early))
    with pytest.raises(TlsError, match="is before"):
        lan.loop.run_until_complete(lan.client.connect("rate", PORT, timeout_s=1.0, tls=TRUST))


def test_plain_text_and_tls_do_not_mix() -> None:
    lan = Lan()
    lan.servers[0].listen(PORT, _echo, tls=ServerTls(CERTIFICATE))
    lan.servers[1].listen(PORT, _echo)
    lan.fails(ConnectionReset, host=lan.servers[0].ip)
    with pytest.raises(TlsError, match="first record does not look like"):
        lan.loop.run_until_complete(
            lan.client.connect(lan.servers[1].ip, PORT, timeout_s=1.0, tls=TRUST)
        )


def test_standing_connections_outlive_their_certificate_and_a_new_one_is_used_at_once() -> None:
    lan = Lan()
    tls = ServerTls(CERTIFICATE)
    lan.servers[0].listen(PORT, _echo, tls=tls)
    ip = lan.servers[0].ip
    trust = ClientTls(TRUST.roots, server_name="rate")
    connection = lan.loop.run_until_complete(lan.client.connect(ip, PORT, timeout_s=1.0, tls=trust))
    lan.loop.run_until(START + 7200.0)
    assert lan.loop.run_until_complete(connection.call("x", timeout_s=1.0)) == "x"
    tls.certificate = Certificate("hotel-ca", ("rate",), START, START + 9e6)
    lan.loop.run_until_complete(lan.client.connect(ip, PORT, timeout_s=1.0, tls=trust))
