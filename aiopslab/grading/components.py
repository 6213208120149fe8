"""When does a name that an agent wrote mean a component of the answer key?

Agents write ``rate``, ``Deployment/rate``, ``hotel/rate`` or the name of one of its pods; all mean
the same thing. Matching is on names alone: no distance, no similarity, nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from aiopslab.models.truth import RootCause

_KINDS = frozenset({
    "component", "service", "services", "svc", "deployment", "deployments", "deploy",
    "statefulset", "statefulsets", "sts", "replicaset", "replicasets", "rs", "daemonset", "ds",
    "pod", "pods", "po", "job", "jobs", "cronjob", "cronjobs", "cj", "node", "nodes", "no",
    "store", "database", "cache", "configmap", "cm", "secret", "container",
})  # fmt: skip
_QUOTES = "`'\""
# Kubernetes draws the random parts of pod names from an alphabet without vowels, 0, 1 and 3, so a
# replica's suffix is told from a component's own hyphenated word ("rate-postgres" is not "rate").
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
_POD_SUFFIX = re.compile(rf"-(?:{_SAFE}{{6,10}}(?:-{_SAFE}{{5}})?|\d{{1,3}})")


def normal(name: str) -> str:
    """Return a name without case, kind, namespace and DNS decorations.

    >>> normal("Deployment/Rate"), normal("rate.hotel.svc.cluster.local"), normal("rate service")
    ('rate', 'rate', 'rate')
    """
    text = name.strip().strip(_QUOTES).casefold()
    text = re.sub(r"\.[a-z0-9-]+\.svc(\.cluster\.local)?(:\d+)?$", "", text)
    parts = [part for part in (p.strip(_QUOTES) for p in re.split(r"[/\s]+", text)) if part]
    while len(parts) > 1 and parts[0] in _KINDS:
        parts = parts[1:]
    while len(parts) > 1 and parts[-1] in _KINDS:
        parts = parts[:-1]
    return parts[-1] if parts else ""


def names(cause: RootCause) -> list[str]:
    """List the names under which the component of a root cause is known."""
    return [cause.component, *cause.aliases]


def same_component(answer: str, known: Iterable[str]) -> bool:
    """Say whether an agent's name means one of the known names.

    Equal after normalisation, or the name of a pod of it: a ReplicaSet hash with or without the
    pod's suffix, or a StatefulSet ordinal.
    """
    said = normal(answer)
    if not said:
        return False
    for name in known:
        key = normal(name)
        if said == key:
            return True
        if key and said.startswith(key) and _POD_SUFFIX.fullmatch(said[len(key) :]):
            return True
    return False


def same_cause(answer: str, cause: str) -> bool:
    """Say whether two cause kinds are one, whatever the case and the word separator."""
    return _word(answer) == _word(cause)


def is_right(component: str, cause: str, truth: RootCause) -> bool:
    """Say whether a (component, cause) pair is the root cause or an accepted equal of it."""
    if same_component(component, names(truth)) and same_cause(cause, truth.cause):
        return True
    return any(
        same_component(component, _with_aliases(truth, accepted))
        and (kind == "*" or same_cause(cause, kind))
        for accepted, kind in truth.accepted
    )


def is_right_place(component: str, truth: RootCause) -> bool:
    """Say whether a component is where the root cause is, or an accepted equal of it."""
    accepted = [name for name, _ in truth.accepted]
    return same_component(component, [*names(truth), *accepted])


def _with_aliases(truth: RootCause, component: str) -> list[str]:
    """An accepted pair on the component itself may be named by its aliases too."""
    return names(truth) if normal(component) == normal(truth.component) else [component]


def _word(text: str) -> str:
    return text.strip().casefold().replace("-", "_").replace(" ", "_")
