"""Feature flags of a process: read from files again and again, branching, waking defects."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from services_fakes import FakeHost, environment
from services_shop import make_app
from test_services_process import get, serve

from aiopslab.errors import ContentError
from aiopslab.models.app import App
from aiopslab.services.flags import DIRECTORY, map_name
from aiopslab.services.manifests import flag_objects, service_objects
from aiopslab.services.validation import validate

FLAG = f"{DIRECTORY}/x"
REFRESH_S = 6.0


def flagged(bug: dict[str, Any] | None = None, default: bool = False, **changes: Any) -> App:
    """Return the shop with the flag ``x`` read by ``web``, which branches on it in GET /page."""
    app = make_app().model_dump(by_alias=True, exclude_none=True)
    flag = {"description": "An idea.", "default": default, "services": ["web"], "bug": bug}
    app["flags"] = {"x": flag | changes}
    branch = {"when": {"flag": "x"}, "then": [{"fail": 418}], "otherwise": [{"log": {"msg": "no"}}]}
    if bug is None:
        app["services"]["web"]["endpoints"]["GET /page"].append(branch)
    return App.model_validate(app)


async def statuses(host: FakeHost, count: int = 1, **params: str) -> list[int]:
    return [(await get(host, "/page", item="1", **params)).status for _ in range(count)]


def test_a_step_branches_on_a_flag_and_follows_its_file_within_seconds() -> None:
    seen: list[int] = []

    async def scenario(host: FakeHost) -> None:
        seen.extend(await statuses(host))
        host.files[FLAG] = "true"
        seen.extend(await statuses(host))
        await asyncio.sleep(REFRESH_S)
        seen.extend(await statuses(host))

    host = serve(flagged(), "web", scenario)
    assert seen == [200, 200, 418]
    changes = [line for _, line in host.telemetry.lines if "feature flag changed" in line]
    assert len(changes) == 1
    assert '"flag":"x","value":"true"' in changes[0]


@pytest.mark.parametrize(("refresh_ms", "seen"), [("0", 200), ("1e-9", 418)])
def test_a_refresh_of_zero_reads_flags_at_the_start_alone_and_none_stops_the_clock(
    refresh_ms: str, seen: int
) -> None:
    async def scenario(host: FakeHost) -> None:
        host.files[FLAG] = "true"
        await asyncio.sleep(REFRESH_S)
        assert await statuses(host) == [seen]

    app = flagged()
    serve(app, "web", scenario, env=environment(app, "web") | {"FLAGS_REFRESH_MS": refresh_ms})


@pytest.mark.parametrize("text", ["", "yes", "1"])
def test_a_file_that_says_neither_leaves_the_flag_as_it_was(text: str) -> None:
    async def scenario(host: FakeHost) -> None:
        host.files[FLAG] = text
        await asyncio.sleep(REFRESH_S)
        assert await statuses(host) == [418]
        del host.files[FLAG]
        await asyncio.sleep(REFRESH_S)
        assert await statuses(host) == [418]

    serve(flagged(default=True), "web", scenario)


def test_a_flag_wakes_its_defect_for_the_requests_it_is_about_and_puts_it_to_sleep() -> None:
    app = flagged({"error_rate": 1.0, "only": {"country": "fr"}})

    async def scenario(host: FakeHost) -> None:
        assert await statuses(host, country="fr") == [200]
        host.files[FLAG] = "true"
        await asyncio.sleep(REFRESH_S)
        assert await statuses(host, country="fr") == [500]
        assert await statuses(host, country="de") == [200]
        host.files[FLAG] = "false"
        await asyncio.sleep(REFRESH_S)
        assert await statuses(host, country="fr") == [200]

    serve(app, "web", scenario)


def test_added_latency_strikes_a_subset() -> None:
    app = flagged({"latency_ms": 600, "only": {"country": "fr"}}, default=True)

    async def scenario(host: FakeHost) -> None:
        for country in ("fr", "de"):
            await statuses(host, 5, country=country)

    host = serve(app, "web", scenario)
    seconds = [s["seconds"] for s in host.telemetry.spans if s["kind"] == "server"]
    assert all(0.4 < s < 0.9 for s in seconds[:5])
    assert all(s < 0.05 for s in seconds[5:])


def test_a_cache_without_a_bound_grows_with_distinct_keys_only() -> None:
    app = flagged({"kept_per_key": 1000, "key": "{user}"}, default=True)
    held: list[int] = []

    async def scenario(host: FakeHost) -> None:
        for user in ("a", "a", "b", "a"):
            await statuses(host, user=user)
            held.append(host.memory.held["heap"])
        await statuses(host)
        held.append(host.memory.held["heap"])

    serve(app, "web", scenario)
    base = held[0]
    assert held == [base, base, base + 1000, base + 1000, base + 1000]


def test_a_forced_collection_stops_the_world_and_is_measured() -> None:
    app = flagged({"pause_ms": 500, "pause_every_s": 1.0}, default=True)

    async def scenario(host: FakeHost) -> None:
        async with asyncio.TaskGroup() as group:
            for at in range(40):
                group.create_task(_later(host, at / 10))

    async def _later(host: FakeHost, after: float) -> None:
        await asyncio.sleep(after)
        await statuses(host)

    host = serve(app, "web", scenario)
    seconds = [s["seconds"] for s in host.telemetry.spans if s["kind"] == "server"]
    assert max(seconds) > 0.3
    assert min(seconds) < 0.05
    assert host.telemetry.value("go_gc_duration_seconds_count") >= 2


def test_the_flags_are_a_config_map_mounted_where_they_are_read() -> None:
    app = flagged(default=True)
    rendered = [*flag_objects(app), *service_objects(app, "web"), *service_objects(app, "stock")]
    objects = {(o["kind"], o["metadata"]["name"]): o for o in rendered}
    assert objects["ConfigMap", map_name("shop")]["data"] == {"x": "true"}
    pod = objects["Deployment", "web"]["spec"]["template"]["spec"]
    assert pod["volumes"] == [{"name": "flags", "configMap": {"name": "shop-flags"}}]
    assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == DIRECTORY
    assert "volumes" not in objects["Deployment", "stock"]["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (flagged({"cpu_factor": 2}, services=["wub"]), "unknown service 'wub'"),
        (flagged(services=["web", "stock"]), "does nothing in 'stock'"),
        (flagged({"kept_per_key": 5, "key": "fixed"}), "needs a key with a request parameter"),
    ],
)
def test_a_flag_that_cannot_act_is_refused(app: App, message: str, tmp_path: Any) -> None:
    with pytest.raises(ContentError, match=message):
        validate(app, tmp_path / "app.yaml")


def test_a_branch_on_a_flag_of_another_service_is_refused(tmp_path: Any) -> None:
    app = flagged({"cpu_factor": 2}, services=["stock"]).model_dump(by_alias=True)
    app["services"]["web"]["endpoints"]["GET /page"].append({"when": {"flag": "x"}, "then": []})
    with pytest.raises(ContentError, match="unknown flag of this service 'x'"):
        validate(App.model_validate(app), tmp_path / "app.yaml")
