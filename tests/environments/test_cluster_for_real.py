"""Hotel on a real cluster: deployed, healthy, written to by an agent, put back, gone.

``AIOPSLAB_TEST_KUBECONFIG`` names the cluster, which has, or can pull, the images of hotel and of
the lab (``AIOPSLAB_TEST_REGISTRY`` before their names). Nothing collects telemetry here.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from typing import Any, cast

import pytest

from aiopslab.environments.cluster.cleaning import inventory
from aiopslab.environments.cluster.connection import Connection, Reach
from aiopslab.environments.cluster.environment import Cluster, Rooms, Terms
from aiopslab.environments.cluster.images import Images
from aiopslab.environments.cluster.labels import ours
from aiopslab.environments.cluster.manifests import Placement, placed
from aiopslab.environments.protocol import Environment
from aiopslab.models.kube import KubeError
from aiopslab.services.catalogue import load_app
from aiopslab.services.real.clock import WallClock

KUBECONFIG = os.environ.get("AIOPSLAB_TEST_KUBECONFIG", "")
pytestmark = [
    pytest.mark.kind,
    pytest.mark.skipif(not KUBECONFIG, reason="AIOPSLAB_TEST_KUBECONFIG names no cluster"),
    pytest.mark.timeout(1200),
]
FEW = 0.05
"""Of the app's users: what is tested is not how fast the machine is."""


def environment(connection: Connection) -> Cluster:
    images = Images(os.environ.get("AIOPSLAB_TEST_REGISTRY", ""))
    placement = Placement(secrets.token_hex(3), images)
    app = placed(load_app("hotel"), placement)
    without = Rooms(lambda *_: [], lambda _: cast(Any, None), lambda _: cast(Any, None))
    return Cluster(app, placement, connection, without, Terms(7, load=FEW), WallClock().now)


async def meddle(env: Environment, lab: str) -> None:
    """Do what an agent might, and what it may not."""
    kube, space = env.kube, env.namespace
    with pytest.raises(KubeError, match="forbidden"):
        await kube.list("Pod", lab)
    done = await kube.exec("geo-postgres-0", space, ["psql", "-U", "postgres", "-c", "SELECT 1"])
    assert done.code == 0, done.stderr
    image = {"containers": [{"name": "geo", "image": "nowhere/geo:none"}]}
    await kube.patch(
        "Deployment", "geo", {"spec": {"template": {"spec": image}}}, namespace=space, actor="x"
    )
    await kube.delete("Service", "rate", space, actor="x")
    await kube.delete("Deployment", "review", space, actor="x")
    done = await kube.exec(
        "rate-valkey-0", space, ["valkey-cli", "CONFIG", "SET", "maxmemory", "1mb"]
    )
    assert done.stdout == "OK\n"


async def scenario() -> None:
    connection = Connection(Reach(KUBECONFIG))
    env = environment(connection)
    try:
        await env.deploy()
        await env.advance(30.0)
        checks = await env.probe()
        assert [c.detail for c in checks if c.id.startswith("ready:") and not c.met] == []
        offered = await env.traffic.slis(env.now() - 30.0, env.now())
        assert sum(w.succeeded for w in offered) > 0
        rows = await env.data_digest()
        assert rows["table:geo-postgres/hotels"] == 4200
        await env.snapshot()
        await meddle(await env.for_agent("mitigation"), env.placement.lab)
        checks = await env.restore()
        put_back = [c for c in checks if c.id.startswith("restored:")]
        assert len(put_back) == 3, checks
        assert [c.detail for c in put_back if not c.met] == []
    finally:
        await env.aclose()
        left = await inventory(env.quiet, ours(env.placement.trial))
        await connection.aclose()
    assert left.objects == ()


def test_a_trials_environment_from_nothing_to_nothing() -> None:
    asyncio.run(scenario())
