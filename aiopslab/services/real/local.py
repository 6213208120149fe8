"""An app as local processes: every service a child on loopback, configured by its manifests.

Each service has a port of its own, and an address book leads its name there. What is in the
ConfigMaps and Secrets becomes its environment and files, certificates are renewed as in a cluster.
Partners are started, too, unless the address book knows them already. Stores are not: the address
book says where they are. Replicas are one, memory is counted rather than held, jobs are run by
hand (``job``). Not here: one process
(``launch``, ``partner``).
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.services.manifests import manifests
from aiopslab.services.real import kubelet
from aiopslab.services.real.addresses import Address, AddressBook
from aiopslab.services.real.clock import WallClock
from aiopslab.services.real.http_server import bind
from aiopslab.services.real.partner import public_authority
from aiopslab.services.real.place import told
from aiopslab.services.tls_manifests import CERTIFICATE_FILE

LOOPBACK = "127.0.0.1"
_PASSED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR", "AIOPSLAB_CONTENT")
_READY_S = 60.0
"""Longest wait for a service to listen."""
_LOOK_S = 0.05
_LAST_LINES = 20
_RENEWED = (CERTIFICATE_FILE, CERTIFICATE_FILE.replace(".crt", ".key"))
_PARTNER_GRACE_S = 2.0
_QUICK: Mapping[str, str] = {"SHUTDOWN_DELAY_MS": "0"}
"""Nobody has to notice that a process ends before it does: there is no Service in front."""


@dataclass(frozen=True, slots=True)
class Child:
    """One service or partner that runs."""

    name: str
    port: int
    grace_s: float
    """How long it may take to end."""
    process: Process
    log: Path

    def tail(self) -> str:
        """Return its last lines."""
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LAST_LINES:])

    def last_words(self) -> str:
        """Say how it ended."""
        return f"{self.name} ended with code {self.process.returncode}:\n{self.tail()}"


class LocalApp:
    """All services of an app; a context in which they run and are ready.

    Args:
        app: The app; its children load it by name, so it must be among the content.
        seed: What passwords are derived from.
        known: Where stores are, and partners that are not to be started.
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
        self.services: dict[str, Child] = {}
        """By name."""
        self.partners: dict[str, Child] = {}
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

    def disturbance(self, partner: str) -> Path:
        """Return the file that says how a partner misbehaves: a ``Disturbance`` as JSON."""
        return self.folder / f"{partner}.json"

    @property
    def links(self) -> Path:
        """The file that says what is not as usual between them: ``models.network.Links``."""
        return self.folder / "links.json"

    async def ended(self) -> Child:
        """Return the first service or partner that ends by itself."""
        waits = {asyncio.create_task(c.process.wait()): c for c in self._children()}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return waits[done.pop()]

    def _children(self) -> list[Child]:
        return [*self.services.values(), *self.partners.values()]

    # -- starting ---------------------------------------------------------------------------------

    async def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._authority.write_text(public_authority().certificate, "utf-8")
        objects = kubelet.Manifests(manifests(self._app, self._seed, self._now()))
        places = self._places()
        listeners = {place: bind(LOOPBACK, 0) for place in places}
        try:
            self._book(listeners).write(self.addresses)
            for place, name in places.items():
                if name in self._app.externals:
                    self.partners[name] = await self._partner(name, listeners[place])
                else:
                    self.services[name] = await self._service(name, listeners[place], objects)
        finally:
            # The children have them; a port must be free as soon as its service has ended.
            for listener in listeners.values():
                listener.close()
        if self._app.tls is not None:
            self._renewing = asyncio.create_task(self._renew(self._app.tls.renew_every_min * 60.0))
        for child in self._children():
            await self._listening(child)

    @property
    def _authority(self) -> Path:
        """The certificate that partners are trusted by."""
        return self.folder / "public.crt"

    def _places(self) -> dict[Address, str]:
        """Map the addresses of what is to be started to names."""
        app = self._app
        services = {(name, spec.port): name for name, spec in sorted(app.services.items())}
        partners = {(spec.host, spec.port): name for name, spec in sorted(app.externals.items())}
        return services | {at: n for at, n in partners.items() if at not in self._known.entries}

    def _book(self, listeners: Mapping[Address, socket.socket]) -> AddressBook:
        mine = {at: (LOOPBACK, each.getsockname()[1]) for at, each in listeners.items()}
        return AddressBook({**self._known.entries, **mine})

    async def _service(
        self, name: str, listener: socket.socket, objects: kubelet.Manifests
    ) -> Child:
        pod = objects.pod(name)
        kubelet.write(self.root(name), objects.files(pod))
        env = objects.environment(pod) | dict(self._env) | {"POD_NAME": f"{name}-local"}
        if self.partners or self._app.externals:
            env.setdefault("SSL_CERT_FILE", str(self._authority))
        command = ["serve", self._app.name, name, "--root", str(self.root(name))]
        # No limit would keep what a service holds, or leaks, from the rest of the machine.
        command += ["--addresses", str(self.addresses), "--count-memory"]
        command += ["--links", str(self.links)]
        if self._startup_s is not None:
            command += ["--startup", str(self._startup_s)]
        grace_s = float(self._app.services[name].grace_s)
        return await self._spawn(name, command, env, listener, grace_s)

    async def _partner(self, name: str, listener: socket.socket) -> Child:
        command = ["partner", self._app.name, name, "--disturbance", str(self.disturbance(name))]
        return await self._spawn(name, command, {}, listener, _PARTNER_GRACE_S)

    async def _spawn(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        listener: socket.socket,
        grace_s: float,
    ) -> Child:
        passed = {k: v for k, v in os.environ.items() if k in _PASSED or k.startswith("OTEL_")}
        fd, log = listener.fileno(), self.folder / f"{name}.log"
        with log.open("wb") as output:
            # A session of its own: Ctrl-C is for whoever started them, who tells them to end.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "aiopslab.services", *command, "--fd", str(fd), "--until-eof",
                env={**passed, **env}, stdin=PIPE, stdout=output, stderr=STDOUT, pass_fds=[fd],
                start_new_session=True,
            )  # fmt: skip
        return Child(name, listener.getsockname()[1], grace_s, process, log)

    async def _listening(self, child: Child) -> None:
        """Return once a child accepts connections.

        Raises:
            InfraError: It ended, or it takes too long.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _READY_S
        while loop.time() < deadline:
            if child.process.returncode is not None:
                raise InfraError("ready", child.last_words())
            try:
                _, writer = await asyncio.open_connection(LOOPBACK, child.port)
            except ConnectionRefusedError:
                await asyncio.sleep(_LOOK_S)
                continue
            writer.close()
            return
        what = f"{child.name} does not listen after {_READY_S:.0f} s"
        raise InfraError("ready", f"{what}:\n{child.tail()}")

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
        children = self._children()
        for child in children:
            with suppress(ProcessLookupError):
                child.process.terminate()
        try:
            async with asyncio.TaskGroup() as group:
                for child in children:
                    group.create_task(_gone(child))
        finally:
            if self._temporary is not None:
                self._temporary.cleanup()


async def _gone(child: Child) -> None:
    """Wait for a process to end, and then for it to be killed."""
    try:
        async with asyncio.timeout(child.grace_s):
            await child.process.wait()
    except TimeoutError:
        # It may have ended in this very moment.
        with suppress(ProcessLookupError):
            child.process.kill()
        await child.process.wait()
    if child.process.stdin is not None:
        child.process.stdin.close()


async def up(app: App, seed: int, known: AddressBook, folder: Path | None) -> int:
    """Run all services of an app until Ctrl-C or SIGTERM; say where each listens.

    Raises:
        InfraError: A service did not start, or ended by itself.
    """
    told_to = asyncio.Event()
    async with told(told_to.set), LocalApp(app, seed=seed, known=known, folder=folder) as local:
        for name, child in local.services.items():
            _say(name, child.port, tls=app.services[name].tls)
        for name, child in local.partners.items():
            _say(name, child.port, tls=app.externals[name].tls)
        sys.stdout.write(f"configuration and logs in {local.folder}; Ctrl-C ends all\n")
        sys.stdout.flush()
        ended = asyncio.create_task(told_to.wait())
        crash = asyncio.create_task(local.ended())
        await asyncio.wait({ended, crash}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            ended.cancel()
            raise InfraError("up", (await crash).last_words())
        crash.cancel()
    return 0


def _say(name: str, port: int, *, tls: bool) -> None:
    scheme = "https" if tls else "http"
    sys.stdout.write(f"{name:<24} {scheme}://{LOOPBACK}:{port}\n")
