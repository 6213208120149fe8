"""Logs and commands on a cluster: what the simulated kubelet gives in process, over HTTPS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_served import NAMESPACE, Around, Cluster, Run, end, hotel, standing

from aiopslab.environments.protocol import Kube
from aiopslab.errors import InfraError
from aiopslab.models.kube import ExecResult, KubeError

Asked = Callable[[Kube], Awaitable[Any]]
POD = "geo-postgres-0"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Run]]:
    sim = hotel()
    sim.run_for(20.0)
    with standing(sim, tmp_path_factory.mktemp("served")) as (cluster, run):
        yield cluster, run
    end(sim)


def twice(lab: tuple[Cluster, Run], call: Asked) -> Any:
    """Ask in process and over HTTPS, and return what both said."""
    cluster, run = lab

    async def told(kube: Kube) -> Any:
        try:
            return await call(kube)
        except KubeError as error:
            return error.code, error.reason, error.message

    ours = run(told(cluster.sim.kube))
    assert run(told(cluster.kube())) == ours
    return ours


@pytest.mark.parametrize(
    "more",
    [{}, {"tail": 3}, {"timestamps": True, "tail": 2}, {"since_s": 5.0}, {"container": "postgres"},
     {"tail": 0}],
)  # fmt: skip
def test_logs(lab: tuple[Cluster, Run], more: dict[str, Any]) -> None:
    text = twice(lab, lambda kube: kube.logs(POD, NAMESPACE, **more))
    assert isinstance(text, str)


@pytest.mark.parametrize(
    ("pod", "more"),
    [("nobody", {}), (POD, {"previous": True}), (POD, {"container": "none"})],
)  # fmt: skip
def test_logs_that_are_not_there(lab: tuple[Cluster, Run], pod: str, more: dict[str, Any]) -> None:
    code, *_ = twice(lab, lambda kube: kube.logs(pod, NAMESPACE, **more))
    assert code in (400, 404)


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["env"], 0),
        (["cat", "/nowhere"], 1),
        (["sh", "-c", "echo out; echo err >&2; exit 3"], 3),
        (["nonesuch", "--flag"], 127),
        (["psql", "-U", "postgres", "-c", "SELECT 1 AS one"], 0),
        (["printf", "%s", "naïve ✓ & ?=+"], 0),
    ],
)
def test_commands_end_with_what_they_printed_and_their_code(
    lab: tuple[Cluster, Run], argv: list[str], code: int
) -> None:
    result = twice(lab, lambda kube: kube.exec(POD, NAMESPACE, argv))
    assert result.code == code, result


def test_a_command_reads_its_standard_input_to_the_end(lab: tuple[Cluster, Run]) -> None:
    sql = "SELECT 41 + 1 AS answer;\n" * 3
    result = twice(
        lab, lambda kube: kube.exec(POD, NAMESPACE, ["psql", "-U", "postgres"], stdin=sql)
    )
    assert result.stdout.count("42") == 3


def test_a_command_in_no_pod_or_no_container_is_refused(lab: tuple[Cluster, Run]) -> None:
    code, reason, _ = twice(lab, lambda kube: kube.exec("nobody", NAMESPACE, ["env"]))
    assert (code, reason) == (404, "NotFound")
    code, *_ = twice(lab, lambda kube: kube.exec(POD, NAMESPACE, ["env"], container="none"))
    assert code == 400


# -- servers that behave badly ---------------------------------------------------------------------


def streaming(*frames: bytes, protocol: str = "v5.channel.k8s.io", holds: bool = False) -> Around:
    """Answer every exec with these frames, and end the stream, or hold it open."""

    def around(api: Any, _tokens: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "websocket":
                await api(scope, receive, send)
                return
            await receive()
            await send({"type": "websocket.accept", "subprotocol": protocol})
            for frame in frames:
                await send({"type": "websocket.send", "bytes": frame})
            if not holds:
                await send({"type": "websocket.close", "code": 1000})
            while (await receive())["type"] != "websocket.disconnect":
                pass

        return app

    return around


@pytest.fixture
def commanded(lab: tuple[Cluster, Run], tmp_path: Path) -> Callable[..., ExecResult]:
    """Run a command on a server that answers it in its own way."""

    def run(around: Around, **more: Any) -> ExecResult:
        with standing(lab[0].sim, tmp_path, around) as (cluster, play):
            result: ExecResult = play(cluster.kube().exec(POD, NAMESPACE, ["env"], **more))
        return result

    return run


def test_a_command_that_does_not_end_is_given_up(commanded: Callable[..., ExecResult]) -> None:
    result = commanded(streaming(b"\x01begun", holds=True), timeout_s=0.3)
    assert result == ExecResult("begun", "error: command still running after 0.3 s, gave up\n", 124)


def test_a_command_that_prints_without_end_is_given_up(
    commanded: Callable[..., ExecResult],
) -> None:
    frames = [b"\x01" + b"x" * (1 << 20)] * 17
    result = commanded(streaming(*frames, holds=True))
    assert (result.code, result.stderr) == (124, "error: more than 16 MiB of output, gave up\n")


def test_a_stream_that_ends_without_a_code_is_a_failure_of_the_lab(
    commanded: Callable[..., ExecResult],
) -> None:
    with pytest.raises(InfraError, match="without an exit code"):
        commanded(streaming(b"\x01half"))


def test_a_server_that_cannot_be_told_the_end_of_the_input_gets_none(
    commanded: Callable[..., ExecResult],
) -> None:
    with pytest.raises(InfraError, match=r"1\.30 or later"):
        commanded(streaming(protocol="v4.channel.k8s.io", holds=True), stdin="text")


def test_a_container_that_cannot_be_entered_says_why(
    commanded: Callable[..., ExecResult],
) -> None:
    words = "Internal error occurred: error executing command in container: gone"
    status = {"kind": "Status", "status": "Failure", "reason": "InternalError", "code": 500}
    with pytest.raises(KubeError, match="gone") as error:
        commanded(streaming(b"\x03" + json.dumps({**status, "message": words}).encode()))
    assert (error.value.code, error.value.reason) == (500, "InternalError")


def test_a_command_that_nobody_waits_for_any_more_keeps_no_connection_open(
    lab: tuple[Cluster, Run], tmp_path: Path
) -> None:
    entered = asyncio.Event()

    def around(api: Any, tokens: Any) -> Any:
        held = streaming(b"\x01begun", holds=True)(api, tokens)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def sent(message: Any) -> None:
                await send(message)
                if message["type"] == "websocket.send":
                    entered.set()

            await held(scope, receive, sent)

        return app

    async def scene(cluster: Cluster) -> None:
        kube = cluster.kube()
        command = asyncio.create_task(kube.exec(POD, NAMESPACE, ["env"], timeout_s=120.0))
        await entered.wait()
        command.cancel()
        async with asyncio.timeout(180):
            await kube.connection.aclose()

    with standing(lab[0].sim, tmp_path, around) as (cluster, run):
        run(scene(cluster))
