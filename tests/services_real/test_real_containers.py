"""The images of an app on a Docker network: what its users ask for is answered, under load."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("docker", reason="the docker extra is not installed")

from app_stores import cut
from containers import ContainerApp, engine
from test_real_load import LONGEST_S, SECONDS, patient

from aiopslab.load.generator import Generator
from aiopslab.load.real import HttpUsers, WallLoop, offer
from aiopslab.load.slis import Slis
from aiopslab.seeds import Streams
from aiopslab.services.catalogue import load_app
from aiopslab.services.real.clock import WallClock

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1200)]


def test_containers_serve_users_as_promised_and_leave_nothing(tmp_path: Path) -> None:
    client = engine()
    app = cut(patient(load_app("hotel")))
    containers = ContainerApp(client, app, tmp_path)

    async def scenario() -> list[Any]:
        loop, slis = asyncio.get_running_loop(), Slis(app.slos)
        async with containers:
            begin = loop.time()
            entry = containers.services["frontend"]
            host, port = containers.place(entry, app.services["frontend"].port)
            async with HttpUsers({"frontend": f"http://{host}:{port}"}) as users:
                generator = Generator(users, loop, Streams(7), app.journeys, app.load, slis)
                async with asyncio.timeout(LONGEST_S):
                    await offer(generator, SECONDS)
            for name, container in containers.services.items():
                container.reload()
                state = container.attrs["State"]
                assert (state["Status"], state["OOMKilled"]) == ("running", False), name
        return slis.window(begin, loop.time())

    try:
        with asyncio.Runner(loop_factory=lambda: WallLoop(WallClock().now())) as runner:
            windows = runner.run(scenario())
        assert containers.left() == []
    finally:
        client.close()
    for window in windows:
        assert window.offered, window
        assert window.succeeded / window.offered >= window.slo_success, window
