"""``messaging.Queue`` over nats-py: JetStream of a real NATS server.

One connection, made when it is needed and again when it broke. Requests may overlap on it; those
under way when it breaks fail at once. The body of a message is its parameters as JSON, filled up to
its declared size; the span that published it travels as ``traceparent``. Not here: the requests
to the server's API (``jetstream``), what messages mean (``services.worker``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DeliverPolicy, Header
from nats.js.errors import APIError, NoStreamResponseError

from aiopslab.services.messaging import Message, QueueError, Subscription
from aiopslab.services.net_errors import (
    ConnectionReset,
    ConnectTimeout,
    NetError,
    RequestTimeout,
)
from aiopslab.services.real.jetstream import pull
from aiopslab.services.real.links import Way
from aiopslab.services.real.reach import Address, failure, resolve

T = TypeVar("T")
USER = "default"
"""Who clients log in as; a server that knows a password alone takes any name."""
_NO_RESPONDERS = "no response from stream"
_DISABLED = "JetStream not enabled for account"
_HURRY_S = 1.0
"""Longest wait for a connection to say goodbye."""


@dataclass(frozen=True, slots=True)
class _Delivered(Message):
    """A message, with the subject that its acknowledgement goes to."""

    reply: str = ""


class QueueClient:
    """A client of one NATS server.

    Args:
        address: Host and port of the server.
        password: Empty sends none.
        durable_prefix: Put before the names of durable consumers, where several deployments share
            a server; usually empty.
        name: How the client calls itself, as ``/connz`` lists it.
        way: What happens to packets there and back; None: nothing.
    """

    def __init__(
        self, address: Address, *, password: str, durable_prefix: str = "", name: str = "",
        way: Way | None = None,
    ) -> None:  # fmt: skip
        self._address = address
        self._way = way or Way.usual()
        self._password = password
        self._prefix = durable_prefix
        self._name = name
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()

    async def publish(
        self, subject: str, params: Mapping[str, str], *, size: int, id: str, trace_id: int,
        span_id: int, timeout_s: float,
    ) -> int:  # fmt: skip
        headers = {Header.MSG_ID.value: id} if id else {}
        if trace_id:
            headers["traceparent"] = f"00-{trace_id:032x}-{span_id:016x}-01"
        body = json.dumps(dict(params)).encode().ljust(size)  # trailing blanks are JSON too

        async def store(client: Client, left: float) -> int:
            done = await client.jetstream(timeout=left).publish(
                subject, body, timeout=left, headers=headers or None
            )
            return int(done.seq)

        return await self._call(store, timeout_s)

    async def subscribe(self, subscription: Subscription, *, timeout_s: float) -> None:
        durable = self._prefix + subscription.durable
        config = ConsumerConfig(
            durable_name=durable,
            deliver_policy=DeliverPolicy.ALL,
            filter_subject=subscription.subject or None,
            ack_wait=subscription.ack_wait_s,
            max_deliver=subscription.max_deliver,
            max_ack_pending=subscription.max_ack_pending,
            backoff=list(subscription.backoff_s) or None,
        )

        async def bind(client: Client, left: float) -> None:
            await client.jetstream(timeout=left).add_consumer(subscription.stream, config)

        await self._call(bind, timeout_s)

    async def fetch(
        self, subscription: Subscription, batch: int, *, wait_s: float, timeout_s: float
    ) -> Sequence[Message]:
        durable = self._prefix + subscription.durable

        async def get(client: Client, left: float) -> list[Msg]:
            return await pull(client, subscription.stream, durable, batch, min(wait_s, left))

        return [_read(message) for message in await self._call(get, timeout_s)]

    async def ack(self, subscription: Subscription, message: Message, *, timeout_s: float) -> None:
        await self._answer(message, "+ACK", timeout_s)

    async def nak(
        self, subscription: Subscription, message: Message, delay_s: float, *, timeout_s: float
    ) -> None:
        body = f'-NAK {{"delay": {int(delay_s * 1e9)}}}' if delay_s > 0.0 else "-NAK"
        await self._answer(message, body, timeout_s)

    async def term(self, subscription: Subscription, message: Message, *, timeout_s: float) -> None:
        await self._answer(message, "+TERM", timeout_s)

    async def close(self) -> None:
        """Close the connection; the process ends."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    # -- the connection ---------------------------------------------------------------------------

    async def _answer(self, message: Message, body: str, timeout_s: float) -> None:
        assert isinstance(message, _Delivered), "messages come from fetch"

        async def answer(client: Client, left: float) -> None:
            await client.request(message.reply, body.encode(), timeout=left)

        await self._call(answer, timeout_s)

    async def _call(
        self, request: Callable[[Client, float], Coroutine[Any, Any, T]], timeout_s: float
    ) -> T:
        """Run a request within its time; raises NetError or QueueError."""
        now = asyncio.get_running_loop().time
        deadline = now() + timeout_s
        link = await self._connected(timeout_s)
        try:
            return await link.race(self._exchange(link, request, deadline), deadline)
        except (TimeoutError, errors.TimeoutError):
            raise RequestTimeout(*link.where) from None
        except (errors.NoRespondersError, NoStreamResponseError):
            raise QueueError(_NO_RESPONDERS) from None
        except APIError as error:
            # Without words, nobody answers for the API at all.
            raise QueueError(error.description or _DISABLED) from None
        except errors.MaxPayloadError:
            raise QueueError("maximum payload exceeded") from None
        except (errors.ConnectionClosedError, errors.OutboundBufferLimitError, OSError):
            raise ConnectionReset(*link.where) from None

    async def _exchange(
        self, link: _Link, request: Callable[[Client, float], Coroutine[Any, Any, T]],
        deadline: float,
    ) -> T:  # fmt: skip
        await self._way.out()
        left = deadline - asyncio.get_running_loop().time()
        answer = await request(link.client, max(left, 0.001))
        await self._way.back()
        return answer

    async def _connected(self, timeout_s: float) -> _Link:
        """Return the connection, made once for all who wait."""
        async with self._connecting:
            if self._link is None or self._link.client.is_closed:
                self._link = await self._dialled(timeout_s)
            return self._link

    async def _dialled(self, timeout_s: float) -> _Link:
        now = asyncio.get_running_loop().time
        deadline = now() + timeout_s
        ip = await resolve(self._address, timeout_s)
        try:
            async with asyncio.timeout_at(deadline):
                await self._way.dial()
        except TimeoutError:
            raise ConnectTimeout(*self._address, f"{ip}:{self._address[1]}") from None
        left = max(deadline - now(), 0.0)
        return await _dial(self._address, ip, self._password, self._name, left)


