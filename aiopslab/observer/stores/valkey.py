"""What redis_exporter says of a cache, read off ``INFO``. Not here: who asks (``asking``)."""

from __future__ import annotations

import re

from aiopslab.telemetry.otlp.metrics import Sample

_FIELDS = {
    "uptime_in_seconds": "redis_uptime_in_seconds",
    "keyspace_hits": "redis_keyspace_hits_total",
    "keyspace_misses": "redis_keyspace_misses_total",
    "evicted_keys": "redis_evicted_keys_total",
    "expired_keys": "redis_expired_keys_total",
    "used_memory": "redis_memory_used_bytes",
    "maxmemory": "redis_memory_max_bytes",
    "connected_clients": "redis_connected_clients",
    "rejected_connections": "redis_rejected_connections_total",
    "total_commands_processed": "redis_commands_processed_total",
}
_KEYS = re.compile(r"keys=(\d+)")


def figures(info: str) -> list[Sample]:
    """Return the figures that the text of ``INFO`` holds."""
    said = dict(line.strip().split(":", 1) for line in info.split("\n") if ":" in line)
    found = [up(1.0)]
    for field, metric in _FIELDS.items():
        if said.get(field, "").isdigit():
            found.append(Sample(metric, (), float(said[field])))
    # A database without keys is not in the text.
    keys = _KEYS.match(said.get("db0", "keys=0"))
    if keys is not None and "keyspace_hits" in said:
        found.append(Sample("redis_db_keys", (("db", "db0"),), float(keys[1])))
    return found


def up(value: float) -> Sample:
    """Return the sample that says whether the server answers."""
    return Sample("redis_up", (), value)
