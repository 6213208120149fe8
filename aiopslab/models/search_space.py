"""What an answer could have named, as it was when the trial was staged: the ground of its scores.

Chance floors, distances in the dependency graph and the causal path follow from it. It stands in
the answer key (``models.truth``), so that grading needs neither an app nor a catalogue.
"""

from __future__ import annotations

from pydantic import Field

from aiopslab.models.base import Model


class NamedCause(Model):
    """A cause kind of the vocabulary, without AIOpsLab's labels."""

    family: str
    definition: str


class SearchSpace(Model):
    """Components, who depends on whom, and the vocabulary of causes."""

    components: list[str]
    """All that an answer may name: services, stores, jobs, external parties and nodes, sorted."""
    dependencies: list[tuple[str, str]]
    """(caller, callee) as the app declares them, sorted; nodes have none."""
    entries: dict[str, str] = Field(default_factory=dict)
    """What has a promise to users (a journey, or a part of one) to the component they call."""
    causes: dict[str, NamedCause]
    """The vocabulary by id."""
