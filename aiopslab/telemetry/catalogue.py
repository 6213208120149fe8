"""What the metrics mean: type, help and unit by name (``telemetry/metrics.yaml``)."""

from __future__ import annotations

from collections.abc import Iterable
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
    name = _family(metric)
    if not name:
        return {}
    family = load()[name]
    return {"type": family.type, "help": family.help, "unit": family.unit}


def families(metrics: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the metadata of the known families that metrics belong to, by family, sorted."""
    names = {name for metric in metrics if (name := _family(metric))}
    return {name: metadata(name) for name in sorted(names)}


def _family(metric: str) -> str:
    """Return the family of a metric; empty if it is unknown."""
    known = load()
    if metric in known:
        return metric
    for suffix in _SUFFIXES:
        name = metric.removesuffix(suffix)
        if name != metric and name in known and known[name].type == "histogram":
            return name
    return ""
