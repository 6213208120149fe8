"""``cmd:`` agents: what a program finds, how it answers, and how hostile ones end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from doors_fakes import Trial, served

from aiopslab.agents import load
from aiopslab.agents.command import CommandAgent, CommandLine
from aiopslab.agents.process import KEPT_BYTES, Captured, Ended, Program, run_leashed
from aiopslab.agents.spec import Surroundings
from aiopslab.agents.workplace import ANSWER_BYTES, Workplace
from aiopslab.errors import AgentError, PreflightError, UsageError

PYTHON = sys.executable


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text("utf-8").rpartition(")")[2].split()[0] != "Z"


async def until(met: Callable[[], bool]) -> None:
    """Wait for something another process does."""
    while not met():  # noqa: ASYNC110 - there is nobody to set an event
        await asyncio.sleep(0.02)


def script(path: Path, code: str) -> str:
    """Write a Python program; return the command line that runs it."""
    path.write_text(code, encoding="utf-8")
    return f"{PYTHON} {path}"


def play(
    command: str, tmp_path: Path, trial: Trial | None = None, *, env: tuple[str, ...] = ()
) -> Trial:
    """Let a program work on a trial to its end."""
    trial = trial or Trial()

    async def main() -> None:
        async with served(trial, tmp_path):
            agent = CommandAgent(CommandLine(command), surroundings=Surroundings(env=env))
            async with asyncio.timeout(180):
                await agent.run(trial)

    asyncio.run(main())
    return trial


ANSWER = {"anomaly": True, "confidence": 0.9}
POST = """
import json, os, urllib.request
def post(path, body):
    data = json.dumps(body).encode()
    request = urllib.request.Request(os.environ["AIOPSLAB_URL"] + path, data)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)
"""


def test_a_program_finds_its_brief_addresses_and_configuration(tmp_path: Path) -> None:
    code = """
import json, os, pathlib, stat, sys
seen = {
    "argv": sys.argv[1:],
    "env": dict(os.environ),
    "cwd": os.getcwd(),
    "brief": pathlib.Path(os.environ["AIOPSLAB_BRIEF"]).read_text(),
    "mcp": json.loads(pathlib.Path(sys.argv[2]).read_text()),
    "modes": {p.name: stat.S_IMODE(p.stat().st_mode) for p in pathlib.Path().iterdir()},
    "home": stat.S_IMODE(pathlib.Path().stat().st_mode),
    "kubeconfig": pathlib.Path(os.environ["KUBECONFIG"]).read_text(),
}
print(json.dumps(seen))
json.dump({"anomaly": False, "confidence": 0.5}, open(sys.argv[4], "w"))
"""
    line = script(tmp_path / "agent.py", code)
    trial = play(f"{line} --mcp {{mcp_config}} --in={{workdir}} {{answer_file}}", tmp_path)
    seen = json.loads(trial.kept["stdout.txt"])
    assert trial.answer == {"anomaly": False, "confidence": 0.5}
    assert seen["argv"][2] == f"--in={seen['cwd']}"
    assert seen["env"]["HOME"] == seen["cwd"]
    assert "Find it." in seen["brief"]
    assert '"anomaly"' in seen["brief"]
    assert seen["home"] == 0o700
    assert seen["modes"] == {"brief.md": 0o600, "mcp.json": 0o600, "kubeconfig": 0o600}
    assert "kind: Config" in seen["kubeconfig"]
    server = seen["mcp"]["mcpServers"]["aiopslab"]
    assert server["type"] == "http"
    assert server["url"] == seen["env"]["AIOPSLAB_MCP_URL"]
    for name in ("PROMETHEUS", "LOKI", "JAEGER", "TEMPO", "ALERTMANAGER", "AIOPSLAB"):
        assert "/e/" in seen["env"][f"{name}_URL"]
    assert not Path(seen["cwd"]).exists()


def test_a_program_gets_no_variable_of_the_operator_that_was_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("AWS_SECRET", "another-secret")
    code = """
