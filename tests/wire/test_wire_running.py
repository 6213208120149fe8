"""The monitoring APIs of a lab whose world runs meanwhile: each request sees one instant."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime

import httpx2
from wire_clients import monitoring

from aiopslab.environments.sim import Sim
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app
from aiopslab.telemetry.store import Store
from aiopslab.wire.gate import StandingGate
from aiopslab.wire.identity import Tokens, administrator
from aiopslab.wire.site import Site

PATHS = (
    "/prometheus/api/v1/query?query=time()",
    "/prometheus/api/v1/query_range?query=sum(rate(up[1m]))&start=now-1m&end=now&step=5",
    '/loki/loki/api/v1/query_range?query={namespace="hotel"}&since=1m',
    "/jaeger/api/traces?service=frontend&limit=20",
    "/tempo/api/search?q={}",
    "/alertmanager/api/v2/alerts",
)
REQUESTS = 60


def test_requests_that_come_together_each_find_the_world_at_rest() -> None:
    app = load_app("hotel")
    key = world_key(app, 5)
    sim = Sim(app, key.seed, epoch=key.epoch, load=0.2)
    sim.boot()
    sim.run_for(20.0)
    gate, tokens = StandingGate(sim, 20.0), Tokens()
    headers = {"Authorization": f"Bearer {tokens.issue(administrator())}"}
    site = Site(monitoring(sim, gate, Store()), tokens)

    async def together() -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(app=site)
        async with (
            httpx2.AsyncClient(
                transport=transport, base_url="http://127.0.0.1", headers=headers
            ) as client,
            asyncio.TaskGroup() as tasks,
        ):
            pacing = tasks.create_task(gate.pace(every_s=0.005))
            asked = [tasks.create_task(client.get(PATHS[i % len(PATHS)])) for i in range(REQUESTS)]
            answers = [await one for one in asked]
            # At least one tick more, so that the world is known to have run.
            begun = sim.now()
            while sim.now() == begun:
                await gate.moved()
            pacing.cancel()
            return answers

    answers = asyncio.run(together())
    asyncio.run(sim.aclose())
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers[:: len(PATHS)]:
        instant = float(answer.json()["data"]["result"][1])
        assert parsedate_to_datetime(answer.headers["date"]).timestamp() == int(instant)
