"""Which images a cluster runs: where those of the app come from, and what stands for the others.

``app.yaml`` names images as the simulated registry knows them. On a cluster those of the app have a
registry before their names, stores are the real servers, and each reference can be replaced by
another, for a cluster that pulls from nowhere. Not here: where stores' images are published
(``services.store_images``), the manifests (``cluster.manifests``), building images
(``services/Dockerfile``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiopslab._version import __version__
from aiopslab.models.app import App
from aiopslab.models.store import Store
from aiopslab.models.workload import Image
from aiopslab.services.store_images import published


@dataclass(frozen=True, slots=True)
class Images:
    """Image references of a cluster."""

    registry: str = ""
    """Put before the names of the app's images and of the lab's: ``registry.example/lab/``."""
    stores: Mapping[str, str] = field(default_factory=dict)
    """Kind of store to the whole reference that all stores of that kind run."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Reference in the manifests to the whole one that stands for it."""
    pinned: bool = False
    """Whether stores' images are named by their digest too. Only a cluster that pulls them can tell
    it: an image that was loaded onto a node from an archive has a tag alone."""

    @property
    def lab(self) -> str:
        """Of the observer and of the users."""
        return self._whole("aiopslab-lab", __version__)

    def partners(self, app: App) -> str:
        """Of the parties outside that an app calls."""
        return self._whole(f"{app.name}-partners", __version__)

    def store(self, store: Store) -> str:
        """Of a store."""
        image = store.image
        own = self.stores.get(store.kind) or self.others.get(image.ref)
        return own or published(image, pinned=self.pinned)

    def other(self, ref: str) -> str:
        """Of anything that is neither of the app nor a store."""
        return self.others.get(ref, ref)

    def of_service(self, image: Image) -> Image:
        """Of a service, at any version: faults and people change the version alone."""
        return image.model_copy(update={"name": f"{self.registry}{image.name}"})

    def _whole(self, name: str, version: str) -> str:
        ref = f"{name}:{version}"
        return self.others.get(ref, f"{self.registry}{ref}")
