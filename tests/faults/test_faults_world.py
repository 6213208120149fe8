"""Every kind on a running cluster: it breaks, the agent's tools mend it, recovery undoes it.

One world of an app for all, without users, so that virtual time costs little; what faults do to
users is proven incident by incident (``aiopslab check``).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aiopslab.environments.sim import Sim
from aiopslab.faults import registry
from aiopslab.faults.base import Fault, Site
from aiopslab.faults.node import Machine
from aiopslab.models.evidence import CheckResult
from aiopslab.models.task import Task
from aiopslab.problems import intent, selectors
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app
from aiopslab.tools.context import ToolContext
from aiopslab.tools.toolbox import Toolbox

HOTEL, SHOP, LLMSERVE = (load_app(name) for name in ("hotel", "shop", "llmserve"))
PATIENCE_S = 240.0
POLL_S = 5.0
TASK: Task = "mitigation"
INVISIBLE = {kind for kind, cls in registry.KINDS.items() if issubclass(cls, Machine)}
"""What is wrong with a node is no object of the cluster: mended is where the app has moved away."""
BEYOND_REACH = {kind for kind, cls in registry.KINDS.items() if cls.undone is not Fault.undone}
"""Mended is where the app has gone round the cause: so it is not before, nor once that is over."""


@pytest.fixture(scope="module")
def worlds() -> dict[str, Sim]:
    """Running worlds by app; each is booted when a kind first needs it."""
    return {}


@pytest.fixture
def sim(request: pytest.FixtureRequest, worlds: dict[str, Sim]) -> Sim:
    """The world of an app that the test's kind can strike."""
    callspec = getattr(request.node, "callspec", None)
    app = place(callspec.params["kind"]).site.app if callspec else HOTEL
    if app.name not in worlds:
        key = world_key(app, 11)
        sim = worlds[app.name] = Sim(app, key.seed, epoch=key.epoch)
        sim.boot()
        sim.run_sync(sim.traffic.stop())
    # A store that was killed answers its probe some seconds before it has recovered its log.
    worlds[app.name].run_for(30.0)
    return worlds[app.name]


def place(kind: str) -> Fault:
    cls = registry.find(kind)
    app, component = next(
        (app, c)
        for app in (HOTEL, SHOP, LLMSERVE)
        for c in selectors.components(app)
        if cls.fits(app, c)
    )
    return registry.build(kind, Site(app, component), {})


def unmet(checks: list[CheckResult]) -> list[str]:
    return [f"{c.id}: {c.detail}" for c in checks if not c.met]


def broken(sim: Sim, fault: Fault) -> list[str]:
    return unmet(sim.run_sync(fault.postconditions(sim)))


def unready(sim: Sim) -> list[str]:
    checks = sim.run_sync(sim.probe())
    return unmet([c for c in checks if c.id.startswith("ready:")])


def within_patience(sim: Sim, look: Callable[[], list[str]]) -> list[str]:
    """Let time pass until nothing is wrong any more; return what still is."""
    deadline = sim.now() + PATIENCE_S
    while (wrong := look()) and sim.now() < deadline:
        sim.run_for(POLL_S)
    return wrong


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_a_fault_breaks_its_postcondition_until_it_is_recovered(sim: Sim, kind: str) -> None:
    fault = place(kind)
    assert within_patience(sim, lambda: broken(sim, fault)) == [] or kind in BEYOND_REACH
    before = sim.run_sync(intent.snapshot(sim))
    sim.run_sync(fault.inject(sim))
    assert broken(sim, fault) != []
    sim.run_for(40.0)
    assert broken(sim, fault) != []
    sim.run_sync(fault.recover(sim))
    if kind not in BEYOND_REACH:
        assert within_patience(sim, lambda: broken(sim, fault)) == []
    assert within_patience(sim, lambda: unready(sim)) == []
    assert intent.losses(before, sim.run_sync(intent.snapshot(sim))) == []


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_the_reference_fix_mends_with_the_agents_tools_and_may_be_recovered_after(
    sim: Sim, kind: str
) -> None:
    fault = place(kind)
    sim.run_sync(fault.inject(sim))
    sim.run_for(40.0)
    toolbox = Toolbox(ToolContext(sim, TASK))
    for step in fault.fix():
        seen = sim.run_sync(toolbox.call(step.tool, step.arguments))
        assert seen.ok, seen.text
    assert within_patience(sim, lambda: broken(sim, fault) + unready(sim)) == []
    sim.run_sync(fault.recover(sim))
    assert within_patience(sim, lambda: unready(sim)) == []
    if kind in INVISIBLE:
        _let_pods_back(sim)


