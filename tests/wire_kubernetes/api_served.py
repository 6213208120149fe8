"""The Kubernetes API of one world in memory, asked as one identity."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
from streams_served import HandGate

from aiopslab.environments.sim import Sim
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app
from aiopslab.wire.gate import Turn
from aiopslab.wire.identity import Identity, administrator
from aiopslab.wire.kubernetes.app import kubernetes_app

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
DEPLOYMENTS = "/apis/apps/v1/namespaces/hotel/deployments"
PODS = "/api/v1/namespaces/hotel/pods"
MAPS = "/api/v1/namespaces/hotel/configmaps"


def hotel(*, load: float = 0.2, seconds: float = 40.0) -> Sim:
    """Boot a hotel and let it run."""
    app = load_app("hotel")
    key = world_key(app, 31)
    sim = Sim(app, key.seed, epoch=key.epoch, load=load)
    sim.boot()
    sim.run_for(seconds)
    return sim


class Api:
    """Sends requests to the API; each is an application of its own on the same world."""

    def __init__(self, sim: Sim, who: Identity | None = None) -> None:
        self.sim = sim
        self.who = who or administrator()
        self.calls: list[Any] = []
        self.turns: list[Turn] = []

    def close(self) -> None:
        # What the last writes woke is begun, so that nothing is left that never ran.
        self.sim.run_for(1.0)
        asyncio.run(self.sim.aclose())

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        accept: str = "application/json",
        more: dict[str, str] | None = None,
        **query: Any,
    ) -> httpx2.Response:
        """Send one request; a body that is not bytes is sent as JSON."""
        headers = {"accept": accept, "user-agent": "tester/1.0", **(more or {})}
        if body is not None:
            headers["content-type"] = kind
        return asyncio.run(self._ask(method, path, body, headers, query))

    async def _ask(
        self, method: str, path: str, body: Any, headers: dict[str, str], query: Any
    ) -> httpx2.Response:
        gate = HandGate(self.sim)
        app = kubernetes_app(self.sim.world, gate, env=self.sim)

        async def known(scope: Any, receive: Any, send: Any) -> None:
            scope["identity"] = self.who
            await app(scope, receive, send)

        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        transport = httpx2.ASGITransport(app=known)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            answer = await client.request(
                method, path, content=content, headers=headers, params=query or None
            )
        self.calls += [call for call, _ in gate.calls]
        self.turns += [turn for _, turn in gate.calls]
        return answer

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of a successful read."""
        answer = self.ask("GET", path, **query)
        assert answer.status_code == 200, answer.text[:500]
        return answer.json()

    def table(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Return the rows of a table as dicts by column name."""
        table = self.get(path, accept=TABLE, **query)
        names = [c["name"] for c in table["columnDefinitions"]]
        return [dict(zip(names, row["cells"], strict=True)) for row in table["rows"]]

    def refused(self, code: int, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Return the ``Status`` of a refusal."""
        answer = self.ask(method, path, body, **more)
        assert answer.status_code == code, answer.text[:500]
        status = answer.json()
        assert (status["kind"], status["apiVersion"], status["status"]) == (
            "Status",
            "v1",
            "Failure",
        )
        assert status["code"] == code
        return status

    def watch(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Return the events of a watch that ends by its timeout."""
        answer = self.ask("GET", path, watch="true", **query)
        assert answer.status_code == 200, answer.text[:500]
        return [json.loads(line) for line in answer.text.splitlines()]


def config_map(name: str, namespace: str = "hotel", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }
