"""The evaluator of rules: recorded series, and alerts with their states.

A recording rule's result is a series of its own. An alerting rule's expression gives a vector; each
of its series is an alert: pending while the expression has held for less than ``for``, then firing,
resolved when it holds no longer. Every firing or pending alert is also a series ``ALERTS``.
Not here: the files (``rule_files``), who evaluates when (``world.scrape``), notification.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from aiopslab.models.signal import Alert
from aiopslab.telemetry import annotations as templates
from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.promql import QueryError
from aiopslab.telemetry.rule_files import Rule, RuleGroup, load_rules
from aiopslab.telemetry.samples import NAME
from aiopslab.telemetry.store import Store

__all__ = ["EVALUATE_S", "GroupStatus", "Rule", "RuleEvaluator", "RuleGroup", "RuleState",
           "RuleStatus", "load_rules"]  # fmt: skip

EVALUATE_S = 30.0
"""Pace of all groups."""
State = Literal["inactive", "pending", "firing"]
Health = Literal["unknown", "ok", "err"]


@dataclass(frozen=True, slots=True)
class RuleStatus:
    """A rule and how it fared, as the rules API shows it."""

    rule: Rule
    health: Health
    last_error: str
    state: State
    """``inactive`` for recording rules too."""
    alerts: Sequence[Alert]
    """Pending and firing ones, by labels."""
    last_evaluation: float | None


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A group of rules and how it fared."""

    name: str
    file: str
    interval_s: float
    rules: Sequence[RuleStatus]
    last_evaluation: float | None


class RuleState(Protocol):
    """What is known of rules, whoever evaluates them."""

    def alerts(self, *, include_resolved: bool = False) -> list[Alert]:
        """Return firing and pending alerts by rule and labels, then resolved ones by time."""
        ...

    def groups(self) -> list[GroupStatus]:
        """Return every group with the health and the state of its rules."""
        ...


@dataclass(slots=True)
class _Active:
    """An alert that is pending or firing."""

    rule: Rule
    series: dict[str, str]
    value: float
    active_at: float
    fired_at: float | None = None
    kept_since: float | None = None
    """When it was first seen to hold no longer and fired on for ``keep_firing_for``."""

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


@dataclass(slots=True)
class _Standing:
    """One rule between two evaluations."""

    rule: Rule
    active: dict[Labels, _Active] = field(default_factory=dict)
    """By the labels of the series."""
    recorded: dict[int, float] = field(default_factory=dict)
    """By column of the sample table."""
    error: str = ""


class RuleEvaluator:
    """Evaluates rules over a store and remembers what is active.

    Args:
        store: Read for samples; gets recorded and ``ALERTS`` series and every change of state.
        groups: In the order of evaluation and of the list of alerts.
    """

    def __init__(self, store: Store, groups: Iterable[RuleGroup]) -> None:
        self._store = store
        self._groups = [(group, [_Standing(rule) for rule in group.rules]) for group in groups]
        self._resolved: list[Alert] = []
        self._evaluated_at: float | None = None

    def evaluate(self, now: float) -> None:
        """Bring all rules up to date; one that fails keeps its state and says why."""
        self._evaluated_at = now
        for standing in self._standing():
            try:
                if standing.rule.record:
                    self._record(standing, now)
                else:
                    self._alert(standing, now)
                standing.error = ""
            except QueryError as error:
                standing.error = str(error)
        self._expose()

    def alerts(self, *, include_resolved: bool = False) -> list[Alert]:
        """Return firing and pending alerts by rule and labels, then resolved ones by time."""
        now = [alert for standing in self._standing() for alert in _alerts(standing)]
        return now + self._resolved if include_resolved else now

    def groups(self) -> list[GroupStatus]:
        """Return every group with the health and the state of its rules."""
        return [
            GroupStatus(
                name=group.name,
                file=group.file,
                interval_s=EVALUATE_S,
                rules=[self._status(standing) for standing in rules],
                last_evaluation=self._evaluated_at,
            )
            for group, rules in self._groups
        ]

    def _standing(self) -> list[_Standing]:
        return [standing for _, rules in self._groups for standing in rules]

    def _status(self, standing: _Standing) -> RuleStatus:
        alerts = _alerts(standing)
        health: Health = "err" if standing.error else "ok"
        state: State = "pending" if alerts else "inactive"
        if any(alert.state == "firing" for alert in alerts):
            state = "firing"
        return RuleStatus(
            rule=standing.rule,
            health="unknown" if self._evaluated_at is None else health,
            last_error=standing.error,
            state=state,
            alerts=alerts,
            last_evaluation=self._evaluated_at,
        )

    def _held(self, rule: Rule, now: float) -> list[tuple[Labels, float]]:
        """Evaluate an expression; the metric name is left out.

        Raises:
            QueryError: The engine cannot evaluate it.
        """
        vector = self._store.promql.vector(rule.expr, now)
        return [
            (
                tuple(p for p in vector.labels.sets[row] if p[0] != NAME),
                float(vector.values[row, 0]),
            )
            for row in np.flatnonzero(vector.present[:, 0]).tolist()
        ]

    def _record(self, standing: _Standing, now: float) -> None:
        rule, samples = standing.rule, self._store.samples
        recorded: dict[int, float] = {}
        for labels, value in self._held(rule, now):
            merged = tuple(sorted({**dict(labels), **rule.labels}.items()))
            column = samples.column(rule.record, merged)
            if column in recorded:
                raise QueryError(
                    "vector contains metrics with the same labelset after applying rule labels"
                )
            recorded[column] = value
        standing.recorded = recorded
        # At once: rules that follow build on it.
        self._expose()

    def _alert(self, standing: _Standing, now: float) -> None:
        rule = standing.rule
        still: dict[Labels, _Active] = {}
        for key, value in self._held(rule, now):
            if key in still:
                raise QueryError(
                    "vector contains metrics with the same labelset after applying alert labels"
                )
            active = standing.active.get(key)
            if active is None:
                active = _Active(rule, dict(key), value, active_at=now)
                if rule.for_ > 0:
                    self._store.alert(now, active.alert())
            active.value, active.kept_since = value, None
            still[key] = active
            if active.fired_at is None and now - active.active_at >= rule.for_:
                active.fired_at = now
                self._store.alert(now, active.alert())
        for key, active in standing.active.items():
            if key not in still and self._stays(active, now):
                still[key] = active
        standing.active = still

    def _stays(self, active: _Active, now: float) -> bool:
        """Settle an alert whose expression holds no longer; tell whether it fires on."""
        if active.fired_at is None:
            return False  # it never fired: forgotten, as Prometheus does
        active.kept_since = now if active.kept_since is None else active.kept_since
        if now - active.kept_since < active.rule.keep_firing_for:
            return True
        resolved = active.alert(resolved_at=now)
        self._resolved.append(resolved)
        self._store.alert(now, resolved)
        return False

    def _expose(self) -> None:
        samples = self._store.samples
        columns: dict[int, float] = {}
        for standing in self._standing():
            columns.update(standing.recorded)
            for active in standing.active.values():
                state = "pending" if active.fired_at is None else "firing"
                labels = {**active.labels(), "alertname": active.rule.alert, "alertstate": state}
                columns[samples.column("ALERTS", tuple(sorted(labels.items())))] = 1.0
        samples.stand(columns)


def _alerts(standing: _Standing) -> list[Alert]:
    return [standing.active[key].alert() for key in sorted(standing.active)]
