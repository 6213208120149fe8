"""Commands inside a container, the busybox image, and the registry."""

from __future__ import annotations

import pytest
from conftest import Bench
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.errors import InfraError
from aiopslab.services.catalogue import load_app
from aiopslab.services.protocols import Request, Response
from aiopslab.world.container import Container
from aiopslab.world.disk import Volume
from aiopslab.world.images.busybox import Busybox
from aiopslab.world.images.registry import Registry
from aiopslab.world.images.shell_parse import SyntaxProblem, parse


@pytest.fixture
def box(bench: Bench) -> Container:
    files = {"/etc/app/config.yaml": "pool: 5\nttl: 60\nlevel: info\n"}
    env = {"DB_USER": "rate", "PORT": "8080"}
    volumes = {"/data": Volume(2**30)}
    return bench.run(
        "api", Busybox(), command=["sleep", "1h"], files=files, env=env, volumes=volumes
    )


@pytest.mark.parametrize(
    ("script", "out", "code"),
    [
        ("echo a b", "a b\n", 0),
        ("echo $DB_USER ${PORT} ${NOPE:-none} '$PORT' \"$PORT\"", "rate 8080 none $PORT 8080\n", 0),
        ("cat /etc/app/config.yaml | grep -v pool | wc -l", "2\n", 0),
        ("env | grep DB_ | sort", "DB_USER=rate\n", 0),
        ("printenv PORT", "8080\n", 0),
        ("false && echo no", "", 1),
        ("false || echo yes; echo end", "yes\nend\n", 0),
        ("cat /nope 2>/dev/null || echo missing", "missing\n", 0),
        ("cat /nope 2>&1 | head -1", "cat: /nope: No such file or directory\n", 0),
        ("ls /etc/app", "config.yaml\n", 0),
        ("tail -n 1 /etc/app/config.yaml", "level: info\n", 0),
        ("grep -c o /etc/app/config.yaml", "2\n", 0),
        ("printf 'b\\na\\nb\\n' | sort | uniq -c | sort -rn | head -1", "      2 b\n", 0),
        ("nothing", "", 127),
        ("exit 3; echo no", "", 3),
        ("hostname; whoami", "api-0\nroot\n", 0),
        ("date +%Y-%m-%d", "2026-03-10\n", 0),
        ("cat /sys/fs/cgroup/cpu.max", "max 100000\n", 0),
    ],
)
def test_scripts_do_what_a_shell_does(
    bench: Bench, box: Container, script: str, out: str, code: int
) -> None:
    found, _, status = bench.sh(box, "sh", "-c", script)
    assert (found, status) == (out, code)


def test_an_unknown_command_is_not_found(bench: Bench, box: Container) -> None:
    message = 'exec: "apt": executable file not found in $PATH\n'
    assert bench.sh(box, "apt", "install", "x") == ("", message, 127)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo 'x", "unterminated quoted string"),
        ("echo a | | b", 'unexpected "|"'),
        ("echo a &&", "unexpected end of file"),
        ("echo x > /etc/app/config.yaml", "Read-only file system"),
    ],
)
def test_what_the_shell_cannot_do_it_says(
    bench: Bench, box: Container, script: str, problem: str
) -> None:
    _, err, code = bench.sh(box, "sh", "-c", script)
    assert code == 2
    assert problem in err


