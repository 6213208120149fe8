"""Label selectors and field selectors: parsing and matching.

The text grammar is that of ``kubectl -l``; the structured form is ``LabelSelector`` with
``matchLabels`` and ``matchExpressions``. Both become a tuple of :class:`Requirement`, all of
which must hold. Field selectors know a closed list of paths, as the API server's do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from aiopslab.world.kube.errors import bad_request
from aiopslab.world.kube.objects import Object, Objects, dig, labels_of

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels satisfy it. A missing label satisfies ``NotIn``."""
        if self.operator == "Exists":
            return self.key in labels
        if self.operator == "DoesNotExist":
            return self.key not in labels
        inside = labels.get(self.key) in self.values if self.key in labels else False
        return inside if self.operator == "In" else not inside


Selector = tuple[Requirement, ...]
"""All must hold; the empty selector matches everything."""


def matches(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether every requirement holds."""
    return all(requirement.matches(labels) for requirement in selector)


_TOKEN = re.compile(r"\s*(?:(!=|==|=|!|\(|\)|,)|([A-Za-z0-9][-A-Za-z0-9_./]*))")


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise bad_request(f"unable to parse requirement: found {text[at:].strip()[0]!r}")
        found.append(match[1] or match[2])
        at = match.end()
    return found


class _Parser:
    """Recursive descent over the tokens of one selector."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0

    def selector(self) -> Selector:
        result = []
        while self._peek():
            result.append(self._requirement())
            if self._peek():
                self._expect(",")
                if not self._peek():
                    raise self._wrong("identifier after ','")
        return tuple(result)

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._next()
            return Requirement(self._word(), "DoesNotExist")
        key = self._word()
        operator = self._peek()
        if operator in ("", ","):
            return Requirement(key, "Exists")
        self._next()
        if operator in ("=", "=="):
            return Requirement(key, "In", frozenset([self._value()]))
        if operator == "!=":
            return Requirement(key, "NotIn", frozenset([self._value()]))
        if operator in ("in", "notin"):
            return Requirement(key, "In" if operator == "in" else "NotIn", self._values())
        raise self._wrong("in, notin, =, ==, !=", found=operator)

    def _values(self) -> frozenset[str]:
        self._expect("(")
        values = {self._value()}
        while self._peek() == ",":
            self._next()
            values.add(self._value())
        self._expect(")")
        return frozenset(values)

    def _value(self) -> str:
        """Read a value; it may be empty, as in ``a=`` or ``a in (,b)``."""
        return "" if self._peek() in ("", ",", ")") else self._word()

    def _word(self) -> str:
        token = self._next()
        if not token or not (token[0].isalnum()):
            raise self._wrong("identifier", found=token)
        return token

    def _expect(self, token: str) -> None:
        found = self._next()
        if found != token:
            raise self._wrong(repr(token), found=found)

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _wrong(self, expected: str, *, found: str = "") -> Exception:
        return bad_request(f"unable to parse requirement: found {found!r}, expected: {expected}")


@lru_cache(maxsize=1024)
def parse_labels(text: str) -> Selector:
    """Parse ``app=web,tier!=db,env in (a,b),!old``.

    Raises:
        KubeError: 400 with the reason.
    """
    return _Parser(text).selector()


def from_labels(labels: Mapping[str, str]) -> Selector:
    """Return the selector of an equality map, as Services have it."""
    return tuple(Requirement(k, "In", frozenset([v])) for k, v in sorted(labels.items()))


def from_object(selector: Object | None) -> Selector:
    """Return the requirements of a ``LabelSelector`` object; None matches everything."""
    selector = selector or {}
    result = list(from_labels(selector.get("matchLabels") or {}))
    result.extend(
        Requirement(item["key"], item["operator"], frozenset(item.get("values") or ()))
        for item in selector.get("matchExpressions") or ()
    )
    return tuple(result)


def format_selector(selector: Object | None) -> str:
    """Print a ``LabelSelector`` object the way kubectl does; ``<none>`` if empty."""
    parts = []
    for requirement in from_object(selector):
        values = sorted(requirement.values)
        if requirement.operator == "Exists":
            parts.append(requirement.key)
        elif requirement.operator == "DoesNotExist":
            parts.append(f"!{requirement.key}")
        elif requirement.operator == "In" and len(values) == 1:
            parts.append(f"{requirement.key}={values[0]}")
        else:
            parts.append(f"{requirement.key} {requirement.operator.lower()} ({','.join(values)})")
    return ",".join(parts) or "<none>"


_COMMON_FIELDS = ("metadata.name", "metadata.namespace")
_KIND_FIELDS: dict[str, tuple[str, ...]] = {
    "Pod": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "Event": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "Node": ("spec.unschedulable",),
    "Namespace": ("status.phase",),
    "Secret": ("type",),
    "Job": ("status.successful",),
    "ReplicaSet": ("status.replicas",),
}


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One ``path=value`` or ``path!=value``."""

    path: tuple[str, ...]
    value: str
    equal: bool

    def matches(self, obj: Object) -> bool:
        """Whether the object's field, as text, is (or is not) the value."""
        found: Any = dig(obj, *self.path, default="")
        if self.path == ("source",):
            found = dig(obj, "source", "component", default="")
        text = str(found).lower() if isinstance(found, bool) else str(found)
        if self.path == ("spec", "unschedulable") and not text:
            text = "false"
        return (text == self.value) is self.equal


@lru_cache(maxsize=1024)
def parse_fields(text: str, kind: str) -> tuple[FieldTerm, ...]:
    """Parse ``status.phase=Running,spec.nodeName!=a``.

    Raises:
        KubeError: 400; the term is malformed or the kind has no such selectable field.
    """
    terms = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        path, equal, value = _split_term(part)
        if path not in _COMMON_FIELDS + _KIND_FIELDS.get(kind, ()):
            raise bad_request(f"field label not supported: {path}")
        terms.append(FieldTerm(tuple(path.split(".")), value, equal))
    return tuple(terms)


def select(objects: Objects, kind: str, labels: str, fields: str) -> Objects:
    """Return the objects that a label selector and a field selector (texts) both match.

    Raises:
        KubeError: 400, a selector cannot be read.
    """
    if labels:
        selector = parse_labels(labels)
        objects = [o for o in objects if matches(selector, labels_of(o))]
    if fields:
        terms = parse_fields(fields, kind)
        objects = [o for o in objects if all(term.matches(o) for term in terms)]
    return objects


def _split_term(part: str) -> tuple[str, bool, str]:
    for operator, equal in (("!=", False), ("==", True), ("=", True)):
        path, found, value = part.partition(operator)
        if found:
            return path.strip(), equal, value.strip()
    raise bad_request(f"invalid selector: {part!r}; can't understand {part!r}")
