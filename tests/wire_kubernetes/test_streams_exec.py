"""exec and attach over WebSocket channels, in memory: output, codes, input, shells, rights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from streams_served import V4, V5, Served
from streams_world import Run, a_pod, hotel, one_loop

from aiopslab.environments.sim import Sim
from aiopslab.models.task import Task
from aiopslab.wire.identity import on_call

END_OF_INPUT = b"\xff\x00"


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    yield from hotel(load=0.2, warm_s=10.0)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Run coroutines on one event loop, to which a gate belongs."""
    yield from one_loop()


async def output(
    served: Served, pod: str, *command: str, sent: tuple[bytes | str, ...] = (), **query: Any
) -> dict[int, str]:
    async with served.exec(pod, *command, **query) as socket:
        assert socket.refused is None, socket.refused
        for data in sent:
            socket.send(data)
        return await socket.rest()


async def refusal(served: Served, pod: str, *command: str, **query: Any) -> tuple[int, Any]:
    async with served.exec(pod, *command, **query) as socket:
        assert socket.refused is not None
        return socket.refused


def code_of(seen: dict[int, str]) -> int:
    status = json.loads(seen[3])
    if status["status"] == "Success":
        return 0
    assert status["reason"] == "NonZeroExitCode"
    [cause] = status["details"]["causes"]
    assert cause["reason"] == "ExitCode"
    return int(cause["message"])


def on_call_of(sim: Sim, task: Task) -> Served:
    return Served(sim, who=on_call("oncall", task, "hotel"))


def test_output_errors_and_code_come_on_their_channels(sim: Sim, run: Run) -> None:
    served, pod = Served(sim), a_pod(sim, "geo")
    seen = run(output(served, pod, "hostname"))
    assert (seen[1], code_of(seen)) == (f"{pod}\n", 0)
    seen = run(output(served, pod, "cat", "/nowhere"))
    assert "No such file" in seen[2]
    assert code_of(seen) == 1
    assert code_of(run(output(served, pod, "sh", "-c", "exit 7"))) == 7


def test_the_newest_protocol_both_know_is_spoken(sim: Sim, run: Run) -> None:
    async def scenario(offered: tuple[str, ...]) -> Any:
        served = Served(sim)
        socket = served.socket(
            a_pod(sim, "geo"), "exec", offered=offered, command="pwd", stdout="1"
        )
        async with socket:
            return socket.accepted if socket.refused is None else socket.refused

    assert run(scenario((V4, V5))) == V5
    assert run(scenario((V4,))) == V4
    assert run(scenario(())) == ""
    code, status = run(scenario(("base64.channel.k8s.io",)))
    assert code == 400
    assert "client supports [base64.channel.k8s.io]" in status["message"]


def test_a_missing_executable_is_an_internal_error_in_the_runtimes_words(
    sim: Sim, run: Run
) -> None:
    status = json.loads(run(output(Served(sim), a_pod(sim, "geo"), "python3", "-V"))[3])
    assert (status["reason"], status["code"]) == ("InternalError", 500)
    assert 'exec: "python3": executable file not found in $PATH' in status["message"]


def test_input_is_read_to_its_end_by_commands_that_read(sim: Sim, run: Run) -> None:
    sent = (b"\x00b\na", "\x00\nc\n", b"\x04" + b'{"Width":80,"Height":24}', END_OF_INPUT)
    seen = run(output(Served(sim), a_pod(sim, "geo"), "sort", sent=sent, stdin="true"))
    assert seen[1].split() == ["a", "b", "c"]
    seen = run(output(Served(sim), a_pod(sim, "geo"), "sh", sent=(b"\x00hostname", END_OF_INPUT),
                      stdin="true"))  # fmt: skip
    assert seen[1] == a_pod(sim, "geo") + "\n"


def test_commands_that_read_no_input_do_not_wait_for_its_end(sim: Sim, run: Run) -> None:
    seen = run(output(Served(sim), a_pod(sim, "geo"), "id", stdin="true", tty="true"))
    assert seen[1].endswith("\r\n")
    assert 2 not in seen


def test_a_command_takes_its_time_in_the_world(sim: Sim, run: Run) -> None:
    before = sim.now()
    served = Served(sim)
    assert code_of(run(output(served, a_pod(sim, "geo"), "sleep", "7"))) == 0
    assert sim.now() == pytest.approx(before + 7.0, abs=0.5)
    [(call, turn)] = served.gate.calls
    assert call.arguments["command"] == ["sleep", "7"]
    assert turn.ok


