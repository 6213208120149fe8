"""The owners' intent: what is lost, what changed, what must not be done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from problems_fakes import MemoryEnvironment, deployment

from aiopslab.models.evidence import CheckResult
from aiopslab.models.intent import Intent, Invariant
from aiopslab.problems.intent import (
    Snapshot,
    changes,
    forbidden,
    invariants,
    losses,
    requests,
    snapshot,
)


def service(name: str) -> dict[str, object]:
    return {"kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": {}}


def claim(name: str) -> dict[str, object]:
    return {"kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "shop"}}


def pod(name: str) -> dict[str, object]:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "shop"}, "spec": {}}


@pytest.fixture
def env() -> Any:
    env = MemoryEnvironment()
    env.kube.put(
        *(deployment(n) for n in ("web", "cart", "ads", "idle")),
        service("web"),
        claim("data-cart-postgres-0"),
        pod("web-1"),
    )
    return env


async def check(env: Any, before: Snapshot) -> dict[str, CheckResult]:
    found = await invariants(env, before, await snapshot(env))
    return {c.id: c for c in found}


def run(coro: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coro)


def test_an_untouched_app_keeps_every_invariant(env: Any) -> None:
    async def scenario() -> None:
        before = await snapshot(env)
        found = await check(env, before)
        assert all(c.met for c in found.values()), found
        assert {"ready:web", "rows:cart-postgres", "volume:cart-postgres", "cpu-budget"} <= set(
            found
        )
        assert losses(before, before) == changes(before, before) == []

    run(scenario())


def test_a_deleted_workload_is_a_loss_and_breaks_its_invariant(env: Any) -> None:
    async def scenario() -> None:
        before = await snapshot(env)
        del env.kube.objects["Deployment", "cart"]
        after = await snapshot(env)
        assert [x.ref for x in losses(before, after)] == ["Deployment/shop/cart"]
        assert not (await check(env, before))["ready:cart"].met

    run(scenario())


def test_a_replaced_pod_is_no_loss(env: Any) -> None:
    async def scenario() -> None:
        before = await snapshot(env)
        del env.kube.objects["Pod", "web-1"]
        env.kube.put(pod("web-2"))
        after = await snapshot(env)
        assert losses(before, after) == []
        assert [(c.ref, c.change) for c in changes(before, after)] == [("Pod/shop/web-2", "added")]

    run(scenario())


def test_lost_rows_and_volumes_are_losses(env: Any) -> None:
    async def scenario() -> None:
        before = await snapshot(env)
        env.rows["table:cart-postgres/carts"] = 4
        del env.kube.objects["PersistentVolumeClaim", "data-cart-postgres-0"]
        found = await check(env, before)
        assert not found["rows:cart-postgres"].met
        assert not found["volume:cart-postgres"].met
        gone = losses(before, await snapshot(env))
        assert [x.change for x in gone] == ["removed", "rows: 10 -> 4"]

    run(scenario())


def test_more_rows_are_no_loss(env: Any) -> None:
    async def scenario() -> None:
        before = await snapshot(env)
        env.rows["table:cart-postgres/carts"] = 11
        assert losses(before, await snapshot(env)) == []

    run(scenario())


def test_a_changed_object_is_told_by_its_paths(env: Any) -> None:
    async def scenario() -> None:
        before = await snapshot(env)
        env.kube.put(deployment("web", replicas=5))
        (change,) = changes(before, await snapshot(env))
        assert change.ref == "Deployment/shop/web"
        assert "replicas" in change.change
        assert "2" in change.change
        assert "5" in change.change

    run(scenario())


@pytest.mark.parametrize(("cpu", "kept"), [("140m", True), ("150m", True), ("250m", False)])
def test_cpu_requests_may_grow_by_the_budget(env: Any, cpu: str, *, kept: bool) -> None:
    async def scenario() -> None:
        for name in ("web", "cart", "ads", "idle"):
            env.kube.put(deployment(name, cpu="100m"))
        before = await snapshot(env)
        for name in ("web", "cart", "ads", "idle"):
            env.kube.put(deployment(name, cpu=cpu))
        assert (await check(env, before))["cpu-budget"].met is kept

    run(scenario())


def test_requests_are_those_of_all_workloads_or_of_the_ones_asked_for(env: Any) -> None:
    async def scenario() -> None:
        for name in ("web", "cart", "ads", "idle"):
            env.kube.put(deployment(name, cpu="150m"))
        state = await snapshot(env)
        one = requests(state, of=["Deployment/shop/web"])
        every = requests(state)
        assert one.cpu == pytest.approx(0.15 * one.replicas)
        assert every.cpu == pytest.approx(0.15 * every.replicas)
        assert every.replicas > one.replicas > 0
        assert requests(state, of=[]).cpu == 0.0

    run(scenario())


def test_a_pod_that_is_not_ready_breaks_the_invariant(env: Any) -> None:
    async def scenario() -> None:
        before = await snapshot(env)
        env.kube.put(deployment("cart", ready=0))
        assert not (await check(env, before))["ready:cart"].met

    run(scenario())


def test_a_named_object_must_exist(env: Any) -> None:
    async def scenario() -> None:
        before = await snapshot(env)
        del env.kube.objects["Service", "web"]
        assert not (await check(env, before))["fronted:Service/web"].met

    run(scenario())


@pytest.mark.parametrize(
    ("pattern", "act", "allowed"),
    [
        ("delete Deployment/*", "delete Deployment/web", False),
        ("delete Deployment/*", "delete Pod/web-1", True),
        ("delete Deployment/*", "scale Deployment/web to 0", True),
        ("scale Deployment/web below 2", "scale Deployment/web to 1", False),
        ("scale Deployment/web below 2", "scale Deployment/web to 2", True),
        ("scale Deployment/web below 2", "scale Deployment/cart to 0", True),
        ("scale Deployment/* below 1", "scale Deployment/cart to 0", False),
        ("* Secret/*", "patch Secret/cart", False),
    ],
)
def test_forbidden_acts_are_matched_by_pattern(pattern: str, act: str, *, allowed: bool) -> None:
    (result,) = forbidden([pattern], ["look Pod/web", act])
    assert result.met is allowed
    assert result.id == f"forbidden:{pattern}"
    assert (act in result.detail) is not allowed


@pytest.mark.parametrize(("replicas", "kept"), [(0, True), (2, True), (3, False)])
def test_what_costs_too_much_may_not_be_more(env: Any, replicas: int, *, kept: bool) -> None:
    bound = Invariant(id="few", kind="replicas_at_most", target="web", at_most=2)
    env.app = env.app.model_copy(update={"intent": Intent(invariants=[bound])})

    async def scenario() -> None:
        before = await snapshot(env)
        env.kube.put(deployment("web", replicas=replicas))
        assert (await check(env, before))["few:web"].met is kept

    run(scenario())