import json, os
print(sorted(os.environ))
print(*map(os.environ.get, ["MODE", "OPENAI_API_KEY", "AIOPSLAB_TOKEN"]))
json.dump({"anomaly": True, "confidence": 1}, open("answer.json", "w"))
"""
    line = script(tmp_path / "agent.py", code)
    trial = play(line, tmp_path, env=("OPENAI_API_KEY", "MODE=production"))
    out = trial.kept["stdout.txt"].decode()
    assert "AWS_SECRET" not in out
    assert "'MODE'" in out
    assert "production" in out
    assert out.count("[redacted]") == 2
    assert "sk-very-secret" not in out


def test_a_variable_that_leads_to_the_trial_cannot_be_set() -> None:
    with pytest.raises(UsageError, match="'KUBECONFIG' is set by the trial"):
        Surroundings(env=("KUBECONFIG=/root/.kube/config",)).variables()
    with pytest.raises(PreflightError, match="NO_SUCH_VARIABLE is not set"):
        Surroundings(env=("NO_SUCH_VARIABLE",)).variables()
    with pytest.raises(UsageError, match="is no name"):
        Surroundings(env=("A B=1",)).variables()


def test_a_program_submits_by_tool_call(tmp_path: Path) -> None:
    code = (
        POST
        + """
post("/tools/alerts", {})
assert post("/submit", {"anomaly": True, "confidence": 0.9})["ok"]
"""
    )
    trial = play(script(tmp_path / "agent.py", code), tmp_path)
    assert [name for name, _ in trial.calls] == ["alerts", "submit"]
    assert trial.answer == ANSWER


def test_a_program_submits_by_the_command_line(tmp_path: Path) -> None:
    trial = play("aiopslab submit --anomaly true --confidence 0.9", tmp_path)
    assert trial.answer == {"anomaly": "true", "confidence": "0.9"}


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ("open('answer.json', 'w').write('{')", "is not JSON"),
        ("open('answer.json', 'w').write('[1]')", "holds no JSON object but list"),
        ("open('answer.json', 'w').write('[' * 200000)", "is not JSON"),
        (f"open('answer.json', 'w').write(' ' * {ANSWER_BYTES + 1})", "is longer than"),
        ("os.symlink('/etc/passwd', 'answer.json')", "cannot be read"),
        ("os.mkfifo('answer.json')", "is no plain file"),
        ("os.mkdir('answer.json')", "is no plain file"),
        ("open('answer.json', 'w').write('{\"x\": 1}')", "the answer it left was refused: missing"),
    ],
)
def test_an_answer_that_is_none_is_the_programs_failure(
    tmp_path: Path, left: str, said: str
) -> None:
    with pytest.raises(AgentError, match=said):
        play(script(tmp_path / "agent.py", f"import os\n{left}\n"), tmp_path)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("pass", "without an answer: exit status 0"),
        ("raise SystemExit(3)", "exit status 3"),
        ("raise ValueError('cannot think')", "its last words: ValueError: cannot think"),
        ("os.kill(os.getpid(), signal.SIGKILL)", r"killed by signal 9 \(Killed\)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"killed by signal 11 \(Segmentation fault\)"),
        ("os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)", "killed the process that watch"),
        ("open('big', 'wb').truncate(2**31)\n", "exit|killed"),
    ],
)
def test_a_program_that_ends_without_an_answer_has_failed(
    tmp_path: Path, code: str, said: str
) -> None:
    trial = Trial()
    with pytest.raises(AgentError, match=said):
        play(script(tmp_path / "agent.py", f"import os, signal, time\n{code}"), tmp_path, trial)
    assert set(trial.kept) == {"stdout.txt", "stderr.txt"}


def test_a_program_that_is_not_there_is_refused_before_anything_boots() -> None:
    with pytest.raises(PreflightError, match="there is no program 'no-such-agent'"):
        load("cmd:no-such-agent").preflight({})
    load("cmd:true").preflight({})


def test_a_crash_after_the_answer_changes_nothing(tmp_path: Path) -> None:
    code = POST + 'post("/submit", {"anomaly": True, "confidence": 0.9})\nraise SystemExit(9)\n'
    assert play(script(tmp_path / "agent.py", code), tmp_path).answer == ANSWER


def test_a_flood_of_output_is_cut_in_the_middle(tmp_path: Path) -> None:
    code = """
import json, os
os.write(1, b"first line\\n")
for _ in range(100):
    os.write(1, b"x" * 1_000_000)
