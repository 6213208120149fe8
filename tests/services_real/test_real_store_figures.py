"""What the observer asks of real stores: the figures that exporters in the simulated world have."""

from __future__ import annotations

import asyncio
import base64
import io
import urllib.request
from collections.abc import Sequence
from typing import Any

import asyncpg
import nats
import pytest
from stores import CACHE_PASSWORD, SUPERUSER_PASSWORD, Process, free_port, run, start_nats

from aiopslab.environments.cluster.connection import Request
from aiopslab.models.app import App
from aiopslab.models.kube import KubeError
from aiopslab.observer.lacks import Lacks
from aiopslab.observer.stores.asking import NoAnswer, StoreAsking, asked_info
from aiopslab.services.catalogue import load_app
from aiopslab.telemetry import catalogue
from aiopslab.telemetry.otlp.metrics import Sample
from aiopslab.world.discovery import Found

DATABASE, CACHE, QUEUE = "geo-postgres", "rate-valkey", "orders-nats"
IN_HOTEL = (DATABASE, CACHE)


def names(*prefixes: str) -> set[str]:
    """Return the metrics that the catalogue has under prefixes."""
    return {name for name in catalogue.load() if name.startswith(prefixes)}


def store_app(name: str, port: int) -> App:
    """Return an app whose store listens where a test's server does."""
    app = load_app("hotel" if name in IN_HOTEL else "shop")
    found = app.stores[name] if name in app.stores else next(
        s for s in app.stores.values() if s.kind == "nats"
    )  # fmt: skip
    changed = {"port": port} | ({"database": "postgres"} if found.kind == "postgres" else {})
    return app.model_copy(update={"stores": {name: found.model_copy(update=changed)}})


def pod(name: str, address: str = "127.0.0.1", *, runs: bool = True) -> Found:
    spec = {"name": "c", "ports": [{"containerPort": 1}]}
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}} if runs else {"waiting": {}}
    obj = {
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-0", "uid": "u", "namespace": "n",
            "labels": {"app.kubernetes.io/name": name},
        },
        "spec": {"nodeName": "a", "containers": [spec]},
        "status": {"podIP": address, "containerStatuses": [{"name": "c", "state": state}]},
    }  # fmt: skip
    return Found(obj, spec)


class Secrets:
    """One Secret of any name."""

    def __init__(self, password: str) -> None:
        self.password = password

    def find(self, kind: str, name: str, namespace: str = "") -> Any:
        text = base64.b64encode(self.password.encode()).decode()
        return {"kind": kind, "metadata": {"name": name}, "data": {"password": text}}


async def nobody(request: Request) -> str:
    raise KubeError(503, "ServiceUnavailable", f"nothing at {request.path}")


class Asked:
    """A store, and what asks it."""

    def __init__(self, name: str, port: int, password: str = "", fetch: Any = nobody) -> None:
        self.name = name
        self.secrets = Secrets(password)
        self.lacks = Lacks(lambda: 0.0, io.StringIO())
        self.asking = StoreAsking(store_app(name, port), self.secrets, fetch, self.lacks)

    async def figures(self, found: Found | None = None) -> Sequence[Sample] | None:
        answers = await self.asking.ask([found or pod(self.name)], 10.0)
        return answers["u", "c"]

    async def values(self) -> dict[str, float]:
        found = await self.figures()
        assert found is not None
        return {s.name: s.value for s in found}


def test_a_database_has_all_figures_of_the_catalogue(postgres: Process) -> None:
    async def scene() -> None:
        asked = Asked(DATABASE, postgres.address[1], SUPERUSER_PASSWORD)
        host, port = postgres.address
        user = await asyncpg.connect(
            host=host, port=port, user="postgres", password=SUPERUSER_PASSWORD, database="postgres"
        )
        await user.execute("CREATE TABLE IF NOT EXISTS probe (id int PRIMARY KEY)")
        await user.fetch("SELECT * FROM probe")
        async with user.transaction():
            await user.execute("LOCK TABLE probe")
            found = await asked.figures()
        assert found is not None
        assert {s.name for s in found} == names("pg_")
        by_state = {
            dict(s.labels)["state"]: s.value for s in found if s.name == "pg_stat_activity_count"
        }
        # The session that asks does not count itself.
        assert by_state["idle in transaction"] == 1.0
        assert by_state["active"] == 0.0
        assert (await asked.values())["pg_up"] == 1.0
        assert asked.lacks.now == {}
        await user.execute("DROP TABLE probe")
        await user.close()
        await asked.asking.aclose()

    run(scene())


