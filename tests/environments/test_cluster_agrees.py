"""The same calls in process and through a connection: the same objects, texts and refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_served import NAMESPACE, Cluster, config_map, hotel, play
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.environments.protocol import Kube
from aiopslab.environments.sim import Sim
from aiopslab.models.kube import KubeError, Object
from aiopslab.world.kube.kinds import KINDS

Call = Callable[[Kube], Awaitable[Any]]


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    sim = hotel()
    sim.run_for(20.0)
    yield sim
    asyncio.run(sim.aclose())


def seen(value: Any) -> Any:
    """Return an answer without who manages which field: the surface adds the components' names."""
    if isinstance(value, list):
        return [seen(item) for item in value]
    if isinstance(value, dict) and isinstance(value.get("metadata"), dict):
        kept = {k: v for k, v in value["metadata"].items() if k != "managedFields"}
        return {**value, "metadata": kept}
    return value


async def outcome(call: Call, kube: Kube) -> Any:
    try:
        return seen(await call(kube))
    except KubeError as error:
        details = {k: v for k, v in error.details.items() if v}
        return error.code, error.reason, error.message, details


def agree(sim: Sim, home: Path, *calls: Call) -> list[Any]:
    """Make the calls both ways and return the outcomes, after comparing them."""
    outcomes = []

    async def scene(cluster: Cluster) -> None:
        kube = cluster.kube()
        for call in calls:
            ours = await outcome(call, sim.kube)
            theirs = await outcome(call, kube)
            assert theirs == ours
            outcomes.append(ours)

    play(sim, home, scene)
    return outcomes


def test_lists_of_every_kind(sim: Sim, tmp_path: Path) -> None:
    calls = [lambda kube, k=kind.kind: kube.list(k) for kind in KINDS]
    found = agree(sim, tmp_path, *calls)
    assert sum(map(len, found)) > 100


def test_one_object_of_every_kind_and_its_description(sim: Sim, tmp_path: Path) -> None:
    calls: list[Call] = []
    for kind in KINDS:
        for obj in sim.world.api.list(kind.kind)[:2]:
            name, space = obj["metadata"]["name"], obj["metadata"].get("namespace")
            calls.append(lambda kube, k=kind.kind, n=name, s=space: kube.get(k, n, s))
            calls.append(lambda kube, k=kind.kind, n=name, s=space: kube.describe(k, n, s))
    assert len(agree(sim, tmp_path, *calls)) > 40


@pytest.mark.parametrize("wide", [False, True])
def test_tables_of_every_kind(sim: Sim, tmp_path: Path, wide: bool) -> None:
    calls = [lambda kube, k=kind.kind: kube.table(k, NAMESPACE, wide=wide) for kind in KINDS]
    agree(sim, tmp_path, *calls)


def test_the_snapshot(sim: Sim, tmp_path: Path) -> None:
    (snapshot,) = agree(sim, tmp_path, lambda kube: kube.snapshot(NAMESPACE))
    assert {"Deployment", "Service", "ConfigMap"} <= {obj["kind"] for obj in snapshot}
