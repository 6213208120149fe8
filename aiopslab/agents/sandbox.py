"""An agent's program in a Docker container that reaches its trial and nothing else.

The container hangs on an internal network of its own, which has no route out; the trial's doors are
opened a second time at that network's gateway. Root file system read-only, no capabilities, no new
privileges, an ordinary user, bounded processes, memory and cores; the workplace is the one
directory that can be written. Container and network are removed come what may. Not here: the same
without a container (``process``), what the program finds (``workplace``).

The SDK blocks, so it is called in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aiopslab.agents.command import Quarters, private_directory
from aiopslab.agents.process import Captured, Ended, Program
from aiopslab.agents.protocol import TrialHandle
from aiopslab.agents.workplace import Workplace
from aiopslab.errors import InfraError, PreflightError

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container
    from docker.types.daemon import CancellableStream

WORKDIR = "/work"
"""Where the program sees its workplace."""
AGENTDIR = "/agent"
"""Where it sees the agent's own folder, read-only."""
LABEL = "aiopslab.sandbox"
PIDS = 512
MEMORY = "4g"
CORES = 2
"""Cores it may use, if there are as many; an engine refuses more than there are."""
NOBODY = 65534
"""User and group of the program where this process is root's."""
ENGINE_S = 60
"""Seconds the engine may take to answer a request."""
POLL_S = 0.25
"""Seconds between two looks at a container."""
FAREWELL_S = 5.0
"""Seconds for the rest of what a container printed, once it is gone."""
T = TypeVar("T")


def preflight(image: str | None) -> None:
    """Refuse where no container could be started.

    Raises:
        PreflightError: The SDK, an engine or the image is missing; says what to do.
    """
    if not image:
        raise PreflightError("--sandbox docker needs an image", hint="--sandbox-image NAME")
    client = _client()
    try:
        _image(client, image)
    finally:
        client.close()


@asynccontextmanager
async def in_container(
    trial: TrialHandle, image: str, folder: Path | None
) -> AsyncIterator[Quarters]:
    """Make a network and a workplace; the program's container is made when it is run.

    Args:
        trial: A trial that is served.
        image: Image of the container; it must be there.
        folder: The agent's own folder, seen read-only as ``/agent``; None without one.

    Raises:
        PreflightError: No engine answers.
        InfraError: The engine refuses.
    """
    client = await _threaded(_client)
    name = f"aiopslab-{secrets.token_hex(6)}"
    try:
        gateway = await _threaded(lambda: _network(client, name))
        async with trial.doors_at(gateway) as doors:
            with private_directory() as root:
                place = Workplace(root, WORKDIR, doors)
                box = _Box(client, image, name, root, folder)
                yield Quarters(place, {}, box.run, AGENTDIR if folder else None)
    finally:
        await _threaded(lambda: _sweep(client, name))
        client.close()


@dataclass(frozen=True, slots=True)
class _Box:
    """Runs programs in containers on one network."""

    client: docker.DockerClient
    image: str
    network: str
    root: Path
    folder: Path | None

    async def run(self, program: Program) -> Ended:
        """Run a program to its end; the container is gone afterwards, also if this is cancelled.

        Raises:
            InfraError: The engine refuses.
        """
        _hand_over(self.root)
        heard: list[tuple[asyncio.Task[None], CancellableStream]] = []
        try:
            container: Container = await _threaded(lambda: self._create(program))
            await _threaded(container.start)
            for name, captured in (("stdout", program.out), ("stderr", program.err)):
                stream = await _threaded(partial(_followed, container, name))
                hearing = asyncio.create_task(asyncio.to_thread(_hear, stream, captured))
                heard.append((hearing, stream))
            return await _waited(container)
        finally:
            # First, for only what is gone ends its streams for good.
            await _threaded(lambda: _remove_containers(self.client, self.network))
            for hearing, stream in heard:
                await _heard(hearing, stream)

    def _create(self, program: Program) -> Any:
        volumes = {str(self.root): {"bind": WORKDIR, "mode": "rw"}}
        if self.folder is not None:
            volumes[str(self.folder)] = {"bind": AGENTDIR, "mode": "ro"}
        return self.client.containers.create(
            self.image,
            # An image's own entrypoint is what a command line would be arguments of.
            entrypoint=list(program.argv[:1]),
            command=list(program.argv[1:]),
            environment=dict(program.environment),
            working_dir=WORKDIR,
            user=":".join(map(str, _user())),
            network=self.network,
            volumes=volumes,
            tmpfs={"/tmp": "rw,nosuid,nodev,size=256m"},
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            pids_limit=PIDS,
            mem_limit=MEMORY,
            memswap_limit=MEMORY,
            nano_cpus=min(CORES, os.cpu_count() or 1) * 10**9,
            init=True,
            log_config={"Type": "json-file", "Config": {"max-size": "16m", "max-file": "2"}},
            labels={LABEL: self.network},
        )


