"""A NATS server as its clients and its operators see it."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Bench

from aiopslab.models.kube import ExecResult
from aiopslab.models.queue import Stream
from aiopslab.models.store import Store
from aiopslab.services.messaging import Message, QueueError, Subscription
from aiopslab.services.protocols import NetError
from aiopslab.services.store_manifests import store_files
from aiopslab.world.container import Container
from aiopslab.world.disk import Volume
from aiopslab.world.images.app_queue import WorldQueue
from aiopslab.world.images.busybox import Busybox
from aiopslab.world.images.nats import Nats
from aiopslab.world.images.valkey import Valkey

SUBSCRIPTION = Subscription("ORDERS", "packer", "", 10.0, 5, 100, ())


def make_store(**fields: Any) -> Store:
    base = {
        "kind": "nats",
        "image": {"name": "nats", "version": "2.11.4"},
        "summary": "Orders on their way.",
        "owner": "core",
        "port": 4222,
        "config": {"max_file_store": "64MB"},
        "streams": {
            "ORDERS": {"subjects": ["orders.>"], "retention": "workqueue", "max_msgs": 1000,
                       "discard": "new"},
            "AUDIT": {"subjects": ["audit.>"], "storage": "memory"},
        },
    }  # fmt: skip
    return Store.model_validate({**base, **fields})


class Queue:
    """A server on a bench, and clients of it."""

    def __init__(self, bench: Bench, store: Store, volume: Volume | None = None) -> None:
        self.bench = bench
        self.store = store
        self.volume = volume or Volume(2**30)
        self.box = self.start()
        self.client = self.connect()

    def start(self) -> Container:
        files = {f"/etc/nats/{name}": text for name, text in store_files(self.store).items()}
        self.program = Nats(self.store)
        env = {"NATS_PASSWORD": "secret"} if self.store.users else {}
        box = self.bench.run(
            "nats", self.program, files=files, env=env, volumes={"/data": self.volume}
        )
        self.bench.pass_time(2.0)
        return box

    def connect(self, password: str = "") -> WorldQueue:
        box = self.bench.run("client", Busybox(), args=["sleep", "100000"])
        self.bench.pass_time(0.1)
        return WorldQueue(box, ("nats", 4222), "api", password)

    def put(self, count: int = 1, subject: str = "orders.placed", size: int = 200) -> None:
        for number in range(count):
            self.bench.do(
                self.client.publish(
                    subject, {"order": f"o-{number}"}, size=size, id="", trace_id=7, span_id=8,
                    timeout_s=2.0,
                )
            )  # fmt: skip

    def subscribe(self, subscription: Subscription = SUBSCRIPTION) -> None:
        self.bench.do(self.client.subscribe(subscription, timeout_s=2.0))

    def fetch(self, batch: int = 10, wait_s: float = 1.0) -> list[Message]:
        got = self.client.fetch(SUBSCRIPTION, batch, wait_s=wait_s, timeout_s=wait_s + 2.0)
        return list(self.bench.do(got))

    def ack(self, message: Message) -> None:
        self.bench.do(self.client.ack(SUBSCRIPTION, message, timeout_s=2.0))

    def nats(self, *words: str) -> ExecResult:
        return self.bench.do(self.box.exec(["nats", *words]))

    def output(self) -> str:
        return "\n".join(text for _, text in self.box.log_lines())


@pytest.fixture
def queue() -> Queue:
    return Queue(Bench(), make_store())


def test_messages_are_given_out_in_order_and_gone_once_acknowledged(queue: Queue) -> None:
    queue.subscribe()
    queue.put(3)
    batch = queue.fetch()
    assert [m.sequence for m in batch] == [1, 2, 3]
    assert batch[0].params == {"order": "o-0"}
    assert (batch[0].trace_id, batch[0].span_id) == (7, 8)
    for message in batch:
        queue.ack(message)
    assert queue.fetch() == []
    assert "Messages: 0" in queue.nats("stream", "info", "ORDERS").stdout


def test_a_reader_who_waits_is_served_when_a_message_comes(queue: Queue) -> None:
    queue.subscribe()
    bench = queue.bench

    async def both() -> tuple[float, list[Message]]:
        reader = bench.loop.create_task(
            queue.client.fetch(SUBSCRIPTION, 5, wait_s=5.0, timeout_s=7.0)
        )
        start = bench.loop.time()
        await queue.client.publish(
            "orders.placed", {}, size=10, id="", trace_id=0, span_id=0, timeout_s=1.0
        )
        got = await reader
        return bench.loop.time() - start, list(got)

    waited, got = bench.do(both())
    assert len(got) == 1
    assert waited < 0.1


def test_a_restart_keeps_what_lies_on_the_volume_and_loses_what_was_in_memory(
    queue: Queue,
) -> None:
    queue.subscribe()
    queue.put(4)
    queue.put(2, "audit.login")
    queue.ack(queue.fetch(1)[0])
    queue.box.kill()
    queue.box = queue.start()
    queue.client = queue.connect()
    assert "Restored 3 messages for stream '$G > ORDERS'" in queue.output()
    assert queue.volume.data["jetstream"].streams["AUDIT"].messages == {}
    assert [m.sequence for m in queue.fetch()] == [2, 3, 4]


def test_without_the_volume_a_restart_begins_empty(queue: Queue) -> None:
    queue.put(4)
    queue.box.kill()
    queue.volume = Volume(2**30)
    queue.box = queue.start()
    assert "Messages: 0" in queue.nats("stream", "info", "ORDERS").stdout


def test_refusals_have_the_servers_words(queue: Queue) -> None:
    with pytest.raises(QueueError, match="no response from stream"):
        queue.put(1, "invoices.made")
    with pytest.raises(QueueError, match="maximum payload exceeded"):
        queue.put(1, size=2_000_000)
    queue.nats("stream", "edit", "ORDERS", "--max-msgs", "2", "-f")
    with pytest.raises(QueueError, match="maximum messages exceeded"):
        queue.put(3)
    with pytest.raises(QueueError, match="stream not found"):
        queue.subscribe(Subscription("ORDER", "packer", "", 10.0, 5, 100, ()))


def test_a_store_limit_refuses_and_a_full_disk_turns_jetstream_off() -> None:
    queue = Queue(Bench(), make_store(config={"max_file_store": "1MB"}))
    with pytest.raises(QueueError, match="insufficient storage resources available"):
        queue.put(20, size=100_000)
    queue = Queue(Bench(), make_store(), Volume(500_000))
    with pytest.raises(QueueError, match="JetStream not enabled"):
        queue.put(20, size=100_000)
    assert "out of File resources, will be DISABLED" in queue.output()
    assert queue.nats("stream", "ls").code == 1
    queue.volume.capacity = 2**30
    queue.box.kill()
    queue.box = queue.start()
    assert "ORDERS" in queue.nats("stream", "ls").stdout


def test_a_wrong_password_is_refused_and_the_tool_knows_the_right_one() -> None:
    queue = Queue(Bench(), make_store(users={"default": {}}))
    with pytest.raises(QueueError, match="Authorization Violation"):
        queue.put()
    queue.client = queue.connect("secret")
    queue.put()
    assert "ORDERS" in queue.nats("stream", "ls").stdout
    refused = queue.nats("stream", "ls", "--password", "guess")
    assert "Authorization Violation" in refused.stderr
    assert "authentication error" in queue.output()


def test_a_server_with_a_broken_file_does_not_start(queue: Queue) -> None:
    box = queue.bench.run("broken", Nats(queue.store), files={"/etc/nats/nats.conf": "jetstream {"})
    queue.bench.pass_time(2.0)
    assert box.exit is not None
    assert box.exit.code == 1
    assert "unexpected end of file" in box.log_lines()[-1][1]


def test_the_tool_shows_and_changes_streams_and_consumers(queue: Queue) -> None:
    queue.subscribe()
    queue.put(3)
    queue.fetch(1)
    shown = queue.nats("consumer", "info", "ORDERS", "packer").stdout
    assert "Outstanding Acks: 1 out of maximum 100" in shown
    assert "Unprocessed Messages: 2" in shown
    assert '{"order": "o-1"}' in queue.nats("stream", "get", "ORDERS", "2").stdout
    assert queue.nats("stream", "view", "ORDERS", "2").stdout.count("Item:") == 2
    assert "orders.placed" in queue.nats("stream", "subjects", "ORDERS").stdout
    assert queue.nats("stream", "purge", "ORDERS").code == 1
    assert queue.nats("stream", "rmm", "ORDERS", "2", "-f").code == 0
    assert "no message found" in queue.nats("stream", "get", "ORDERS", "2").stderr
    assert "Messages: 0" in queue.nats("stream", "purge", "ORDERS", "-f").stdout
    assert queue.program.given_up() == {"AUDIT": 0, "ORDERS": 3}
    assert queue.nats("pub", "orders.placed", '{"order": "x"}').code == 0
    assert queue.nats("stream", "add", "NEW", "--subjects", "new.>").code == 0
    assert "subjects overlap" in queue.nats("stream", "add", "X", "--subjects", "new.a").stderr
    assert queue.nats("consumer", "rm", "ORDERS", "packer", "-f").code == 0
    assert queue.nats("stream", "rm", "NEW", "-f").code == 0
    for wrong in (["stream"], ["stream", "info"], ["stream", "get", "ORDERS", "x"], ["frob"]):
        assert queue.nats(*wrong).stderr.startswith("nats: error: ")


def test_a_stranger_is_hung_up_on(queue: Queue) -> None:
    async def call() -> None:
        connection = await queue.bench.client().connect("nats", 4222, timeout_s=1.0)
        await connection.call("GET / HTTP/1.1", timeout_s=1.0)

    with pytest.raises(NetError):
        queue.bench.do(call())


def test_streams_are_declared_beside_the_configuration(queue: Queue) -> None:
    files = store_files(queue.store)
    assert "max_file_store: 64MB" in files["nats.conf"]
    assert Stream.model_validate(queue.store.streams["ORDERS"].model_dump()).max_msgs == 1000
    assert '"workqueue"' in files["streams.json"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("stream get ORDERS " + "9" * 5000, "value out of range"),
        ("-s nats://nats:99999999 stream ls", ""),
        ("-s nats://rate-valkey:6379 stream ls", "expected 'INFO'"),
    ],
)
def test_what_the_tool_cannot_use_is_an_error_in_its_words(
    queue: Queue, command: str, message: str
) -> None:
    cache = Store.model_validate(
        {"kind": "valkey", "image": {"name": "valkey", "version": "8.1"}, "summary": "rates",
         "owner": "core", "port": 6379}
    )  # fmt: skip
    queue.bench.run("rate-valkey", Valkey(cache), args=["valkey-server"])
    queue.bench.pass_time(1.0)
    _, err, code = queue.bench.sh(queue.box, "nats", *command.split())
    assert message in err
    assert code == (1 if message else 0)
