"""What the evidence cited for a diagnosis is worth: precision, coverage, claims without support.

Shares of lexical tests of single observations, which are ``citations``'. None of it gates.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopslab.grading import citations
from aiopslab.grading.components import names
from aiopslab.grading.dependency_graph import causal_path
from aiopslab.grading.floors import kinds_of
from aiopslab.models.answer import Hypothesis
from aiopslab.models.evidence import Evidence
from aiopslab.models.search_space import SearchSpace
from aiopslab.models.trial import Step
from aiopslab.models.truth import RootCause, Truth


def precision(shown: Sequence[Step], cited: int, truth: Truth) -> float | None:
    """Return the share of cited observations that were seen and carry a root cause's signal."""
    if truth.space is None or not truth.root_causes or not cited:
        return None
    tests = [_named(c) for c in truth.root_causes]
    signs = [_signs(kinds_of(c), truth.space) for c in truth.root_causes]
    carrying = [
        step
        for step in shown
        if any(citations.carries(step, k, s) for k, s in zip(tests, signs, strict=True))
    ]
    return len(carrying) / cited


def coverage(shown: Sequence[Step], truth: Truth, evidence: Evidence) -> float | None:
    """Return the share of the components from symptom to cause that any of these names.

    Overviews count only for the component that their call asked for. Unknown where no way is known
    to any root cause.
    """
    if truth.space is None:
        return None
    known: dict[str, list[str]] = {}
    for cause in truth.root_causes:
        for name in causal_path(truth.space, cause.component, evidence.handover) or []:
            known.setdefault(name, [name])
        if cause.component in known:
            known[cause.component] = _named(cause)
    if not known:
        return None
    apart = [
        step.model_copy(update={"text": ""})
        if citations.overview(step, truth.space.components)
        else step
        for step in shown
    ]
    named = [any(citations.names(step, said) for step in apart) for said in known.values()]
    return sum(named) / len(named)


def unsupported(shown: Sequence[Step], first: Hypothesis, truth: Truth) -> float | None:
    """Return the share of the first hypothesis' two claims that no cited observation supports.

    The component has to be named, and the cause's signal to be carried beside that name. Whether
    the hypothesis is right does not matter.
    """
    if truth.space is None:
        return None
    signs = _signs([first.cause], truth.space)
    place = any(citations.names(step, [first.component]) for step in shown)
    cause = any(citations.carries(step, [first.component], signs) for step in shown)
    return ((not place) + (not cause)) / 2


def _named(cause: RootCause) -> list[str]:
    """Return all names of where a root cause, or an accepted equal of it, is."""
    return [*names(cause), *(place for place, _ in cause.accepted)]


def _signs(kinds: Sequence[str], space: SearchSpace) -> set[str]:
    return {sign for kind in kinds for sign in citations.signs_of(kind, space.causes)}