os.write(1, b"\\nlast line\\n")
json.dump({"anomaly": True, "confidence": 1}, open("answer.json", "w"))
"""
    trial = play(script(tmp_path / "agent.py", code), tmp_path)
    kept = trial.kept["stdout.txt"]
    assert len(kept) < KEPT_BYTES + 100
    assert kept.startswith(b"first line")
    assert kept.endswith(b"last line\n")
    assert b"bytes left out" in kept


def within(work: Callable[[], Awaitable[Any]], seconds: float) -> Any:
    """Run a coroutine and cancel it after so many seconds; None if it was."""

    async def main() -> Any:
        task = asyncio.ensure_future(work())
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if done:
            return task.result()
        task.cancel()
        await asyncio.wait({task})
        return None

    return asyncio.run(main())


def test_a_cancelled_trial_takes_everything_with_it(tmp_path: Path) -> None:
    """The slow program, its child, and one that left its session and its parent behind."""
    code = f"""
import os, pathlib, subprocess, time
subprocess.Popen(["sleep", "600"])
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    pathlib.Path({str(tmp_path)!r}, "detached").write_text(str(os.getpid()))
    time.sleep(600)
pathlib.Path({str(tmp_path)!r}, "main").write_text(str(os.getpid()))
time.sleep(600)
"""
    script(tmp_path / "agent.py", code)
    program = Program([PYTHON, str(tmp_path / "agent.py")], tmp_path, {"PATH": os.environ["PATH"]})

    async def main() -> None:
        task = asyncio.create_task(run_leashed(program))
        pids = [tmp_path / "detached", tmp_path / "main"]
        async with asyncio.timeout(120):
            await until(lambda: all(p.exists() and p.read_text("utf-8") for p in pids))
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(main())
    for name in ("detached", "main"):
        assert not alive(int((tmp_path / name).read_text("utf-8")))


def test_what_a_program_left_running_ends_with_it(tmp_path: Path) -> None:
    code = f"""
import pathlib, subprocess
left = subprocess.Popen(["sleep", "600"], start_new_session=True)
pathlib.Path({str(tmp_path)!r}, "left").write_text(str(left.pid))
"""
    script(tmp_path / "agent.py", code)
    program = Program([PYTHON, str(tmp_path / "agent.py")], tmp_path, {"PATH": os.environ["PATH"]})
    assert within(lambda: run_leashed(program), 30.0) == Ended(0)
    assert not alive(int((tmp_path / "left").read_text("utf-8")))


def test_a_program_dies_with_the_process_that_ran_it(tmp_path: Path) -> None:
    """A trial's process that is killed cannot clean up; the leash does."""
    agent = tmp_path / "agent.py"
    agent.write_text(
        f"import os, pathlib, time\npathlib.Path({str(tmp_path)!r}, 'pid').write_text("
        "str(os.getpid()))\ntime.sleep(600)\n",
        encoding="utf-8",
    )
    runner = f"""
import asyncio, os, pathlib
from aiopslab.agents.process import Program, run_leashed
here = pathlib.Path({str(tmp_path)!r})
asyncio.run(run_leashed(Program([{PYTHON!r}, {str(agent)!r}], here, dict(os.environ))))
"""

    async def main() -> int:
        process = await asyncio.create_subprocess_exec(PYTHON, "-c", runner)
        written = tmp_path / "pid"
        async with asyncio.timeout(120):
            await until(lambda: written.exists() and bool(written.read_text("utf-8")))
            process.kill()
            await process.wait()
            pid = int(written.read_text("utf-8"))
            await until(lambda: not alive(pid))
        return pid

    assert not alive(asyncio.run(main()))


def test_a_fork_bomb_is_defused(tmp_path: Path) -> None:
    code = """
import os, time
for _ in range(400):
    if os.fork() == 0:
        time.sleep(600)
time.sleep(600)
"""
    script(tmp_path / "agent.py", code)
    program = Program([PYTHON, str(tmp_path / "agent.py")], tmp_path, {"PATH": os.environ["PATH"]})
    ended = within(lambda: run_leashed(program, processes=40), 60.0)
    assert ended == Ended(None, "more than 40 processes at once")


