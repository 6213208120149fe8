"""What prometheus-nats-exporter says of a queue, read off ``/varz`` and ``/jsz``.

Not here: who asks (``asking``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiopslab.models.timestamps import unix
from aiopslab.observer.kubelet import records
from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.otlp.metrics import Sample
from aiopslab.world.kube.objects import dig

PORT = 8222
"""Where the server tells about itself (``services.store_manifests``)."""
PAGES = ("varz", "jsz?streams=1&consumers=1&config=1")
_VARZ = (
    "connections", "total_connections", "in_msgs", "out_msgs", "in_bytes", "out_bytes",
    "slow_consumers", "mem",
)  # fmt: skip
_SERVER = {
    "total_streams": ("streams",),
    "total_consumers": ("consumers",),
    "total_messages": ("messages",),
    "total_message_bytes": ("bytes",),
    "max_storage": ("config", "max_storage"),
    "max_memory": ("config", "max_memory"),
}
_STREAM = {
    "total_messages": ("state", "messages"),
    "total_bytes": ("state", "bytes"),
    "first_seq": ("state", "first_seq"),
    "last_seq": ("state", "last_seq"),
    "consumer_count": ("state", "consumer_count"),
    "limit_messages": ("config", "max_msgs"),
    "limit_bytes": ("config", "max_bytes"),
}
_CONSUMER = {
    "num_pending": ("num_pending",),
    "num_ack_pending": ("num_ack_pending",),
    "num_redelivered": ("num_redelivered",),
    "num_waiting": ("num_waiting",),
    "delivered_consumer_seq": ("delivered", "consumer_seq"),
    "delivered_stream_seq": ("delivered", "stream_seq"),
    "ack_floor_stream_seq": ("ack_floor", "stream_seq"),
}


def figures(varz: Any, jsz: Any) -> list[Sample]:
    """Return the figures of both pages."""
    server = (("server_name", str(dig(varz, "server_name") or "")),)
    found = [
        Sample(f"nats_varz_{n}", server, v) for n in _VARZ if (v := _number(varz, n)) is not None
    ]
    start = dig(varz, "start")
    if isinstance(start, str):
        found.append(Sample("nats_varz_start", server, unix(start)))
    disabled = float(bool(dig(jsz, "disabled")))
    found.append(Sample("jetstream_server_jetstream_disabled", server, disabled))
    found += _read(jsz, "jetstream_server", _SERVER, server)
    for account in records(jsz, "account_details"):
        for stream in records(account, "stream_detail"):
            found += _stream(stream)
    return found


def _stream(stream: Any) -> Iterator[Sample]:
    of = (("stream_name", str(stream.get("name") or "")),)
    yield from _read(stream, "jetstream_stream", _STREAM, of)
    for consumer in records(stream, "consumer_detail"):
        labels = (("consumer_name", str(consumer.get("name") or "")), *of)
        yield from _read(consumer, "jetstream_consumer", _CONSUMER, labels)


def _read(
    page: Any, prefix: str, fields: Mapping[str, tuple[str, ...]], labels: Labels
) -> Iterator[Sample]:
    for name, path in fields.items():
        value = _number(page, *path)
        if value is not None:
            yield Sample(f"{prefix}_{name}", labels, value)


def _number(page: Any, *path: str) -> float | None:
    value = dig(page, *path)
    return float(value) if isinstance(value, int | float) else None
