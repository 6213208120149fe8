"""The ``nats`` command line: streams, consumers, messages, over the network like any client.

``nats stream ls|info|subjects|get|view|purge|rmm|edit|add|rm``, ``nats consumer
ls|info|report|rm``, ``nats pub``, ``nats account info``; flags of natscli. Not here: what the
server answers (``nats_api``), how it is printed (``nats_pages``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiopslab.models.base import parse_duration, parse_size
from aiopslab.models.kube import ExecResult
from aiopslab.services.protocols import (
    ConnectionRefused,
    ConnectTimeout,
    NetError,
    NoSuchHost,
)
from aiopslab.world.connection import Connection
from aiopslab.world.container import Container
from aiopslab.world.images import nats_pages as pages
from aiopslab.world.images.messages import NatsApi, NatsConnect, NatsErr, NatsInfo, NatsOk
from aiopslab.world.images.nats_pages import size

__all__ = ["run", "size"]

_TIMEOUT_S = 5.0
_VIEWED = 10
_FLAGS = ("-f", "--force", "--all", "-a", "-j", "--json", "--no-select", "-n", "--names")
"""Flags without a value."""
_LIMITS: dict[str, tuple[str, Callable[[str], object]]] = {
    "--max-msgs": ("max_msgs", int),
    "--max-bytes": ("max_bytes", lambda text: -1 if text == "-1" else parse_size(text)),
    "--max-age": ("max_age", lambda text: 0.0 if text == "-1" else parse_duration(text)),
    "--discard": ("discard", str),
    "--subjects": ("subjects", lambda text: text.split(",")),
    "--retention": ("retention", lambda text: {"work": "workqueue"}.get(text, text)),
    "--storage": ("storage", str),
    "--dupe-window": ("duplicate_window", parse_duration),
}


class ToolError(Exception):
    """What the tool prints behind ``nats: error:``."""


@dataclass(slots=True)
class _Call:
    """One invocation, its flags taken apart."""

    words: list[str]
    options: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)

    def word(self, index: int, what: str) -> str:
        if index >= len(self.words):
            raise ToolError(f"required argument '{what}' not provided, try --help")
        return self.words[index]

    def confirmed(self) -> None:
        """Changes ask on a terminal, and there is none."""
        if not self.flags & {"-f", "--force"}:
            raise ToolError("cannot prompt for confirmation without a terminal, use --force")


class _Session:
    """A connection that asks the API."""

    def __init__(self, connection: Connection, now: Callable[[], float]) -> None:
        self._connection = connection
        self.now = now

    async def ask(self, verb: str, **body: Any) -> dict[str, Any]:
        reply = await self._connection.call(NatsApi(verb, body), timeout_s=_TIMEOUT_S)
        if isinstance(reply, NatsErr):
            raise ToolError(reply.text)
        if not isinstance(reply, NatsInfo):
            raise ToolError("nats: invalid response from the server")
        return dict(reply.body)


async def run(box: Container, argv: Sequence[str], stdin: str) -> ExecResult:
    """Run one invocation."""
    try:
        call = _parse(argv)
        place = call.options.get("-s", call.options.get("--server", "nats://127.0.0.1:4222"))
        connection = await _connect(box, call, place.removeprefix("nats://").split("@")[-1])
    except ToolError as error:
        return ExecResult("", f"nats: error: {error}\n", 1)
    try:
        text = await _dispatch(_Session(connection, box.loop.time), call, stdin)
    except ToolError as error:
        return ExecResult("", f"nats: error: {error}\n", 1)
    except NetError:
        return ExecResult("", "nats: error: nats: connection closed\n", 1)
    finally:
        connection.close()
    return ExecResult(text, "", 0)


def _parse(argv: Sequence[str]) -> _Call:
    call = _Call([])
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, eq, value = word.partition("=")
        if not word.startswith("-") or word == "-1":
            call.words.append(word)
        elif word in _FLAGS:
            call.flags.add(word)
        elif eq:
            call.options[name] = value
        elif rest:
            call.options[name] = rest.pop(0)
        else:
            raise ToolError(f"expected argument for flag '{word}'")
    return call


async def _connect(box: Container, call: _Call, place: str) -> Connection:
    host, _, port = place.partition(":")
    number = int(port) if re.fullmatch(r"[0-9]{1,5}", port) else 4222
    try:
        connection = await box.netns.connect(host, number, timeout_s=_TIMEOUT_S)
        password = call.options.get("--password", box.env.get("NATS_PASSWORD", ""))
        hello = NatsConnect("NATS CLI Version 0.2.2", password)
        reply = await connection.call(hello, timeout_s=_TIMEOUT_S)
    except NoSuchHost:
        raise ToolError(f"dial tcp: lookup {host}: no such host") from None
    except ConnectionRefused as error:
        raise ToolError(f"dial tcp {error.address}: connect: connection refused") from None
    except ConnectTimeout as error:
        raise ToolError(f"dial tcp {error.address}: i/o timeout") from None
    except NetError:
        raise ToolError("nats: no servers available for connection") from None
    if not isinstance(reply, NatsOk):
        connection.close()
        # Something else may listen there, a cache for instance.
        text = reply.text if isinstance(reply, NatsErr) else "expected 'INFO', got something else"
        raise ToolError(f"nats: {text}")
    return connection


async def _dispatch(session: _Session, call: _Call, stdin: str) -> str:
    match call.words[:2]:
        case [("stream" | "str" | "s"), verb]:
            run = _STREAM.get(verb)
        case [("consumer" | "con" | "c"), verb]:
            run = _CONSUMER.get(verb)
        case [("account" | "a"), "info"]:
            return pages.account(await session.ask("INFO"))
        case ["pub", subject]:
            return await _pub(session, subject, " ".join(call.words[2:]) or stdin)
        case _:
            run = None
    if run is None:
        raise ToolError(f"command not found: {' '.join(call.words[:2]) or 'nats'}, try --help")
    return await run(session, _Call(call.words[2:], call.options, call.flags))


# -- streams --------------------------------------------------------------------------------------


async def _streams(session: _Session, call: _Call) -> str:
    body = await session.ask("STREAM.LIST")
    if call.flags & {"-n", "--names"}:
        return "".join(f"{each['name']}\n" for each in body["streams"])
    return _shown(call, body, pages.streams(body, session.now()))


async def _stream(session: _Session, call: _Call) -> str:
    body = await session.ask("STREAM.INFO", name=call.word(0, "stream"))
    return _shown(call, body, pages.stream(body))


async def _subjects(session: _Session, call: _Call) -> str:
    return pages.subjects(await session.ask("STREAM.INFO", name=call.word(0, "stream")))


async def _get(session: _Session, call: _Call) -> str:
    name = call.word(0, "stream")
    last = call.options.get("-S", call.options.get("--last-for"))
    if last is not None:
        body = await session.ask("STREAM.MSG.GET", stream=name, last_by_subj=last)
    else:
        body = await session.ask("STREAM.MSG.GET", stream=name, seq=_number(call.word(1, "id")))
    return _shown(call, body, pages.message(body, name))


async def _view(session: _Session, call: _Call) -> str:
    """Print some messages from ``--id`` (or the first) on."""
    name = call.word(0, "stream")
    state = (await session.ask("STREAM.INFO", name=name))["state"]
    count = _number(call.words[1]) if len(call.words) > 1 else _VIEWED
    number = _number(call.options.get("--id", str(state["first_seq"])))
    found: list[str] = []
    while number <= state["last_seq"] and len(found) < min(count, 100):
        try:
            body = await session.ask("STREAM.MSG.GET", stream=name, seq=number)
            found.append(pages.message(body, name))
        except ToolError:
            pass  # a gap in the sequence
        number += 1
    return "\n".join(found) or "No messages\n"


async def _purge(session: _Session, call: _Call) -> str:
    call.confirmed()
    name = call.word(0, "stream")
    keep = _number(call.options.get("--keep", "0"))
    subject = call.options.get("--subject", "")
    await session.ask("STREAM.PURGE", name=name, keep=keep, filter=subject)
    return pages.stream(await session.ask("STREAM.INFO", name=name))


async def _remove_message(session: _Session, call: _Call) -> str:
    call.confirmed()
    number = _number(call.word(1, "id"))
    await session.ask("STREAM.MSG.DELETE", stream=call.word(0, "stream"), seq=number)
    return ""


async def _edit(session: _Session, call: _Call) -> str:
    call.confirmed()
    name = call.word(0, "stream")
    body = await session.ask("STREAM.UPDATE", name=name, config=_config(call))
    return f"Stream {name} was updated\n\n{pages.stream(body)}"


async def _add(session: _Session, call: _Call) -> str:
    name = call.word(0, "stream")
    body = await session.ask("STREAM.CREATE", name=name, config=_config(call))
    return f"Stream {name} was created\n\n{pages.stream(body)}"


async def _remove(session: _Session, call: _Call) -> str:
    call.confirmed()
    await session.ask("STREAM.DELETE", name=call.word(0, "stream"))
    return ""


def _config(call: _Call) -> dict[str, object]:
    try:
        return {
            key: read(call.options[option])
            for option, (key, read) in _LIMITS.items()
            if option in call.options
        }
    except ValueError as error:
        raise ToolError(str(error)) from None


# -- consumers and messages -----------------------------------------------------------------------


async def _consumers(session: _Session, call: _Call) -> str:
    name = call.word(0, "stream")
    body = await session.ask("CONSUMER.LIST", stream=name)
    if call.flags & {"-n", "--names"}:
        return "".join(f"{each['name']}\n" for each in body["consumers"])
    return _shown(call, body, pages.consumers(body, name, session.now()))


async def _consumer(session: _Session, call: _Call) -> str:
    names = {"stream": call.word(0, "stream"), "name": call.word(1, "consumer")}
    body = await session.ask("CONSUMER.INFO", **names)
    return _shown(call, body, pages.consumer(body, session.now()))


async def _remove_consumer(session: _Session, call: _Call) -> str:
    call.confirmed()
    names = {"stream": call.word(0, "stream"), "name": call.word(1, "consumer")}
    await session.ask("CONSUMER.DELETE", **names)
    return ""


async def _pub(session: _Session, subject: str, text: str) -> str:
    """Publish a JSON object; anything else becomes the field ``text``."""
    try:
        data = json.loads(text or "{}")
    except ValueError:
        data = {"text": text}
    if not isinstance(data, dict):
        data = {"text": text}
    stored = await session.ask("PUB", subject=subject, data=data, size=len(text.encode()))
    return f"Stored in Stream: {stored['stream']} Sequence: {stored['seq']}\n"


def _shown(call: _Call, body: dict[str, Any], text: str) -> str:
    return json.dumps(body, indent=2) + "\n" if call.flags & {"-j", "--json"} else text


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text):
        raise ToolError(f"strconv.ParseUint: parsing {text!r}: invalid syntax")
    if len(text) > 19:
        raise ToolError(f"strconv.ParseUint: parsing {text!r}: value out of range")
    return int(text)


_Run = Callable[[_Session, _Call], Awaitable[str]]
_STREAM: dict[str, _Run] = {
    "ls": _streams, "list": _streams, "report": _streams, "info": _stream, "state": _stream,
    "subjects": _subjects, "get": _get, "view": _view, "purge": _purge, "rmm": _remove_message,
    "edit": _edit, "add": _add, "create": _add, "rm": _remove, "delete": _remove,
}  # fmt: skip
_CONSUMER: dict[str, _Run] = {
    "ls": _consumers, "list": _consumers, "report": _consumers, "info": _consumer,
    "rm": _remove_consumer, "delete": _remove_consumer,
}  # fmt: skip
