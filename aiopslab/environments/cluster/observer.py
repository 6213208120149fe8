"""The objects of the observer on a cluster: ``telemetry/manifests/observer.yaml``, filled in.

Not here: the observer (``observer``), applying objects (``cluster``), reading what it knows
(``cluster.telemetry``).
"""

from __future__ import annotations

import string
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from aiopslab import content
from aiopslab.environments.cluster.labels import labelled, ours
from aiopslab.errors import ContentError
from aiopslab.models.app import App
from aiopslab.models.kube import Object

MANIFEST = "manifests/observer.yaml"
PART = "observer"
LIMIT_MIB = 512


@dataclass(frozen=True, slots=True)
class Place:
    """What is filled in."""

    lab: str
    """The lab's namespace."""
    namespace: str
    """The app's."""
    app: str
    """Its name."""
    image: str
    """Reference of the lab's image."""
    token: str
    """Who knows it may ask."""
    forward: str = ""
    """Collector that OTLP is passed on to; empty: none."""
    limit_mib: int = LIMIT_MIB
    """Size of the recording at which no more spans and lines are taken."""


def place(app: App, *, lab: str, image: str, token: str, forward: str = "") -> Place:
    """Return what an observer of an app is told; the app has the namespace it is in."""
    return Place(lab, app.namespace, app.name, image, token, forward)


def observer_objects(filled: Place, trial: str) -> list[Object]:
    """Return the observer's objects, in an order that applies cleanly.

    Args:
        filled: What is filled in.
        trial: All of them are labelled as the trial's.

    Raises:
        ContentError: There is no manifest, or it names what is not known.
    """
    path = next(iter(content.files("telemetry", MANIFEST)), None)
    if path is None:
        raise ContentError(f"telemetry/{MANIFEST}", "there is no such file")
    values = {name: str(value) for name, value in asdict(filled).items()}
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        objects = [_filled(document, values) for document in documents if document]
    except (yaml.YAMLError, KeyError, ValueError) as error:
        raise ContentError(str(path), f"cannot be filled in: {error}") from error
    return [labelled(obj, ours(trial, part=PART)) for obj in objects]


def _filled(value: Any, values: dict[str, str]) -> Any:
    """Fill in the texts of a tree; a text is never read as YAML again."""
    if isinstance(value, dict):
        return {key: _filled(each, values) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, values) for each in value]
    return string.Template(value).substitute(values) if isinstance(value, str) else value
