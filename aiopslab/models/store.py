"""A data store of an app: what it holds, who may use it, what its statements cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Bytes, Model
from aiopslab.models.queue import Stream
from aiopslab.models.workload import Image, Resources, Value


class StoreUser(Model):
    """A database user; the password comes from the Secret ``<store>-<user>``."""

    grants: dict[str, list[Literal["SELECT", "INSERT", "UPDATE", "DELETE"]]] = Field(
        default_factory=dict
    )
    """Table to privileges."""
    connection_limit: int | None = None


class Table(Model):
    """A table: rows at start, width, whether the usual predicates are indexed."""

    rows: int
    row_bytes: Bytes = 256
    indexed: bool = True
    columns: dict[str, str] = Field(default_factory=dict)
    """Name to SQL type, for ``\\d`` and for SELECTs of people."""
    sequence: Literal["", "integer", "bigint"] = ""
    """Type of the key's sequence where it is not the column's: a column widened later."""


class Statement(Model):
    """A named statement with its cost when nothing is wrong."""

    text: str
    """SQL text as it appears in spans and in pg_stat_activity."""
    table: str
    kind: Literal["SELECT", "INSERT", "UPDATE", "DELETE"]
    ms: float = 0.8
    """Mean CPU milliseconds at the server, with an index."""
    io_ms: float = 0.0
    """Mean milliseconds the session waits for reads and writes of the volume."""
    rows: int = 1
    """Rows returned or touched."""
    lock: Literal["none", "row", "table"] = "none"


class Store(Model):
    """A data store: PostgreSQL, Valkey or NATS JetStream, a StatefulSet with a volume."""

    kind: Literal["postgres", "valkey", "nats"]
    image: Image
    summary: str
    owner: str
    port: int
    replicas: int = 1
    resources: Resources = Field(default_factory=Resources)
    volume: Bytes = 2 * 2**30
    config: dict[str, Value] = Field(default_factory=dict)
    """``max_connections``, ``shared_buffers``; ``maxmemory``, ``maxmemory-policy``;
    ``max_file_store``, ``max_memory_store``, ``max_payload``; ..."""
    database: str = ""
    users: dict[str, StoreUser] = Field(default_factory=dict)
    tables: dict[str, Table] = Field(default_factory=dict)
    statements: dict[str, Statement] = Field(default_factory=dict)
    streams: dict[str, Stream] = Field(default_factory=dict)
    """Streams of a queue, created when its volume is empty; names are in capitals by custom."""
