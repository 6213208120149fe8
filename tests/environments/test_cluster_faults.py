"""Every kind that says it exists on a cluster: broken and recovered through its API alone.

The objects, their controllers and kubelets are those of a served world; all that faults do goes
over HTTPS and WebSockets, as on any cluster. What real stores make of it: ``test_cluster_stores``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from cluster_served import Run, end, standing
from cluster_stage import LAB, Beside, Stage, partners

from aiopslab.environments.sim import Sim
from aiopslab.faults import registry
from aiopslab.faults.base import Fault, Site
from aiopslab.models.evidence import CheckResult
from aiopslab.problems import intent, selectors
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app

APPS = {name: load_app(name) for name in ("hotel", "shop")}
FACTOR = 60.0
PATIENCE_S = 300.0
QUEUES = {"queue/abandoned-consumer", "queue/poison-message", "queue/storage-exhausted"}
"""The simulated queue speaks to no client from outside."""
SESSIONS = {"database/forgotten-transaction"}
"""The simulated shell runs nothing in the background."""
WITH_REAL_STORES = QUEUES | SESSIONS
MACHINES = {"container/suspended"}
"""The simulated cluster lets no pod into the namespaces of its machines."""
KINDS = sorted(
    kind for kind, cls in registry.KINDS.items()
    if cls.support.on("kind") and kind not in WITH_REAL_STORES | MACHINES
)  # fmt: skip
QUICK = {
    "rollout/paused-canary", "automation/kill-loop", "cache/no-eviction", "config/breaker-stuck",
    "database/connections-held", "database/rotated-secret", "kubernetes/service-deleted",
    "partner/rate-limited", "quota/exceeded", "release/bad-tag", "service/target-port",
    "storage/other-claim",
}  # fmt: skip
"""One of each sort; the others take minutes."""


@dataclass
class Served:
    """A served world, staged."""

    stage: Stage
    beside: Beside
    run: Run

    def unmet(self, checks: list[CheckResult]) -> list[str]:
        return [f"{c.id}: {c.detail}" for c in checks if not c.met]

    def within_patience(self, look: Any) -> list[str]:
        async def wait() -> list[str]:
            deadline = self.stage.now() + PATIENCE_S
            while (wrong := self.unmet(await look())) and self.stage.now() < deadline:
                await self.stage.advance(5.0)
            return wrong

        found: list[str] = self.run(wait())
        return found


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """Served worlds by app, each started when a kind first needs it."""
    with ExitStack() as stack:
        found = _Worlds(stack, tmp_path_factory)
        yield found


class _Worlds(dict[str, Served]):
    def __init__(self, stack: ExitStack, folders: pytest.TempPathFactory) -> None:
        super().__init__()
        self._stack = stack
        self._folders = folders

    def __missing__(self, name: str) -> Served:
        app, home = APPS[name], self._folders.mktemp(name)
        key = world_key(app, 11)
        sim = Sim(app, key.seed, epoch=key.epoch)
        sim.boot()
        sim.run_sync(sim.traffic.stop())
        sim.run_for(30.0)
        self._stack.callback(end, sim)
        beside = Beside(name, home)
        self._stack.callback(beside.end)
        cluster, run = self._stack.enter_context(standing(sim, home, beside.around, factor=FACTOR))
        stage = Stage(cluster, beside)
        run(stage.begin())
        partners(beside, stage)
        self[name] = found = Served(stage, beside, run)
        return found

    def __getitem__(self, name: str) -> Served:
        found = super().__getitem__(name)
        found.stage.rested()
        return found


def place(kind: str) -> Fault:
    cls = registry.find(kind)
    app, component = next(
        (app, c) for app in APPS.values() for c in selectors.components(app) if cls.fits(app, c)
    )
    return registry.build(kind, Site(app, component), {})


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow)
             for kind in KINDS],
)  # fmt: skip
def test_a_fault_breaks_its_postcondition_until_it_is_recovered(
    worlds: dict[str, Served], kind: str
) -> None:
    fault = place(kind)
    served = worlds[fault.site.app.name]
    env: Any = served.stage
    before = served.run(intent.snapshot(env))
    assert served.within_patience(lambda: fault.postconditions(env)) == []
    served.run(fault.inject(env))
    assert served.unmet(served.run(fault.postconditions(env))) != []
    served.run(env.advance(40.0))
    assert served.unmet(served.run(fault.postconditions(env))) != []
    assert fault.fix()
    served.run(fault.recover(env))
    assert served.within_patience(lambda: fault.undone(env)) == []
    assert intent.losses(before, served.run(intent.snapshot(env))) == []
    assert served.beside.links().model_dump(exclude_defaults=True) == {}


def test_nothing_an_agent_can_read_names_the_lab(worlds: dict[str, Served]) -> None:
    served = worlds["hotel"]
    for kind in ("Pod", "ConfigMap", "Secret", "ServiceAccount", "Role"):
        for obj in served.run(served.stage.kube.list(kind, served.stage.namespace)):
            assert LAB.namespace not in str(obj)
