"""The queue client against a real NATS server: delivery, redelivery, limits, loss."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from stores import Address, Process, free_port, run, start_nats
from waiting import until

from aiopslab.models.queue import Stream
from aiopslab.services.messaging import Message, QueueError, Subscription
from aiopslab.services.net_errors import (
    ConnectionRefused,
    ConnectionReset,
    ConnectTimeout,
    NoSuchHost,
)
from aiopslab.services.real.queue import QueueClient
from aiopslab.services.real.seeding import stream_config

SOON_S = 5.0
PACKER = Subscription("ORDERS", "packer", "orders.placed", 30.0, 5, 100, ())
ORDERS = Stream(subjects=["orders.>"])


@asynccontextmanager
async def queue_of(address: Address, password: str = "", **options: Any
                   ) -> AsyncIterator[QueueClient]:  # fmt: skip
    client = QueueClient(address, password=password, **options)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def operator(server: Process) -> AsyncIterator[JetStreamContext]:
    client = Client()
    await client.connect(f"nats://{server.address[0]}:{server.address[1]}", allow_reconnect=False)
    try:
        yield client.jetstream()
    finally:
        await client.close()


@asynccontextmanager
async def at_work(
    server: Process, stream: Stream = ORDERS, packer: Subscription = PACKER
) -> AsyncIterator[tuple[QueueClient, JetStreamContext]]:
    """A stream ORDERS with one durable consumer."""
    async with operator(server) as js, queue_of(server.address) as queue:
        await js.add_stream(stream_config("ORDERS", stream))
        await queue.subscribe(packer, timeout_s=SOON_S)
        yield queue, js


async def place(queue: QueueClient, order: str, **options: Any) -> int:
    given: dict[str, Any] = {
        "size": 4096, "id": "", "trace_id": 0, "span_id": 0, "timeout_s": SOON_S, **options,
    }  # fmt: skip
    return await queue.publish("orders.placed", {"order": order}, **given)


async def take(queue: QueueClient, batch: int = 10, wait_s: float = SOON_S, **other: Any
               ) -> Sequence[Message]:  # fmt: skip
    subscription = replace(PACKER, **other)
    return await queue.fetch(subscription, batch, wait_s=wait_s, timeout_s=wait_s + SOON_S)


# -- delivery -------------------------------------------------------------------------------------


def test_a_message_arrives_with_what_its_publisher_put_into_it(nats: Process) -> None:
    async def scenario() -> tuple[int, Message]:
        async with at_work(nats) as (queue, js):
            sequence = await place(queue, "o-1", trace_id=0xABC, span_id=0xDEF)
            stored = await js.get_msg("ORDERS", sequence)
            assert stored.headers is not None
            assert stored.headers["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"
            [message] = await take(queue)
            return sequence, message

    sequence, message = run(scenario())
    assert (message.stream, message.sequence, message.delivery) == ("ORDERS", sequence, 1)
    assert (message.subject, message.params) == ("orders.placed", {"order": "o-1"})
    assert (message.size, message.trace_id, message.span_id) == (4096, 0xABC, 0xDEF)
    assert message.published > 1_700_000_000


def test_messages_are_given_out_in_order_and_no_more_than_asked_for(nats: Process) -> None:
    async def scenario() -> list[list[int]]:
        async with at_work(nats) as (queue, _):
            for number in range(5):
                await place(queue, f"o-{number}")
            return [[m.sequence for m in await take(queue, batch)] for batch in (2, 10)]

    assert run(scenario()) == [[1, 2], [3, 4, 5]]


def test_a_reader_that_waits_gets_the_first_message_that_comes(nats: Process) -> None:
    async def scenario() -> list[str]:
        async with at_work(nats) as (queue, js):
            waiting = asyncio.create_task(take(queue, wait_s=20.0))

            async def asked() -> bool:
                return bool((await js.consumer_info("ORDERS", "packer")).num_waiting)

            await until(asked)
            await place(queue, "o-1")
            return [message.params["order"] for message in await waiting]

    assert run(scenario()) == ["o-1"]


def test_a_reader_gets_nothing_when_its_patience_ends(nats: Process) -> None:
    async def scenario() -> Sequence[Message]:
        async with at_work(nats) as (queue, _):
            return await take(queue, wait_s=0.1)

    assert run(scenario()) == []


def test_a_message_with_a_known_id_is_stored_once(nats: Process) -> None:
    async def scenario() -> list[int]:
        async with at_work(nats) as (queue, _):
            return [await place(queue, "o-1", id="o-1") for _ in range(2)]

    assert run(scenario()) == [1, 1]


def test_what_waits_and_what_is_out_can_be_counted(nats: Process) -> None:
    async def scenario() -> None:
        async with at_work(nats) as (queue, js):

            async def counted(waiting: int, out: int) -> None:
                async def found() -> bool:
                    info = await js.consumer_info("ORDERS", "packer")
                    return (info.num_pending, info.num_ack_pending) == (waiting, out)

                await until(found)

            for number in range(3):
                await place(queue, f"o-{number}")
            await counted(3, 0)
            messages = await take(queue, 2)
            await counted(1, 2)
            await queue.ack(PACKER, messages[0], timeout_s=SOON_S)
            await counted(1, 1)

    run(scenario())


# -- answers --------------------------------------------------------------------------------------


def test_a_message_that_is_acknowledged_does_not_come_again(nats: Process) -> None:
    packer = replace(PACKER, ack_wait_s=0.1)

    async def scenario() -> Sequence[Message]:
        async with at_work(nats, packer=packer) as (queue, _):
            await place(queue, "o-1")
            [message] = await take(queue)
            await queue.ack(packer, message, timeout_s=SOON_S)
            return await take(queue, wait_s=0.5)

    assert run(scenario()) == []


def test_a_message_that_nobody_acknowledges_comes_again_until_its_deliveries_are_used_up(
    nats: Process,
) -> None:
    packer = replace(PACKER, ack_wait_s=0.1, max_deliver=3)

    async def scenario() -> list[int]:
        async with at_work(nats, packer=packer) as (queue, _):
            await place(queue, "poison")
            found = []
            while messages := await take(queue, wait_s=1.0):
                found += [message.delivery for message in messages]
            return found

    assert run(scenario()) == [1, 2, 3]


def test_a_refused_message_comes_again_after_its_pause(nats: Process) -> None:
    async def scenario() -> list[int]:
        async with at_work(nats) as (queue, _):
            await place(queue, "o-1")
            [first] = await take(queue)
            await queue.nak(PACKER, first, 0.0, timeout_s=SOON_S)
            [second] = await take(queue)
            await queue.nak(PACKER, second, 0.3, timeout_s=SOON_S)
            assert await take(queue, wait_s=0.05) == []
            [third] = await take(queue)
            return [first.delivery, second.delivery, third.delivery]

    assert run(scenario()) == [1, 2, 3]


def test_a_message_that_is_given_up_does_not_come_again(nats: Process) -> None:
    packer = replace(PACKER, ack_wait_s=0.1)

    async def scenario() -> Sequence[Message]:
        async with at_work(nats, packer=packer) as (queue, _):
            await place(queue, "o-1")
            [message] = await take(queue)
            await queue.term(packer, message, timeout_s=SOON_S)
            return await take(queue, wait_s=0.5)

    assert run(scenario()) == []


def test_redeliveries_follow_the_backoff(nats: Process) -> None:
    packer = replace(PACKER, max_deliver=8, backoff_s=(0.1, 0.2, 30.0))

    async def scenario() -> list[int]:
        async with at_work(nats, packer=packer) as (queue, _):
            await place(queue, "o-1")
            found: list[int] = []
            while messages := await take(queue, wait_s=1.0):
                found += [message.delivery for message in messages]
            return found

    assert run(scenario()) == [1, 2, 3]


def test_no_more_messages_are_out_than_the_consumer_allows(nats: Process) -> None:
    packer = replace(PACKER, max_ack_pending=2)

    async def scenario() -> list[int]:
        async with at_work(nats, packer=packer) as (queue, _):
            for number in range(4):
                await place(queue, f"o-{number}")
            first = await take(queue)
            assert await take(queue, wait_s=0.1) == []
            await queue.ack(packer, first[0], timeout_s=SOON_S)
            return [len(first), len(await take(queue))]

    assert run(scenario()) == [2, 1]


def test_a_policy_can_be_changed_and_the_position_stays(nats: Process) -> None:
    async def scenario() -> tuple[int | None, list[int]]:
        async with at_work(nats) as (queue, js):
            for number in range(2):
                await place(queue, f"o-{number}")
            [message] = await take(queue, 1)
            await queue.ack(PACKER, message, timeout_s=SOON_S)
            await queue.subscribe(replace(PACKER, max_deliver=9), timeout_s=SOON_S)
            info = await js.consumer_info("ORDERS", "packer")
            return info.config.max_deliver, [m.sequence for m in await take(queue)]

    assert run(scenario()) == (9, [2])


def test_a_prefix_keeps_the_consumers_of_two_deployments_apart(nats: Process) -> None:
    async def scenario() -> list[str]:
        async with at_work(nats) as (_, js), queue_of(
            nats.address, durable_prefix="green-"
        ) as queue:  # fmt: skip
            await queue.subscribe(PACKER, timeout_s=SOON_S)
            await place(queue, "o-1")
            assert len(await take(queue)) == 1
            return sorted(info.name for info in await js.consumers_info("ORDERS"))

    assert run(scenario()) == ["green-packer", "packer"]


# -- the server's refusals ------------------------------------------------------------------------


def test_a_subject_that_no_stream_keeps_is_refused(nats: Process) -> None:
    async def scenario() -> None:
        async with at_work(nats) as (queue, _):
            await queue.publish(
                "returns.placed", {}, size=1, id="", trace_id=0, span_id=0, timeout_s=SOON_S
            )

    with pytest.raises(QueueError, match=r"^no response from stream$"):
        run(scenario())


def test_a_full_stream_that_discards_new_messages_refuses_them(nats: Process) -> None:
    async def scenario() -> None:
        full = Stream(subjects=["orders.>"], max_msgs=1, discard="new")
        async with at_work(nats, full) as (queue, _):
            await place(queue, "o-1")
            with pytest.raises(QueueError, match=r"^maximum messages exceeded$"):
                await place(queue, "o-2")

    run(scenario())


def test_a_message_larger_than_the_server_takes_is_refused(nats: Process) -> None:
    async def scenario() -> None:
        async with at_work(nats) as (queue, _):
            await place(queue, "o-1", size=2 << 20)

    with pytest.raises(QueueError, match=r"^maximum payload exceeded$"):
        run(scenario())


def test_a_consumer_of_no_stream_is_refused(nats: Process) -> None:
    async def scenario() -> None:
        async with at_work(nats) as (queue, _):
            await queue.subscribe(replace(PACKER, stream="RETURNS"), timeout_s=SOON_S)

    with pytest.raises(QueueError, match=r"^stream not found$"):
        run(scenario())


def test_a_consumer_that_was_deleted_is_missed_by_those_who_fetch_and_answer(
    nats: Process,
) -> None:
    async def scenario() -> list[str]:
        async with at_work(nats) as (queue, js):
            await place(queue, "o-1")
            [message] = await take(queue)
            waiting = asyncio.create_task(take(queue, wait_s=20.0))

            async def asked() -> bool:
                return bool((await js.consumer_info("ORDERS", "packer")).num_waiting)

            await until(asked)
            await js.delete_consumer("ORDERS", "packer")
            texts = []
            for work in (waiting, take(queue), queue.ack(PACKER, message, timeout_s=SOON_S)):
                with pytest.raises(QueueError) as caught:
                    await work
                texts.append(str(caught.value))
            return texts

    assert run(scenario()) == ["consumer deleted", "consumer not found", "no response from stream"]


def test_a_password_is_asked_for() -> None:
    server = start_nats("authorization { user: default, password: secret }")

    async def scenario() -> None:
        async with queue_of(server.address, "secret") as queue:
            await place(queue, "o-1")

    try:
        with pytest.raises(QueueError, match=r"^no response from stream$"):
            run(scenario())
        for wrong in ("other", ""):
            with pytest.raises(QueueError, match=r"^Authorization Violation$"):
                run(publish_once(server.address, wrong))
    finally:
        server.stop()


async def publish_once(address: Address, password: str = "", timeout_s: float = SOON_S) -> None:
    async with queue_of(address, password) as queue:
        await place(queue, "o-1", timeout_s=timeout_s)


def test_a_server_without_jetstream_says_so() -> None:
    server = start_nats(jetstream=["  enabled: false"])

    async def scenario() -> None:
        async with queue_of(server.address) as queue:
            await queue.subscribe(PACKER, timeout_s=SOON_S)

    try:
        with pytest.raises(QueueError, match=r"^JetStream not enabled for account$"):
            run(scenario())
    finally:
        server.stop()


# -- the network ----------------------------------------------------------------------------------


def test_a_port_where_nobody_listens_refuses() -> None:
    address = ("127.0.0.1", free_port())
    with pytest.raises(ConnectionRefused) as caught:
        run(publish_once(address))
    assert caught.value.address == f"127.0.0.1:{address[1]}"


def test_a_name_that_does_not_resolve_is_no_such_host() -> None:
    with pytest.raises(NoSuchHost):
        run(publish_once(("events-nats.invalid", 4222)))


def test_a_peer_that_never_answers_is_a_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(ConnectTimeout):
        run(publish_once(mute.getsockname(), timeout_s=0.2))


def test_a_connection_that_breaks_fails_what_is_under_way_and_is_made_again() -> None:
    server = start_nats()
    port = server.address[1]

    async def scenario() -> list[int]:
        async with at_work(server) as (queue, _):
            await place(queue, "o-1")
            waiting = asyncio.create_task(take(queue, wait_s=30.0, subject=""))
            [message] = await waiting
            waiting = asyncio.create_task(take(queue, wait_s=30.0))
            await until(lambda: queue._link is not None and len(queue._link.client._subs) > 1)
            server.kill()
            with pytest.raises(ConnectionReset):
                await waiting
            with pytest.raises(ConnectionRefused):
                await place(queue, "o-2")
            again = start_nats(port=port, home=server.home)
            try:
                await queue.ack(PACKER, message, timeout_s=SOON_S)
                return [await place(queue, "o-3"), *(m.sequence for m in await take(queue))]
            finally:
                again.kill()

    try:
        assert run(scenario()) == [2, 2]
    finally:
        server.stop()
