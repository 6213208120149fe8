"""A variant of an app for held-out incidents: other names, slightly other magnitudes.

Rates of journeys, CPU work and statement costs are shifted by a few per cent, each part by a factor
of its own; limits and promises stay. Whether the variant is healthy is not decided here but proven
by ``check``. Not here: incidents (``heldout``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from aiopslab import content
from aiopslab.models.names import Names
from aiopslab.problems.renaming import Renaming
from aiopslab.seeds import Streams
from aiopslab.services.catalogue import app_dir, load_app

SHIFT = 0.06
"""Largest relative change of a magnitude."""
_COSTS = ("ms", "io_ms")


def renaming(app: str, streams: Streams) -> Renaming:
    """Draw new names for an app and its parts.

    Raises:
        UsageError: There is no such app.
        ContentError: It has no ``names.yaml``, or one that does not cover its components.
    """
    names = content.load_model(app_dir(app) / "names.yaml", Names)
    return Renaming.draw(load_app(app), names, streams.scope("names"))


def write_variant(app: str, named: Renaming, streams: Streams, home: Path) -> None:
    """Write the variant's folder below ``home/services``.

    Raises:
        ContentError: A file of the app cannot be read.
    """
    source, target = app_dir(app), home / "services" / named.app[1]
    data = named.data(content.load_yaml(source / "app.yaml"))
    _shift(data, streams.scope("shift"))
    _write(target / "app.yaml", _dumped([data]))
    for path in sorted(source.glob("*/*")):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".yaml":
            text = _dumped([named.data(document) for document in yaml.safe_load_all(text)])
        else:
            text = named.text(text)
        _write(target / path.parent.name / named.text(path.name), text)


def _shift(app: dict[str, Any], streams: Streams) -> None:
    for kind in ("journeys", "services", "stores"):
        for name, part in sorted(app.get(kind, {}).items()):
            factor = streams(kind, name).uniform(1.0 - SHIFT, 1.0 + SHIFT)
            if kind == "journeys":
                part["rate"] = round(part["rate"] * factor, 3)
            else:
                _scale(part, factor)


def _scale(data: Any, factor: float) -> None:
    """Multiply every cost below a part."""
    if isinstance(data, list):
        for item in data:
            _scale(item, factor)
    elif isinstance(data, dict):
        for key, value in data.items():
            if key in _COSTS and isinstance(value, int | float):
                data[key] = round(value * factor, 3)
            else:
                _scale(value, factor)


def _dumped(documents: list[Any]) -> str:
    return str(yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=100))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
