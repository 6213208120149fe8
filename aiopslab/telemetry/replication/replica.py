"""A copy of a store that grows elsewhere; it answers as the original does.

Not here: where parts come from (``environments.cluster.telemetry``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aiopslab.models.signal import Alert, Change, Event, StatusPost
from aiopslab.telemetry.columns import Array
from aiopslab.telemetry.replication.feed import LOG_COLUMNS, SPAN_COLUMNS, before
from aiopslab.telemetry.replication.parts import Cursor, Part, PartError
from aiopslab.telemetry.rules import GroupStatus, Health, Rule, RuleStatus, State
from aiopslab.telemetry.samples import Floats
from aiopslab.telemetry.store import Store

SEEN_WITHIN_S, SEEN_BEFORE_S = 60.0, 5.0
"""Seconds after, and because of clocks before, its time in which a change of one's own is seen."""


class CopiedRules:
    """The state of rules that are evaluated elsewhere: ``rules.RuleState``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._groups: list[tuple[GroupStatus, list[Rule]]] = []
        self._alerts: list[list[Alert]] = []
        self._errors: list[str] = []
        self._evaluated_at: float | None = None

    def define(self, groups: Sequence[Mapping[str, Any]]) -> None:
        """Set which rules there are."""
        self._groups = [
            (
                GroupStatus(g["name"], g["file"], g["interval_s"], (), None),
                [Rule.model_validate(rule) for rule in g["rules"]],
            )
            for g in groups
        ]
        count = sum(len(rules) for _, rules in self._groups)
        self._alerts, self._errors = [[] for _ in range(count)], [""] * count

    def bring(self, state: Mapping[str, Any]) -> None:
        """Set how they fared in their latest evaluation."""
        alerts = [[Alert.model_validate(a) for a in found] for found in state["alerts"]]
        if not len(alerts) == len(state["errors"]) == len(self._alerts):
            raise PartError("the part knows other rules")
        self._alerts, self._errors, self._evaluated_at = alerts, state["errors"], state["at"]

    def alerts(self, *, include_resolved: bool = False) -> list[Alert]:
        """Return firing and pending alerts by rule and labels, then resolved ones by time."""
        now = [alert for found in self._alerts for alert in found]
        if not include_resolved:
            return now
        return now + [a for _, a in self._store.alert_transitions() if a.state == "resolved"]

    def groups(self) -> list[GroupStatus]:
        """Return every group with the health and the state of its rules."""
        found, index = [], 0
        for group, rules in self._groups:
            states = [self._status(rule, index + i) for i, rule in enumerate(rules)]
            index += len(rules)
            found.append(
                GroupStatus(
                    group.name, group.file, group.interval_s, states, self._evaluated_at
                )
            )  # fmt: skip
        return found

    def _status(self, rule: Rule, index: int) -> RuleStatus:
        alerts, error = self._alerts[index], self._errors[index]
        health: Health = "err" if error else "ok"
        state: State = "pending" if alerts else "inactive"
        if any(alert.state == "firing" for alert in alerts):
            state = "firing"
        return RuleStatus(
            rule=rule,
            health="unknown" if self._evaluated_at is None else health,
            last_error=error,
            state=state,
            alerts=alerts,
            last_evaluation=self._evaluated_at,
        )


class Replica:
    """A store and its rules, kept by parts; beside it what its holder knows better.

    Who makes a change himself knows who it was, of which a watch tells little. Such changes take
    the place of what the original has of them.
    """

    def __init__(self) -> None:
        self.store = Store()
        self._observed: list[Change] = []
        self._own: list[Change] = []
        self.rules = CopiedRules(self.store)
        self.cursor = Cursor()
        """What it has."""

    def take(self, part: Part) -> None:
        """Take in the part that follows what is there.

        Raises:
            PartError: It follows something else, or does not fit together; the copy is of no use
                any more.
        """
        if part.after != self.cursor:
            raise PartError("the part does not follow what was taken")
        try:
            self._spans(part)
            self._logs(part)
            self._samples(part)
            self._records(part.header)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise PartError(f"the part does not fit together: {error}") from error
        self.cursor = part.cursor

    def know(self, change: Change) -> None:
        """Enter a change that the holder made, or knows of."""
        self._own.append(change)
        self.store.set_changes(merged(self._observed, self._own))

    def _spans(self, part: Part) -> None:
        header = part.header
        attributes = [tuple((k, v) for k, v in pairs) for pairs in header["span_attributes"]]
        columns = {name: part.arrays[f"spans.{name}"] for name in SPAN_COLUMNS}
        self.store.spans.extend(header["span_strings"], attributes, columns)

    def _logs(self, part: Part) -> None:
        header = part.header
        columns = {name: part.arrays[f"logs.{name}"] for name in LOG_COLUMNS}
        self.store.logs.extend(header["log_strings"], header["lines"], columns)

    def _samples(self, part: Part) -> None:
        table, first = self.store.samples, int(part.header["first_round"])
        table.add_series([tuple((k, v) for k, v in pairs) for pairs in part.header["series"]])
        last = before(table.values(), first)
        rounds = _rounds(part.arrays["samples.values"], last)
        table.extend(first, part.arrays["samples.times"], rounds)

    def _records(self, header: Mapping[str, Any]) -> None:
        store = self.store
        for event in header["events"]:
            store.event(Event.model_validate(event))
        if header["changes"]:
            self._observed += [Change.model_validate(change) for change in header["changes"]]
            store.set_changes(merged(self._observed, self._own))
        for post in header["posts"]:
            store.post(StatusPost.model_validate(post))
        for time, alert in header["alerts"]:
            store.alert(time, Alert.model_validate(alert))
        if "groups" in header:
            self.rules.define(header["groups"])
        if "rules" in header:
            self.rules.bring(header["rules"])


def merged(observed: Sequence[Change], own: Sequence[Change]) -> list[Change]:
    """Return the change log with one's own changes in the place of what was seen of them."""
    found = list(observed)
    for mine in own:
        place = next((i for i, seen in enumerate(found) if _is_of(seen, mine)), None)
        if place is not None:
            del found[place]
    return [*found, *own]


def _is_of(seen: Change, mine: Change) -> bool:
    """Whether something that was seen is what was done."""
    same = (seen.kind, seen.component, seen.summary) == (mine.kind, mine.component, mine.summary)
    return same and -SEEN_BEFORE_S <= seen.time - mine.time <= SEEN_WITHIN_S


def _rounds(changed: Array, last: Floats | None) -> Floats:
    """Return the rounds that ``feed.differences`` was made of."""
    bits = changed.copy()
    if last is not None and len(bits):
        bits[0] ^= last.view(np.uint64)
    rounds: Floats = np.bitwise_xor.accumulate(bits, axis=0).view(np.float64)
    return rounds
