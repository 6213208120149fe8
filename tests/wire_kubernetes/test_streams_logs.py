"""Logs over HTTP: what is selected, how it is printed, following, refusals."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from streams_served import Served
from streams_world import a_pod, hotel

from aiopslab.environments.sim import Sim
from aiopslab.wire.identity import Identity, Rule, on_call
from aiopslab.wire.kubernetes.streams.logs import is_followed

STAMP = re.compile(r"(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (.*)")


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    yield from hotel(load=0.5, warm_s=30.0)


def get(sim: Sim, pod: str, *, who: Identity | None = None, **query: Any) -> Any:
    return asyncio.run(Served(sim, who=who).log(pod, **query))


def test_a_log_is_plain_text_of_the_containers_lines(sim: Sim) -> None:
    answer = get(sim, a_pod(sim, "geo"))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.endswith("\n")


def test_tail_and_limit_cut_the_log(sim: Sim) -> None:
    pod = a_pod(sim, "frontend")
    whole = get(sim, pod).text
    assert get(sim, pod, tailLines=2).text == "".join(whole.splitlines(keepends=True)[-2:])
    assert get(sim, pod, tailLines=0).text == ""
    assert get(sim, pod, limitBytes=17).text == whole[:17]


def test_timestamps_are_the_kubelets_and_since_selects_by_them(sim: Sim) -> None:
    pod = a_pod(sim, "frontend")
    stamped = [STAMP.fullmatch(line) for line in get(sim, pod, timestamps="true").text.splitlines()]
    assert all(stamped)
    assert [m[2] for m in stamped if m] == get(sim, pod).text.splitlines()
    times = [m[1] for m in stamped if m]
    assert times == sorted(times)
    middle = times[len(times) // 2]
    later = get(sim, pod, timestamps="1", sinceTime=middle).text.splitlines()
    assert later[0].startswith(middle)
    assert len(later) == sum(1 for time in times if time >= middle)
    assert get(sim, pod, sinceSeconds=1_000_000).text == get(sim, pod).text


@pytest.mark.parametrize(
    ("query", "code", "text"),
    [
        (
            {"tailLines": -1},
            422,
            "tailLines: Invalid value: -1: must be greater than or equal to 0",
        ),
        ({"limitBytes": 0}, 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ({"sinceSeconds": 0}, 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        ({"sinceSeconds": 5, "sinceTime": "2026-01-01T00:00:00Z"}, 422, "at most one of"),
        ({"tailLines": "many"}, 400, 'strconv.ParseInt: parsing "many": invalid syntax'),
        ({"tailLines": "9" * 5000}, 400, "strconv.ParseInt"),
        ({"follow": "maybe"}, 400, 'strconv.ParseBool: parsing "maybe": invalid syntax'),
        ({"sinceTime": "yesterday"}, 400, 'parsing time "yesterday" as RFC 3339'),
        ({"container": "nope"}, 400, "container nope is not valid for pod"),
        ({"previous": "true"}, 400, 'previous terminated container "geo" in pod'),
    ],
)
def test_what_cannot_be_shown_is_refused(sim: Sim, query: Any, code: int, text: str) -> None:
    answer = get(sim, a_pod(sim, "geo"), **query)
    status = answer.json()
    assert (answer.status_code, status["kind"], status["code"]) == (code, "Status", code)
    assert text in status["message"]


def test_a_pod_that_is_not_there_and_one_that_may_not_be_read(sim: Sim) -> None:
    assert get(sim, "nobody").json()["message"] == 'pods "nobody" not found'
    stranger = Identity("stranger", rules=(Rule(("list",)),))
    answer = get(sim, a_pod(sim, "geo"), who=stranger)
    assert answer.status_code == 403
    assert 'User "stranger" cannot get resource "pods/log"' in answer.json()["message"]
    assert get(sim, a_pod(sim, "geo"), who=on_call("oncall", "detection", "hotel")).is_success


def test_a_plain_request_takes_no_turn_of_its_own(sim: Sim) -> None:
    served = Served(sim)
    asyncio.run(served.log(a_pod(sim, "geo")))
    assert served.gate.calls == []


def test_following_shows_what_is_there_and_what_comes_until_the_container_ends(sim: Sim) -> None:
    pod = a_pod(sim, "user")
    served = Served(sim)

    async def scenario() -> str:
        following = asyncio.ensure_future(served.log(pod, follow="true", tailLines=1))
        await served.gate.after(3)
        box = sim.world.kubelet_of(pod, "hotel").running(pod, "hotel")
        box.log("one more line")
        box.kill()
        return (await following).text

    text = asyncio.run(scenario())
    assert text.endswith("one more line\n")
    assert len(served.gate.calls) == 1
    assert served.gate.calls[0][0].arguments["path"].endswith("/log")


def test_the_life_before_is_shown_with_previous(sim: Sim) -> None:
    pod = a_pod(sim, "profile")
    box = sim.world.kubelet_of(pod, "hotel").running(pod, "hotel")
    box.log("the last line")
    box.kill()
    sim.run_for(5.0)
    assert get(sim, pod, previous="true").text.endswith("the last line\n")
    assert "the last line" not in get(sim, pod).text


def test_several_followers_each_see_every_line(sim: Sim) -> None:
    pod = a_pod(sim, "review")
    served = Served(sim)

    async def scenario() -> list[str]:
        followers = [
            asyncio.ensure_future(served.log(pod, follow="true", tailLines=0)) for _ in range(3)
        ]
        await served.gate.after(6)
        box = sim.world.kubelet_of(pod, "hotel").running(pod, "hotel")
        for n in range(5):
            box.log(f"line {n}")
        served.gate.closing.set()
        return [(await f).text for f in followers]

    texts = asyncio.run(scenario())
    assert texts[0] == texts[1] == texts[2]
    assert [f"line {n}" in texts[0] for n in range(5)] == [True] * 5


def test_following_ends_when_the_budget_does(sim: Sim) -> None:
    served = Served(sim, budget=4)
    assert asyncio.run(served.log(a_pod(sim, "rate"), follow="true")).is_success
    assert served.gate.moves == 5


def test_a_limit_of_bytes_ends_a_followed_log(sim: Sim) -> None:
    served = Served(sim)
    pod = a_pod(sim, "frontend")
    text = asyncio.run(served.log(pod, follow="true", tailLines=1, limitBytes=2000)).text
    assert len(text.encode()) == 2000


@pytest.mark.parametrize(
    ("path", "query", "followed"),
    [
        ("/api/v1/namespaces/a/pods/b/log", b"follow=true&tailLines=1", True),
        ("/api/v1/namespaces/a/pods/b/log", b"follow=false", False),
        ("/api/v1/namespaces/a/pods/b/log", b"", False),
        ("/api/v1/namespaces/a/pods/b", b"follow=true", False),
    ],
)
def test_followed_requests_are_known_before_they_are_served(
    path: str, query: bytes, followed: bool
) -> None:
    assert is_followed({"path": path, "query_string": query}) is followed


def test_a_followed_log_that_is_refused_is_an_answer_not_a_failure(sim: Sim) -> None:
    served = Served(sim)
    answer = asyncio.run(served.log(a_pod(sim, "geo"), follow="true", container="nope"))
    assert answer.status_code == 400
    [(_, turn)] = served.gate.calls
    assert (turn.ok, "nope" in turn.text) == (False, True)
