"""Clients that mistake a port, and words nobody expects: the command fails, the world goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from aiopslab.environments.sim import Sim
from aiopslab.models.kube import ExecResult
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app
from aiopslab.world.images.shell import COMMANDS


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    app = load_app("hotel")
    key = world_key(app, 31)
    sim = Sim(app, key.seed, epoch=key.epoch, load=0.1)
    sim.boot()
    yield sim
    asyncio.run(sim.aclose())


def run(sim: Sim, component: str, *argv: str, stdin: str = "") -> ExecResult:
    labels = f"app.kubernetes.io/name={component}"
    pod = sim.world.api.list("Pod", "hotel", labels=labels)[0]["metadata"]["name"]
    return sim.run_sync(sim.kube.exec(pod, "hotel", argv, stdin=stdin, timeout_s=20.0))


@pytest.mark.parametrize(
    ("component", "command", "said"),
    [
        ("geo-postgres", "psql -h geo -p 8080 -c SELECT", "failed: Connection reset by peer"),
        ("geo-postgres", "psql -h rate-valkey -p 6379 -c SELECT", "invalid response"),
        ("rate-valkey", "valkey-cli -h geo -p 8080 PING", "Server closed the connection"),
        ("rate-valkey", "valkey-cli -h geo-postgres -p 5432 PING", "Error: "),
        ("geo", "curl -sS http://geo-postgres:5432/x", "curl: ("),
        ("geo", "curl -sS http://rate-valkey:6379/x", "curl: ("),
    ],
)
def test_a_client_of_another_protocol_is_told_so(
    sim: Sim, component: str, command: str, said: str
) -> None:
    done = run(sim, component, *command.split())
    assert done.code != 0
    assert said in done.stderr


def test_unclosed_quotes_in_a_caches_script_are_invalid(sim: Sim) -> None:
    assert run(sim, "rate-valkey", "valkey-cli", stdin='GET "a\n').stdout == "Invalid argument(s)\n"


def test_a_format_that_is_none_prints_itself(sim: Sim) -> None:
    assert run(sim, "geo", "printf", "+%Y%Q", "x").stdout == "+%Y%Q"
    assert run(sim, "geo", "printf", "%s-%d\\n", "a", "5", "b").stdout == "a-5\n"


def test_no_words_end_the_world(sim: Sim) -> None:
    draw = random.Random(5)
    words = [
        "", "-", "--", "-n", "-5", "5", "-c", "-o", "/dev/null", "/etc/hosts", "/", "a b", "'",
        '"', "$X", "${X", "|", "&&", ";", "\x00", "\u20ac", "\ud800", "9" * 30, "--foo=bar", "geo",
        "http://geo:8080/nearby?x=1", "http://geo-postgres:5432", "-h", "-p", "8080", "6379",
        "+%Y%Q", "-e", "(", "[", "*", "-k2,2", "-f1", "SELECT 1", "\\d", "PING", "1e309", "nan",
    ]  # fmt: skip
    names = sorted({*COMMANDS, "psql", "valkey-cli", "sh", "bash"} - {"kill", "sleep"})
    for _ in range(400):
        argv = [draw.choice(names), *(draw.choice(words) for _ in range(draw.randint(0, 4)))]
        if draw.random() < 0.3:
            argv = ["sh", "-c", " ".join(argv)]
        where = draw.choice(["geo", "geo-postgres", "rate-valkey"])
        done = run(sim, where, *argv, stdin=draw.choice(["", "a\nb\n", "SELECT 1;", 'PING "']))
        assert isinstance(done, ExecResult), argv
