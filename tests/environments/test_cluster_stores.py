"""What faults do to stores, done to real ones: PostgreSQL, Valkey and NATS from test-only wheels.

Objects are a served world's, commands in the stores' containers run on this machine, ports of their
pods lead to the real servers. So is proven that statements, outputs and post-conditions of a fault
are those of real servers, not only of the simulated ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from app_stores import cut, running
from cluster_served import Run, end, standing
from cluster_stage import Beside, Stage, client_of_postgres, client_of_valkey
from stores import (
    SUPERUSER_PASSWORD,
    admin,
    free_port,
    postgres_binaries,
    start_nats,
    start_valkey,
)

from aiopslab.environments.cluster.operator import StoreOperator
from aiopslab.environments.sim import Sim
from aiopslab.errors import InfraError
from aiopslab.faults import registry
from aiopslab.faults.base import Fault, Site
from aiopslab.models.evidence import CheckResult
from aiopslab.problems import selectors
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app
from aiopslab.services.manifests import password

APPS = {name: load_app(name) for name in ("hotel", "shop")}
FACTOR = 60.0
PATIENCE_S = 300.0
SQL = [
    "database/forgotten-transaction", "database/identifiers-exhausted", "database/missing-index",
    "database/premature-migration", "database/revoked-grant", "database/role-dropped",
    "database/role-limit", "database/rotated-secret", "kubernetes/secret-corrupted",
    "release/irreversible",
]  # fmt: skip
CACHES = ["cache/no-eviction", "cache/rotated-password", "cache/undersized"]
QUEUES = ["queue/abandoned-consumer", "queue/poison-message", "queue/storage-exhausted"]


def unmet(checks: list[CheckResult]) -> list[str]:
    return [f"{c.id}: {c.detail}" for c in checks if not c.met]


def place(kind: str) -> Fault:
    cls = registry.find(kind)
    app, component = next(
        (app, c) for app in APPS.values() for c in selectors.components(app) if cls.fits(app, c)
    )
    return registry.build(kind, Site(app, component), {})


class Real:
    """A staged world of an app whose stores are real."""

    def __init__(self, name: str, home: Path, stack: ExitStack) -> None:
        app = APPS[name]
        key = world_key(app, 11)
        self.sim = Sim(app, key.seed, epoch=key.epoch)
        self.sim.boot()
        self.sim.run_sync(self.sim.traffic.stop())
        self.sim.run_for(30.0)
        stack.callback(end, self.sim)
        self.beside = Beside(name, home)
        stack.callback(self.beside.end)
        cluster, self.run = stack.enter_context(
            standing(self.sim, home, self.beside.around, factor=FACTOR)
        )
        self.stage = Stage(cluster, self.beside)
        self.run(self.stage.begin())
        self._databases(name, stack, key.seed)

    def _databases(self, name: str, stack: ExitStack, seed: int) -> None:
        app = cut(APPS[name])
        if not any(store.kind == "postgres" for store in app.stores.values()):
            return
        run: Run = self.run
        serving = running(app, partial(password, seed))
        book = run(serving.__aenter__())
        stack.callback(lambda: run(serving.__aexit__(None, None, None)))
        for store, spec in app.stores.items():
            address, pod = book[store, spec.port], f"{store}-0"
            if spec.kind == "postgres":
                binaries = postgres_binaries()
                self.beside.commands[pod] = client_of_postgres(
                    self.beside, binaries, address, SUPERUSER_PASSWORD
                )
            elif spec.kind == "valkey":
                self.beside.commands[pod] = client_of_valkey(address)
            self.beside.ports[pod] = address

    async def until_unmet(self, look: Any, *, wrong: bool) -> list[str]:
        deadline = self.stage.now() + PATIENCE_S
        while bool(found := unmet(await look())) is not wrong and self.stage.now() < deadline:
            await self.stage.advance(5.0)
        return found


@pytest.fixture(scope="module")
def reals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Real]]:
    with ExitStack() as stack:

        class Made(dict[str, Real]):
            def __missing__(self, name: str) -> Real:
                self[name] = found = Real(name, tmp_path_factory.mktemp(name), stack)
                return found

            def __getitem__(self, name: str) -> Real:
                found = super().__getitem__(name)
                found.stage.rested()
                return found

        yield Made()


@pytest.mark.parametrize("kind", [*SQL, *CACHES])
def test_a_fault_of_a_store_is_one_of_a_real_store(reals: dict[str, Real], kind: str) -> None:
    fault = place(kind)
    real = reals[fault.site.app.name]
    env: Any = real.stage
    assert real.run(real.until_unmet(lambda: fault.postconditions(env), wrong=False)) == []
    real.run(fault.inject(env))
    assert unmet(real.run(fault.postconditions(env))) != []
    real.run(fault.recover(env))
    assert real.run(real.until_unmet(lambda: fault.undone(env), wrong=False)) == []


@pytest.mark.parametrize("kind", QUEUES)
def test_a_fault_of_a_queue_is_one_of_a_real_queue(reals: dict[str, Real], kind: str) -> None:
    fault = place(kind)
    real = reals[fault.site.app.name]
    env: Any = real.stage
    # A server of its own with little room: what a fault fills is a gigabyte in the app's.
    store = next(name for name, s in fault.site.app.stores.items() if s.kind == "nats")
    monitor = free_port()
    server = start_nats(f"http: 127.0.0.1:{monitor}", jetstream=["  max_file_store: 20MB"])
    real.beside.ports[f"{store}-0"] = server.address
    real.beside.monitors[store] = f"http://127.0.0.1:{monitor}"
    try:
        for name, stream in fault.site.app.stores[store].streams.items():
            body = {"name": name, "config": stream.model_dump(mode="json") | {"max_bytes": -1}}
            real.run(env.substrate.store_admin(store, f"STREAM.CREATE {json.dumps(body)}"))
        for service in fault.site.app.services.values():
            for name, consumer in service.consumers.items():
                durable = consumer.durable or f"{fault.site.target}-{name}"
                body = {"stream": consumer.stream, "name": durable}
                real.run(env.substrate.store_admin(store, f"CONSUMER.CREATE {json.dumps(body)}"))
        if kind != "queue/poison-message":  # as real consumers are, these give up never
            assert unmet(real.run(fault.postconditions(env))) == []
        real.run(fault.inject(env))
        if kind == "queue/abandoned-consumer":
            _publish(real, store, fault)
        assert unmet(real.run(fault.postconditions(env))) != []
        real.run(fault.recover(env))
        assert real.run(real.until_unmet(lambda: fault.undone(env), wrong=False)) == []
    finally:
        server.stop()


def _publish(real: Real, store: str, fault: Fault) -> None:
    """Publish until the stream takes no more, as users' orders do."""
    stream = next(iter(fault.site.app.stores[store].streams.values()))
    subject = stream.subjects[0].replace(">", "x").replace("*", "x")
    body = json.dumps({"subject": subject, "data": {"n": "1"}, "until_full": True})
    real.run(real.stage.substrate.store_admin(store, f"PUB {body}"))


