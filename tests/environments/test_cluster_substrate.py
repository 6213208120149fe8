"""What lies below Kubernetes on a cluster: what is told to whom, and what cannot be done there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from cluster_served import NAMESPACE, Run, end, hotel, standing
from cluster_stage import LAB, Beside, Stage, partners
from stores import SUPERUSER_PASSWORD, Process, admin, start_postgres, started
from waiting import until

from aiopslab.environments.cluster.connection import Request
from aiopslab.environments.sim import Sim
from aiopslab.errors import InfraError
from aiopslab.models.external import Disturbance
from aiopslab.models.kube import ExecResult, Object
from aiopslab.models.network import Links, Shape
from aiopslab.models.signal import Change
from aiopslab.services.real.orders import LabOrders
from aiopslab.wire.board import Board

FACTOR = 60.0
SLOW = Shape(delay_s=0.2)


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    found = hotel()
    found.run_for(40.0)
    yield found
    end(found)


@pytest.fixture(scope="module")
def staged(sim: Sim, tmp_path_factory: pytest.TempPathFactory
           ) -> Iterator[tuple[Stage, Beside, Run]]:  # fmt: skip
    home = tmp_path_factory.mktemp("staged")
    beside = Beside("hotel", home)
    with standing(sim, home, beside.around, factor=FACTOR) as (cluster, run):
        stage = Stage(cluster, beside)
        run(stage.begin())
        partners(beside, stage)
        yield stage, beside, run
    beside.end()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiopslab.environments.cluster.substrate._KNOWN_S", 0.0)


Staged = tuple[Stage, Beside, Run]


# -- ways ------------------------------------------------------------------------------------------


def test_processes_are_told_something_from_the_start_and_nothing_when_all_is_well(
    staged: Staged,
) -> None:
    stage, beside, run = staged
    quiet = beside.board._text
    assert beside.links() == Links()
    run(stage.substrate.link("search", "geo", delay_s=0.2))
    run(stage.substrate.pod_path("frontend-1", loss=0.3))
    assert beside.links() == Links(
        pairs={"search": {"geo": SLOW}}, pods={"frontend-1": Shape(loss=0.3)}
    )
    assert len(beside.board._text) == len(quiet)
    run(stage.substrate.link("search", "geo"))
    run(stage.substrate.pod_path("frontend-1"))
    assert beside.links() == Links()
    assert beside.board._text != quiet


def test_what_was_shaped_twice_suffers_both_until_either_is_undone(staged: Staged) -> None:
    stage, beside, run = staged
    node = pod_of(staged, "geo")["spec"]["nodeName"]
    zone = run(stage.kube.get("Node", node))["metadata"]["labels"]["topology.kubernetes.io/zone"]
    name = pod_of(staged, "geo")["metadata"]["name"]
    run(stage.substrate.uplink(node, delay_s=0.2))
    run(stage.substrate.zone(zone, delay_s=0.1))
    told = beside.links()
    assert told.pods[name].delay_s == pytest.approx(0.3)
    here = [p for p in run(stage.kube.list("Pod", NAMESPACE)) if p["spec"]["nodeName"] == node]
    names = {p["metadata"]["labels"].get("app.kubernetes.io/name") for p in here}
    stores = names & set(stage.app.stores)
    assert stores
    assert stores <= set(told.pairs["search"])
    run(stage.substrate.zone(zone))
    assert beside.links().pods[name] == SLOW
    run(stage.substrate.uplink(node))
    assert beside.links() == Links()


def pod_of(staged: Staged, component: str) -> Object:
    stage, _, run = staged
    found = run(stage.kube.list("Pod", NAMESPACE, labels=f"app.kubernetes.io/name={component}"))
    pod: Object = found[0]
    return pod


def test_a_process_hears_from_the_observers_board_what_the_lab_put_there() -> None:
    from aiohttp import web

    board = Board()

    async def config(_request: web.Request) -> web.Response:
        answer = await board._tell(None)  # type: ignore[arg-type]
        return web.Response(body=bytes(answer.body), status=answer.status_code)

    async def scenario() -> None:
        site = web.Application()
        site.router.add_get("/v1/config", config)
        runner = web.AppRunner(site)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        orders = LabOrders("hotel", f"http://{host}:{port}", every_s=0.02)
        orders.start()
        await asyncio.sleep(0.1)
        assert orders.current() == Links()
        wanted = Links(pods={"a": SLOW})
        from aiopslab.services.real import sealed

        board._text = sealed.seal("hotel", wanted)
        await until(lambda: orders.current() == wanted)
        await orders.aclose()
        await runner.cleanup()

    asyncio.run(scenario())


# -- parties outside, the change log ---------------------------------------------------------------


def test_a_partner_misbehaves_as_it_is_told_and_tells_so(staged: Staged) -> None:
    stage, beside, run = staged
    substrate = stage.substrate
    assert run(substrate.disturbance("cards")) == Disturbance()
    bad = Disturbance(error_rate=0.5, per_s=2.0)
    run(substrate.partner("cards", bad))
    text = (beside.home / "disturbance.json").read_text()
    assert Disturbance.model_validate_json(text) == bad
    assert run(substrate.disturbance("cards")) == bad
    run(substrate.partner("cards", Disturbance()))
    assert run(substrate.disturbance("cards")).troubles() == []


def test_a_partner_that_is_not_there_is_named(staged: Staged) -> None:
    stage, _, run = staged
    with pytest.raises(InfraError, match="nothing stands for 'nobody'"):
        run(stage.substrate.partner("nobody", Disturbance()))


def test_changes_and_announcements_reach_the_observer(staged: Staged) -> None:
    stage, beside, run = staged
    change = Change(time=1.0, actor="m.okafor", kind="database", component="geo", summary="x")
    run(stage.substrate.record_change(change))
    assert beside.changes[-1] == change
    partner = next(n for n, e in stage.app.externals.items() if e.status_page is not None)
    run(stage.substrate.announce(partner, begins_at=1_773_140_000.0, lasts_s=1800.0))
    post = beside.posts[-1]
    assert (post.partner, post.state) == (partner, "scheduled")
    assert "2026-03-10T" in post.text


# -- volumes, pods ---------------------------------------------------------------------------------


def df(size_kib: int) -> Callable[[Any, str], ExecResult]:
    def run(argv: Any, _stdin: str) -> ExecResult:
        ran.append(list(argv))
        if argv[0] == "df":
            head = "Filesystem 1024-blocks Used Available Capacity Mounted on"
            line = f"/dev/sdb {size_kib} 1000 {size_kib - 1000} 1% /var/lib/postgresql/data"
            return ExecResult(f"{head}\n{line}\n", "", 0)
        return ExecResult("", "", 0)

    ran: list[list[str]] = []
    run.ran = ran  # type: ignore[attr-defined]
    return run


def test_a_volume_of_its_own_size_is_written_to_and_a_folder_of_the_disk_is_not(
    staged: Staged,
) -> None:
    stage, beside, run = staged
    claim = "data-geo-postgres-0"
    beside.commands["geo-postgres-0"] = own = df(2 * 2**20)
    run(stage.substrate.leave_file(claim, "old.dump", 5000))
    run(stage.substrate.leave_file(claim, "old.dump", 0))
    scripts = [argv[2] for argv in own.ran if argv[0] == "sh"]  # type: ignore[attr-defined]
    file = "/var/lib/postgresql/data/old.dump"
    assert scripts == [f"head -c 5000 /dev/zero > {file}", f"rm -f {file}"]
    beside.commands["geo-postgres-0"] = df(500 * 2**20)
    with pytest.raises(InfraError, match="folder of its machine's disk"):
        run(stage.substrate.leave_file(claim, "old.dump", 5000))
    del beside.commands["geo-postgres-0"]
    with pytest.raises(InfraError, match="no pod has claim"):
        run(stage.substrate.leave_file("data-nobody-0", "old.dump", 5000))


def lab_pods(staged: Staged) -> dict[str, Object]:
    stage, _, run = staged
    found = run(stage.kube.list("Pod", LAB.namespace))
    return {p["metadata"]["name"]: p for p in found if p["metadata"]["name"][:7] != "partner"}


def test_a_tenant_is_a_pod_of_the_lab_that_asks_for_what_is_left(staged: Staged) -> None:
    stage, _, run = staged
    run(stage.substrate.neighbour("node-a", name="batch-x", threads=3.0, memory=2**27))
    pod = lab_pods(staged)["batch-x"]
    container = pod["spec"]["containers"][0]
    assert pod["spec"]["nodeName"] == "node-a"
    assert pod["metadata"]["labels"]["aiopslab/trial"] == LAB.trial
    assert container["resources"]["limits"] == {"cpu": "3", "memory": "256Mi"}
    assert 1 <= int(container["resources"]["requests"]["cpu"].removesuffix("m")) <= 3000
    run(stage.substrate.neighbour("node-a", name="batch-x", threads=0.0))
    assert lab_pods(staged) == {}


def test_a_tool_leaves_with_its_pod(staged: Staged) -> None:
    stage, _, run = staged

    def tool(sessions: int) -> Coroutine[Any, Any, None]:
        return stage.substrate.tool(
            "geo-postgres", application="Metabase", user="geo", password="p", address="198.18.0.1",
            sessions=sessions,
        )  # fmt: skip

    run(tool(3))
    command = lab_pods(staged)["metabase"]["spec"]["containers"][0]["command"]
    assert f"geo-postgres.{NAMESPACE}" in command
    assert command[command.index("--count") + 1] == "3"
    run(tool(0))
    assert lab_pods(staged) == {}


def test_a_container_is_stopped_from_its_machine(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, _, run = staged
    seen: list[Object] = []

    async def start(self: Any, name: str, spec: Object, *, until: str = "Running") -> None:
        seen.append({"name": name, "until": until, **spec})

    monkeypatch.setattr("aiopslab.environments.cluster.errands.Errands._start", start)
    for on in (True, False):
        run(stage.substrate.suspend("geo-postgres-0", on=on))
    stop, go_on = seen
    assert (stop["hostPID"], stop["until"], stop["restartPolicy"]) == (True, "Succeeded", "Never")
    words = [pod["containers"][0]["command"] for pod in (stop, go_on)]
    assert [w[-1] for w in words] == ["SIGSTOP", "SIGCONT"]
    status = run(stage.kube.get("Pod", "geo-postgres-0", NAMESPACE))["status"]
    assert words[0][-2] == status["containerStatuses"][0]["containerID"].rpartition("/")[2]


@pytest.mark.parametrize(
    ("ask", "what"),
    [
        (lambda s: s.power("n", on=False), "switch 'n' off"),
        (lambda s: s.hardware("n", "fan", 0.0), "set 'fan'"),
        (lambda s: s.host("n", cores=1.0), "the host under 'n'"),
        (lambda s: s.clock("n", ahead_s=90.0), "clock of 'n'"),
        (lambda s: s.memory_stream("n", name="a", rate=1.0), "memory bus"),
        (lambda s: s.memory_held("n"), "memory"),
        (lambda s: s.take_back(every_s=5.0), "preemptible"),
        (lambda s: s.bulk("n", name="a", rate=1.0), "uplink of 'n'"),
        (lambda s: s.partner("cards", Disturbance(moved=True)), "name of 'cards'"),
    ],
)
def test_what_a_cluster_cannot_do_is_named(staged: Staged, ask: Any, what: str) -> None:
    stage, _, run = staged
    with pytest.raises(InfraError, match=what) as caught:
        run(ask(stage.substrate))
    assert "not declared for kind" in str(caught.value)


# -- sessions --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres() -> Iterator[Process]:
    yield from started(start_postgres)


def test_a_tools_sessions_come_back_when_they_are_thrown_out_and_end_with_it(
    postgres: Process,
) -> None:
    host, port = postgres.address
    argv = ["-m", "aiopslab.services", "sessions", "--host", host, "--port", str(port)]
    argv += ["--database", "postgres", "--user", "postgres", "--password", SUPERUSER_PASSWORD]
    argv += ["--application", "Metabase", "--count", "3", "--again", "0.2"]

    async def scenario() -> None:
        server = await admin(postgres.address)
        mine = "FROM pg_stat_activity WHERE application_name = 'Metabase'"

        async def count() -> int:
            return int(await server.fetchval(f"SELECT count(*) {mine}"))

        async def all_there() -> bool:
            return await count() == 3

        process = await asyncio.create_subprocess_exec(sys.executable, *argv)
        await until(all_there)
        await server.execute(f"SELECT pg_terminate_backend(pid) {mine}")
        await until(all_there)
        process.terminate()
        assert await process.wait() == 0

        async def none_there() -> bool:
            return await count() == 0

        await until(none_there)
        await server.close()

    asyncio.run(scenario())


def test_the_board_takes_a_sealed_text_and_nothing_else(staged: Staged) -> None:
    stage, beside, run = staged
    before = beside.board._text
    stage.rested()
    with pytest.raises(InfraError, match="PUT config"):
        run(stage.substrate._observer("PUT", "config", {"not": "a text"}))
    assert beside.board._text == before


def test_the_observers_token_is_in_no_message(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, _, run = staged

    async def lost(request: Request) -> Any:
        raise InfraError("kubernetes", f"PUT {request.path}: no answer")

    monkeypatch.setattr(stage.substrate._kube.connection, "ask", lost)
    with pytest.raises(InfraError, match="no answer") as failed:
        run(stage.substrate.open())
    assert LAB.token not in str(failed.value)
