"""The JetStream API of operators: ``$JS.API.STREAM.INFO`` and its kin, as the ``nats`` tool asks.

Answers are the API's JSON, with the keys that the tool shows; times are unix seconds. Not here:
how the tool prints them (``nats_tool``), what clients of the app send (``nats_server``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from aiopslab.models.queue import Stream
from aiopslab.world.images.messages import NatsApi, NatsErr, NatsInfo
from aiopslab.world.images.nats_account import ApiError, OutOfSpace
from aiopslab.world.images.nats_consumer import ConsumerConfig, ConsumerState
from aiopslab.world.images.nats_server import DISABLED, NO_RESPONDERS, NatsServer
from aiopslab.world.images.nats_stream import Stored, StreamState

Body = Mapping[str, Any]
_CALL_S = 150e-6
"""CPU seconds of one API call."""
_BAD_REQUEST = (400, 10003, "bad request")


async def answer(server: NatsServer, message: NatsApi) -> NatsInfo | NatsErr:
    """Answer a request."""
    await server.box.burn(_CALL_S)
    try:
        return NatsInfo(call(server, message.verb, message.body))
    except ApiError as error:
        number = f" ({error.err_code})" if error.err_code else ""
        return NatsErr(f"{error.text}{number}", error.code)


def admin(server: NatsServer, command: str) -> str:
    """Run ``VERB {json}`` and return the JSON of the answer; raises ApiError.

    Of a list of bodies each is run, one after another, and the answers are a list.
    """
    verb, _, text = command.partition(" ")
    try:
        body = json.loads(text or "{}")
    except ValueError:
        raise ApiError(*_BAD_REQUEST) from None
    if isinstance(body, list):
        return json.dumps([call(server, verb, one) for one in body])
    return json.dumps(call(server, verb, body))


def call(server: NatsServer, verb: str, body: Body) -> dict[str, Any]:
    """Run one request.

    Raises:
        ApiError: As the server words it.
    """
    if not server.enabled:
        raise ApiError(503, 10039, DISABLED)
    run = _VERBS.get(verb)
    if run is None:
        raise ApiError(*_BAD_REQUEST)
    try:
        return run(server, body)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ValidationError):
            text = error.errors()[0]["msg"]
            raise ApiError(400, 10052, f"stream configuration invalid: {text}") from None
        raise ApiError(*_BAD_REQUEST) from None


# -- what there is --------------------------------------------------------------------------------


def _stream(server: NatsServer, state: StreamState) -> dict[str, Any]:
    messages = state.messages
    first = next(iter(messages.values()), None)
    last = messages.get(state.last_seq)
    subjects: dict[str, int] = {}
    for message in messages.values():
        subjects[message.subject] = subjects.get(message.subject, 0) + 1
    return {
        "name": state.name,
        "created": state.created,
        "config": state.config.model_dump(mode="json"),
        "state": {
            "messages": len(messages),
            "bytes": state.bytes,
            "first_seq": state.first_seq if messages else 0,
            "first_ts": first.time if first else None,
            "last_seq": state.last_seq,
            "last_ts": last.time if last else None,
            "deleted": state.deleted,
            "subjects": dict(sorted(subjects.items())),
            "consumers": len(server.account.of(state.name)),
        },
    }


def _consumer(server: NatsServer, state: ConsumerState) -> dict[str, Any]:
    stream = server.account.streams[state.stream]
    config = state.config
    return {
        "stream": state.stream,
        "name": config.durable,
        "created": state.created,
        "config": {
            "filter_subject": config.filter_subject,
            "ack_wait_s": config.ack_wait_s,
            "max_deliver": config.max_deliver,
            "max_ack_pending": config.max_ack_pending,
            "backoff_s": list(config.backoff_s),
        },
        "delivered": {"consumer_seq": state.consumer_seq, "stream_seq": state.next_seq - 1},
        "ack_floor": state.ack_floor,
        "num_ack_pending": state.num_ack_pending,
        "num_redelivered": state.num_redelivered,
        "num_pending": state.num_pending(stream),
        "num_waiting": server.readers((state.stream, config.durable)),
        "last_delivered": state.last_delivered,
        "last_acked": state.last_acked,
        "pending": {str(seq): p.delivery for seq, p in sorted(state.pending.items())[:20]},
        "exhausted": {str(seq): n for seq, n in sorted(state.exhausted.items())[:20]},
    }


def _info(server: NatsServer, _body: Body) -> dict[str, Any]:
    account = server.account
    return {
        "memory": account.used("memory"),
        "storage": account.used("file"),
        "max_memory": account.max_memory_store,
        "max_storage": account.max_file_store,
        "streams": len(account.streams),
        "consumers": len(account.consumers),
    }


def _stream_list(server: NatsServer, _body: Body) -> dict[str, Any]:
    states = sorted(server.account.streams.items())
    return {"streams": [_stream(server, state) for _, state in states]}


def _stream_info(server: NatsServer, body: Body) -> dict[str, Any]:
    return _stream(server, server.account.stream(str(body["name"])))


def _consumer_list(server: NatsServer, body: Body) -> dict[str, Any]:
    name = server.account.stream(str(body["stream"])).name
    states = sorted(server.account.of(name), key=lambda c: c.config.durable)
    return {"consumers": [_consumer(server, state) for state in states]}


def _consumer_info(server: NatsServer, body: Body) -> dict[str, Any]:
    found = server.account.consumer(str(body["stream"]), str(body["name"]))
    return _consumer(server, found)


def _message_get(server: NatsServer, body: Body) -> dict[str, Any]:
    state = server.account.stream(str(body["stream"]))
    message: Stored | None
    if "last_by_subj" in body:
        pattern = str(body["last_by_subj"])
        wanted = (m for m in state.newest(0) if state.after(m.sequence, pattern) is m)
        message = next(wanted, None)
    else:
        message = state.messages.get(int(body["seq"]))
    if message is None:
        raise ApiError(404, 10037, "no message found")
    return {
        "subject": message.subject,
        "seq": message.sequence,
        "time": message.time,
        "size": message.size,
        "data": dict(message.params),
        "headers": {
            **({"Nats-Msg-Id": message.id} if message.id else {}),
            **({"traceparent": f"00-{message.trace_id:032x}-{message.span_id:016x}-01"}
               if message.trace_id else {}),
        },
    }  # fmt: skip


# -- changes --------------------------------------------------------------------------------------


def _stream_create(server: NatsServer, body: Body) -> dict[str, Any]:
    config = Stream.model_validate(body["config"])
    state = server.account.add_stream(str(body["name"]), config, server.loop.time())
    return _stream(server, state)


def _stream_update(server: NatsServer, body: Body) -> dict[str, Any]:
    state = server.account.stream(str(body["name"]))
    config = Stream.model_validate({**state.config.model_dump(), **body["config"]})
    server.account.update_stream(state.name, config, server.loop.time())
    server.wake(state.name)
    return _stream(server, state)


def _stream_delete(server: NatsServer, body: Body) -> dict[str, Any]:
    name = str(body["name"])
    keys = [key for key in server.account.consumers if key[0] == name]
    server.account.delete_stream(name)
    for key in keys:
        server.drop(key)
    return {"success": True}


def _stream_purge(server: NatsServer, body: Body) -> dict[str, Any]:
    keep, subject = int(body.get("keep", 0)), str(body.get("filter", ""))
    return {"purged": server.account.purge(str(body["name"]), subject, keep)}


def _message_delete(server: NatsServer, body: Body) -> dict[str, Any]:
    state = server.account.stream(str(body["stream"]))
    if not server.account.remove(state, int(body["seq"])):
        raise ApiError(400, 10057, f"message [{body['seq']}] not found")
    server.wake(state.name)
    return {"success": True}


def _consumer_create(server: NatsServer, body: Body) -> dict[str, Any]:
    config = ConsumerConfig(str(body["name"]), str(body.get("filter", "")))
    created = server.account.add_consumer(str(body["stream"]), config, server.loop.time())
    return _consumer(server, created)


def _consumer_delete(server: NatsServer, body: Body) -> dict[str, Any]:
    key = (str(body["stream"]), str(body["name"]))
    server.account.delete_consumer(*key)
    server.drop(key)
    return {"success": True}


def _publish(server: NatsServer, body: Body) -> dict[str, Any]:
    now = server.loop.time()
    params = {str(k): str(v) for k, v in dict(body.get("data", {})).items()}
    size = int(body.get("size", sum(len(k) + len(v) + 6 for k, v in params.items()) + 2))
    count = 0
    while True:
        try:
            stored = server.account.publish(Stored(0, str(body["subject"]), params, size, now), now)
        except (OutOfSpace, ApiError) as error:
            if body.get("until_full"):
                return {"stored": count}
            if isinstance(error, ApiError):
                raise
            raise ApiError(503, 10077, "no space left on device") from None
        if stored is None:
            raise ApiError(503, 0, NO_RESPONDERS)
        state, sequence, _ = stored
        server.wake(state.name)
        if not body.get("until_full"):
            return {"stream": state.name, "seq": sequence}
        count += 1


_VERBS: dict[str, Callable[[NatsServer, Body], dict[str, Any]]] = {
    "INFO": _info,
    "STREAM.LIST": _stream_list,
    "STREAM.INFO": _stream_info,
    "STREAM.CREATE": _stream_create,
    "STREAM.UPDATE": _stream_update,
    "STREAM.DELETE": _stream_delete,
    "STREAM.PURGE": _stream_purge,
    "STREAM.MSG.GET": _message_get,
    "STREAM.MSG.DELETE": _message_delete,
    "CONSUMER.LIST": _consumer_list,
    "CONSUMER.INFO": _consumer_info,
    "CONSUMER.CREATE": _consumer_create,
    "CONSUMER.DELETE": _consumer_delete,
    "PUB": _publish,
}