def test_a_database_lets_the_exporter_in_again_after_it_ended_its_session(
    postgres: Process,
) -> None:
    async def scene() -> None:
        asked = Asked(DATABASE, postgres.address[1], SUPERUSER_PASSWORD)
        assert (await asked.values())["pg_up"] == 1.0
        host, port = postgres.address
        user = await asyncpg.connect(
            host=host, port=port, user="postgres", password=SUPERUSER_PASSWORD, database="postgres"
        )
        ended = await user.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'postgres_exporter'"
        )
        assert ended >= 1  # one of another test may be on its way out
        await user.close()
        assert (await asked.values())["pg_up"] == 1.0
        # A Secret that was changed by mistake locks out the app, not who is known already.
        asked.secrets.password = "wrong"
        await asked.asking.aclose()
        assert (await asked.values())["pg_up"] == 1.0
        await asked.asking.aclose()

    run(scene())


def test_a_store_that_refuses_is_up_and_its_exporter_says_no(
    postgres: Process, valkey: Process
) -> None:
    async def scene() -> None:
        for name, server, up in ((DATABASE, postgres, "pg_up"), (CACHE, valkey, "redis_up")):
            asked = Asked(name, server.address[1], "wrong")
            assert await asked.values() == {up: 0.0}
            assert list(asked.lacks.now) == [f"store {name}-0"]
            silent = Asked(name, free_port(), "")
            assert await silent.values() == {up: 0.0}
            assert await silent.figures(pod(name, runs=False)) is None

    run(scene())


def test_a_cache_has_all_figures_of_the_catalogue(valkey: Process) -> None:
    async def scene() -> None:
        asked = Asked(CACHE, valkey.address[1], CACHE_PASSWORD)
        found = await asked.figures()
        assert found is not None
        assert {s.name for s in found} == names("redis_")
        assert (await asked.values())["redis_memory_max_bytes"] == 8 * 2**20

    run(scene())


@pytest.mark.parametrize("answer", [b"", b"$5\r\nab", b"$x\r\n", b"-ERR no\r\n", b"\xff\r\n" * 9])
def test_what_is_no_cache_is_refused_or_has_no_figures(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async def scene() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            assert isinstance(await asked_info("127.0.0.1", port, ""), str)
        except (NoAnswer, OSError):
            assert answer[:1] != b"\xff"
        finally:
            server.close()

    run(scene())


def test_a_queue_has_all_figures_of_the_catalogue() -> None:
    monitoring = free_port()
    server = start_nats(f"http: 127.0.0.1:{monitoring}")

    async def fetch(request: Request) -> str:
        page = request.target.rpartition("/proxy/")[2]

        def got() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{monitoring}/{page}") as answer:
                return str(answer.read().decode())

        return await asyncio.to_thread(got)

    async def scene() -> None:
        host, port = server.address
        client = await nats.connect(f"nats://{host}:{port}")
        stream = client.jetstream()
        await stream.add_stream(name="orders", subjects=["orders.>"])
        await stream.pull_subscribe("orders.>", durable="worker")
        for _ in range(3):
            await stream.publish("orders.new", b"x")
        asked = Asked(QUEUE, port, fetch=fetch)
        found = await asked.figures()
        assert found is not None
        assert {s.name for s in found} == names("nats_", "jetstream_")
        values = {s.name: s.value for s in found}
        assert values["jetstream_stream_total_messages"] == 3.0
        assert values["jetstream_consumer_num_pending"] == 3.0
        labels = {s.name: dict(s.labels) for s in found}
        assert labels["jetstream_consumer_num_pending"] == {
            "stream_name": "orders", "consumer_name": "worker",
        }  # fmt: skip
        await client.close()

    try:
        run(scene())
    finally:
        server.stop()


def test_a_queue_that_does_not_answer_is_not_up() -> None:
    async def scene() -> None:
        asked = Asked(QUEUE, free_port())
        assert await asked.figures() is None
        assert "nothing at" in asked.lacks.now[f"store {QUEUE}-0"]

    run(scene())
