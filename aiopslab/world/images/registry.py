"""The image registry: which references exist, and the program behind each.

A reference that is not here cannot be pulled. The registry also knows which store runs where, so
that the operator's side (not agents) can reach it. Not here: pulling (kubelet), the programs
(neighbouring modules).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.models.kube import ExecResult
from aiopslab.models.store import Store
from aiopslab.world.container import Container, Program
from aiopslab.world.images import podpolicy
from aiopslab.world.images.app import AppProgram
from aiopslab.world.images.busybox import Busybox
from aiopslab.world.images.nats import Nats
from aiopslab.world.images.nats_account import ApiError
from aiopslab.world.images.postgres import Postgres
from aiopslab.world.images.postgres_expressions import SqlFailure
from aiopslab.world.images.valkey import Valkey
from aiopslab.world.images.valkey_server import CommandError
from aiopslab.world.kube.api import ApiServer

Factory = Callable[[], Program]
BUSYBOX = "busybox:1.36"
_PATIENCE_S = 600.0
"""After which an operator takes it that a server will not answer."""
_ENGINES: dict[str, Callable[[Store], Engine]] = {
    "postgres": Postgres,
    "valkey": Valkey,
    "nats": Nats,
}


class Engine(Protocol):
    """What runs in a store's container."""

    async def run(self, box: Container) -> int: ...

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None: ...

    async def admin(self, command: str) -> str:
        """Run a command as the operator."""
        ...

    def rows(self) -> dict[str, int]:
        """Return rows by table."""
        ...


class Registry:
    """Image references and how to run them."""

    def __init__(self) -> None:
        self._factories: dict[str, Factory] = {}
        self._engines: dict[str, Engine] = {}

    @classmethod
    def for_app(cls, app: App, api: ApiServer | None = None) -> Registry:
        """Know every version and release of the app's services, its stores' images, busybox.

        Args:
            app: The app.
            api: What programs that steer the cluster speak to.
        """
        registry = cls()
        registry.add(BUSYBOX, Busybox)
        registry.add(podpolicy.IMAGE, podpolicy.PodPolicy)
        for name, service in sorted(app.services.items()):
            for version in dict.fromkeys((service.image.version, *sorted(service.releases))):
                registry.add(f"{service.image.name}:{version}", _service(app, name, version, api))
        for _, store in sorted(app.stores.items()):
            registry.add(store.image.ref, registry._store(app, store))
        return registry

    def add(self, ref: str, factory: Factory) -> None:
        """Publish an image; an earlier one of that reference is replaced."""
        self._factories[ref] = factory

    def resolve(self, image_ref: str) -> Factory | None:
        """Return what makes the program of an image; None if there is no such manifest.

        A reference without a tag means ``latest``; Docker Hub's prefixes are optional.
        """
        ref = image_ref.removeprefix("docker.io/").removeprefix("library/")
        return self._factories.get(ref if ":" in ref.rpartition("/")[2] else f"{ref}:latest")

    def attach(self, store: str, engine: Engine) -> None:
        """Remember the engine that a store's container started last."""
        self._engines[store] = engine

    def engine(self, store: str) -> Engine | None:
        """Return the engine that a store's container started last."""
        return self._engines.get(store)

    async def admin(self, store: str, command: str) -> str:
        """Run SQL, a Valkey command or a JetStream request as the operator; return its output.

        Raises:
            InfraError: The store does not run, refused the command, or went down over it.
        """
        engine = self._engines.get(store)
        if engine is None:
            raise InfraError("store", f"{store!r} has not been started")
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await engine.admin(command)
        except TimeoutError as error:
            raise InfraError("store", f"{store}: {command!r}: no answer") from error
        except (SqlFailure, CommandError, ApiError) as error:
            raise InfraError("store", f"{store}: {command!r}: {error}") from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Not we were cancelled: the container that worked for us is gone.
            raise InfraError("store", f"{store}: {command!r}: the server went down") from error

    def rows(self) -> dict[str, int]:
        """Return the rows of every durable store as ``table:store/name``, sorted."""
        return {
            f"table:{store}/{table}": count
            for store, engine in sorted(self._engines.items())
            for table, count in sorted(engine.rows().items())
        }

    def given_up(self) -> dict[str, int]:
        """Return what queues lost before it was worked on, as ``messages:store/stream``, sorted."""
        return {
            f"messages:{store}/{stream}": count
            for store, engine in sorted(self._engines.items())
            if isinstance(engine, Nats)
            for stream, count in engine.given_up().items()
        }

    def _store(self, app: App, default: Store) -> Factory:
        return lambda: StoreImage(self, app, default)


class StoreImage:
    """A database, cache or queue image, which several stores may share.

    Args:
        registry: Told which engine runs.
        app: Its stores; the pod's component says which one this is.
        default: Used by a pod that is none of the app's stores.
    """

    def __init__(self, registry: Registry, app: App, default: Store) -> None:
        self._registry = registry
        self._app = app
        self._default = default
        self._engine: Engine | None = None

    async def run(self, box: Container) -> int:
        """Be the server."""
        name = box.pod.component
        store = self._app.stores.get(name, self._default)
        engine: Engine = _ENGINES[store.kind](store)
        self._engine = engine
        if name in self._app.stores:
            self._registry.attach(name, engine)
        return await engine.run(box)

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None:
        """Run the engine's client, where it is one of its commands."""
        return None if self._engine is None else await self._engine.exec(box, argv, stdin)


def _service(app: App, name: str, version: str, api: ApiServer | None) -> Factory:
    return lambda: AppProgram(app, name, version, api)
