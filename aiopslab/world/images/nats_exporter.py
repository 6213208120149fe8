"""What prometheus-nats-exporter says of a server: ``nats_varz_*`` and ``jetstream_*``.

Read from the live server at each scrape. Streams and consumers get their figures when they are
first seen; those of a deleted one become 0. Not here: what the figures mean (``nats_account``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiopslab.world.container import Container
from aiopslab.world.images.nats_consumer import ConsumerState
from aiopslab.world.images.nats_server import Key, NatsServer
from aiopslab.world.images.nats_stream import StreamState

_LOOK_S = 5.0
"""How often new streams and consumers are looked for."""
_STREAM: dict[str, Callable[[StreamState], float]] = {
    "total_messages": lambda s: len(s.messages),
    "total_bytes": lambda s: s.bytes,
    "first_seq": lambda s: s.first_seq,
    "last_seq": lambda s: s.last_seq,
    "limit_messages": lambda s: s.config.max_msgs,
    "limit_bytes": lambda s: s.config.max_bytes,
}
_CONSUMER: dict[str, Callable[[ConsumerState, StreamState], float]] = {
    "num_pending": lambda c, s: c.num_pending(s),
    "num_ack_pending": lambda c, _: c.num_ack_pending,
    "num_redelivered": lambda c, _: c.num_redelivered,
    "delivered_consumer_seq": lambda c, _: c.consumer_seq,
    "delivered_stream_seq": lambda c, _: c.next_seq - 1,
    "ack_floor_stream_seq": lambda c, _: c.ack_floor,
}


def export(box: Container, server: NatsServer) -> None:
    """Register the server's figures and follow its streams and consumers."""
    gauge, account = box.metrics.gauge, server.account
    label = {"server_name": server.name}
    varz: dict[str, Callable[[], float]] = {
        "connections": lambda: len(server.clients),
        "total_connections": lambda: server.connections,
        "in_msgs": lambda: server.in_msgs,
        "out_msgs": lambda: server.out_msgs,
        "in_bytes": lambda: server.in_bytes,
        "out_bytes": lambda: server.out_bytes,
        "slow_consumers": lambda: server.slow_consumers,
        "mem": lambda: box.memory.working_set,
        "start": lambda: server.started,
    }
    for name, read in varz.items():
        gauge(f"nats_varz_{name}", _float(read), **label)
    jetstream: dict[str, Callable[[], float]] = {
        "jetstream_disabled": lambda: not server.enabled,
        "total_streams": lambda: len(account.streams),
        "total_consumers": lambda: len(account.consumers),
        "total_messages": lambda: sum(len(s.messages) for s in account.streams.values()),
        "total_message_bytes": lambda: account.used("file") + account.used("memory"),
        "max_storage": lambda: account.max_file_store,
        "max_memory": lambda: account.max_memory_store,
    }
    for name, read in jetstream.items():
        gauge(f"jetstream_server_{name}", _float(read), **label)
    follower = _Follower(box, server)
    follower.look()
    box.spawn(follower.run())


class _Follower:
    def __init__(self, box: Container, server: NatsServer) -> None:
        self._box = box
        self._server = server
        self._streams: set[str] = set()
        self._consumers: set[Key] = set()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            self.look()

    def look(self) -> None:
        account = self._server.account
        for name in [n for n in account.streams if n not in self._streams]:
            self._streams.add(name)
            self._stream(name)
        for key in [k for k in account.consumers if k not in self._consumers]:
            self._consumers.add(key)
            self._consumer(key)

    def _stream(self, name: str) -> None:
        account, gauge = self._server.account, self._box.metrics.gauge
        for metric, of in _STREAM.items():

            def read(of: Callable[[StreamState], float] = of) -> float:
                state = account.streams.get(name)
                return 0.0 if state is None else float(of(state))

            gauge(f"jetstream_stream_{metric}", read, stream_name=name)
        count = "jetstream_stream_consumer_count"
        gauge(count, lambda: float(len(account.of(name))), stream_name=name)

    def _consumer(self, key: Key) -> None:
        account, gauge = self._server.account, self._box.metrics.gauge
        labels = {"stream_name": key[0], "consumer_name": key[1]}
        for metric, of in _CONSUMER.items():

            def read(of: Callable[[ConsumerState, StreamState], float] = of) -> float:
                state = account.consumers.get(key)
                return 0.0 if state is None else float(of(state, account.streams[key[0]]))

            gauge(f"jetstream_consumer_{metric}", read, **labels)
        waiting = "jetstream_consumer_num_waiting"
        gauge(waiting, lambda: float(self._server.readers(key)), **labels)


def _float(read: Callable[[], float]) -> Callable[[], float]:
    return lambda: float(read())
