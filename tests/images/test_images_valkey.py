"""The Valkey image: keys, memory, eviction, authentication, the command line."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from conftest import Bench
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.models.store import Store
from aiopslab.world.container import Container
from aiopslab.world.images.messages import (
    CacheAuth,
    CacheDelete,
    CacheErr,
    CacheGet,
    CacheReply,
    CacheSet,
)
from aiopslab.world.images.valkey import Valkey
from aiopslab.world.images.valkey_keys import BASE_BYTES, POLICIES, Keys, OutOfMemory
from aiopslab.world.images.valkey_server import CommandError


def keys(policy: str = "noeviction", maxmemory: int = 0) -> Keys:
    found = Keys(random.Random(1))
    found.policy, found.maxmemory = policy, maxmemory
    return found


def test_a_key_is_gone_after_its_time_and_counts_as_expired() -> None:
    cache = keys()
    cache.set("a", 10, 5.0, now=0.0)
    assert cache.get("a", 4.9) is not None
    assert cache.get("a", 5.0) is None
    assert (cache.hits, cache.misses, cache.expired, len(cache)) == (1, 1, 1, 0)


def test_without_eviction_a_full_cache_refuses_writes() -> None:
    cache = keys("noeviction", BASE_BYTES + 1000)
    cache.set("a", 2000, None, 0.0)
    with pytest.raises(OutOfMemory):
        cache.set("b", 1, None, 0.0)
    assert cache.get("a", 0.0) is not None


def test_lru_keeps_what_is_used() -> None:
    cache = keys("allkeys-lru", BASE_BYTES + 100 * 600)
    for index in range(100):
        cache.set(f"old:{index}", 480, None, float(index))
    for index in range(50):
        cache.get(f"old:{index}", 200.0)
    for index in range(40):
        cache.set(f"new:{index}", 480, None, 300.0 + index)
    kept = [cache.peek(f"old:{index}", 400.0) is not None for index in range(100)]
    assert sum(kept[:50]) > sum(kept[50:]) + 20


def test_a_volatile_policy_never_evicts_keys_without_expiry() -> None:
    cache = keys("volatile-lru", BASE_BYTES + 5000)
    for index in range(10):
        cache.set(f"keep:{index}", 200, None, 0.0)
    for index in range(20):
        cache.set(f"drop:{index}", 200, 60.0, 1.0)
    assert all(cache.peek(f"keep:{index}", 2.0) for index in range(10))
    assert cache.evicted > 0


operations = st.lists(
    st.tuples(
        st.sampled_from(["set", "get", "delete", "expire", "reap", "clear"]),
        st.integers(0, 12),
        st.integers(0, 900),
        st.one_of(st.none(), st.floats(0.1, 5.0)),
    ),
    max_size=60,
)


@given(operations, st.sampled_from(POLICIES), st.integers(0, 6000))
@settings(max_examples=120, deadline=None)
def test_accounts_hold_whatever_happens(
    found: list[tuple[str, int, int, float | None]], policy: str, bound: int
) -> None:
    cache = keys(policy, BASE_BYTES + bound if bound else 0)
    largest = 0
    for now, (verb, key, size, ttl) in enumerate(found):
        name = f"k:{key}"
        match verb:
            case "set":
                try:
                    cache.set(name, size, ttl, float(now))
                    largest = max(largest, size + len(name) + 96)
                except OutOfMemory:
                    assert cache.used > cache.maxmemory
            case "get":
                cache.get(name, float(now))
            case "delete":
                cache.delete(name, float(now))
            case "expire":
                cache.expire(name, ttl, float(now))
            case "reap":
                cache.reap(float(now))
            case _:
                cache.clear()
        entries = cache._entries
        assert cache.used == BASE_BYTES + sum(len(k) + e.size + 96 for k, e in entries.items())
        assert sorted(cache._order) == sorted(entries)
        assert cache.with_expiry == sum(e.expires != float("inf") for e in entries.values())
        if bound and policy.startswith("allkeys"):
            assert cache.used <= cache.maxmemory + largest


# -- the server -----------------------------------------------------------------------------------

ARGS = ["valkey-server", "--maxmemory", "2mb", "--maxmemory-policy", "allkeys-lru"]


@pytest.fixture
def cache_store(make_store: Callable[..., Store]) -> Store:
    return make_store(kind="valkey", port=6379, config={}, users={}, tables={}, statements={})


def started(bench: Bench, store: Store, *args: str, **spec: object) -> tuple[Valkey, Container]:
    program = Valkey(store)
    box = bench.run("rate-valkey", program, args=[*ARGS, *args], **spec)
    bench.pass_time(1.0)
    return program, box


def talk(bench: Bench, *messages: object) -> list[object]:
    client = bench.client()

    async def scenario() -> list[object]:
        connection = await client.connect("rate-valkey", 6379, timeout_s=1.0)
        return [await connection.call(message, timeout_s=1.0) for message in messages]

    return bench.do(scenario())


def test_values_are_cached_for_their_time(bench: Bench, cache_store: Store) -> None:
    program, _ = started(bench, cache_store)
    answers = talk(bench, CacheGet("a"), CacheSet("a", 100, 2.0), CacheGet("a"), CacheDelete("a"))
    assert answers == [CacheReply(None), CacheReply("OK"), CacheReply("1"), CacheReply("1")]
    talk(bench, CacheSet("b", 100, 2.0))
    bench.pass_time(3.0)
    assert program.server is not None
    assert len(program.server.keys) == 0


def test_a_password_is_asked_for(bench: Bench, cache_store: Store) -> None:
    started(bench, cache_store, "--requirepass", "pw")
    wrong = CacheErr("WRONGPASS invalid username-password pair or user is disabled.")
    assert talk(bench, CacheGet("a"), CacheAuth("no"), CacheAuth("pw"), CacheGet("a")) == [
        CacheErr("NOAUTH Authentication required."),
        wrong,
        CacheReply("OK"),
        CacheReply(None),
    ]


def test_clients_beyond_the_limit_are_turned_away(bench: Bench, cache_store: Store) -> None:
    started(bench, cache_store, "--maxclients", "2")
    client = bench.client()

    async def scenario() -> list[object]:
        connections = [await client.connect("rate-valkey", 6379, timeout_s=1.0) for _ in range(3)]
        return [await c.call(CacheGet("a"), timeout_s=1.0) for c in connections]

    assert bench.do(scenario()) == [
        CacheReply(None),
        CacheReply(None),
        CacheErr("ERR max number of clients reached"),
    ]


def test_the_operator_can_shrink_and_flush(bench: Bench, cache_store: Store) -> None:
    program, _ = started(bench, cache_store)
    talk(bench, *[CacheSet(f"k:{index}", 2000, 60.0) for index in range(300)])
    assert program.server is not None
    before = len(program.server.keys)
    bench.do(program.admin("CONFIG SET maxmemory 1300000"))
    assert 0 < len(program.server.keys) < before
    assert bench.do(program.admin("CONFIG GET maxmemory")).split()[-1] == "1300000"
    bench.do(program.admin("FLUSHALL"))
    assert len(program.server.keys) == 0
    with pytest.raises(CommandError, match="memory value"):
        bench.do(program.admin("CONFIG SET maxmemory lots"))


def test_memory_beyond_the_containers_limit_kills_it(bench: Bench, cache_store: Store) -> None:
    _, box = started(bench, cache_store, "--maxmemory", "64mb", memory_limit=16 * 2**20)
    client = bench.client()

    async def scenario() -> None:
        connection = await client.connect("rate-valkey", 6379, timeout_s=1.0)
        for index in range(100):
            if connection.closed:
                return
            await connection.call(CacheSet(f"k:{index}", 200_000), timeout_s=0.5)

    with pytest.raises(Exception, match="reset"):
        bench.do(scenario())
    assert box.exit is not None
    assert box.exit.reason == "OOMKilled"


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        ("PING", "PONG\n"),
        ("SET a hello EX 60", "OK\n"),
        ("GET nothing", "(nil)\n"),
        ("EXISTS k:1 k:2 nope", "(integer) 2\n"),
        ("TTL k:1", "(integer) 60\n"),
        ("TTL nope", "(integer) -2\n"),
        ("DBSIZE", "(integer) 3\n"),
        ("SCAN 0 COUNT 2", "2\nk:0\nk:1\n"),
        ("SCAN 0 MATCH *:2", "0\nk:2\n"),
        ("CONFIG GET maxmemory*", "maxmemory\n2097152\nmaxmemory-policy\nallkeys-lru\n"),
        ("CONFIG SET port 1", "can't set immutable config"),
        ("CONFIG SET maxmemory-policy none", "argument(s) must be one of"),
        ("MEMORY USAGE k:1", "(integer) 149\n"),
        ("ACL WHOAMI", "default\n"),
        ("SLOWLOG LEN", "(integer) 0\n"),
        ("INFO keyspace", "db0:keys=3,expires=3"),
        ("CLIENT LIST", "cmd=client"),
        ("NOPE x", "(error) ERR unknown command 'NOPE', with args beginning with: 'x' \n"),
        ("GET", "(error) ERR wrong number of arguments for 'get' command\n"),
    ],
)
def test_the_command_line_answers_as_the_real_one(
    bench: Bench, cache_store: Store, argv: str, shown: str
) -> None:
    _, box = started(bench, cache_store)
    talk(bench, *[CacheSet(f"k:{index}", 50, 60.0) for index in range(3)])
    out, err, code = bench.sh(box, "valkey-cli", *argv.split())
    assert shown in out
    assert (err, code) == ("", 0)


def test_the_command_line_says_why_it_cannot_connect(bench: Bench, cache_store: Store) -> None:
    _, box = started(bench, cache_store)
    out = bench.sh(box, "valkey-cli", "-h", "nowhere", "PING")
    assert out == (
        "",
        "Could not connect to Valkey at nowhere:6379: Name or service not known\n",
        1,
    )
    out = bench.sh(box, "valkey-cli", "-p", "7000", "PING")
    assert out == ("", "Could not connect to Valkey at 127.0.0.1:7000: Connection refused\n", 1)


def test_a_wrong_argument_stops_the_start(bench: Bench, cache_store: Store) -> None:
    _, box = started(bench, cache_store, "--maxmemory-policy", "sometimes")
    assert box.exit is not None
    assert box.exit.code == 1
    assert "FATAL CONFIG" in box.log_lines()[-1][1]


def test_sigterm_ends_it_clean(bench: Bench, cache_store: Store) -> None:
    program, box = started(bench, cache_store)
    box.terminate()
    bench.pass_time(1.0)
    assert box.exit is not None
    assert box.exit.code == 0
    with pytest.raises(CommandError):
        bench.do(program.admin("PING"))


@pytest.mark.parametrize(
    "argv",
    [
        ["set", "a", "b", "EX", "9" * 5000],
        ["expire", "a", "--5"],
        ["scan", "9" * 5000],
        ["scan", "0", "COUNT", "9" * 5000],
        ["setrange", "a", "9" * 18, "v"],
        ["config", "set", "maxclients", "9" * 5000],
        ["config", "set", "maxclients", "0"],
        ["config", "set", "maxmemory", "9" * 5000],
    ],
)
def test_a_number_out_of_range_is_an_error_and_changes_nothing(
    bench: Bench, cache_store: Store, argv: list[str]
) -> None:
    _, box = started(bench, cache_store)
    out, _, code = bench.sh(box, "valkey-cli", *argv)
    assert out.startswith("(error) ERR")
    assert (code, box.exit) == (0, None)
    assert bench.sh(box, "valkey-cli", "dbsize")[0] == "(integer) 0\n"


def test_a_server_does_not_start_with_a_port_that_is_no_number(
    bench: Bench, cache_store: Store
) -> None:
    _, box = started(bench, cache_store, "--port", "abc")
    assert box.exit is not None
    assert box.exit.code == 1
    assert any("FATAL CONFIG FILE ERROR" in line for _, line in box.log_lines())