def test_a_shell_runs_line_by_line_and_ends_with_the_code_of_exit(sim: Sim, run: Run) -> None:
    pod = a_pod(sim, "geo")

    async def scenario() -> tuple[str, dict[int, str]]:
        served = Served(sim)
        async with served.exec(pod, "/bin/sh", stdin="true") as socket:
            socket.send("\x00hostname\n")
            first = await socket.until(1, "\n")
            socket.send(b"\x00cat /nowhere\nexit 3\n")
            return first, await socket.rest()

    first, seen = run(scenario())
    assert first == f"{pod}\n"
    assert "No such file" in seen[2]
    assert code_of(seen) == 3


def test_at_a_terminal_the_shell_prompts_echoes_and_can_be_corrected(sim: Sim, run: Run) -> None:
    pod = a_pod(sim, "geo")

    async def scenario() -> tuple[str, dict[int, str]]:
        served = Served(sim)
        async with served.exec(pod, "bash", stdin="true", tty="true") as socket:
            prompt = await socket.until(1, "# ")
            for key in "hosX\x7ftname\x1b[A\rrubbish\x03\x04":
                socket.send(b"\x00" + key.encode())
            return prompt, await socket.rest()

    prompt, seen = run(scenario())
    assert prompt == f"root@{pod}:/# "
    assert f"hosX\b \btname\r\n{pod}\r\n{prompt}rubbish^C\r\n{prompt}" in seen[1]
    assert code_of(seen) == 0


@pytest.mark.parametrize(
    ("command", "query", "code", "text"),
    [
        ((), {}, 400, "you must specify at least one command for the container"),
        (("ls",), {"stdout": "", "stderr": ""}, 400, "at least 1 of stdin, stdout, stderr"),
        (("ls",), {"container": "nope"}, 400, "container nope is not valid for pod"),
        (("psql",), {"stdin": "1", "tty": "1"}, 400, "no interactive mode"),
    ],
)
def test_what_cannot_be_run_is_refused_before_the_upgrade(
    sim: Sim, run: Run, command: tuple[str, ...], query: Any, code: int, text: str
) -> None:
    status, body = run(refusal(Served(sim), a_pod(sim, "geo"), *command, **query))
    assert (status, body["kind"]) == (code, "Status")
    assert text in body["message"]


def test_a_pod_that_is_not_there_is_not_found(sim: Sim, run: Run) -> None:
    code, status = run(refusal(Served(sim), "nobody", "ls"))
    assert (code, status["reason"]) == (404, "NotFound")


@pytest.mark.parametrize("task", ["detection", "localization", "diagnosis"])
def test_tasks_that_look_may_run_what_looks_and_nothing_else(
    sim: Sim, run: Run, task: Task
) -> None:
    pod, served = a_pod(sim, "geo"), on_call_of(sim, task)
    assert code_of(run(output(served, pod, "env"))) == 0
    for command in (["kill", "1"], ["sh", "-c", "echo x > /tmp/y"]):
        code, status = run(refusal(served, pod, *command))
        assert (code, status["reason"]) == (403, "Forbidden")
        assert "may only run commands that look" in status["message"]
    assert [turn.ok for _, turn in served.gate.calls] == [True, False, False]


def test_what_a_looking_identity_feeds_to_a_command_is_judged_too(sim: Sim, run: Run) -> None:
    pod, served = a_pod(sim, "geo-postgres"), on_call_of(sim, "diagnosis")
    sql = (b"\x00SELECT 41 + 1;\n", END_OF_INPUT)
    assert "42" in run(output(served, pod, "psql", sent=sql, stdin="1"))[1]
    drop = (b"\x00DROP TABLE hotels;\n", END_OF_INPUT)
    status = json.loads(run(output(served, pod, "psql", sent=drop, stdin="1"))[3])
    assert status["reason"] == "Forbidden"
    seen = run(output(served, pod, "sh", sent=(b"\x00kill 1\nexit\n",), stdin="1"))
    assert "may only run commands that look" in seen[2]
    assert code_of(seen) == 126


def test_mitigation_may_run_what_changes_and_it_is_recorded_as_a_write(sim: Sim, run: Run) -> None:
    served = on_call_of(sim, "mitigation")
    pod = a_pod(sim, "geo-valkey") if "geo-valkey" in sim.app.stores else a_pod(sim, "geo-postgres")
    run(output(served, pod, "sh", "-c", "true > /tmp/note; sleep 0"))
    assert [call.effect for call, _ in served.gate.calls] == ["write"]


