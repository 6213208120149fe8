"""What an incident file becomes for one seed: targets, parameters, times, twin or not.

Every draw has its own named stream below (seed, incident), so adding one shifts no other. What
shapes the baseline (hour, load) is drawn below (seed, app) alone, so that all incidents of an
app in a run share one warm world.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from aiopslab.errors import UsageError
from aiopslab.faults import registry
from aiopslab.faults.base import Fault, Site
from aiopslab.models.app import App
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.task import Task
from aiopslab.models.timestamps import unix
from aiopslab.models.truth import Truth
from aiopslab.problems import distractors, references, selectors
from aiopslab.problems.handover import twin_delay_s
from aiopslab.problems.happening import Happening
from aiopslab.seeds import Streams, derive

WARM_S = 300.0
"""Seconds of load after which the shared baseline of an app is ready to be forked."""


@dataclass(frozen=True, slots=True)
class WorldKey:
    """What determines a baseline; incidents with equal keys share one world."""

    app: str
    seed: int
    epoch: float
    """Unix seconds at boot."""
    load_scale: float


@dataclass(frozen=True, slots=True)
class Due:
    """A fault or distractor with its time relative to the incident's start (seconds)."""

    at: float
    act: Fault | Happening


@dataclass(frozen=True, slots=True)
class DrawnIncident:
    """An incident, ready to be staged."""

    spec: IncidentSpec
    app: App
    seed: int
    draws: dict[str, Any]
    faults: list[Due]
    distractors: list[Due]
    twin_delay_s: float
    """Where nothing breaks: seconds from the start to the hand-over."""

    def is_twin(self, task: Task) -> bool:
        """Say whether this problem runs without its fault: half of all detection problems."""
        return task == "detection" and bool(derive(self.seed, self.spec.name, "twin") & 1)

    def truth(
        self, *, twin: bool, started: float, symptom: tuple[float, str] | None, handover: float
    ) -> Truth:
        """Return the answer key."""
        live = [] if twin else self.faults
        faults = [d.act for d in live if isinstance(d.act, Fault)]
        return Truth(
            incident=self.spec.name,
            twin=twin,
            seed=self.seed,
            draws=self.draws,
            root_causes=[f.root_cause() for f in faults],
            fix=[step for f in faults for step in f.fix()],
            injected_at=started + min(d.at for d in live) if live else None,
            symptom_at=symptom[0] if symptom else None,
            handover_at=handover,
            symptom=symptom[1] if symptom else "",
        )

    def alone(self, n: int) -> DrawnIncident:
        """Return the same incident where only the n-th fault (from 1) acts, without a gate."""
        spec = self.spec.model_copy(update={"symptom": None})
        return replace(self, spec=spec, faults=[self.faults[n - 1]])

    def ahead(self) -> list[Due]:
        """Return the distractors of the lead-in, earliest first."""
        return sorted((d for d in self.distractors if d.at <= 0.0), key=lambda d: d.at)

    def acts(self, *, twin: bool) -> list[Due]:
        """Return what happens from the start on, earliest first: faults, later distractors."""
        late = [d for d in self.distractors if d.at > 0.0]
        return sorted([*([] if twin else self.faults), *late], key=lambda d: d.at)

    def live_faults(self, *, twin: bool) -> list[Fault]:
        """Return the faults that act."""
        return [] if twin else [d.act for d in self.faults if isinstance(d.act, Fault)]


def world_key(app: App, seed: int) -> WorldKey:
    """Draw what shapes the baseline: day, hour and a load within 10 % of the app's."""
    streams = Streams(derive(seed, "world", app.name))
    epoch = unix(app.epoch)
    day, hour = streams("day").randrange(28), streams("hour").randrange(-1, 6)
    minute = streams("minute").randrange(60)
    return WorldKey(
        app=app.name,
        seed=streams.seed,
        epoch=epoch + day * 86400 + hour * 3600 + minute * 60,
        load_scale=round(app.load.scale * streams("load").uniform(0.92, 1.08), 3),
    )


def draw(spec: IncidentSpec, app: App, seed: int) -> DrawnIncident:
    """Draw an incident.

    Raises:
        UsageError: The file asks for something the app does not have.
    """
    references.check(spec, app)
    streams = Streams(derive(seed, "incident", spec.name))
    values: dict[str, Any] = {}
    for name, how in sorted(spec.draw.items()):
        values[name] = _variable(name, how, spec, app, streams("draw", name))
    faults = []
    for i, use in enumerate(spec.faults):
        fits = registry.find(use.kind).fits
        target = _target(use.target, values, app, fits, streams("target", str(i)))
        params = {
            k: _number(_resolve(v, values), streams("param", str(i), k))
            for k, v in use.params.items()
        }
        values[f"fault{i}"] = {"target": target, **params}
        faults.append(Due(use.after, registry.build(use.kind, Site(app, target), params)))
    others = []
    for i, dist in enumerate(spec.distractors):
        cls = distractors.find(dist.kind)
        target = _target(dist.target, values, app, cls.fits, streams("distractor", str(i)))
        values[f"distractor{i}"] = target
        others.append(Due(dist.at, cls(app, target, dict(dist.params))))
    within = spec.symptom.within if spec.symptom else 300.0
    last = max([0.0, *(due.at for due in (*faults, *others))])
    delay = twin_delay_s(app.name, last, within, streams("twin-delay")) + spec.handover
    return DrawnIncident(spec, app, seed, values, faults, others, delay)


def _variable(
    name: str, how: dict[str, Any], spec: IncidentSpec, app: App, stream: random.Random
) -> Any:
    if "selector" in how:
        users = [registry.find(f.kind) for f in spec.faults if f.target == f"${name}"]

        def fits(app: App, component: str) -> bool:
            return all(u.fits(app, component) for u in users)

        return _pick(selectors.select(app, how["selector"]), app, fits, stream, f"draw {name!r}")
    if "range" in how:
        return _number(how["range"], stream)
    return stream.choice(list(how["choice"]))


def _target(
    target: str | dict[str, Any],
    values: dict[str, Any],
    app: App,
    fits: Callable[[App, str], bool],
    stream: random.Random,
) -> str:
    if isinstance(target, dict):
        selector = {k: _resolve(v, values) for k, v in target.items()}
        return _pick(selectors.select(app, selector), app, fits, stream, f"target {target}")
    name = str(_resolve(target, values))
    if name not in selectors.components(app):
        raise UsageError(f"target {name!r} is not a component of {app.name!r}")
    return name


def _resolve(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, str) and value.startswith("$"):
        if value[1:] not in values:
            raise UsageError(f"{value!r} is not drawn", hint=f"drawn: {sorted(values)}")
        return values[value[1:]]
    return value


def _pick(
    names: list[str],
    app: App,
    fits: Callable[[App, str], bool],
    stream: random.Random,
    what: str,
) -> str:
    able = [n for n in names if fits(app, n)]
    if not able:
        raise UsageError(f"{what}: no component of {app.name!r} fits")
    return stream.choice(able)


def _number(value: Any, stream: random.Random) -> Any:
    """Draw from ``[low, high]``; anything else is itself."""
    match value:
        case [int() as low, int() as high]:
            return stream.randint(low, high)
        case [int() | float() as low, int() | float() as high]:
            return round(stream.uniform(low, high), 4)
        case _:
            return value
