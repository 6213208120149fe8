"""The clock of a node: what its programs, its certificates and its monitoring believe."""

from __future__ import annotations

import pytest
from test_world_network import CERTIFICATE, PORT, START, TRUST, Lan

from aiopslab.services.protocols import TlsError
from aiopslab.world.node import NodeClock
from aiopslab.world.tls import ServerTls


def test_a_client_whose_clock_is_far_ahead_finds_a_good_certificate_expired() -> None:
    lan = Lan()
    for server in lan.servers:
        server.listen(PORT, lambda message, peer: _echo(message), tls=ServerTls(CERTIFICATE))
    clock = NodeClock()
    lan.network.clocks = {"n1": clock}
    dial = lan.client.connect("rate", PORT, timeout_s=1.0, tls=TRUST)
    assert lan.loop.run_until_complete(dial)
    clock.ahead_s = 7200.0
    assert lan.network.now_at("n1") - lan.network.now_at("n2") == 7200.0
    with pytest.raises(TlsError, match="has expired"):
        lan.loop.run_until_complete(lan.client.connect("rate", PORT, timeout_s=1.0, tls=TRUST))
    assert lan.loop.time() < START + 1.0


async def _echo(message: object) -> object:
    return message
