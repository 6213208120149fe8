"""What cited observations show, checked without a judge: they were seen, they name, they carry.

Three tests of text, all lexical: an observation *was seen* if it has its id and was made before the
answer; it *names* a component if a word of its text or its arguments means it (``components``); it
*carries* a cause's signal if a line that names the component has a distinctive word of the cause,
where the arguments of the call and a heading in capitals belong to every line. An *overview* names
most components, and so none in particular. Not here: what shares of that are worth (``evidence``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from aiopslab.grading.components import normal, same_component
from aiopslab.models.search_space import NamedCause
from aiopslab.models.trial import Step

COMMON = 0.08
"""A word that more than this share of all cause kinds has tells none of them apart."""
BREADTH = 0.5
HEADING = 3
"""Lines within which the heading of a table stands; before it is what was asked for."""
SYNONYMS = {
    "cache": "valkey redis",
    "cpu": "throttled",
    "error": "status failed exception",
    "laten": "duration",
    "memor": "oom",
    "queue": "stream",
    "relea": "rollout image",
    "repli": "ready",
    "scale": "replicas ready",
    "versi": "rollout image",
}
"""Stems of the catalogue to the words that telemetry has for them."""
_NAME = re.compile(r"[\w./-]+")
_PART = re.compile(r"[A-Z]?[a-z]{2,}|[A-Z]{2,}(?![a-z])")
_STEM = 5
_IDLE = frozenset(
    word
    for line in (
        "again all although another answer answers any application applies away back because",
        "before behind being below between both but can cannot count counts else end ends ever",
        "every far fewer first for free from get gets give gives giving had has have held its keep",
        "keeping keeps kind known left let lets longer look looks lost many more most name names",
        "need needed needs never new nobody none nothing off once one only other others out own",
        "part past place present provided rest same serve serves should side somebody something",
        "stand stands stay stays take takes than that the their them there they thing things this",
        "those though to together too two until use used uses was what when where which while who",
        "whole will with without work works wrong wrongly yet",
    )
    for word in line.split()
)
"""Words that say nothing of what is wrong, or that every answer of a tool has."""


def seen_before_answer(steps: Sequence[Step]) -> dict[str, Step]:
    """Return the observations that can have led to the answer, by id.

    ``submit`` is the last step that counts; without one, all of them do.
    """
    end = next((s.n for s in steps if s.effect == "submit" and s.ok), None)
    return {s.id: s for s in steps if s.effect != "submit" and (end is None or s.n < end)}


def names(step: Step, known: Collection[str]) -> bool:
    """Say whether any word of an observation or of its arguments names a component."""
    return _mentions(f"{step.text} {_said(step)}", known)


def overview(step: Step, components: Collection[str]) -> bool:
    """Say whether an observation names more than half of all components."""
    words = {word.strip("./-") for word in _NAME.findall(step.text)}
    return len(words.intersection(components)) > BREADTH * len(components)


def carries(step: Step, known: Collection[str], signs: Collection[str]) -> bool:
    """Say whether a line of an observation names a component and shows a sign of a cause.

    Args:
        step: The observation.
        known: Names of the component.
        signs: Stems, as ``signs_of`` returns them.
    """
    lines, said = step.text.splitlines(), _said(step)
    heading = next((line for line in lines[:HEADING] if line.isupper()), "")
    asked = " ".join(key for key, value in step.arguments.items() if value)
    named = _mentions(said, known)
    shown = not stems(f"{said} {asked} {heading}").isdisjoint(signs)
    if named and shown:
        return True
    return any(
        (shown or not stems(line).isdisjoint(signs)) and (named or _mentions(line, known))
        for line in lines
    )


def signs_of(cause: str, vocabulary: Mapping[str, NamedCause]) -> set[str]:
    """Return the stems of the words that tell a cause kind from most others.

    Those of its id and its definition which at most 8 % of all kinds have, common words left out;
    and what telemetry says for them.
    """
    words = {id: stems(f"{id} {kind.definition}") for id, kind in vocabulary.items()}
    having = Counter(word for found in words.values() for word in found)
    most = max(1.0, COMMON * len(vocabulary))
    own = {word for word in words.get(cause, set()) if having[word] <= most}
    return own | stems(" ".join(SYNONYMS[word] for word in own if word in SYNONYMS))


def stems(text: str) -> set[str]:
    """Return the first five letters of words of three or more that say something, in the singular.

    >>> sorted(stems("memory_leaks in targetPort, OOMKilled"))
    ['kille', 'leak', 'memor', 'oom', 'port', 'targe']
    """
    words = (part.casefold() for part in _PART.findall(text))
    kept = (w for w in words if len(w) > 2 and w not in _IDLE)
    return {(w.removesuffix("s") if len(w) > 3 else w)[:_STEM] for w in kept}


def _mentions(text: str, known: Collection[str]) -> bool:
    keys = [normal(name) for name in known]
    folded = text.casefold()
    # A word that means a component has its name in it; most lines have none, and are done with.
    if not any(key and key in folded for key in keys):
        return False
    words = {word.strip("./-") for word in _NAME.findall(text)}
    return any(same_component(word, known) for word in words)


def _said(step: Step) -> str:
    return " ".join(str(v) for v in step.arguments.values())