def _client() -> docker.DockerClient:
    """Connect to the engine.

    Raises:
        PreflightError: The SDK is not installed, or nothing answers.
    """
    try:
        import docker  # noqa: PLC0415 - only sandboxed runs pay for the SDK
    except ModuleNotFoundError as error:
        raise PreflightError(
            "the Docker SDK is not installed", hint="pip install 'aiopslab[sandbox]'"
        ) from error
    try:
        client = docker.from_env(timeout=ENGINE_S)
        client.ping()
    except _failures() as error:
        raise PreflightError(
            f"no container engine answers: {error}",
            hint="start Docker, or set DOCKER_HOST; or leave out --sandbox",
        ) from error
    return client


def _image(client: docker.DockerClient, image: str) -> None:
    from docker.errors import ImageNotFound  # noqa: PLC0415

    try:
        client.images.get(image)
    except ImageNotFound as error:
        raise PreflightError(
            f"there is no image {image!r} here", hint=f"docker pull {image}, or build it"
        ) from error
    except _failures() as error:
        raise PreflightError(f"image {image!r}: {error}", hint="docker images") from error


def _network(client: docker.DockerClient, name: str) -> str:
    """Make a network without a route out; return this machine's address on it.

    Raises:
        InfraError: The engine gave it no gateway.
    """
    network = client.networks.create(name, driver="bridge", internal=True, labels={LABEL: name})
    network.reload()
    for config in network.attrs["IPAM"]["Config"] or []:
        if config.get("Gateway"):
            return str(config["Gateway"]).partition("/")[0]
    raise InfraError("sandbox", f"network {name} has no gateway")


def _sweep(client: docker.DockerClient, name: str) -> None:
    """Remove a network and what hangs on it; what is gone already is as it should be."""
    from docker.errors import NotFound  # noqa: PLC0415

    _remove_containers(client, name)
    for network in client.networks.list(filters={"label": f"{LABEL}={name}"}):
        with contextlib.suppress(NotFound):
            network.remove()


def _remove_containers(client: docker.DockerClient, name: str) -> None:
    from docker.errors import NotFound  # noqa: PLC0415

    # By label: a container may exist whose creation was cut off before it was known here.
    found = client.api.containers(all=True, filters={"label": f"{LABEL}={name}"})
    for container in found:
        with contextlib.suppress(NotFound):
            client.api.remove_container(container["Id"], force=True, v=True)


def _user() -> tuple[int, int]:
    """Return who the program runs as: whoever runs this, but never root."""
    return (os.getuid(), os.getgid()) if os.getuid() else (NOBODY, NOBODY)


def _hand_over(root: Path) -> None:
    """Give the workplace to the user of the container."""
    if os.getuid() == 0:
        for path in (root, *root.rglob("*")):
            os.chown(path, *_user())


def _followed(container: Container, name: str) -> CancellableStream:
    """Follow one of the two streams of a container from its beginning."""
    wanted = {"stdout": False, "stderr": False, name: True}
    stream: CancellableStream = container.logs(stream=True, follow=True, **wanted)
    return stream


def _hear(stream: CancellableStream, captured: Captured) -> None:
    """Read what the container prints until it is gone; a stream that is cut has ended too."""
    with contextlib.suppress(*_failures(), OSError, ValueError):
        for data in stream:
            captured.add(data)


async def _heard(hearing: asyncio.Task[None], stream: CancellableStream) -> None:
    """Read the rest of what was printed, for a while."""
    await asyncio.wait({hearing}, timeout=FAREWELL_S)
    await asyncio.to_thread(stream.close)
    await asyncio.wait({hearing})


async def _waited(container: Container) -> Ended:
    """Ask again and again: a request that waits could not be cut off when the trial ends."""
    while True:
        await _threaded(container.reload)
        state = container.attrs["State"]
        if state["Status"] in ("exited", "dead"):
            if state.get("OOMKilled"):
                return Ended(None, f"killed: out of memory ({MEMORY})")
            if state.get("Error"):
                return Ended(None, str(state["Error"]))
            return Ended(_signalled(int(state["ExitCode"])))
        await asyncio.sleep(POLL_S)


def _signalled(code: int) -> int:
    """Read an exit status as engines state it: 128 and more is a signal."""
    return 128 - code if 128 < code < 160 else code


def _failures() -> tuple[type[Exception], ...]:
    """Return how the SDK says that the engine refused or does not answer."""
    from docker.errors import DockerException  # noqa: PLC0415
    from requests.exceptions import RequestException  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    return DockerException, RequestException, HTTPError


async def _threaded(work: Callable[[], T]) -> T:
    """Call the SDK in a thread and see the call end, even if cancelled meanwhile.

    Raises:
        InfraError: The engine refused or does not answer.
    """
    calling = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        # What is made must be known as made before it is swept away.
        await asyncio.wait({calling})
        raise
    except PreflightError:
        raise
    except _failures() as error:
        raise InfraError("sandbox", f"{type(error).__name__}: {error}") from error
