"""Configuration parameters of the database server: kinds, units, where values come from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aiopslab.models.base import parse_size
from aiopslab.models.store import Store
from aiopslab.models.workload import Value
from aiopslab.world.images.postgres_hba import DEFAULT_FILE

Context = Literal["postmaster", "sighup", "superuser", "user", "internal"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A configuration parameter: when it may change, how it is written."""

    default: str
    kind: Literal["integer", "string", "bool", "memory", "time"]
    context: Context
    description: str


SETTINGS: Mapping[str, Setting] = {
    "autovacuum": Setting("on", "bool", "sighup", "Starts the autovacuum subprocess."),
    "checkpoint_timeout": Setting(
        "5min", "time", "sighup", "Sets the maximum time between automatic WAL checkpoints."
    ),
    "deadlock_timeout": Setting(
        "1s", "time", "superuser", "Sets the time to wait on a lock before checking for deadlock."
    ),
    "effective_cache_size": Setting(
        "4GB", "memory", "user", "Sets the planner's assumption about the size of the data cache."
    ),
    "hba_file": Setting(
        DEFAULT_FILE, "string", "postmaster", 'Sets the server\'s "hba" configuration file.'
    ),
    "idle_in_transaction_session_timeout": Setting(
        "0", "time", "user", "Sets the maximum allowed idle time between queries, in a transaction."
    ),
    "idle_session_timeout": Setting(
        "0", "time", "user", "Sets the maximum allowed idle time, when not in a transaction."
    ),
    "listen_addresses": Setting(
        "*", "string", "postmaster", "Sets the host name or IP address(es) to listen to."
    ),
    "lock_timeout": Setting(
        "0", "time", "user", "Sets the maximum allowed duration of any wait for a lock."
    ),
    "log_lock_waits": Setting("off", "bool", "superuser", "Logs long lock waits."),
    "log_min_duration_statement": Setting(
        "-1", "time", "superuser", "Sets the minimum execution time to be logged."
    ),
    "maintenance_work_mem": Setting(
        "64MB", "memory", "user", "Sets the maximum memory for maintenance operations."
    ),
    "max_connections": Setting(
        "100", "integer", "postmaster", "Sets the maximum number of concurrent connections."
    ),
    "max_wal_size": Setting(
        "1GB", "memory", "sighup", "Sets the WAL size that triggers a checkpoint."
    ),
    "password_encryption": Setting(
        "scram-sha-256", "string", "user", "Chooses the algorithm for encrypting passwords."
    ),
    "port": Setting("5432", "integer", "postmaster", "Sets the TCP port the server listens on."),
    "server_version": Setting("16.4", "string", "internal", "Shows the server version."),
    "shared_buffers": Setting(
        "128MB", "memory", "postmaster", "Sets the number of shared memory buffers."
    ),
    "ssl": Setting("off", "bool", "sighup", "Enables SSL connections."),
    "ssl_cert_file": Setting(
        "server.crt", "string", "sighup", "Location of the SSL server certificate file."
    ),
    "statement_timeout": Setting(
        "0", "time", "user", "Sets the maximum allowed duration of any statement."
    ),
    "superuser_reserved_connections": Setting(
        "3", "integer", "postmaster", "Sets the number of connection slots kept for superusers."
    ),
    "work_mem": Setting("4MB", "memory", "user", "Sets the memory for query workspaces."),
}
_MOST = 2**31
"""Integers, times in milliseconds and memory in kilobytes lie below this."""
_TIME_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_MEMORY_UNITS = {"B": 1, "kB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}


def seconds(text: str) -> float:
    """Read a time setting; a bare number is milliseconds.

    >>> seconds("1min"), seconds("250")
    (60.0, 0.25)
    """
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz").strip()
    unit = text[len(digits) :].strip() or "ms"
    return float(digits) * _TIME_UNITS[unit]


def size(text: str) -> int:
    """Read a memory setting in bytes; a bare number counts kilobytes; ``64Mi`` is accepted too.

    >>> size("4MB"), size("16")
    (4194304, 16384)
    """
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ").strip()
    unit = text[len(digits) :].strip() or "kB"
    return int(float(digits) * _MEMORY_UNITS[unit]) if unit in _MEMORY_UNITS else parse_size(text)


def accepts(name: str, value: str) -> bool:
    """Tell whether a value can be read as the setting's kind."""
    try:
        match SETTINGS[name].kind:
            case "integer":
                return 0 <= int(value) < _MOST
            case "memory":
                return 0 <= size(value) < _MOST * 2**10
            case "time":
                return seconds(value) * 1e3 < _MOST
            case "bool":
                return value.lower() in ("on", "off", "true", "false", "yes", "no", "1", "0")
            case "string":
                pass
    except (ValueError, KeyError, OverflowError):
        return False
    return True


def is_on(value: str) -> bool:
    """Read a boolean setting.

    >>> is_on("on"), is_on("0")
    (True, False)
    """
    return value.lower() in ("on", "true", "yes", "1")


def base_settings(
    store: Store, conf: Mapping[str, str], options: Mapping[str, str]
) -> dict[str, str]:
    """Return the settings before ``postgresql.auto.conf``.

    Args:
        store: Its ``config`` counts where no postgresql.conf is mounted.
        conf: What the mounted postgresql.conf says.
        options: ``-c name=value`` on the command line.
    """
    values = {name: setting.default for name, setting in SETTINGS.items()}
    values["server_version"] = store.image.version
    values["port"] = str(store.port)
    for source in (conf or _plain(store.config), options):
        values.update({name: value for name, value in source.items() if name in SETTINGS})
    return values


def _plain(config: Mapping[str, Value]) -> dict[str, str]:
    return {
        key: ("on" if value else "off") if isinstance(value, bool) else str(value)
        for key, value in config.items()
    }


def slow_s(settings: Mapping[str, str]) -> float:
    """Return from which duration statements are logged."""
    value = settings["log_min_duration_statement"]
    return math.inf if value.startswith("-") else seconds(value)
