"""Write the memory of past incidents: training incidents as an organisation writes them up.

A pure function of what was seen of each draw (``models.sighting``), the truth of the draw and a
seed of its own. About one record in seven is not to be trusted: *stale* ones are from before a
component was renamed and call it by its old name; *misleading* ones have the right symptoms and
blame the loudest bystander. Nothing in a record says which. Not here: which incidents may be
remembered (``training``), playing them (``orchestrator.sightings``), searching (``tools.memory``).
"""

from __future__ import annotations

import datetime
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from aiopslab.models.app import App
from aiopslab.models.past_incident import PastIncident
from aiopslab.models.sighting import SeenJourney, Sighting
from aiopslab.models.timestamps import unix
from aiopslab.models.truth import FixStep, RootCause
from aiopslab.problems import catalogue, remedies, training
from aiopslab.problems.causes import definition
from aiopslab.seeds import Streams, derive
from aiopslab.services.catalogue import load_app

SEED = 2_403_04123
"""Draws dates, wording and which records are not to be trusted; no run uses it."""
UNRELIABLE = 0.15
"""Share of records that are stale or misleading: 10 to 20 % of each app's."""
DAY_S = 86_400
SYMPTOMS = 8
Reliability = Literal["sound", "stale", "misleading"]


@dataclass(frozen=True, slots=True)
class Case:
    """A draw that is written up: what was seen, and what was true or is believed."""

    app: App
    seen: Sighting
    component: str
    cause: str
    fix: Sequence[FixStep]
    reliability: Reliability = "sound"


@dataclass(frozen=True, slots=True)
class WrittenUp:
    """A record, and what only its maker knows of it."""

    record: PastIncident
    incident: str
    truth: RootCause
    reliability: Reliability


def corpus(sightings: Iterable[Sighting]) -> list[WrittenUp]:
    """Write up everything that was seen, oldest first; what the lab could not show is left out.

    Args:
        sightings: One a draw of a training incident.
    """
    by_app: dict[str, list[Case]] = {}
    truths: dict[tuple[str, int], RootCause] = {}
    for seen in sorted(sightings, key=lambda s: (s.incident, s.seed)):
        if not seen.shown:
            continue
        spec = catalogue.load_incident(seen.incident)
        app = load_app(spec.app)
        fault = training.faults(spec, seen.seed)[0]
        truth = truths[seen.incident, seen.seed] = fault.root_cause()
        case = Case(app, seen, truth.component, truth.cause, fault.fix())
        by_app.setdefault(app.name, []).append(case)
    made: list[WrittenUp] = []
    for name, cases in sorted(by_app.items()):
        streams = Streams(derive(SEED, "memory", name))
        for case in _spoiled(cases, streams("unreliable")):
            key = (case.seen.incident, case.seen.seed)
            record = _record(case, streams.scope(key[0], str(key[1]))("words"))
            made.append(WrittenUp(record, key[0], truths[key], case.reliability))
    return _numbered(made)


def _numbered(made: list[WrittenUp]) -> list[WrittenUp]:
    """Give ids in the order of dates, with gaps: most incidents of an organisation are not here."""
    stream = Streams(derive(SEED, "ids"))("gaps")
    number, found = 1000, []
    for one in sorted(made, key=lambda w: (w.record.date, w.record.app, w.record.title)):
        number += stream.randint(2, 40)
        found.append(replace(one, record=one.record.model_copy(update={"id": f"INC-{number}"})))
    return found


def _spoiled(cases: Sequence[Case], stream: random.Random) -> list[Case]:
    """Turn some cases into what is remembered wrongly, stale and misleading in turn."""
    wanted = round(UNRELIABLE * len(cases) + 1e-9)
    order = list(range(len(cases)))
    stream.shuffle(order)
    found = list(cases)
    done = 0
    for n in order:
        if done == wanted:
            break
        if done % 2 == 0:
            found[n] = replace(cases[n], reliability="stale")
        else:
            wrong = _misled(cases[n], cases, stream)
            if wrong is None:
                continue
            found[n] = wrong
        done += 1
    return found


def _misled(case: Case, among: Sequence[Case], stream: random.Random) -> Case | None:
    """Blame the loudest bystander for something that another incident of the app was."""
    others = _bystanders(case)
    causes = sorted({c.cause for c in among if c.component in c.app.services} - {case.cause})
    if not others or not causes:
        return None
    action = {"action": stream.choice(["restart", "undo"]), "kind": "Deployment"}
    fix = [FixStep(tool="k8s_rollout", arguments=action | {"name": others[0]})]
    cause = stream.choice(causes)
    return replace(case, component=others[0], cause=cause, fix=fix, reliability="misleading")


def _bystanders(case: Case) -> list[str]:
    """Name the services that alerts speak of and that were not the cause, the loudest first."""
    named = [alert.component for alert in case.seen.alerts]
    return [
        name
        for name in sorted(set(named), key=lambda n: (-named.count(n), n))
        if name in case.app.services and name != case.component
    ]


# -- one record -----------------------------------------------------------------------------------


