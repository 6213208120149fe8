"""What a program in a pod does to its cluster, over HTTPS against the world's Kubernetes API."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from api_served import hotel
from streams_lab import served

from aiopslab.models.kube import KubeError
from aiopslab.services.cluster import Machine, Scale
from aiopslab.services.real.cluster import KubeCluster
from aiopslab.services.renewal import Surroundings, renew
from aiopslab.wire.identity import Identity, Rule

AUTOSCALER = Identity(
    "system:serviceaccount:hotel:autoscaler",
    rules=(
        Rule(("get", "list"), ("",), ("pods",), "hotel"),
        Rule(("get", "patch"), ("apps",), ("deployments", "deployments/scale"), "hotel"),
        Rule(("get", "patch"), ("",), ("nodes",)),
    ),
)


@asynccontextmanager
async def pod(tmp_path: Path, who: Identity = AUTOSCALER) -> AsyncIterator[tuple[KubeCluster, Any]]:
    """A pod's client, with its account mounted the way the kubelet does, and the world."""
    sim = hotel(load=0.05, seconds=0.0)
    account = tmp_path / "account"
    account.mkdir()
    async with served(sim, tmp_path, who) as lab:
        config = yaml.safe_load(lab.config.read_text("utf-8"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"])
        (account / "ca.crt").write_bytes(authority)
        (account / "token").write_text(user["token"] + "\n", "utf-8")
        (account / "namespace").write_text("hotel", "utf-8")
        url = urlsplit(cluster["server"])
        env = {
            "KUBERNETES_SERVICE_HOST": url.hostname or "",
            "KUBERNETES_SERVICE_PORT": str(url.port),
        }
        client = KubeCluster.in_cluster(env, account)
        try:
            yield client, sim
        finally:
            await client.close()
    await sim.aclose()


def test_a_program_scales_and_counts(tmp_path: Path) -> None:
    async def scenario() -> list[Any]:
        async with pod(tmp_path) as (cluster, _):
            found: list[Any] = [await cluster.scale_of("geo"), await cluster.pods("geo")]
            await cluster.scale("geo", 3)
            return [*found, (await cluster.scale_of("geo")).wanted]

    assert asyncio.run(scenario()) == [Scale(wanted=2, ready=2), 2, 3]


def test_a_program_cordons_a_node_and_lets_go_of_it(tmp_path: Path) -> None:
    async def scenario() -> list[Machine]:
        async with pod(tmp_path) as (cluster, sim):
            name = sim.app.nodes[0].name
            found = [await cluster.machine(name)]
            for on in (True, False):
                await cluster.cordon(name, on=on)
                found.append(await cluster.machine(name))
            return found

    found = asyncio.run(scenario())
    assert [machine.schedulable for machine in found] == [True, False, True]
    assert all(machine.ready for machine in found)


def test_what_is_not_there_or_not_allowed_is_refused_in_the_servers_words(tmp_path: Path) -> None:
    guest = Identity("guest", rules=(Rule(("get",), ("apps",), ("deployments",), "hotel"),))

    async def scenario() -> list[tuple[int, str, str]]:
        found = []
        async with pod(tmp_path, guest) as (cluster, _):
            for work in (cluster.scale_of("nosuch"), cluster.pods("geo"), cluster.scale("geo", 0)):
                with pytest.raises(KubeError) as caught:
                    await work
                found.append((caught.value.code, caught.value.reason, caught.value.message))
        return found

    missing, listed, scaled = asyncio.run(scenario())
    assert missing == (404, "NotFound", 'deployments.apps "nosuch" not found')
    assert listed[:2] == scaled[:2] == (403, "Forbidden")
    assert 'User "guest" cannot list resource "pods"' in listed[2]
    assert 'User "guest" cannot patch resource "deployments/scale"' in scaled[2]


def test_a_token_that_is_renewed_is_used(tmp_path: Path) -> None:
    async def scenario() -> list[int]:
        async with pod(tmp_path) as (cluster, _):
            token = tmp_path / "account" / "token"
            good = token.read_text("utf-8")
            token.write_text("stale", "utf-8")
            with pytest.raises(KubeError) as caught:
                await cluster.pods("geo")
            token.write_text(good, "utf-8")
            return [caught.value.code, await cluster.pods("geo")]

    assert asyncio.run(scenario()) == [401, 2]


def test_without_an_api_server_every_request_fails(tmp_path: Path) -> None:
    async def scenario() -> list[int]:
        (tmp_path / "token").write_text("x", "utf-8")
        (tmp_path / "namespace").write_text("hotel", "utf-8")
        absent = KubeCluster.in_cluster({}, tmp_path)
        silent = KubeCluster("http://127.0.0.1:9", "hotel", tmp_path / "token", None)
        codes = []
        for cluster in (absent, silent):
            with pytest.raises(KubeError) as caught:
                await cluster.pods("geo")
            codes.append(caught.value.code)
            await cluster.close()
        return codes

    assert asyncio.run(scenario()) == [503, 503]


RENEWER = Identity(
    "system:serviceaccount:hotel:cert-renewer",
    rules=(
        Rule(("get",), ("",), ("configmaps",), "hotel"),
        Rule(("get", "create", "patch"), ("",), ("secrets",), "hotel"),
    ),
)


def test_the_renewal_job_writes_certificates_again_deleted_ones_too(tmp_path: Path) -> None:
    async def scenario() -> tuple[int, list[str], Any]:
        async with pod(tmp_path, RENEWER) as (cluster, sim):
            said: list[str] = []
            old = sim.world.api.get("Secret", "reservation-tls", "hotel")
            sim.world.api.delete("Secret", "frontend-tls", "hotel", actor="kim")

            async def work() -> None:
                await asyncio.sleep(0)

            at = Surroundings(
                cluster, lambda: sim.now() + 60.0, lambda line, _: said.append(line), work
            )
            code = await renew(sim.app, at)
            new = sim.world.api.get("Secret", "reservation-tls", "hotel")
            assert sim.world.api.get("Secret", "frontend-tls", "hotel")["type"] == old["type"]
            assert new["metadata"]["labels"] == old["metadata"]["labels"]
            return code, said, (old["data"], new["data"])

    code, said, (old, new) = asyncio.run(scenario())
    assert code == 0
    assert any("msg=renewed service=reservation" in line for line in said)
    assert old != new


def test_a_renewal_job_without_rights_says_so_and_fails(tmp_path: Path) -> None:
    async def scenario() -> tuple[int, list[str]]:
        async with pod(tmp_path) as (cluster, sim):
            said: list[str] = []

            async def work() -> None:
                await asyncio.sleep(0)

            at = Surroundings(cluster, sim.now, lambda line, _: said.append(line), work)
            return await renew(sim.app, at), said

    code, (line,) = asyncio.run(scenario())
    assert code == 1
    assert "cannot renew" in line
    assert "forbidden" in line