@given(st.text(alphabet="ab $'\"|&;<>\\{}\n2/-", max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_script_is_read_or_refused(script: str) -> None:
    try:
        pipelines = parse(script, {"a": "1"})
    except SyntaxProblem:
        return
    assert all(pipeline.commands for pipeline in pipelines)


def test_df_shows_volumes_and_ps_the_process(bench: Bench, box: Container) -> None:
    box.volumes["/data"].write("big", 2**29)
    out, _, _ = bench.sh(box, "df", "-h")
    assert "50% /data" in out
    out, _, _ = bench.sh(box, "ps")
    assert "sleep 1h" in out


def test_kill_1_terminates_the_container(bench: Bench, box: Container) -> None:
    bench.sh(box, "kill", "1")
    bench.pass_time(1.0)
    assert box.exit is not None
    assert box.exit.code == 143


class Web:
    """A program with an HTTP endpoint."""

    async def run(self, box: Container) -> int:
        async def handle(request: Request, _peer: object) -> Response:
            if request.path == "/slow":
                await box.burn(5.0)
            return Response(503 if request.path == "/bad" else 200, f"hello {request.params}\n")

        box.netns.listen(8080, handle)
        await box.terminating.wait()
        return 0

    async def exec(self, box: Container, argv: object, stdin: str) -> None:
        return None


@pytest.mark.parametrize(
    ("command", "out", "err", "code"),
    [
        ("curl -s http://web:8080/?a=1", "hello {'a': '1'}\n", "", 0),
        ("curl -s -o /dev/null -w %{http_code} http://web:8080/bad", "503", "", 0),
        ("curl -sf http://web:8080/bad", "", "", 22),
        ("curl http://nope:8080/", "", "curl: (6) Could not resolve host: nope\n", 6),
        ("curl -s -m 1 http://web:8080/slow", "", "", 28),
        ("wget -qO- http://web:8080/", "hello {}\n", "", 0),
        ("wget -q http://web:8080/bad", "", "HTTP/1.1 503 Service Unavailable\n", 1),
        ("nc -zv web 8080", "", "open\n", 0),
        ("nc -zv web 8081", "", "Connection refused\n", 1),
        ("nslookup nope", "", "server can't find nope: NXDOMAIN\n", 1),
        ("getent hosts nope", "", "", 2),
        ("ping web", "", "permission denied", 1),
    ],
)
def test_network_commands_tell_what_happened(
    bench: Bench, box: Container, command: str, out: str, err: str, code: int
) -> None:
    bench.run("web", Web())
    bench.pass_time(0.1)
    found, problem, status = bench.sh(box, *command.split())
    assert status == code
    assert out in found
    assert err in problem


def test_a_refused_connection_names_host_port_and_time(bench: Bench, box: Container) -> None:
    bench.run("web", Web())
    _, err, code = bench.sh(box, "curl", "-sS", "http://web:9/")
    assert code == 7
    assert err.startswith("curl: (7) Failed to connect to web port 9 after")
    assert err.endswith("ms: Connection refused\n")


def test_busybox_logs_and_ends_with_the_commands_code(bench: Bench) -> None:
    job = bench.run("job", Busybox(), command=["sh", "-c", "echo one && sleep 2 && false"])
    bench.pass_time(3.0)
    assert job.exit is not None
    assert (job.exit.code, job.exit.reason) == (1, "Error")
    assert [line for _, line in job.log_lines()] == ["one"]


def test_the_registry_of_an_app_has_releases_and_stores() -> None:
    app = load_app("hotel")
    registry = Registry.for_app(app)
    for service in app.services.values():
        for version in (service.image.version, *service.releases):
            assert registry.resolve(f"{service.image.name}:{version}") is not None
        assert registry.resolve(f"{service.image.name}:0.0.0") is None
    for declared in app.stores.values():
        assert registry.resolve(declared.image.ref) is not None


def test_the_operator_is_told_when_a_store_does_not_run(bench: Bench) -> None:
    registry = Registry()
    with pytest.raises(InfraError, match="has not been started"):
        bench.do(registry.admin("rate-postgres", "SELECT 1"))


def test_a_store_image_is_the_store_its_pod_belongs_to(bench: Bench) -> None:
    registry = Registry.for_app(load_app("hotel"))
    factory = registry.resolve("postgres:17.5")
    assert factory is not None
    bench.run("user-postgres", factory())
    bench.pass_time(10.0)
    assert registry.rows()["table:user-postgres/customers"] == 50_000
    assert "REVOKE" in bench.do(
        registry.admin("user-postgres", 'REVOKE SELECT ON customers FROM "user"')
    )
    with pytest.raises(InfraError, match="does not exist"):
        bench.do(registry.admin("user-postgres", "SELECT * FROM nope"))


def test_the_registry_knows_what_was_published() -> None:
    registry = Registry()
    registry.add("busybox:1.36", Busybox)
    assert registry.resolve("docker.io/library/busybox:1.36") is Busybox
    assert registry.resolve("busybox") is None
    assert registry.resolve("busybox:9") is None


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit " + "9" * 5000, 2),
        ("sleep nan", 1),
        ("head -n " + "9" * 5000 + " /etc/app/config.yaml", 1),
        ("curl -m nan http://api", 2),
        ("wget -T 1.2.3 http://nope", 1),
        ("nc api " + "9" * 5000, 1),
        ("echo '" + "a" * 3000 + "' | grep 'a*a*a*a*b'", 2),
    ],
)
def test_a_number_no_command_could_use_is_a_mistake_of_its_user(
    bench: Bench, box: Container, script: str, code: int
) -> None:
    assert bench.sh(box, "sh", "-c", script)[2] == code


def test_a_shell_that_reads_its_script_leaves_no_input_for_the_commands(
    bench: Bench, box: Container
) -> None:
    assert bench.sh(box, "sh", stdin="sh\ncat\necho done\n")[:1] == ("done\n",)


def test_half_a_character_reaches_a_command_as_a_replacement(bench: Bench, box: Container) -> None:
    assert bench.sh(box, "sh", "-c", "echo \ud800 | wc -c")[0] == "4\n"
