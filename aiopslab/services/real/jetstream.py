"""Asking a pull consumer of JetStream for messages: what is there, else the first that comes.

The requests are those of nats.go's ``Fetch``. Not here: the connection and what an application
sees of it (``queue``).
"""

from __future__ import annotations

import json
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import Header

from aiopslab.services.messaging import QueueError

_EMPTY = ("404", "408")
"""No messages; the request has expired."""
_GONE = "503"
_BUSY = "exceeded maxackpending"
_GRACE_S = 1.0
"""How much longer than the server's own limit an answer is waited for."""


async def pull(client: Client, stream: str, durable: str, batch: int, wait_s: float) -> list[Msg]:
    """Return up to ``batch`` messages that are there, or the first within ``wait_s`` seconds.

    Raises:
        QueueError: The consumer is gone.
        APIError: It never was there; the server's words.
    """
    inbox = await client.subscribe(client.new_inbox())
    try:
        request = {"batch": batch, "no_wait": True}
        found = await _ask(client, inbox, stream, durable, request, wait_s)
        if found or wait_s <= 0.0:
            return found
        request = {"batch": 1, "expires": int(wait_s * 1e9)}
        return await _ask(client, inbox, stream, durable, request, wait_s)
    finally:
        if not client.is_closed:
            await inbox.unsubscribe()


async def _ask(
    client: Client, inbox: Subscription, stream: str, durable: str, request: dict[str, Any],
    wait_s: float,
) -> list[Msg]:  # fmt: skip
    """Send one request and collect its answer."""
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
    await client.publish(subject, json.dumps(request).encode(), inbox.subject)
    found: list[Msg] = []
    while len(found) < request["batch"]:
        message = await inbox.next_msg(wait_s + _GRACE_S)
        headers = message.headers or {}
        status = headers.get(Header.STATUS.value, "")
        if not status:
            found.append(message)
        elif status == _GONE:
            # Nobody listens there: the answer to another question says what is missing.
            await client.jetstream(timeout=_GRACE_S).consumer_info(stream, durable)
            break
        elif status in _EMPTY or found:
            break
        else:
            reason = headers.get(Header.DESCRIPTION.value, "").lower()
            if reason == _BUSY:
                break
            raise QueueError(reason)
    return found