class _Link:
    """One connection; requests on it end when it does."""

    def __init__(self, client: Client, where: tuple[str, int, str]) -> None:
        self.client = client
        self.where = where
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def race(self, work: Coroutine[Any, Any, T], deadline: float) -> T:
        """Run a coroutine until it, the connection or the time ends."""
        task: asyncio.Task[T] = asyncio.create_task(work)
        left = max(deadline - asyncio.get_running_loop().time(), 0.0)
        try:
            ends: set[asyncio.Future[Any]] = {task, self.lost}
            await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise ConnectionReset(*self.where) if self.lost.done() else TimeoutError
        finally:
            _drop(task)

    async def close(self) -> None:
        """Hang up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_HURRY_S):
                await self.client.close()


async def _dial(address: Address, ip: str, password: str, name: str, timeout_s: float) -> _Link:
    """Connect and log in. Raises NetError, or QueueError where the server refuses."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    shown = f"[{ip}]" if ":" in ip else ip
    link = _Link(Client(), (*address, f"{shown}:{address[1]}"))
    failed: asyncio.Future[Exception] = loop.create_future()

    async def complain(error: Exception) -> None:
        if not failed.done():
            failed.set_result(error)

    async def closed() -> None:
        if not link.lost.done():
            link.lost.set_result(None)

    work = link.client.connect(
        f"nats://{shown}:{address[1]}", name=name or None, allow_reconnect=False,
        connect_timeout=max(1, round(timeout_s + 1)), error_cb=complain, closed_cb=closed,
        user=USER if password else None, password=password or None,
    )  # fmt: skip
    dialing: asyncio.Task[None] = asyncio.create_task(work)
    try:
        # The library tries again by itself; the first failure is what callers want to hear of.
        left = max(deadline - loop.time(), 0.0)
        ends: set[asyncio.Future[Any]] = {dialing, failed}
        await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            raise _refusal(failed.result(), address, ip)
        if not dialing.done():
            raise ConnectTimeout(*link.where)
        dialing.result()
    except BaseException:
        _drop(dialing)
        await link.close()
        raise
    return link


def _drop(task: asyncio.Task[Any]) -> None:
    """Cancel a task that nobody waits for any more; what it ends with is of no interest."""
    task.cancel()
    task.add_done_callback(lambda done: done.cancelled() or done.exception())


def _refusal(error: Exception, address: Address, ip: str) -> NetError | QueueError:
    if isinstance(error, OSError | EOFError):
        return failure(error, address, ip)
    text = str(error).removeprefix("nats: ").strip("'")
    if "authorization violation" in text.lower():
        return QueueError("Authorization Violation")
    if isinstance(error, errors.Error) and "empty response" not in text:
        return QueueError(text)
    return ConnectionReset(*address, f"{ip}:{address[1]}")


def _read(message: Msg) -> _Delivered:
    """Read a message as JetStream hands it over."""
    meta = message.metadata
    trace_id, span_id = _span((message.headers or {}).get("traceparent", ""))
    return _Delivered(
        stream=meta.stream,
        sequence=meta.sequence.stream,
        subject=message.subject,
        params=_params(message.data),
        size=len(message.data),
        delivery=meta.num_delivered,
        published=meta.timestamp.timestamp(),
        trace_id=trace_id,
        span_id=span_id,
        reply=message.reply,
    )


def _params(body: bytes) -> dict[str, str]:
    """Read a body; what others published need not be ours."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _span(traceparent: str) -> tuple[int, int]:
    """Read a W3C ``traceparent``; zeros where there is none."""
    parts = traceparent.split("-")
    try:
        return (int(parts[1], 16), int(parts[2], 16)) if len(parts) == 4 else (0, 0)
    except ValueError:
        return 0, 0
