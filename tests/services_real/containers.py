"""An app as containers on a network of a Docker engine, with its stores and partners.

Services are what a cluster would run: images of ``services/Dockerfile``, the environment and files
of the manifests, the memory limits they state, no user, no capability, a read-only root. All that
is made has a label and is removed at the end; what images were made of stays in the engine's cache.
"""

from __future__ import annotations

import gc
import os
import uuid
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import asyncpg
import docker
import pytest
from docker.errors import APIError, DockerException, ImageNotFound
from docker.models.containers import Container
from stores import SUPERUSER_PASSWORD, admin, listens
from waiting import until

from aiopslab.models.app import App
from aiopslab.models.base import parse_size
from aiopslab.models.store import Store
from aiopslab.services.config import as_text
from aiopslab.services.manifests import manifests, password
from aiopslab.services.real import kubelet
from aiopslab.services.real.addresses import Address
from aiopslab.services.real.clock import WallClock
from aiopslab.services.real.partner import public_authority
from aiopslab.services.real.seeding import seed

ROOT = Path(__file__).parents[2]
LABEL = "aiopslab.test"
LOOPBACK = "127.0.0.1"
BASE = os.environ.get("AIOPSLAB_TEST_BASE", "python:3.12.8-slim-bookworm")
POSTGRES = os.environ.get("AIOPSLAB_TEST_POSTGRES", "postgres:17.5")
VALKEY = os.environ.get("AIOPSLAB_TEST_VALKEY", "valkey/valkey:8.1.1")
PIP_ARGS = os.environ.get("AIOPSLAB_TEST_PIP_ARGS", "")
_AUTHORITY = "/etc/public/public.crt"
_START_S = 120.0


def engine() -> docker.DockerClient:
    """Return an engine; skips where none is reachable, or has not what images are made of."""
    with warnings.catch_warnings():
        # The SDK leaves the socket of an engine that is away to the collector.
        warnings.simplefilter("ignore", ResourceWarning)
        found, why = _reached()
        gc.collect()
    if found is None:
        pytest.skip(f"no Docker engine is reachable: {why}")
    for image in (BASE, POSTGRES, VALKEY):
        try:
            found.images.get(image)
        except ImageNotFound:
            try:
                found.images.pull(image)
            except APIError as error:
                found.close()
                pytest.skip(f"no image {image} (see tests/containers/debian.sh): {error}")
    return found


def _reached() -> tuple[docker.DockerClient | None, str]:
    try:
        return docker.from_env(timeout=600), ""
    except DockerException as error:
        return None, str(error)


