"""Images on a node: pulling, the cache, and why a pull failed.

How long a pull takes is drawn from a seeded stream (it stands for size and bandwidth); whether it
succeeds is decided by the registry. Neighbours: ``kubelet.container`` waits between failed pulls.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Literal, Protocol

from aiopslab.seeds import Streams
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.container import Program
from aiopslab.world.kube.backoff import Backoff

PULL_S = (0.9, 3.5)
"""Range of the time to pull an image that the node does not have."""
CHECK_S = (0.15, 0.45)
"""Range of the time to find that the cached image is the newest, or that there is none."""

Factory = Callable[[], Program]
Report = Callable[[Literal["Normal", "Warning"], str, str], None]
"""Records an event: type, reason, message."""


class Images(Protocol):
    """The registry: what each reference runs."""

    def resolve(self, image_ref: str) -> Factory | None:
        """Return what makes the image's program, None if there is no such image."""
        ...


class PullError(Exception):
    """An image could not be had; ``reason`` is the waiting reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ImageCache:
    """The images of one node."""

    def __init__(self, loop: VirtualLoop, registry: Images, streams: Streams) -> None:
        self._loop = loop
        self._registry = registry
        self._draw = streams("images")
        self._present: set[str] = set()
        self._backoffs: dict[str, Backoff] = {}

    def backoff(self, image: str) -> Backoff:
        """Return the back-off of an image: shared by all pods of the node that want it."""
        return self._backoffs.setdefault(image, Backoff())

    async def ensure(self, image: str, policy: str, report: Report) -> Factory:
        """Have an image on the node and return what makes its program.

        Raises:
            PullError: No such image, or it may not be pulled.
        """
        factory = self._registry.resolve(image)
        if image in self._present and policy != "Always" and factory is not None:
            report("Normal", "Pulled", f'Container image "{image}" already present on machine')
            return factory
        if policy == "Never":
            report("Warning", "ErrImageNeverPull", _NEVER.format(image=image))
            raise PullError("ErrImageNeverPull", _NEVER.format(image=image))
        report("Normal", "Pulling", f'Pulling image "{image}"')
        known = image in self._present or factory is None
        took = self._draw.uniform(*(CHECK_S if known else PULL_S))
        await asyncio.sleep(took)
        if factory is None:
            why = f"manifest for {image} not found: manifest unknown"
            message = f"rpc error: code = NotFound desc = {why}"
            report("Warning", "Failed", f'Failed to pull image "{image}": {message}')
            report("Warning", "Failed", "Error: ErrImagePull")
            raise PullError("ErrImagePull", message)
        self._present.add(image)
        spent = f"{took * 1000:.0f}ms" if took < 1.0 else f"{took:.3f}s"
        report(
            "Normal", "Pulled",
            f'Successfully pulled image "{image}" in {spent} ({spent} including waiting). '
            f"Image size: {_size(image)} bytes.",
        )  # fmt: skip
        return factory


_NEVER = 'Container image "{image}" is not present with pull policy of Never'


def _size(image: str) -> int:
    digest = hashlib.sha256(image.encode()).digest()
    return 18_000_000 + int.from_bytes(digest[:4], "big") % 90_000_000


def image_id(image: str) -> str:
    """Return the digest reference that the status shows for an image."""
    repository = image.partition("@")[0]
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    return f"{repository}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"
