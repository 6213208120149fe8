"""Streams as real programs use them: kubectl and the Python client, over TLS on loopback."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from streams_lab import Lab, reason_to_skip, served
from streams_world import Run, a_pod, hotel, one_loop

from aiopslab.environments.sim import Sim
from aiopslab.wire.identity import Identity, on_call

STAMPED = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z \{")
GET = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

pytestmark = pytest.mark.slow
needs_kubectl = pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "present")


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    yield from hotel(load=0.3, warm_s=60.0)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    yield from one_loop()


# -- kubectl --------------------------------------------------------------------------------------


@needs_kubectl
def test_kubectl_prints_logs_in_every_form(sim: Sim, run: Run, tmp_path: Path) -> None:
    geo = a_pod(sim, "geo")

    async def scenario() -> None:
        async with served(sim, tmp_path) as lab:
            tail = await lab.kubectl("logs", geo, "--tail=3")
            assert (tail.code, len(tail.out.splitlines())) == (0, 3)
            stamped = await lab.kubectl("logs", geo, "--tail=2", "--timestamps")
            assert all(STAMPED.match(line) for line in stamped.out.splitlines())
            recent = await lab.kubectl("logs", "deploy/frontend", "--since=30s")
            whole = await lab.kubectl("logs", "deploy/frontend")
            assert recent.out in whole.out
            selected = await lab.kubectl(
                "logs", "-l", "app.kubernetes.io/name=geo", "--prefix", "--tail=1",
                "--all-containers",
            )  # fmt: skip
            prefixes = {line.split("]")[0] for line in selected.out.splitlines()}
            assert {p.rsplit("/", 1)[1] for p in prefixes} == {"geo"}
            assert len(prefixes) == 2
            limited = await lab.kubectl("logs", geo, "--limit-bytes=7")
            assert len(limited.out) == 7
            refused = await lab.kubectl("logs", geo, "--previous")
            assert refused.code == 1
            assert "previous terminated container" in refused.err

    run(scenario())


@needs_kubectl
def test_kubectl_follows_until_the_container_ends_and_shows_the_life_before(
    sim: Sim, run: Run, tmp_path: Path
) -> None:
    profile = a_pod(sim, "profile")

    async def scenario() -> tuple[int, str, str]:
        async with served(sim, tmp_path) as lab:
            follower = await lab.start("logs", "-f", profile, "--tail=1")
            assert follower.stdout is not None
            first = await follower.stdout.readline()
            done = await lab.kubectl("exec", profile, "--", "kill", "1")
            assert done.code == 0
            rest = await follower.stdout.read()
            code = await follower.wait()
            while (before := await lab.kubectl("logs", profile, "--previous")).code != 0:
                await lab.gate.moved()
            return code, (first + rest).decode(), before.out

    async def bounded() -> tuple[int, str, str]:
        async with asyncio.timeout(90):
            return await scenario()

    code, followed, before = run(bounded())
    assert code == 0
    assert before.endswith(followed.splitlines()[-1] + "\n")


@needs_kubectl
def test_kubectl_runs_commands_and_passes_on_their_codes(
    sim: Sim, run: Run, tmp_path: Path
) -> None:
    geo, store = a_pod(sim, "geo"), a_pod(sim, "geo-postgres")

    async def scenario() -> None:
        async with served(sim, tmp_path) as lab:
            assert (await lab.kubectl("exec", geo, "--", "hostname")).out == f"{geo}\n"
            assert (await lab.kubectl("exec", geo, "-c", "geo", "--", "pwd")).out == "/\n"
            failed = await lab.kubectl("exec", geo, "--", "sh", "-c", "cat /nowhere; exit 7")
            assert failed.code == 7
            assert failed.err.endswith("command terminated with exit code 7\n")
            fed = await lab.kubectl("exec", "-i", geo, "--", "wc", "-l", stdin="a\nb\n")
            assert fed.out.split() == ["2"]
            shell = await lab.kubectl("exec", "-i", geo, "--", "sh", stdin="hostname\nexit 4\n")
            assert (shell.code, shell.out) == (4, f"{geo}\n")
            sql = await lab.kubectl("exec", "-i", store, "--", "psql", stdin="SELECT 6 * 7;\n")
            assert "42" in sql.out
            missing = await lab.kubectl("exec", geo, "--", "nosuch")
            assert missing.code == 1
            assert 'exec: "nosuch": executable file not found in $PATH' in missing.err
            copied = await lab.kubectl("cp", f"{geo}:/etc/hosts", str(tmp_path / "hosts"))
            assert copied.code == 1
            assert 'exec: "tar"' in copied.err

    run(scenario())


@needs_kubectl
def test_kubectl_hears_why_a_command_is_refused(sim: Sim, run: Run, tmp_path: Path) -> None:
    geo = a_pod(sim, "geo")
    reader = on_call("oncall", "diagnosis", "hotel")

    async def scenario(who: Identity) -> list[tuple[int, str]]:
        async with served(sim, tmp_path, who) as lab:
            asked = [
                await lab.kubectl("exec", geo, "--", "env"),
                await lab.kubectl("exec", geo, "--", "kill", "1"),
                await lab.kubectl("exec", geo, "-c", "nope", "--", "env"),
            ]
            return [(done.code, done.err) for done in asked]

    looked, killed, nowhere = run(scenario(reader))
    assert looked == (0, "")
    assert killed[0] == nowhere[0] == 1
    # The server's words come after those of kubectl, which are others from 1.36 on.
    said = r"(Error from server \(Forbidden\)|error: unable to upgrade connection): pods"
    assert re.match(said, killed[1])
    assert 'is forbidden: User "oncall" ' in killed[1]
    assert "may only run commands that look" in killed[1]
    assert "container nope is not valid for pod" in nowhere[1]


@needs_kubectl
def test_kubectl_forwards_ports_to_pods_and_services(sim: Sim, run: Run, tmp_path: Path) -> None:
    geo = a_pod(sim, "geo")

    async def forward(lab: Lab, target: str, port: int, requests: list[bytes]) -> list[bytes]:
        process = await lab.start("port-forward", target, f":{port}")
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        local = int(line.split(":")[1].split()[0])
        answers = []
        try:
            for request in requests:
                reader, writer = await asyncio.open_connection("127.0.0.1", local)
                writer.write(request)
                answers.append(await reader.read())
                writer.close()
                await writer.wait_closed()
        finally:
            process.terminate()
            _, err = await process.communicate()
        return [*answers, err]

    async def scenario() -> tuple[list[bytes], list[bytes], list[bytes]]:
        async with asyncio.timeout(60), served(sim, tmp_path) as lab:
            return (
                await forward(lab, f"pod/{geo}", 8080, [GET, GET]),
                await forward(lab, "svc/frontend", 8080, [GET]),
                await forward(lab, f"pod/{geo}", 9999, [GET]),
            )

    pod, service, nobody = run(scenario())
    for answer in (*pod[:2], service[0]):
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nok")
    assert nobody[0] == b""
    assert b"connect: connection refused" in nobody[1]


@needs_kubectl
def test_kubectl_attach_and_top(sim: Sim, run: Run, tmp_path: Path) -> None:
    frontend = a_pod(sim, "frontend")

    async def scenario() -> tuple[str, str, str]:
        async with asyncio.timeout(60), served(sim, tmp_path) as lab:
            attached = await lab.start("attach", frontend)
            assert attached.stdout is not None
            line = await attached.stdout.readline()
            attached.terminate()
            await attached.communicate()
            pods = await lab.kubectl("top", "pod", frontend)
            nodes = await lab.kubectl("top", "nodes")
            return line.decode(), pods.out, nodes.out

    line, pods, nodes = run(scenario())
    assert line.startswith("{")
    assert re.search(rf"^{frontend} +\d+m +\d+Mi *$", pods, re.MULTILINE)
    assert re.match(r"NAME +CPU\(cores\) +CPU\(%\) +MEMORY\(bytes\) +MEMORY\(%\)", nodes)


@needs_kubectl
def test_a_shell_is_used_at_a_terminal(sim: Sim, run: Run, tmp_path: Path) -> None:
    geo = a_pod(sim, "geo")

    async def scenario() -> tuple[int, str]:
        async with asyncio.timeout(60), served(sim, tmp_path) as lab:
            ours, theirs = os.openpty()
            process = await lab.start("exec", "-it", geo, "--", "bash", terminal=theirs)
            os.close(theirs)
            seen = ""
            for wanted, typed in (("# ", "hostnamX\x7fe\r"), (f"{geo}\r\n", "exit 5\r")):
                while wanted not in seen:
                    seen += (await asyncio.to_thread(os.read, ours, 4096)).decode()
                os.write(ours, typed.encode())
            code = await process.wait()
            os.close(ours)
            return code, seen

    code, seen = run(scenario())
    assert code == 5
    assert f"root@{geo}:/# hostnamX\b \be\r\n{geo}\r\n" in seen


# -- the Python client ----------------------------------------------------------------------------

HEAD = """
import sys
from kubernetes import client, config
from kubernetes.stream import portforward, stream

