"""Rule files in Prometheus' format: ``telemetry/rules/*.yaml``.

A file holds groups; a group holds rules; a rule either records a series or alerts. What Prometheus
refuses in a file is refused here in its words. Not here: evaluation (``rules``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from pydantic import Field, field_validator, model_validator

from aiopslab import content
from aiopslab.errors import ContentError
from aiopslab.models.base import Model, Seconds
from aiopslab.telemetry import annotations as templates
from aiopslab.telemetry.promql import QueryError, parse

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Rule(Model):
    """One rule: exactly one of ``alert`` and ``record`` is set."""

    alert: str = ""
    """Name of the alert."""
    record: str = ""
    """Name of the series that keeps the result."""
    expr: str
    for_: Seconds = Field(default=0.0, alias="for")
    """The expression must hold so long before the alert fires."""
    keep_firing_for: Seconds = 0.0
    """It fires so long after the first evaluation at which the expression held no longer."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Added to the series' labels; templates allowed in alerts."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """For people; templates allowed."""

    @property
    def name(self) -> str:
        """The alert or the recorded series."""
        return self.alert or self.record

    @property
    def kind(self) -> Literal["alerting", "recording"]:
        """What the rule does with its result, in the words of the rules API."""
        return "alerting" if self.alert else "recording"

    @field_validator("expr")
    @classmethod
    def _parses(cls, expr: str) -> str:
        try:
            parse(expr)
        except QueryError as error:
            raise ValueError(str(error)) from error
        return expr

    @field_validator("labels", "annotations")
    @classmethod
    def _renders(cls, texts: dict[str, str]) -> dict[str, str]:
        for name, text in texts.items():
            if not _LABEL_NAME.fullmatch(name) or name == "__name__":
                raise ValueError(f"invalid label name: {name}")
            templates.check(text)
        return texts

    @model_validator(mode="after")
    def _is_one_kind(self) -> Rule:
        if bool(self.alert) == bool(self.record):
            raise ValueError("exactly one of 'record' and 'alert' must be set")
        if self.record:
            for field, value in (
                ("for", self.for_),
                ("keep_firing_for", self.keep_firing_for),
                ("annotations", self.annotations),
            ):
                if value:
                    raise ValueError(f"invalid field {field!r} in recording rule")
            if not _METRIC_NAME.fullmatch(self.record):
                raise ValueError(f"invalid recording rule name: {self.record}")
        return self


class RuleGroup(Model):
    """Rules that are evaluated one after the other."""

    name: str
    file: str = ""
    """Where it was read, as ``rules/app.yaml``; set by the loader."""
    interval: Seconds | None = None
    """Accepted for compatibility; all groups are evaluated at one pace."""
    rules: list[Rule]


class RuleFile(Model):
    """One file ``telemetry/rules/*.yaml``."""

    groups: list[RuleGroup]


def load_rules(entries: Iterable[str] = ()) -> list[RuleGroup]:
    """Read all rule files, in order of name.

    Args:
        entries: Services that users reach; they replace ``$entries`` as a regular expression.

    Raises:
        ContentError: A file is malformed, or two alerts have the same name.
    """
    edge = "|".join(sorted(set(entries)))
    groups: list[RuleGroup] = []
    alerts: set[str] = set()
    for path in content.files("telemetry", "rules/*.yaml"):
        for group in content.load_model(path, RuleFile).groups:
            for rule in group.rules:
                # Prometheus allows it; but an incident names the alert it expects.
                if rule.alert and rule.alert in alerts:
                    raise ContentError(str(path), f"alert {rule.alert!r} is defined twice")
                alerts.add(rule.alert)
            rules = [_at_the_edge(rule, edge) for rule in group.rules]
            groups.append(group.model_copy(update={"file": f"rules/{path.name}", "rules": rules}))
    return groups


def _at_the_edge(rule: Rule, entries: str) -> Rule:
    return rule.model_copy(update={"expr": rule.expr.replace("$entries", entries)})