def _let_pods_back(sim: Sim) -> None:
    """Take the affinity away that kept the app off the node, as the owners would later."""
    workloads = [("Deployment", s) for s in HOTEL.services]
    workloads += [("StatefulSet", s) for s in HOTEL.stores]
    patch = {"spec": {"template": {"spec": {"affinity": None}}}}
    for kind, name in workloads:
        undo = sim.kube.patch(kind, name, patch, namespace=sim.namespace, actor="j.meyer")
        sim.run_sync(undo)
    # Readiness says nothing before the rollouts have begun.
    sim.run_for(PATIENCE_S)
    assert within_patience(sim, lambda: unready(sim)) == []


def test_recovery_works_whatever_was_done_meanwhile(sim: Sim) -> None:
    fault = place("workload/scaled-to-zero")
    name = fault.site.target
    sim.run_sync(fault.inject(sim))
    patch = {"spec": {"replicas": 1}}
    sim.run_sync(sim.kube.patch("Deployment", name, patch, namespace=sim.namespace, actor="oncall"))
    sim.run_sync(fault.recover(sim))
    assert within_patience(sim, lambda: broken(sim, fault) + unready(sim)) == []
    deployment = sim.run_sync(sim.kube.get("Deployment", name, sim.namespace))
    assert deployment["spec"]["replicas"] == HOTEL.services[name].replicas


def test_undoing_a_release_with_a_migration_leaves_a_version_without_its_columns(
    sim: Sim,
) -> None:
    fault = place("release/irreversible")
    sim.run_sync(fault.inject(sim))
    assert not any(check.startswith("schema") for check in broken(sim, fault))
    undo = {"action": "undo", "kind": "Deployment", "name": fault.site.target}
    sim.run_sync(Toolbox(ToolContext(sim, TASK)).call("k8s_rollout", undo))
    assert within_patience(sim, lambda: unready(sim)) == []
    assert any(check.startswith("schema") for check in broken(sim, fault))
    sim.run_sync(fault.recover(sim))
    assert within_patience(sim, lambda: broken(sim, fault) + unready(sim)) == []


def test_a_tool_that_is_thrown_out_dials_again_until_its_role_may_not(sim: Sim) -> None:
    fault = place("database/connections-held")
    sim.run_sync(fault.inject(sim))
    assert within_patience(sim, lambda: unready(sim)) == []
    sim.run_for(30.0)
    limit, terminate = fault.fix()
    toolbox = Toolbox(ToolContext(sim, TASK))
    sim.run_sync(toolbox.call(terminate.tool, terminate.arguments))
    sim.run_for(30.0)
    assert broken(sim, fault) != []
    for step in (limit, terminate):
        sim.run_sync(toolbox.call(step.tool, step.arguments))
    assert within_patience(sim, lambda: broken(sim, fault)) == []
    sim.run_sync(fault.recover(sim))
    assert within_patience(sim, lambda: unready(sim)) == []


def test_a_drifted_replica_hides_behind_a_config_map_that_is_right(sim: Sim) -> None:
    fault = place("config/drift")
    name = f"{fault.site.target}-config"
    before = sim.run_sync(sim.kube.get("ConfigMap", name, sim.namespace))["data"]
    sim.run_sync(fault.inject(sim))
    assert sim.run_sync(sim.kube.get("ConfigMap", name, sim.namespace))["data"] == before
    assert any(check.startswith("value") for check in broken(sim, fault))
    sim.run_sync(fault.recover(sim))
    assert within_patience(sim, lambda: broken(sim, fault) + unready(sim)) == []


@pytest.mark.parametrize("kind", ["llm/tenant-storm"])
def test_a_tenant_is_limited_to_its_quota_not_to_nothing(sim: Sim, kind: str) -> None:
    fault = place(kind)
    name = f"{fault.site.target}-config"
    sim.run_sync(fault.inject(sim))
    for limit, mends in (("0", False), ("80", False), ("nothing", False), ("0.4", True)):
        patch = {"data": {"GATEWAY_TENANT_LIMITS": f"free-chat=90, acme-etl={limit}"}}
        edit = sim.kube.patch(
            "ConfigMap", name, patch, namespace=sim.namespace, type="merge", actor="nora.lind"
        )
        sim.run_sync(edit)
        assert (broken(sim, fault) == []) is mends
    sim.run_sync(fault.recover(sim))
