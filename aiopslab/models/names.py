"""Other names an app's parts could have (``services/<app>/names.yaml``), for held-out variants."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from aiopslab.models.base import Model

Choices = Annotated[list[str], Field(min_length=1)]


class Names(Model):
    """Names to choose from; none of them is a name the app itself uses."""

    schema_: Literal["aiopslab/names@1"] = Field(alias="schema")
    app: Choices
    components: dict[str, Choices]
    """Component, or what names of components begin with, to other names: with ``geo``, also
    ``geo-postgres`` is renamed."""