def test_a_lock_that_a_terminal_holds_keeps_others_waiting(reals: dict[str, Real]) -> None:
    real = reals["hotel"]
    lock = "BEGIN; LOCK TABLE hotels IN ACCESS EXCLUSIVE MODE"
    real.run(real.stage.substrate.terminal("geo-postgres", lock, application="psql"))

    async def blocked() -> bool:
        address = real.beside.ports["geo-postgres-0"]
        connection = await admin(address, "geo")
        try:
            await connection.execute("SET lock_timeout = '100ms'")
            await connection.fetch("SELECT * FROM hotels LIMIT 1")
        except Exception as error:
            return "lock timeout" in str(error)
        finally:
            await connection.close()
        return False

    assert real.run(blocked())
    fault = registry.build(
        "database/forgotten-transaction", Site(APPS["hotel"], "geo-postgres"), {}
    )
    env: Any = real.stage
    real.run(fault.recover(env))
    assert not real.run(blocked())


def test_refusals_of_stores_are_failures_of_the_lab(reals: dict[str, Real]) -> None:
    real = reals["hotel"]
    substrate = real.stage.substrate
    for store, command, words in (
        ("geo-postgres", "SELEC 1", "syntax error"),
        ("rate-valkey", "CONFIG SET nonsense 1", "nonsense"),
        ("nobody", "SELECT 1", "no store"),
    ):
        with pytest.raises(InfraError, match=words):
            real.run(substrate.store_admin(store, command))


def test_a_terminal_whose_statement_is_refused_is_noticed(
    reals: dict[str, Real], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiopslab.environments.cluster.operator._UNTIL_IDLE_S", 1.0)
    real = reals["hotel"]
    with pytest.raises(InfraError, match="no session is left"):
        real.run(real.stage.substrate.terminal("geo-postgres", "LOCK TABLE nowhere"))


def test_the_password_of_a_cache_is_found_in_its_secret(reals: dict[str, Real]) -> None:
    real = reals["shop"]
    server = start_valkey("--requirepass", "initial")
    store = next(n for n, s in APPS["shop"].stores.items() if s.kind == "valkey" and s.users)
    try:
        real.beside.commands[f"{store}-0"] = client_of_valkey(server.address)
        operator = StoreOperator(real.stage.kube, APPS["shop"], real.beside.dial)
        with pytest.raises(InfraError, match="NOAUTH"):
            real.run(operator.run(store, "PING"))
        operator._passwords[store] = "initial"
        assert real.run(operator.run(store, "ECHO hello")) == "hello\n"
    finally:
        server.stop()
