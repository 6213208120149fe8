"""The images that an app needs on a cluster: which they are, and building ours.

One Dockerfile makes the images of all services and versions, of the partners, and of the lab.
Which there are follows from ``app.yaml``: a rollout to any release must find its image. Not here:
how references are composed (``cluster.images``), getting them onto a cluster (``kind_cluster``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiopslab import content
from aiopslab.environments.cluster.images import Images
from aiopslab.environments.image_names import lacking, without_tag
from aiopslab.errors import PreflightError
from aiopslab.models.app import App

if TYPE_CHECKING:
    from docker import DockerClient

DOCKERFILE = "services/Dockerfile"
_LAB = {"PART": "telemetry"}
"""Makes it the image of the observer and of the users."""
_NAMED = ("RepoTags", "RepoDigests")
"""Where an engine lists the names of an image."""


@dataclass(frozen=True, slots=True)
class Build:
    """One image of ours."""

    ref: str
    arguments: Mapping[str, str] = field(default_factory=dict)


def builds(app: App, images: Images) -> list[Build]:
    """Return the images of ours that an app needs, the lab's first."""
    found = [Build(images.lab, _LAB)]
    found.append(Build(images.partners(app), {"APP": app.name}))
    for name, service in sorted(app.services.items()):
        image = images.of_service(service.image)
        for version in sorted({image.version, *service.releases}):
            arguments = {"APP": app.name, "SERVICE": name, "VERSION": version}
            found.append(Build(f"{image.name}:{version}", arguments))
    return found


def pulled(app: App, images: Images) -> dict[str, str]:
    """Return the images that somebody else makes, the stores'.

    Returns:
        What manifests call each, sorted, to what is pulled for it: by its digest, where one is
        known.
    """
    sure = replace(images, pinned=True)
    return dict(sorted((images.store(store), sure.store(store)) for store in app.stores.values()))


def present(client: DockerClient, refs: Sequence[str]) -> set[str]:
    """Return which of these images the container engine has; it is asked once for all."""
    listed = client.api.images()
    names = [name for one in listed for key in _NAMED for name in one.get(key) or ()]
    return set(refs) - set(lacking(refs, names))


def build(client: DockerClient, one: Build, context: Path, arguments: Mapping[str, str]) -> None:
    """Build an image.

    Args:
        client: The container engine.
        one: What to build.
        context: A checkout.
        arguments: Further arguments of the Dockerfile: ``BASE``, ``PIP_ARGS``.

    Raises:
        PreflightError: It fails; the message has the engine's last words.
    """
    from docker.errors import APIError, BuildError  # noqa: PLC0415 - an extra

    try:
        client.images.build(
            path=str(context), dockerfile=DOCKERFILE, tag=one.ref,
            buildargs={**arguments, **one.arguments}, rm=True,
        )  # fmt: skip
    except BuildError as error:
        said = "".join(_words(error.build_log)).strip().splitlines()
        raise PreflightError(f"building {one.ref}: {error}", hint="; ".join(said[-3:])) from error
    except APIError as error:
        raise PreflightError(f"building {one.ref}: {error.explanation}") from error


def pull(client: DockerClient, ref: str, source: str) -> None:
    """Have the container engine get an image.

    Args:
        client: The container engine.
        ref: What the image is called from then on.
        source: What is pulled.

    Raises:
        PreflightError: It cannot; the hint says how to name another.
    """
    from docker.errors import APIError  # noqa: PLC0415 - an extra

    try:
        image = client.images.pull(without_tag(source))
        if source != ref:
            image.tag(ref)
    except APIError as error:
        hint = "name one that can be had: --store-image KIND=REF"
        raise PreflightError(f"pulling {source}: {error.explanation}", hint=hint) from error


def _words(log: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for line in log:
        yield str(line.get("stream") or line.get("error") or "")


def checkout() -> Path:
    """Return the folder that images are built from.

    Raises:
        PreflightError: The program was installed without its sources.
    """
    for path in content.files("services", "Dockerfile"):
        root = path.parent.parent
        if (root / "constraints.txt").is_file():
            return root
    raise PreflightError(
        "images are built from a checkout, and this program was installed without one",
        hint="git clone, then run aiopslab there; or -E registry=... with images built elsewhere",
    )
