"""Alert rules in Prometheus' file format, and the evaluator that keeps alerts' states.

A rule's expression gives a vector; each of its series is an alert: pending while the expression has
held for less than ``for``, then firing, resolved when it holds no longer. Every firing or pending
alert is also a series ``ALERTS``. Not here: who evaluates when (``world.scrape``), notification.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from aiopslab import content
from aiopslab.errors import ContentError
from aiopslab.models.base import Model, Seconds
from aiopslab.models.signal import Alert
from aiopslab.telemetry import annotations as templates
from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.promql import QueryError, parse
from aiopslab.telemetry.samples import NAME
from aiopslab.telemetry.store import Store


class Rule(Model):
    """One alerting rule."""

    alert: str
    expr: str
    for_: Seconds = Field(default=0.0, alias="for")
    """The expression must hold so long before the alert fires."""
    keep_firing_for: Seconds = 0.0
    """It fires so long after the expression held last."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Added to the series' labels; templates allowed."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """For people; templates allowed."""

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
        for text in texts.values():
            templates.check(text)
        return texts


class RuleGroup(Model):
    """Rules that belong together."""

    name: str
    interval: Seconds | None = None
    """Accepted for compatibility; all groups are evaluated at one pace."""
    rules: list[Rule]


class RuleFile(Model):
    """One file ``telemetry/rules/*.yaml``."""

    groups: list[RuleGroup]


def load_rules() -> list[Rule]:
    """Read all rule files, in order of name.

    Raises:
        ContentError: A file is malformed, or two rules have the same name.
    """
    rules: dict[str, Rule] = {}
    for path in content.files("telemetry", "rules/*.yaml"):
        for group in content.load_model(path, RuleFile).groups:
            for rule in group.rules:
                if rule.alert in rules:
                    raise ContentError(str(path), f"alert {rule.alert!r} is defined twice")
                rules[rule.alert] = rule
    return list(rules.values())


@dataclass(slots=True)
class _Active:
    """An alert that is pending or firing."""

    rule: Rule
    series: dict[str, str]
    value: float
    active_at: float
    held_at: float
    fired_at: float | None = None

    def labels(self) -> dict[str, str]:
        """Return the series' labels and the rule's."""
        own = {k: templates.render(t, self.series, self.value) for k, t in self.rule.labels.items()}
        return {**self.series, **own}

    def alert(self, resolved_at: float | None = None) -> Alert:
        """Return it as others see it."""
        state: Literal["pending", "firing", "resolved"] = "pending"
        if resolved_at is not None:
            state = "resolved"
        elif self.fired_at is not None:
            state = "firing"
        labels = self.labels()
        texts = self.rule.annotations
        return Alert(
            name=self.rule.alert,
            state=state,
            severity=labels.get("severity", ""),
            labels=dict(sorted(labels.items())),
            annotations={k: templates.render(t, labels, self.value) for k, t in texts.items()},
            active_at=self.active_at,
            fired_at=self.fired_at,
            resolved_at=resolved_at,
            value=self.value if np.isfinite(self.value) else None,
        )


class RuleEvaluator:
    """Evaluates alert rules over a store and remembers what is active.

    Args:
        store: Read for samples; gets ``ALERTS`` series and every change of state.
        rules: In the order in which alerts are listed.
    """

    def __init__(self, store: Store, rules: Iterable[Rule]) -> None:
        self._store = store
        self._rules = list(rules)
        self._active: dict[tuple[str, Labels], _Active] = {}
        self._resolved: list[Alert] = []

    def evaluate(self, now: float) -> None:
        """Bring all alerts up to date.

        Raises:
            QueryError: A rule asks for what the engine cannot do; names the rule.
        """
        still: dict[tuple[str, Labels], _Active] = {}
        for rule in self._rules:
            for key, series, value in self._held(rule, now):
                active = self._active.get(key)
                if active is None:
                    active = _Active(rule, series, value, active_at=now, held_at=now)
                    if rule.for_ > 0:
                        self._store.alert(now, active.alert())
                active.value, active.held_at = value, now
                still[key] = active
                if active.fired_at is None and now - active.active_at >= rule.for_:
                    active.fired_at = now
                    self._store.alert(now, active.alert())
        for key, active in self._active.items():
            if key not in still:
                self._left(key, active, still, now)
        self._active = still
        self._expose()

    def alerts(self, *, include_resolved: bool = False) -> list[Alert]:
        """Return firing and pending alerts by rule and labels, then resolved ones by time."""
        order = {rule.alert: i for i, rule in enumerate(self._rules)}
        keys = sorted(self._active, key=lambda key: (order[key[0]], key[1]))
        now = [self._active[key].alert() for key in keys]
        return now + self._resolved if include_resolved else now

    def _held(
        self, rule: Rule, now: float
    ) -> list[tuple[tuple[str, Labels], dict[str, str], float]]:
        try:
            vector = self._store.promql.vector(rule.expr, now)
        except QueryError as error:
            raise QueryError(f"alert {rule.alert!r}: {error}") from error
        found = []
        for row in np.flatnonzero(vector.present[:, 0]).tolist():
            labels = tuple(p for p in vector.labels.sets[row] if p[0] != NAME)
            found.append(((rule.alert, labels), dict(labels), float(vector.values[row, 0])))
        return found

    def _left(
        self,
        key: tuple[str, Labels],
        active: _Active,
        still: dict[tuple[str, Labels], _Active],
        now: float,
    ) -> None:
        """Settle an alert whose expression holds no longer."""
        if active.fired_at is None:
            return  # it never fired: forgotten, as Prometheus does
        if now - active.held_at < active.rule.keep_firing_for:
            still[key] = active
            return
        resolved = active.alert(resolved_at=now)
        self._resolved.append(resolved)
        self._store.alert(now, resolved)

    def _expose(self) -> None:
        samples = self._store.samples
        columns: dict[int, float] = {}
        for active in self._active.values():
            state = "pending" if active.fired_at is None else "firing"
            labels = {**active.labels(), "alertname": active.rule.alert, "alertstate": state}
            columns[samples.column("ALERTS", tuple(sorted(labels.items())))] = 1.0
        samples.stand(columns)