class ContainerApp:
    """An app in containers; a context in which they run.

    Args:
        client: The engine.
        app: The app.
        folder: Where mounted files go.
    """

    def __init__(self, client: docker.DockerClient, app: App, folder: Path) -> None:
        self._client = client
        self._app = app
        self._folder = folder
        self._password = partial(password, 0)
        self._run = uuid.uuid4().hex[:12]
        self._labels = {LABEL: self._run}
        self._tags: list[str] = []
        self.services: dict[str, Container] = {}
        """By name."""
        self.partners: list[Container] = []

    async def __aenter__(self) -> ContainerApp:
        try:
            self._network = self._client.networks.create(
                f"{LABEL}-{self._run}", labels=self._labels
            )
            await self._stores()
            self._partners()
            self._services()
            for name in self.services:
                await until(partial(self._serves, name), within_s=_START_S)
            for partner in self.partners:
                _said(partner)
        except BaseException:
            self._remove()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._remove()

    def place(self, container: Container, port: int) -> Address:
        """Return where a published port is."""
        container.reload()
        (bound,) = container.ports[f"{port}/tcp"]
        return bound["HostIp"], int(bound["HostPort"])

    def left(self) -> list[Any]:
        """Return what is there that this app made."""
        mine = {"label": f"{LABEL}={self._run}"}
        return [
            *self._client.containers.list(all=True, filters=mine),
            *self._client.networks.list(filters=mine),
            *(tag for tag in self._tags if self._client.images.list(tag)),
        ]

    # -- making -----------------------------------------------------------------------------------

    def _build(self, service: str, version: str) -> str:
        tag = f"{self._app.name}-{service or 'partners'}:{self._run}"
        args = {"BASE": BASE, "PIP_ARGS": PIP_ARGS, "APP": self._app.name, "SERVICE": service}
        self._client.images.build(
            path=str(ROOT), dockerfile="services/Dockerfile", tag=tag,
            buildargs=args | {"VERSION": version}, labels=self._labels, forcerm=True,
        )  # fmt: skip
        self._tags.append(tag)
        return tag

    def _start(
        self, name: str, image: str, command: Sequence[str], aliases: Sequence[str], **more: Any
    ) -> Container:
        endpoint = self._client.api.create_endpoint_config(aliases=list(aliases))
        container = self._client.containers.create(
            image, list(command), name=f"{name}-{self._run}", labels=self._labels,
            network=self._network.name, networking_config={self._network.name: endpoint}, **more,
        )  # fmt: skip
        container.start()
        return container

    async def _stores(self) -> None:
        stores = self._app.stores
        databases = [name for name, store in stores.items() if store.kind == "postgres"]
        most = sum(int(stores[name].config.get("max_connections", 100)) for name in databases)
        database = self._start(
            "postgres", POSTGRES, ["postgres", "-c", f"max_connections={most + 20}"], databases,
            environment={"POSTGRES_PASSWORD": SUPERUSER_PASSWORD}, ports=_published(5432),
        )  # fmt: skip
        address = self.place(database, 5432)
        await until(partial(_answers, database, address), within_s=_START_S)
        for name, store in stores.items():
            passwords = {user: self._password(name, user) for user in store.users}
            if store.kind == "postgres":
                await seed(self._app, name, address, SUPERUSER_PASSWORD, passwords)
            else:
                await self._cache(name, store, passwords.get("default", ""))

    async def _cache(self, name: str, store: Store, secret: str) -> None:
        assert store.kind == "valkey", "no test needs more"
        args = ["valkey-server", "--port", str(store.port), "--protected-mode", "no"]
        args += [word for k, v in store.config.items() for word in (f"--{k}", as_text(v))]
        args += ["--requirepass", secret] if secret else []
        cache = self._start(name, VALKEY, args, [name], ports=_published(store.port))
        await until(partial(listens, self.place(cache, store.port)), within_s=_START_S)

    def _partners(self) -> None:
        if not self._app.externals:
            return
        image = self._build("", "")
        for name, spec in self._app.externals.items():
            command = ["partner", self._app.name, name]
            self.partners.append(self._start(name, image, command, [spec.host], **_CONFINED))

    def _services(self) -> None:
        objects = kubelet.Manifests(manifests(self._app, 0, WallClock().now()))
        entries = {journey.entry for journey in self._app.journeys.values()}
        for name, spec in self._app.services.items():
            pod, root = objects.pod(name), self._folder / name
            files = objects.files(pod) | {_AUTHORITY: public_authority().certificate}
            limits = pod["containers"][0]["resources"]["limits"]
            env = objects.environment(pod) | {"POD_NAME": name, "SSL_CERT_FILE": _AUTHORITY}
            self.services[name] = self._start(
                name, self._build(name, spec.image.version), ["serve"], [name], environment=env,
                volumes=_mounted(root, files), mem_limit=parse_size(limits["memory"]),
                ports=_published(spec.port) if name in entries else {}, **_CONFINED,
            )  # fmt: skip

    def _serves(self, name: str) -> bool:
        return f"{name} is listening" in _said(self.services[name])

    # -- removing ---------------------------------------------------------------------------------

    def _remove(self) -> None:
        mine = {"label": f"{LABEL}={self._run}"}
        for container in self._client.containers.list(all=True, filters=mine):
            container.remove(force=True, v=True)
        for network in self._client.networks.list(filters=mine):
            network.remove()
        for tag in self._tags:
            self._client.images.remove(tag, force=True)


_CONFINED: Mapping[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}


def _published(port: int) -> dict[str, tuple[str, None]]:
    return {f"{port}/tcp": (LOOPBACK, None)}


def _mounted(root: Path, files: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Write files and return the mounts of the folders they are in."""
    kubelet.write(root, files)
    for path in root.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # as a kubelet leaves them
    folders = {os.path.dirname(name) for name in files}  # noqa: PTH120 - a path in a container
    return {f"{root}{folder}": {"bind": folder, "mode": "ro"} for folder in folders}


def _said(container: Container) -> str:
    """Return the log of a container that runs."""
    container.reload()
    said: str = container.logs().decode()
    assert container.status == "running", f"{container.name} ended:\n{said[-2000:]}"
    return said


async def _answers(container: Container, address: Address) -> bool:
    _said(container)
    try:
        connection = await admin(address)
    except (OSError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True
