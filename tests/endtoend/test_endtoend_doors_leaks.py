"""Nothing that comes through a trial's doors names the fault: every API, read to the end."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
import yaml
from endtoend_reading import staged

from aiopslab.models.doors import Doors
from aiopslab.models.observation import Brief, Budget
from aiopslab.models.run import Limits, RunConfig
from aiopslab.orchestrator.leaks import Snoop
from aiopslab.orchestrator.serving import trial_doors
from aiopslab.orchestrator.session import Session
from aiopslab.orchestrator.staging import Staged
from aiopslab.problems.brief import brief as compose
from aiopslab.telemetry.store import Store
from aiopslab.tools.submit import answer_schema

OURS = ("aiopslab", "benchmark")
"""The doors are ours and say so; the world behind them must not."""
MONITORING = (
    ("prometheus", "/api/v1/labels"),
    ("prometheus", "/api/v1/metadata"),
    ("prometheus", "/api/v1/rules"),
    ("prometheus", "/api/v1/alerts"),
    ("prometheus", "/api/v1/targets"),
    ("prometheus", "/api/v1/status/config"),
    ("prometheus", "/api/v1/status/flags"),
    ("prometheus", "/api/v1/status/buildinfo"),
    ("prometheus", "/api/v1/status/runtimeinfo"),
    ("prometheus", "/api/v1/series?match[]=" + quote('{__name__=~".+"}')),
    ("prometheus", "/api/v1/query?query=" + quote('{__name__=~".+"}')),
    ("loki", "/loki/api/v1/labels"),
    ("loki", "/loki/api/v1/query_range?limit=5000&query=" + quote('{namespace=~".+"}')),
    ("loki", "/loki/api/v1/patterns?query=" + quote('{namespace=~".+"}')),
    ("jaeger", "/api/services"),
    ("jaeger", "/api/dependencies?endTs=9999999999999&lookback=9999999999999"),
    ("tempo", "/api/search?limit=200"),
    ("tempo", "/api/v2/search/tags"),
    ("alertmanager", "/api/v2/alerts"),
    ("alertmanager", "/api/v2/status"),
    ("api", "/brief"),
    ("api", "/tools"),
    ("api", "/openapi.json"),
)


@dataclass
class Reader:
    """A client with the trial's token."""

    doors: Doors
    client: httpx2.AsyncClient
    secure: httpx2.AsyncClient
    server: str

    async def text(self, door: str, path: str) -> str:
        answer = await self.client.get(getattr(self.doors, door) + path)
        assert answer.status_code == 200, f"{door} {path}: {answer.status_code} {answer.text[:300]}"
        return answer.text + json.dumps(dict(answer.headers))

    async def cluster(self, path: str, accept: str = "application/json") -> str:
        answer = await self.secure.get(self.server + path, headers={"accept": accept})
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
        return answer.text

    async def everything(self) -> AsyncIterator[tuple[str, str]]:
        """Yield (where, text)."""
        for door, path in MONITORING:
            yield f"{door} {path}", await self.text(door, path)
        services = await self.client.get(f"{self.doors.jaeger}/api/services")
        for service in services.json()["data"]:
            path = f"/api/traces?service={quote(service)}&limit=20&lookback=1h"
            yield f"jaeger {service}", await self.text("jaeger", path)
        for path in [p async for p in self._resources()]:
            yield path, await self.cluster(path)
            table = "application/json;as=Table;v=v1;g=meta.k8s.io"
            yield f"table {path}", await self.cluster(path, table)

    async def _resources(self) -> AsyncIterator[str]:
        groups = json.loads(await self.cluster("/apis"))["groups"]
        roots = ["/api/v1", *(f"/apis/{v['groupVersion']}" for g in groups for v in g["versions"])]
        for root in roots:
            for resource in json.loads(await self.cluster(root))["resources"]:
                if "list" in resource["verbs"]:
                    yield f"{root}/{resource['name']}"


async def _read(world: Staged) -> list[str]:
    config = RunConfig(targets=["x"], limits=Limits(steps=None, virtual_s=None, wall_s=None))
    session = Session(_brief(world), world.env, config, lambda step: None)
    snoop, hits = Snoop(world), []
    async with trial_doors(session, world.env, Store()) as doors:
        cluster = _cluster(Path(doors.kubeconfig))
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        trust = ssl.create_default_context(cadata=authority)
        headers = {"Authorization": f"Bearer {doors.token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as client,
            httpx2.AsyncClient(headers=headers, timeout=60, verify=trust) as secure,
        ):
            reader = Reader(doors, client, secure, cluster["server"])
            seen = 0
            async for where, text in reader.everything():
                seen += 1
                hits += [
                    f"{where}: {hit}"
                    for hit in snoop.scan([text])
                    if not any(word in hit.casefold() for word in OURS)
                ]
    assert seen > 90
    assert session.failure is None
    return hits


def _cluster(kubeconfig: Path) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))["clusters"][0][
        "cluster"
    ]
    return found


def _brief(world: Staged) -> Brief:
    return compose(
        world.env.app, world.task, trial="t-1", now=world.env.now(), page=world.page,
        budget=Budget(), answer_schema=answer_schema(world.task),
    )  # fmt: skip


def test_the_doors_of_a_small_world_do_not_speak(kiosk_content: None) -> None:
    assert asyncio.run(_read(staged("archive-port", 1))) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("incident", ["release-errors", "network-policy-denied"])
def test_the_doors_of_the_hotel_do_not_speak(incident: str) -> None:
    assert asyncio.run(_read(staged(incident, 2))) == []