def test_copying_files_fails_as_in_a_container_without_tar(sim: Sim, run: Run) -> None:
    status = json.loads(run(output(Served(sim), a_pod(sim, "geo"), "tar", "cf", "-", "/etc"))[3])
    assert 'exec: "tar": executable file not found in $PATH' in status["message"]


def test_a_request_that_is_no_websocket_gets_the_same_refusal(sim: Sim, run: Run) -> None:
    async def post(served: Served, verb: str, pod: str, command: str) -> Any:
        async with served.client() as client:
            path = f"/api/v1/namespaces/hotel/pods/{pod}/{verb}"
            query = {"command": command, "stdout": "1"}
            return (await client.post(path, params=query)).json()

    pod = a_pod(sim, "geo")
    reader = on_call_of(sim, "diagnosis")
    assert run(post(reader, "exec", pod, "kill"))["reason"] == "Forbidden"
    assert "kubectl 1.31" in run(post(reader, "exec", pod, "env"))["message"]
    assert "kubectl 1.31" in run(post(reader, "portforward", pod, ""))["message"]


def test_a_client_that_leaves_ends_its_stream(sim: Sim, run: Run) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(120):
            async with Served(sim).exec(a_pod(sim, "geo"), "sh", stdin="1") as socket:
                socket.leave()
            async with Served(sim).socket(a_pod(sim, "geo"), "attach", stdout="1") as socket:
                socket.leave()
            async with Served(sim).exec(a_pod(sim, "geo"), "sort", stdin="1") as socket:
                socket.send(b"\x00a\n")
                socket.leave()

    run(scenario())


def test_streams_end_when_the_gate_closes(sim: Sim, run: Run) -> None:
    async def scenario() -> list[dict[int, str]]:
        seen = []
        for verb, query in (("exec", {"command": "sh", "stdin": "1"}), ("attach", {"stdout": "1"})):
            served = Served(sim)
            async with served.socket(a_pod(sim, "geo"), verb, **query) as socket:
                served.gate.closing.set()
                seen.append(await socket.rest())
        return seen

    assert [code_of(seen) for seen in run(scenario())] == [0, 0]


def test_attach_shows_output_from_now_on_until_the_container_ends(sim: Sim, run: Run) -> None:
    pod = a_pod(sim, "user")

    async def scenario() -> tuple[str, dict[int, str]]:
        served = Served(sim)
        box = sim.world.kubelet_of(pod, "hotel").running(pod, "hotel")
        box.log("before")
        async with served.socket(pod, "attach", stdout="true", stdin="true") as socket:
            socket.send(b"\x00nobody reads this\n")
            box.log("after")
            text = await socket.until(1, "after\n")
            box.kill()
            return text, await socket.rest()

    text, seen = run(scenario())
    assert "before" not in text
    assert code_of(seen) == 137


def test_endless_input_is_not_kept(sim: Sim, run: Run) -> None:
    flood = tuple(b"\x00" + b"x" * 2**16 for _ in range(17))
    for command in ("cat", "sh"):
        seen = run(output(Served(sim), a_pod(sim, "geo"), command, sent=flood, stdin="1"))
        assert "bytes of input" in json.loads(seen[3])["message"]


def test_parameters_that_cannot_be_read_are_refused_before_the_upgrade(sim: Sim, run: Run) -> None:
    async def scenario() -> Any:
        async with Served(sim).socket(a_pod(sim, "geo"), "attach", tty="maybe") as socket:
            return socket.refused

    code, status = run(scenario())
    assert code == 400
    assert "strconv.ParseBool" in status["message"]


def test_a_container_that_does_not_run_cannot_be_entered(sim: Sim, run: Run) -> None:
    pod = a_pod(sim, "attractions")
    sim.world.kubelet_of(pod, "hotel").restart(pod, "hotel", "attractions")
    status = json.loads(run(output(Served(sim), pod, "env"))[3])
    assert 'unable to upgrade connection: container not found ("attractions")' in status["message"]

    async def attached() -> Any:
        async with Served(sim).socket(pod, "attach", stdout="1") as socket:
            return socket.refused

    assert run(attached())[0] == 400
    sim.run_for(20.0)