def _record(case: Case, stream: random.Random) -> PastIncident:
    """Write one up; the id comes later."""
    age = stream.randint(365, 720) if case.reliability == "stale" else stream.randint(20, 720)
    at = unix(case.app.epoch) - age * DAY_S + stream.randint(0, DAY_S // 60) * 60
    minutes = round(case.seen.lasted_s / 60) + stream.randint(6, 45)
    record = PastIncident(
        id="INC-0",
        app=case.app.name,
        date=_utc(at).strftime("%Y-%m-%d"),
        title=_title(case, minutes, stream),
        summary=_summary(case, at, stream),
        symptoms=tuple(_symptoms(case.seen)),
        services=tuple(_touched(case)),
        component=case.component,
        cause=case.cause,
        resolution=_resolution(case, minutes, stream),
    )
    return _as_once_called(record, case, stream) if case.reliability == "stale" else record


def _title(case: Case, minutes: int, stream: random.Random) -> str:
    alerts, journeys = case.seen.alerts, case.seen.journeys
    choices = [f"{case.app.title}: trouble around {(_bystanders(case) or [case.component])[0]}"]
    if alerts:
        choices.append(f"{alerts[0].name} on {alerts[0].component or case.app.title}")
    if journeys:
        choices.append(f"{journeys[0].journey} degraded for {minutes} minutes")
    if alerts and journeys:
        choices.append(f"{journeys[0].journey} hurt, {alerts[-1].name} beside it")
    return stream.choice(choices[-2:])


def _summary(case: Case, at: float, stream: random.Random) -> str:
    seen, said = case.seen, []
    clock = _utc(at).strftime("%H:%M")
    if seen.alerts:
        first = seen.alerts[0].name
        said.append(stream.choice([
            f"{first} came in at {clock} UTC.", f"Paged at {clock} UTC for {first}.",
            f"It began at {clock} UTC with {first}.",
        ]))  # fmt: skip
    else:
        said.append(stream.choice([
            f"Reported by support at {clock} UTC, nothing had paged.",
            f"A customer wrote at {clock} UTC; no alert until then.",
        ]))  # fmt: skip
    said += [_users(journey, stream) for journey in seen.journeys[:2]]
    beside = [alert.summary for alert in seen.alerts[1:] if alert.summary]
    if beside:
        said.append(f"Dashboards: {stream.choice(beside)}.")
    others = _bystanders(case)
    if others:
        said.append(stream.choice([
            f"We looked at {others[0]} first, because it was the loudest.",
            f"{others[0]} looked worst, so that is where we began.",
            f"Lost some time on {others[0]}.",
        ]))  # fmt: skip
    ours = [event for event in seen.events if event.component == case.component]
    said += [f"{event.count} {event.reason} events on {event.component}." for event in ours[:1]]
    why = definition(case.cause)
    said.append(stream.choice([
        f"In the end it was {case.component}: {why}", f"Cause in {case.component}. {why}",
        f"What we found in {case.component}: {why}",
    ]))  # fmt: skip
    return " ".join(said)


def _users(journey: SeenJourney, stream: random.Random) -> str:
    """Say how users of a journey fared."""
    if journey.success is not None and journey.success < journey.promised_success:
        lost = f"{1.0 - journey.success:.0%}"
        return stream.choice([
            f"About {lost} of {journey.journey} requests failed.",
            f"Users of {journey.journey} got errors ({lost}).",
        ])  # fmt: skip
    if journey.p95_ms is not None and journey.p95_ms > journey.promised_p95_ms:
        return f"{journey.journey} took {journey.p95_ms:.0f} ms at p95."
    return f"Answers of {journey.journey} came later than we promise."


def _symptoms(seen: Sighting) -> list[str]:
    alerts = [f"{a.name} on {a.component}" if a.component else a.name for a in seen.alerts]
    events = [f"{event.reason} events on {event.component}" for event in seen.events[:3]]
    journeys = [f"journey {one.journey} outside its SLO" for one in seen.journeys]
    return list(dict.fromkeys([*journeys[:2], *alerts[: SYMPTOMS - 4], *events]))[:SYMPTOMS]


def _touched(case: Case) -> list[str]:
    return list(dict.fromkeys([case.component, *_bystanders(case)[:3]]))


def _resolution(case: Case, minutes: int, stream: random.Random) -> str:
    done = remedies.told(case.fix)
    after = stream.choice([
        f"Alerts cleared {minutes} minutes after the page.",
        f"Quiet again after {minutes} minutes.", f"All clear {minutes} minutes in; closed.",
    ])  # fmt: skip
    return f"{done} {after}"


_ONCE = (("-postgres", "-mysql"), ("-valkey", "-redis"), ("-nats", "-rabbitmq"))


def _as_once_called(record: PastIncident, case: Case, stream: random.Random) -> PastIncident:
    """Write the component's name as it was before it was renamed, everywhere."""
    name = case.component
    once = stream.choice([f"{name}-svc", f"{name}-service", f"{case.app.name}-{name}"])
    was = next((name.removesuffix(a) + b for a, b in _ONCE if name.endswith(a)), once)
    if name in {node.name for node in case.app.nodes}:
        was = f"vm-{name.rpartition('-')[2]}"
    word = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")

    def written(text: str) -> str:
        return word.sub(was, text)

    return record.model_copy(
        update={
            "title": written(record.title),
            "summary": written(record.summary),
            "symptoms": tuple(map(written, record.symptoms)),
            "services": tuple(map(written, record.services)),
            "component": was,
            "resolution": written(record.resolution),
        }
    )


def _utc(at: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at, datetime.UTC)


def unreliable(made: Iterable[WrittenUp]) -> list[WrittenUp]:
    """Return the records that are stale or misleading: known to the maker alone."""
    return [one for one in made if one.reliability != "sound"]
