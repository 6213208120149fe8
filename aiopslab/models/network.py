"""What happens to packets on a way: delay, loss, cuts; and all ways that are not as usual.

Both bindings make connections suffer it: the simulated network (``world.ways``) and processes,
where they dial (``services.real.links``). Not here: what TCP makes of a lost packet
(``services.packets``).
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from aiopslab.models.base import Model


class Shape(Model):
    """What happens to packets; neutral by default."""

    delay_s: float = 0.0
    """Added one-way delay."""
    loss: float = 0.0
    """Share of packets lost, 0..1."""
    cut: bool = False
    """Nothing passes."""


NEUTRAL = Shape()


def combined(shapes: Iterable[Shape | None]) -> Shape:
    """Return what happens to a packet that several shapes concern."""
    delay_s, arrives, cut = 0.0, 1.0, False
    for shape in shapes:
        if shape is not None:
            delay_s += shape.delay_s
            arrives *= 1.0 - shape.loss
            cut = cut or shape.cut
    return Shape(delay_s=delay_s, loss=1.0 - arrives, cut=cut)


class Links(Model):
    """All ways of an app that are not as usual."""

    pairs: dict[str, dict[str, Shape]] = Field(default_factory=dict)
    """Component that sends to component that receives; replies take the other direction."""
    pods: dict[str, Shape] = Field(default_factory=dict)
    """Everything from and to one pod."""