core = client.CoreV1Api(config.new_client_from_config(sys.argv[1]))
pod = sys.argv[2]
"""
LOGS_AND_EXEC = """
assert len(core.read_namespaced_pod_log(pod, "hotel", tail_lines=2).splitlines()) == 2
enter = core.connect_get_namespaced_pod_exec
quiet = {"stdout": True, "stderr": True, "tty": False}
held = {"stdin": True, "_preload_content": False}
command = ["sh", "-c", "hostname"]
assert stream(enter, pod, "hotel", command=command, stdin=False, **quiet) == pod + "\\n"
shell = stream(enter, pod, "hotel", command=["/bin/sh"], **held, **quiet)
shell.write_stdin("hostname\\n")
assert shell.readline_stdout(timeout=20) == pod
shell.write_stdin("exit 3\\n")
shell.run_forever(timeout=20)
assert shell.returncode == 3
print("done")
"""
FORWARD = """
forward = portforward(core.connect_get_namespaced_pod_portforward, pod, "hotel", ports="8080")
socket = forward.socket(8080)
socket.settimeout(20.0)
socket.sendall(b"GET /readyz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
answer = b""
while piece := socket.recv(4096):
    answer += piece
assert answer.startswith(b"HTTP/1.1 200 OK"), answer
assert forward.error(8080) is None
print("done")
"""


@pytest.mark.parametrize("script", [LOGS_AND_EXEC, FORWARD], ids=["logs-exec", "port-forward"])
def test_the_python_client_is_served(sim: Sim, run: Run, tmp_path: Path, script: str) -> None:
    async def scenario() -> tuple[bytes, bytes]:
        async with asyncio.timeout(60), served(sim, tmp_path) as lab:
            # A program of its own: the client leaves sockets and threads to the end of the program.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-W", "ignore", "-c", HEAD + script, str(lab.config),
                a_pod(sim, "geo"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            return await process.communicate()

    out, err = run(scenario())
    assert out == b"done\n", err.decode()
