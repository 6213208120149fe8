"""What the metrics mean: type, help and unit by name (``telemetry/metrics.yaml``)."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from pydantic import Field

from aiopslab import content
from aiopslab.models.base import Model

_SUFFIXES = ("_bucket", "_sum", "_count")


class Metric(Model):
    """One metric family."""

    type: Literal["counter", "gauge", "histogram"]
    help: str
    unit: str = ""
    """UCUM-like: ``seconds``, ``bytes``, ``cores``; empty for plain counts."""


class Catalogue(Model):
    """A file of metric families by name; histograms without their suffixes."""

    metrics: dict[str, Metric] = Field(default_factory=dict)


@lru_cache(maxsize=1)
def load() -> dict[str, Metric]:
    """Read the catalogue; a user's ``metrics.yaml`` adds to ours and wins.

    Raises:
        ContentError: A file is malformed.
    """
    found: dict[str, Metric] = {}
    for root in reversed(content.roots()):
        path = root / "telemetry" / "metrics.yaml"
        if path.is_file():
            found.update(content.load_model(path, Catalogue).metrics)
    return found


def metadata(metric: str) -> dict[str, str]:
    """Return type, help and unit of a metric or of one series of a histogram; {} if unknown."""
    known = load()
    family = known.get(metric)
    if family is None:
        suffix = next((s for s in _SUFFIXES if metric.endswith(s)), "")
        family = known.get(metric.removesuffix(suffix)) if suffix else None
        if family is None or family.type != "histogram":
            return {}
    return {"type": family.type, "help": family.help, "unit": family.unit}
