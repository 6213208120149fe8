"""What a store's image is called where it is published: ``services/stores.yaml`` of all roots.

``app.yaml`` names images as the simulated registry knows them; a real one knows other names, and
guarantees a digest alone. Not here: what a user puts in its place
(``environments.cluster.images``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from aiopslab import content
from aiopslab.models.store_image import StoreImage, StoreImages
from aiopslab.models.workload import Image

FILE = "stores.yaml"


def published(image: Image, *, pinned: bool) -> str:
    """Return the reference that a store's image can be pulled by.

    An image that no file knows is called as the app calls it.

    Args:
        image: Of a store.
        pinned: Whether the digest is named too, where it is known.

    Raises:
        ContentError: A file is malformed.
    """
    known = store_images().get(image.name) or StoreImage(repository=image.name)
    digest = known.digests.get(image.version) if pinned else None
    return f"{known.repository}:{image.version}{f'@{digest}' if digest else ''}"


def store_images() -> dict[str, StoreImage]:
    """Return the images of every content root; of an image that several name, the user's.

    Raises:
        ContentError: A file is malformed.
    """
    paths = [path for root in content.roots() if (path := root / "services" / FILE).is_file()]
    found = [_loaded(path, content.edition(path)) for path in paths]
    return {name: image for images in reversed(found) for name, image in images.items()}


@cache
def _loaded(path: Path, _edition: tuple[int, int]) -> Mapping[str, StoreImage]:
    # Asked for with every store of every app.
    return content.load_model(path, StoreImages).images
