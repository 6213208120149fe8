"""Asking a pull consumer of JetStream for messages: the first that comes, and what is behind it.

Not here: the connection, and what an application sees of it (``queue``).
"""

from __future__ import annotations

import json

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import Header

from aiopslab.services.messaging import QueueError

_EMPTY = ("404", "408")
"""No messages; the request has expired."""
_GONE = "503"
_BURST_S = 0.1
"""How long the server may look for the rest of a batch; it ends the request itself."""
_GRACE_S = 1.0
"""How much longer than the server's own limit an answer is waited for."""


async def pull(client: Client, stream: str, durable: str, batch: int, wait_s: float) -> list[Msg]:
    """Wait up to ``wait_s`` seconds for a message, and return it with those behind it.

    Each request ends at the server, by messages or by its expiry: nothing is given out that nobody
    takes.

    Raises:
        QueueError: The consumer is gone.
        APIError: It never was there; the server's words.
    """
    inbox = await client.subscribe(client.new_inbox())
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
    try:
        found = await _ask(client, inbox, subject, 1, wait_s)
        more = min(batch - 1, found[0].metadata.num_pending) if found else 0
        if more > 0:
            found += await _ask(client, inbox, subject, more, _BURST_S)
        return found
    except errors.NoRespondersError:
        # Nobody listens there: the answer to another question says what is missing.
        await client.jetstream(timeout=_GRACE_S).consumer_info(stream, durable)
        return []
    finally:
        if not client.is_closed:
            await inbox.unsubscribe()


async def _ask(
    client: Client, inbox: Subscription, subject: str, batch: int, wait_s: float
) -> list[Msg]:
    """Send one request and collect its answer."""
    request = {"batch": batch, "expires": int(wait_s * 1e9)}
    await client.publish(subject, json.dumps(request).encode(), inbox.subject)
    found: list[Msg] = []
    while len(found) < batch:
        message = await inbox.next_msg(wait_s + _GRACE_S)
        headers = message.headers or {}
        status = headers.get(Header.STATUS.value, "")
        if not status:
            found.append(message)
        elif status in _EMPTY or found:
            break
        elif status == _GONE:
            raise errors.NoRespondersError
        else:
            raise QueueError(headers.get(Header.DESCRIPTION.value, "").lower())
    return found
