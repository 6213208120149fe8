"""A NATS server of a cluster as its operator asks it: ``VERB {json}``, answers as JSON.

Verbs and the keys of answers that faults read are those of the simulated server
(``world.images.nats_api``); the rest of an answer is the real server's own. Not here: the way to
the server (a port of its pod on loopback), who asks (``cluster.operator``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiopslab.errors import InfraError
from aiopslab.models.queue import Stream

if TYPE_CHECKING:
    from nats.aio.client import Client

Address = tuple[str, int]
Body = Mapping[str, Any]
_ANSWER_S = 10.0
_SLOW = "Authentication Timeout"
"""What a server says to a client that was too slow to log in."""
_SUBJECTS = {
    "INFO": "INFO",
    "STREAM.INFO": "STREAM.INFO.{name}",
    "STREAM.DELETE": "STREAM.DELETE.{name}",
    "STREAM.PURGE": "STREAM.PURGE.{name}",
    "STREAM.MSG.GET": "STREAM.MSG.GET.{stream}",
    "STREAM.MSG.DELETE": "STREAM.MSG.DELETE.{stream}",
    "CONSUMER.INFO": "CONSUMER.INFO.{stream}.{name}",
    "CONSUMER.DELETE": "CONSUMER.DELETE.{stream}.{name}",
}
"""Verbs that are passed on as they are, with what is left of the body."""
_NANOSECONDS = ("max_age", "duplicate_window")


async def ask(address: Address, password: str, command: str) -> str:
    """Run one command.

    Args:
        address: Where the server listens.
        password: Of the user ``default``; empty logs in as nobody.
        command: ``VERB {json}``; of a list of bodies each is run, one after another on one
            connection, and the answers are a list.

    Raises:
        InfraError: The server cannot be reached, or refused it; its own words.
    """
    from nats import errors  # noqa: PLC0415 - an extra
    from nats.js.errors import Error as StreamError  # noqa: PLC0415

    verb, _, text = command.partition(" ")
    said: list[str] = []
    try:
        client = await _logged_in(address, password, said)
        try:
            body = json.loads(text or "{}")
            if isinstance(body, list):
                return json.dumps([await _run(client, verb, one) for one in body])
            return json.dumps(await _run(client, verb, body))
        finally:
            await client.close()
    except (errors.Error, StreamError, OSError, TimeoutError) as error:
        words = "; ".join([*said, str(error) or type(error).__name__])
        raise InfraError("store", f"{command!r}: {words}") from error


async def _logged_in(address: Address, password: str, said: list[str], tries: int = 3) -> Client:
    """Connect; a server gives two seconds to log in, which a busy machine does not always keep."""
    from nats import errors  # noqa: PLC0415 - an extra
    from nats.aio.client import Client  # noqa: PLC0415

    async def complain(error: Exception) -> None:
        said.append(str(error))

    client = Client()
    try:
        await client.connect(
            f"nats://{address[0]}:{address[1]}", allow_reconnect=False,
            connect_timeout=round(_ANSWER_S), error_cb=complain,
            user="default" if password else None, password=password or None,
        )  # fmt: skip
    except errors.Error as error:
        await client.close()
        if tries == 1 or _SLOW not in str(error):
            raise
        return await _logged_in(address, password, said, tries - 1)
    return client


async def _run(client: Client, verb: str, body: Body) -> dict[str, Any]:
    match verb:
        case "PUB":
            return await _publish(client, body)
        case "STREAM.CREATE":
            return await _create(client, body)
        case "STREAM.UPDATE":
            return await _update(client, body)
        case "CONSUMER.CREATE":
            return await _consumer(client, body)
    subject = _SUBJECTS.get(verb)
    if subject is None:
        raise InfraError("store", f"unknown request {verb!r} to a queue")
    rest = {key: value for key, value in body.items() if f"{{{key}}}" not in subject}
    return await _request(client, subject.format(**body), rest)


async def _request(client: Client, subject: str, body: Body) -> dict[str, Any]:
    """Ask the API.

    Raises:
        InfraError: It answered with an error.
    """
    data = json.dumps(dict(body)).encode() if body else b""
    answer = await client.request(f"$JS.API.{subject}", data, timeout=_ANSWER_S)
    told: dict[str, Any] = json.loads(answer.data)
    if error := told.get("error"):
        raise InfraError("store", f"{error.get('description')} ({error.get('err_code')})")
    return told


async def _publish(client: Client, body: Body) -> dict[str, Any]:
    """Publish once, or with ``until_full`` until it is refused."""
    from nats.js.errors import APIError  # noqa: PLC0415 - an extra

    params = {str(k): str(v) for k, v in dict(body.get("data", {})).items()}
    content = json.dumps(params).encode().ljust(int(body.get("size", 0)))
    js, count = client.jetstream(timeout=_ANSWER_S), 0
    while True:
        try:
            done = await js.publish(str(body["subject"]), content, timeout=_ANSWER_S)
        except APIError:
            if not body.get("until_full"):
                raise
            return {"stored": count}
        if not body.get("until_full"):
            return {"stream": done.stream, "seq": done.seq}
        count += 1


async def _create(client: Client, body: Body) -> dict[str, Any]:
    from aiopslab.services.real.seeding import stream_config  # noqa: PLC0415 - an extra

    config = stream_config(str(body["name"]), Stream.model_validate(body["config"]))
    return await _request(client, f"STREAM.CREATE.{config.name}", config.as_dict())


async def _update(client: Client, body: Body) -> dict[str, Any]:
    """Change some settings; the server wants all of them."""
    found = await _request(client, f"STREAM.INFO.{body['name']}", {})
    changed = {
        key: int(value * 1e9) if key in _NANOSECONDS else value
        for key, value in body["config"].items()
    }
    return await _request(client, f"STREAM.UPDATE.{body['name']}", found["config"] | changed)


async def _consumer(client: Client, body: Body) -> dict[str, Any]:
    config = {
        "durable_name": str(body["name"]), "ack_policy": "explicit", "deliver_policy": "all",
        "filter_subject": str(body.get("filter", "")),
    }  # fmt: skip
    stream = str(body["stream"])
    request = {"stream_name": stream, "config": {k: v for k, v in config.items() if v}}
    return await _request(client, f"CONSUMER.DURABLE.CREATE.{stream}.{body['name']}", request)