def test_how_a_program_ended_is_said_in_words() -> None:
    assert str(Ended(0)) == "exit status 0"
    assert str(Ended(-signal.SIGTERM)) == "killed by signal 15 (Terminated)"
    assert str(Ended(None, "gone")) == "gone"


@pytest.mark.parametrize("sizes", [[10], [100], [64, 64], [1, 500, 3], [50] * 20, [1000]])
def test_captured_output_keeps_head_and_tail(sizes: list[int]) -> None:
    captured, whole = Captured(100), b""
    for n, size in enumerate(sizes):
        data = bytes([97 + n % 26]) * size
        captured.add(data)
        whole += data
    kept = captured.content()
    if len(whole) <= 100:
        assert kept == whole
    else:
        left_out = b"\n[... %d bytes left out ...]\n" % (len(whole) - 100)
        assert kept == whole[:50] + left_out + whole[-50:]


def test_a_secret_across_the_cut_is_not_kept_in_part() -> None:
    captured = Captured(40)
    captured.add(b"a" * 15 + b"secret-value" + b"b" * 40)
    assert b"secr" not in captured.content(["secret-value"])


def test_a_secret_that_begins_with_another_is_hidden_whole() -> None:
    captured = Captured()
    captured.add(b"key: secret-value-and-more")
    assert captured.content(["secret", "secret-value-and-more"]) == b"key: [redacted]"


def test_placeholders_fill_single_arguments_and_unknown_ones_are_named() -> None:
    line = CommandLine("agent --url {mcp_url} '--note=see {brief_file}, {\"a\": 1}' {depth}",
                       arguments=["depth"])  # fmt: skip
    values = {"mcp_url": "http://x y", "brief_file": "/w/brief.md", "depth": "3"}
    assert line.filled(values) == [
        "agent", "--url", "http://x y", '--note=see /w/brief.md, {"a": 1}', "3",
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"unknown placeholder \{mcp_confg\}") as caught:
        load("cmd:agent {mcp_confg}")
    assert "did you mean 'mcp_config'" in caught.value.hint
    for bad in ("cmd:", "cmd:'", "cmd:   "):
        with pytest.raises(UsageError):
            load(bad)


def test_a_program_is_started_by_the_link_it_was_named_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter of a virtual environment is a link, and knows by its name where it is."""
    (tmp_path / "shell").symlink_to("/bin/sh")
    monkeypatch.chdir(tmp_path)
    trial = Trial()
    with pytest.raises(AgentError):
        play("./shell -c 'echo $0 $PWD'", tmp_path, trial)
    assert trial.kept["stdout.txt"].startswith(f"{tmp_path}/shell /".encode())


def test_a_folder_may_hold_a_program_with_arguments(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "agent.yaml").write_text(
        f'schema: aiopslab/agent@1\nname: mine\nentry: "cmd:{PYTHON} {{folder}}/run.py {{depth}}"\n'
        "args: {depth: {type: integer, default: 4}}\n",
        encoding="utf-8",
    )
    code = """
import json, sys
json.dump({"anomaly": True, "confidence": int(sys.argv[1]) / 10}, open("answer.json", "w"))
"""
    (folder / "run.py").write_text(code, encoding="utf-8")
    loader = load(str(folder))
    trial = Trial()

    async def main() -> None:
        async with served(trial, tmp_path):
            await loader.build({"depth": "7"}).run(trial)

    asyncio.run(main())
    assert trial.answer == {"anomaly": True, "confidence": 0.7}
    with pytest.raises(UsageError, match="has no argument 'dept'"):
        loader.preflight({"dept": "1"})


def test_surroundings_are_for_programs() -> None:
    with pytest.raises(UsageError, match="agent 'noop' is no program"):
        load("noop").build({}, None, Surroundings(env=("A=1",)))


def test_a_command_that_names_the_model_needs_one() -> None:
    with pytest.raises(PreflightError, match="needs a model"):
        load("cmd:true {model}").preflight({})


def test_a_workplace_without_an_answer_says_so(tmp_path: Path) -> None:
    trial = Trial()

    async def main() -> None:
        async with served(trial, tmp_path) as doors:
            assert Workplace(tmp_path, "/work", doors).answer() is None
            assert Workplace(tmp_path, "/work", doors).placeholders()["workdir"] == "/work"

    asyncio.run(main())
