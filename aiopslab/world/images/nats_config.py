"""``nats.conf``: reading the part of the grammar that a server with JetStream needs, and streams.

``key: value``, ``key = value`` and blocks in braces; sizes as ``1GB`` or ``512MB``. The streams of
a queue are declared beside it (``streams.json``) and created when the volume has none, as a
provisioning job would. Not here: who writes the files (``services.store_manifests``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from aiopslab.models.base import parse_size
from aiopslab.models.queue import Stream

CONF = "/etc/nats/nats.conf"
STREAMS = "/etc/nats/streams.json"
_TOKEN = re.compile(r'[{}]|[:=,\n]|"[^"]*"|[^\s{}:=,"]+')
_SIZES = {"KB": "Ki", "MB": "Mi", "GB": "Gi", "TB": "Ti", "K": "Ki", "M": "Mi", "G": "Gi"}


class ConfigFileError(Exception):
    """The server does not start with this."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What a server starts with."""

    port: int
    server_name: str
    password: str
    max_payload: int
    max_file_store: int
    max_memory_store: int


def read(text: str, env: Mapping[str, str], *, name: str, port: int, disk: int) -> ServerConfig:
    """Read a configuration file.

    Args:
        text: The file.
        env: ``$NAME`` reads a variable.
        name: Default of ``server_name``.
        port: Default of ``port``.
        disk: Bytes of the volume; three quarters of it are the default of ``max_file_store``.

    Raises:
        ConfigFileError: The grammar or a value is wrong.
    """
    values = _parse(text)

    def value(key: str, default: str) -> str:
        found = values.get(key, default)
        if not found.startswith("$"):
            return found
        if found[1:] not in env:
            raise ConfigFileError(f"variable reference for '{found[1:]}' can not be found")
        return env[found[1:]]

    listen = value("port", str(port))
    if not re.fullmatch(r"[0-9]{1,5}", listen):
        raise ConfigFileError(f"error parsing port: {listen!r}")
    return ServerConfig(
        port=int(listen),
        server_name=value("server_name", name),
        password=value("authorization.password", ""),
        max_payload=_size(value("max_payload", "1MB")),
        max_file_store=_size(value("jetstream.max_file_store", str(disk * 3 // 4))),
        max_memory_store=_size(value("jetstream.max_memory_store", "64MB")),
    )


def streams(text: str) -> dict[str, Stream]:
    """Read the declared streams.

    Raises:
        ConfigFileError: Not JSON, or not streams.
    """
    try:
        return {name: Stream.model_validate(spec) for name, spec in json.loads(text).items()}
    except (ValueError, AttributeError, ValidationError) as error:
        raise ConfigFileError(f"streams: {error}") from None


def _parse(text: str) -> dict[str, str]:
    """Return values by dotted path."""
    lines = "\n".join(re.sub(r"(#|//).*", "", line) for line in text.splitlines())
    found: dict[str, str] = {}
    path: list[str] = []
    key = ""
    for token in _TOKEN.findall(lines):
        if token == "{":
            if not key:
                raise ConfigFileError("parse error: unexpected '{'")
            path, key = [*path, key], ""
        elif token == "}":
            if not path:
                raise ConfigFileError("parse error: unexpected '}'")
            path, key = path[:-1], ""
        elif token in ":=":
            continue
        elif token in "\n,":
            key = ""
        elif not key:
            key = token
        else:
            found[".".join([*path, key])] = token.strip('"')
            key = ""
    if path:
        raise ConfigFileError("parse error: unexpected end of file, missing '}'")
    return found


def _size(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,18})([A-Za-z]*)", text)
    unit = "" if match is None else match[2].upper()
    if match is None or (unit and unit not in _SIZES):
        raise ConfigFileError(f"not a size: {text!r}")
    return parse_size(match[1] + _SIZES.get(unit, ""))
