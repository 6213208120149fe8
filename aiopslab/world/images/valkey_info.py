"""The text of INFO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiopslab.world.images.valkey_server import CacheServer

_SECTIONS = ("server", "clients", "memory", "stats", "keyspace")


def info(server: CacheServer, wanted: Sequence[str]) -> str:
    """Write the sections asked for; all of them without arguments or for ``all``."""
    names = [word.lower() for word in wanted]
    chosen = _SECTIONS if not names or "all" in names or "everything" in names else names
    return "\r\n".join(_section(server, name) for name in _SECTIONS if name in chosen)


def _section(server: CacheServer, name: str) -> str:
    keys = server.keys
    uptime = int(server.loop.time() - server.started)
    fields: dict[str, object] = {}
    match name:
        case "server":
            fields = {
                "redis_version": "7.2.4",
                "server_name": "valkey",
                "valkey_version": server.box.image_ref.rpartition(":")[2],
                "tcp_port": server.config["port"],
                "uptime_in_seconds": uptime,
            }
        case "clients":
            fields = {
                "connected_clients": len(server.clients),
                "maxclients": server.config["maxclients"],
            }
        case "memory":
            fields = {
                "used_memory": keys.used,
                "used_memory_human": human(keys.used),
                "used_memory_peak": server.peak,
                "used_memory_peak_human": human(server.peak),
                "maxmemory": keys.maxmemory,
                "maxmemory_human": human(keys.maxmemory),
                "maxmemory_policy": keys.policy,
            }
        case "stats":
            fields = {
                "total_commands_processed": server.commands,
                "rejected_connections": server.rejected,
                "expired_keys": keys.expired,
                "evicted_keys": keys.evicted,
                "keyspace_hits": keys.hits,
                "keyspace_misses": keys.misses,
            }
        case _ if len(keys):
            fields = {"db0": f"keys={len(keys)},expires={keys.with_expiry},avg_ttl=0"}
    lines = [f"# {name.capitalize()}", *(f"{key}:{value}" for key, value in fields.items())]
    return "".join(f"{line}\r\n" for line in lines)


def human(size: int) -> str:
    """Write bytes as INFO does.

    >>> human(1536), human(64 * 2**20)
    ('1.50K', '64.00M')
    """
    if size < 1024:
        return f"{size}B"
    for unit, suffix in ((2**30, "G"), (2**20, "M")):
        if size >= unit:
            return f"{size / unit:.2f}{suffix}"
    return f"{size / 1024:.2f}K"
