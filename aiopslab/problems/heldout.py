"""Held-out incidents: a public incident with its draws pinned, on a renamed variant of its app.

The file says what strikes where, so it is as private as its answer key; an agent sees neither.
Not here: the app's variant (``variant``), proving the result sound (``orchestrator.generation``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiopslab.faults.base import Fault
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.truth import RootCause
from aiopslab.problems.draw import draw
from aiopslab.problems.renaming import Renaming
from aiopslab.seeds import derive


class HeldOutTruth(Model):
    """The answer key of one held-out incident, for whoever keeps the set."""

    incident: str
    """Its opaque name."""
    app: str
    made_from: str
    """The public incident."""
    public_app: str
    root_causes: list[RootCause]
    """Empty: nothing is wrong."""
    draws: dict[str, Any]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """An incident file and its answer key."""

    spec: IncidentSpec
    truth: HeldOutTruth


def opaque_name(seed: int, number: int) -> str:
    """Return the name of the n-th incident of a set."""
    return f"h-{derive(seed, 'held-out', number) & 0xFFFFFFFF:08x}"


def pin(spec: IncidentSpec, variant: App, named: Renaming, *, name: str, seed: int) -> HeldOut:
    """Draw a public incident on a variant of its app and write down what was drawn.

    Raises:
        UsageError: The variant lacks what the incident asks for.
    """
    raw = spec.model_dump(mode="json", by_alias=True)
    renamed = _renamed(raw, named) | {"name": name, "app": variant.name}
    drawn = draw(IncidentSpec.model_validate(renamed), variant, seed)
    acts = [due.act for due in drawn.faults]
    faults = [
        use.model_dump() | {"target": act.site.target, "params": act.params.model_dump()}
        for use, act in zip(drawn.spec.faults, acts, strict=True)
        if isinstance(act, Fault)
    ]
    distractors = [
        use.model_dump() | {"target": due.act.target}
        for use, due in zip(drawn.spec.distractors, drawn.distractors, strict=True)
        if not isinstance(due.act, Fault)
    ]
    pinned = drawn.spec.model_dump(mode="json", by_alias=True) | {
        "title": "Held-out incident",
        "tags": [],
        "draw": {},
        "faults": faults,
        "distractors": distractors,
    }
    truth = HeldOutTruth(
        incident=name,
        app=variant.name,
        made_from=spec.name,
        public_app=spec.app,
        root_causes=[act.root_cause() for act in acts if isinstance(act, Fault)],
        draws=drawn.draws,
    )
    return HeldOut(IncidentSpec.model_validate(pinned), truth)


def _renamed(raw: dict[str, Any], named: Renaming) -> dict[str, Any]:
    """Rename the components that selectors, targets, parameters and queries mention."""
    fields = ("draw", "faults", "distractors", "symptom", "load")
    return raw | {field: _walk(raw[field], named) for field in fields}


def _walk(data: Any, named: Renaming) -> Any:
    if isinstance(data, dict):
        return {key: value if key == "kind" else _walk(value, named) for key, value in data.items()}
    if isinstance(data, list):
        return [_walk(item, named) for item in data]
    return named.text(data) if isinstance(data, str) else data
