from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from services_fakes import FakeHost, environment, run
from services_shop import make_app

from aiopslab.models.app import App
from aiopslab.services import protocols as p
from aiopslab.services.process import Process
from aiopslab.world.clock import VirtualLoop

Scenario = Callable[[FakeHost], Awaitable[Any]]


def serve(
    app: App,
    service: str,
    scenario: Scenario,
    *,
    version: str = "",
    env: dict[str, str] | None = None,
    **surroundings: Any,
) -> FakeHost:
    """Start a service, run the scenario against its handler, end the process."""

    async def main(loop: VirtualLoop) -> FakeHost:
        chosen = env if env is not None else environment(app, service)
        host = FakeHost(loop, chosen, **surroundings)
        process = Process(app, service, version or app.services[service].image.version, host)
        running = loop.create_task(process.run())
        await asyncio.sleep(1.5)
        try:
            await scenario(host)
        finally:
            host.sigterm.set()
            await running
            await host.end()
        return host

    return run(main)


async def get(host: FakeHost, path: str, method: str = "GET", **params: str) -> p.Response:
    assert host.handler is not None
    return await host.handler(p.Request(method, path, params, trace_id=7, parent_id=9))


def test_a_request_runs_its_steps_and_leaves_a_trace(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        assert (await get(host, "/page", item="1")).status == 200

    host = serve(app, "web", scenario)
    client, server = host.telemetry.spans
    assert (server["name"], server["kind"], server["parent"]) == ("GET /page", "server", 9)
    assert (client["name"], client["kind"], client["parent"]) == (
        "GET /stock",
        "client",
        server["id"],
    )
    assert {client["trace"], server["trace"]} == {7}
    assert server["attributes"]["http.response.status_code"] == 200
    assert server["seconds"] == pytest.approx(0.015, abs=1e-5)
    count = "http_server_request_duration_seconds_count"
    assert host.telemetry.value(count, http_route="/page", http_response_status_code="200") == 1


def test_a_failing_dependency_is_retried_and_then_answered_with_its_own_status(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        response = await get(host, "/page", item="1")
        assert (response.status, "connection refused" in response.body) == (503, True)

    refused = p.ConnectionRefused("stock", 8080, "198.18.0.9:8080")
    host = serve(app, "web", scenario, answer=lambda request: refused)
    assert len(host.targets["stock"].requests) == 3
    assert host.telemetry.value("http_client_retries_total") == 2
    last = host.telemetry.spans[-1]
    assert last["attributes"]["error.type"] == "*net.OpError"
    _, line = [entry for entry in host.telemetry.lines if entry[0] == "ERROR"][-1]
    record = json.loads(line)
    assert "dial tcp 198.18.0.9:8080: connect: connection refused" in record["error"]
    assert record["trace_id"] == f"{7:032x}"


def test_a_slow_dependency_costs_its_deadline_per_attempt(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        assert (await get(host, "/page", item="1")).status == 504

    host = serve(app, "web", scenario, delay_s=9.0)
    attempts = [s for s in host.telemetry.spans if s["kind"] == "client"]
    assert [round(s["seconds"], 3) for s in attempts] == [0.1, 0.1, 0.1]
    assert [s["attributes"].get("http.request.resend_count") for s in attempts] == [None, 1, 2]


def test_what_may_have_been_served_is_not_posted_twice(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        assert (await get(host, "/order", "POST", item="1")).status == 503

    reset = p.ConnectionReset("stock", 8080)
    host = serve(app, "web", scenario, answer=lambda request: reset)
    assert len(host.targets["stock"].requests) == 1


def test_an_optional_call_that_fails_is_logged_and_the_request_goes_on(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        assert (await get(host, "/maybe", item="1")).status == 200
        assert (await get(host, "/maybe", kind="teapot")).status == 418

    host = serve(app, "web", scenario, answer=lambda request: p.Response(500))
    assert any("continuing without stock" in line for _, line in host.telemetry.lines)


def test_parallel_steps_overlap_and_the_first_failure_is_the_answer(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        response = await get(host, "/both", item="1")
        assert response.status == (200 if not failing else 502)

    failing = False
    host = serve(app, "web", scenario)
    assert host.telemetry.spans[-1]["seconds"] == pytest.approx(0.03, abs=1e-5)
    failing = True
    serve(app, "web", scenario, answer=lambda request: p.Response(500))


def test_requests_beyond_workers_wait_and_beyond_the_queue_are_shed(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(get(host, "/page", item="1")) for _ in range(5)]
        statuses.extend(task.result().status for task in tasks)

    statuses: list[int] = []
    host = serve(app, "web", scenario)
    assert statuses == [200, 200, 200, 503, 503]
    assert [level for level, _ in host.telemetry.lines].count("ERROR") == 1
    assert host.memory.held["requests"] == 0
    assert host.memory.peak == app.services["web"].memory_base + 2 * 96 * 2**10


def test_a_cache_miss_fills_and_the_next_read_hits(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        for _ in range(3):
            assert (await get(host, "/stock", item="4")).status == 200
        await get(host, "/take", "POST", item="4")

    host = serve(app, "stock", scenario)
    assert [name for name, _, _ in host.database.calls] == ["read_stock", "take_stock"]
    assert host.store.values == {}
    assert host.telemetry.value("cache_requests_total", result="hit") == 2
    assert host.telemetry.value("cache_requests_total", result="miss") == 1
    names = {s["name"] for s in host.telemetry.spans}
    assert {"SELECT items", "UPDATE items", "GET stock-valkey:6379"} <= names


def test_a_broken_cache_is_a_cache_that_misses(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        assert (await get(host, "/stock", item="4")).status == 200

    broken = p.CacheError("WRONGPASS invalid username-password pair or user is disabled.")
    host = serve(app, "stock", scenario, cache_error=broken)
    assert host.database.calls
    assert any("WRONGPASS" in line for level, line in host.telemetry.lines if level == "WARN")


def test_a_database_error_is_an_internal_error_with_its_sqlstate(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        assert (await get(host, "/stock", item="4")).status == 500

    denied = p.SqlError("42501", "permission denied for table items")
    host = serve(app, "stock", scenario, sql_error=denied)
    span = next(s for s in host.telemetry.spans if s["name"] == "SELECT items")
    assert span["attributes"]["db.response.status_code"] == "42501"
    text = "\n".join(line for _, line in host.telemetry.lines)
    assert "org.postgresql.util.PSQLException: ERROR: permission denied for table items" in text
    assert host.telemetry.value("db_client_operation_duration_seconds_count", error_type="42501")


@pytest.mark.parametrize("language", ["go", "java", "python", "node"])
@pytest.mark.parametrize(
    ("key", "value"), [("STOCK_ADDR", None), ("STOCK_RETRIES", "many"), ("STOCK_ADDR", "stock")]
)
def test_bad_configuration_ends_the_process_with_a_stack_trace(
    language: str, key: str, value: str | None
) -> None:
    app = make_app(web=language)

    async def main(loop: VirtualLoop) -> tuple[int, FakeHost]:
        host = FakeHost(loop, environment(app, "web", **{key: value}))
        return await Process(app, "web", "1.0.0", host).run(), host

    code, host = run(main)
    assert code == 1
    (severity, text), *_ = host.telemetry.lines
    assert (severity, key in text) == ("FATAL", True)


def test_a_process_told_to_end_serves_on_drains_and_then_closes_its_port(app: App) -> None:
    async def main(loop: VirtualLoop) -> None:
        host = FakeHost(loop, environment(app, "web"), delay_s=0.09)
        running = loop.create_task(Process(app, "web", "1.0.0", host).run())
        await asyncio.sleep(1.5)
        assert (await get(host, "/readyz")).status == 200
        host.sigterm.set()
        await asyncio.sleep(0.1)
        assert (await get(host, "/readyz")).status == 503
        assert (await get(host, "/healthz")).status == 200
        response = await get(host, "/page", item="1")
        assert (response.status, response.close, host.listening.closed) == (200, True, False)
        await asyncio.sleep(2.65)
        late = loop.create_task(get(host, "/page", item="1"))
        assert await running == 0
        assert (host.listening.closed, late.done()) == (True, True)
        await host.end()

    run(main)


def test_defects_of_a_release_show_only_in_that_release(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        statuses.append((await get(host, "/page", item="1")).status)

    statuses: list[int] = []
    serve(app, "web", scenario)
    serve(app, "web", scenario, version="1.1.0")
    leaking = serve(app, "web", scenario, version="1.2.0")
    assert statuses == [200, 500, 200]
    assert leaking.memory.held["heap"] == app.services["web"].memory_base + 1000


def test_a_release_may_repeat_statements_or_keep_connections(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        await get(host, "/stock", item="1")

    assert len(serve(app, "stock", scenario, version="2.1.0").database.calls) == 5
    (_, params, keep), *_ = serve(app, "stock", scenario, version="2.2.0").database.calls
    assert (params, keep) == ({"item": "1"}, True)


def test_unknown_paths_and_methods_get_their_statuses(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        assert (await get(host, "/nothing")).status == 404
        assert (await get(host, "/page", "POST")).status == 405

    serve(app, "web", scenario)


def test_a_query_string_gives_parameters(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        assert (await get(host, "/stock?item=8")).status == 200

    assert serve(app, "stock", scenario).database.calls[0][1] == {"item": "8"}


def test_health_from_the_workers_fails_when_they_are_all_taken(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(get(host, "/page", item="1"))
            await asyncio.sleep(0.001)
            health.append((await get(host, "/healthz")).status)

    health: list[int] = []
    serve(app, "web", scenario)
    serve(app, "web", scenario, env=environment(app, "web", HEALTH_ON_WORKERS="true"))
    assert health == [200, 503]


def test_log_level_hides_what_lies_below(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        await get(host, "/stock", item="1")

    loud = serve(app, "stock", scenario)
    quiet = serve(app, "stock", scenario, env=environment(app, "stock", LOG_LEVEL="error"))
    assert any("request served" in line for _, line in loud.telemetry.lines)
    assert quiet.telemetry.lines == []


def test_one_seed_gives_one_record(app: App) -> None:
    async def scenario(host: FakeHost) -> None:
        for item in "123":
            await get(host, "/page", item=item)

    flaky = {"answer": lambda request: p.Response(503)}
    first, second = (serve(app, "web", scenario, seed=3, **flaky) for _ in range(2))
    other = serve(app, "web", scenario, seed=4, **flaky)
    assert first.telemetry.spans == second.telemetry.spans
    assert first.telemetry.lines == second.telemetry.lines
    assert first.telemetry.spans != other.telemetry.spans
