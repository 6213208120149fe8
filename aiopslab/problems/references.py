"""What an incident file mentions has to exist: journeys, alerts, queries, distractors' parameters.

A gate that waits for a misspelt alert never opens, and a misspelt parameter changes nothing; either
would be seen only once the incident has been staged, if at all. Not here: the schema
(``models.incident``), targets and selectors (``draw``, ``selectors``), faults' own parameters
(``faults.registry``).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from aiopslab import content
from aiopslab.errors import UsageError
from aiopslab.models.app import App
from aiopslab.models.incident import IncidentSpec, SymptomClause
from aiopslab.problems import distractors
from aiopslab.telemetry.promql.parsing import parse
from aiopslab.telemetry.promql.values import ParseError
from aiopslab.telemetry.rule_files import load_rules


def check(spec: IncidentSpec, app: App) -> None:
    """Look everything up that a file mentions.

    Raises:
        UsageError: The first that does not exist, with near names.
    """
    for clause in spec.symptom.clauses if spec.symptom is not None else []:
        _clause(clause, app)
    for use in spec.distractors:
        takes = distractors.find(use.kind).takes
        for name, value in use.params.items():
            what = f"distractor {use.kind!r}: "
            _known(f"{what}parameter", name, takes)
            if not _is_a(value, takes[name]):
                raise UsageError(f"{what}{name}: {value!r} is no {takes[name].__name__}")
            if name == "journey":
                _known(f"{what}journey", value, app.journeys)


def _clause(clause: SymptomClause, app: App) -> None:
    if clause.alert is not None:
        _known("symptom: alert", clause.alert, _alerts())
    if clause.sli is not None:
        _known("symptom: journey", clause.sli.journey, app.slos)
    if clause.promql is not None:
        try:
            parse(clause.promql)
        except ParseError as error:
            raise UsageError(f"symptom: {clause.promql!r} is no PromQL: {error}") from error


def _known(what: str, name: str, known: Iterable[str]) -> None:
    names = sorted(known)
    if name not in names:
        hint = content.near(name, names) or f"known: {', '.join(names) or 'none'}"
        raise UsageError(f"{what} {name!r} does not exist", hint=hint)


def _is_a(value: object, wanted: type) -> bool:
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, int | float if wanted is float else wanted)


def _alerts() -> frozenset[str]:
    paths = content.files("telemetry", "rules/*.yaml")
    return _alerts_of(tuple((str(path), content.edition(path)) for path in paths))


@cache
def _alerts_of(_files: tuple[tuple[str, tuple[int, int]], ...]) -> frozenset[str]:
    # Reading the rules takes longer than drawing an incident.
    return frozenset(rule.alert for group in load_rules() for rule in group.rules if rule.alert)
