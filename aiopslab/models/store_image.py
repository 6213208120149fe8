"""Where images of stores are published, and what each version must be (``services/stores.yaml``).

Not here: which image a store runs (``models.store``), what may stand for it on a cluster
(``environments.cluster.images``).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from aiopslab.models.base import Model

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


class StoreImage(Model):
    """One image and its versions."""

    repository: str
    """Of a registry; without a host it is Docker Hub's: ``valkey/valkey``."""
    digests: dict[str, Digest] = Field(default_factory=dict)
    """Version to the digest of its manifest, or of the index of its platforms' manifests."""


class StoreImages(Model):
    """The whole file: image as ``app.yaml`` names it to where it is published."""

    schema_: Literal["aiopslab/store-images@1"] = Field(alias="schema")
    images: dict[str, StoreImage]
