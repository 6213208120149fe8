"""An app as local processes: every service a child on loopback, configured by its manifests.

Each service has a port of its own, and an address book leads its name there. What is in the
ConfigMaps and Secrets becomes its environment and files, certificates are renewed as in a cluster.
Stores and partners are not started: an address book says where they are. Replicas are one, jobs
are run by hand (``job``). Not here: one process (``launch``).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.services.manifests import manifests
from aiopslab.services.real import kubelet
from aiopslab.services.real.addresses import AddressBook
from aiopslab.services.real.clock import WallClock
from aiopslab.services.real.http_server import bind
from aiopslab.services.tls_manifests import CERTIFICATE_FILE

LOOPBACK = "127.0.0.1"
_PASSED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR", "AIOPSLAB_CONTENT")
_READY_S = 60.0
"""Longest wait for a service to listen."""
_LOOK_S = 0.05
_LAST_LINES = 20
_RENEWED = (CERTIFICATE_FILE, CERTIFICATE_FILE.replace(".crt", ".key"))
_QUICK: Mapping[str, str] = {"SHUTDOWN_DELAY_MS": "0"}
"""Nobody has to notice that a process ends before it does: there is no Service in front."""


@dataclass(frozen=True, slots=True)
class LocalService:
    """One service that runs."""

    name: str
    port: int
    process: Process
    log: Path

    def tail(self) -> str:
        """Return its last lines."""
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LAST_LINES:])


class LocalApp:
    """All services of an app; a context in which they run and are ready.

    Args:
        app: The app; its children load it by name, so it must be among the content.
        seed: What passwords are derived from.
        known: Where stores and partners are.
        folder: Where configuration, the address book and logs go; None: a temporary one.
        env: Variables that win over those of the manifests, for every service.
        startup_s: Seconds to start, instead of those the app says; None: the app's.
    """

    def __init__(
        self,
        app: App,
        *,
        seed: int = 0,
        known: AddressBook | None = None,
        folder: Path | None = None,
        env: Mapping[str, str] = _QUICK,
        startup_s: float | None = 0.0,
    ) -> None:
        self._app = app
        self._seed = seed
        self._known = known or AddressBook()
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="aiopslab-")
        self._env = env
        self._startup_s = startup_s
        self._now = WallClock().now
        self._renewing: asyncio.Task[None] | None = None
        self.folder = folder or Path(self._temporary.name if self._temporary else "")
        self.services: dict[str, LocalService] = {}
        """By name."""

    async def __aenter__(self) -> LocalApp:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stop()

    @property
    def addresses(self) -> Path:
        """The address book of the services."""
        return self.folder / "addresses"

    def root(self, service: str) -> Path:
        """Return what a service has at ``/``: its mounted files may be changed there."""
        return self.folder / service

    async def ended(self) -> LocalService:
        """Return the first service that ends by itself."""
        waits = {asyncio.create_task(s.process.wait()): s for s in self.services.values()}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return waits[done.pop()]

    # -- starting ---------------------------------------------------------------------------------

    async def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        objects = kubelet.Manifests(manifests(self._app, self._seed, self._now()))
        listeners = {name: bind(LOOPBACK, 0) for name in sorted(self._app.services)}
        try:
            self._book(listeners).write(self.addresses)
            for name, listener in listeners.items():
                await self._spawn(name, listener, objects)
        finally:
            # The children have them; a port must be free as soon as its service has ended.
            for listener in listeners.values():
                listener.close()
        if self._app.tls is not None:
            self._renewing = asyncio.create_task(self._renew(self._app.tls.renew_every_min * 60.0))
        for service in self.services.values():
            try:
                async with asyncio.timeout(_READY_S):
                    await self._listening(service)
            except TimeoutError:
                what = f"{service.name} does not listen after {_READY_S:.0f} s"
                raise InfraError("ready", f"{what}:\n{service.tail()}") from None

    def _book(self, listeners: Mapping[str, socket.socket]) -> AddressBook:
        mine = {
            (name, self._app.services[name].port): (LOOPBACK, listener.getsockname()[1])
            for name, listener in listeners.items()
        }
        return AddressBook({**self._known.entries, **mine})

    async def _spawn(self, name: str, listener: socket.socket, objects: kubelet.Manifests) -> None:
        pod = objects.pod(name)
        kubelet.write(self.root(name), objects.files(pod))
        passed = {k: v for k, v in os.environ.items() if k in _PASSED or k.startswith("OTEL_")}
        env = passed | objects.environment(pod) | dict(self._env) | {"POD_NAME": f"{name}-local"}
        log = self.folder / f"{name}.log"
        command = [
            sys.executable, "-m", "aiopslab.services", "serve", self._app.name, name,
            "--fd", str(listener.fileno()), "--root", str(self.root(name)),
            "--addresses", str(self.addresses), "--until-eof",
        ]  # fmt: skip
        if self._startup_s is not None:
            command += ["--startup", str(self._startup_s)]
        with log.open("wb") as output:
            # A session of its own: Ctrl-C is for whoever started them, who tells them to end.
            process = await asyncio.create_subprocess_exec(
                *command, env=env, stdin=PIPE, stdout=output, stderr=STDOUT,
                pass_fds=[listener.fileno()], start_new_session=True,
            )  # fmt: skip
        port: int = listener.getsockname()[1]
        self.services[name] = LocalService(name, port, process, log)

    async def _listening(self, service: LocalService) -> None:
        """Return once a service accepts connections."""
        while True:
            if service.process.returncode is not None:
                code, tail = service.process.returncode, service.tail()
                raise InfraError("ready", f"{service.name} ended with code {code}:\n{tail}")
            try:
                _, writer = await asyncio.open_connection(LOOPBACK, service.port)
            except ConnectionRefusedError:
                await asyncio.sleep(_LOOK_S)
                continue
            writer.close()
            return

    async def _renew(self, every_s: float) -> None:
        """Write new certificates, as the job does in a cluster."""
        while True:
            await asyncio.sleep(every_s)
            renewed = kubelet.Manifests(manifests(self._app, self._seed, self._now()))
            for name in self.services:
                files = renewed.files(renewed.pod(name))
                # What somebody changed by hand, flags above all, stays.
                kubelet.write(self.root(name), {f: files[f] for f in files if f in _RENEWED})

    # -- ending -----------------------------------------------------------------------------------

    async def _stop(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        for service in self.services.values():
            with suppress(ProcessLookupError):
                service.process.terminate()
        async with asyncio.TaskGroup() as group:
            for service in self.services.values():
                group.create_task(self._gone(service))
        if self._temporary is not None:
            self._temporary.cleanup()

    async def _gone(self, service: LocalService) -> None:
        """Wait for a process to end, and then for it to be killed."""
        grace_s = self._app.services[service.name].grace_s
        try:
            async with asyncio.timeout(grace_s):
                await service.process.wait()
        except TimeoutError:
            service.process.kill()
            await service.process.wait()
        if service.process.stdin is not None:
            service.process.stdin.close()


async def up(app: App, seed: int, known: AddressBook, folder: Path | None) -> int:
    """Run all services of an app until Ctrl-C or SIGTERM; say where each listens.

    Raises:
        InfraError: A service did not start.
    """
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, told.set)
    ended = asyncio.create_task(told.wait())
    async with LocalApp(app, seed=seed, known=known, folder=folder) as local:
        for name, service in local.services.items():
            scheme = "https" if app.services[name].tls else "http"
            sys.stdout.write(f"{name:<24} {scheme}://{LOOPBACK}:{service.port}\n")
        sys.stdout.write(f"configuration and logs in {local.folder}; Ctrl-C ends all\n")
        sys.stdout.flush()
        crash = asyncio.create_task(local.ended())
        await asyncio.wait({ended, crash}, return_when=asyncio.FIRST_COMPLETED)
        if crash.done():
            service = crash.result()
            code, tail = service.process.returncode, service.tail()
            raise InfraError("up", f"{service.name} ended with code {code}:\n{tail}")
        crash.cancel()
    return 0
