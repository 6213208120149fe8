"""Cron schedules: the five-field grammar and the next time they name, in UTC.

Grammar as CronJob's (robfig/cron standard parser): ``*``, lists, ranges, steps, month and weekday
names, ``@hourly`` and its kin. Not here: what is run then (``cronjob``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aiopslab.models.timestamps import LATEST

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_TERM = re.compile(r"(\*|\?|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:/(\d+))?")
HORIZON_DAYS = 366 * 5
"""Beyond this a schedule is taken never to come (31 February)."""


class CronError(ValueError):
    """Text that is not a schedule."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The minutes that a schedule names."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """Sunday is 0."""
    any_day: bool
    """The day-of-month field is a star."""
    any_weekday: bool

    def after(self, time: float) -> float | None:
        """Return the first named minute later than a unix time, None if there is none in 5 years.

        A day matches if both day fields do; if neither is a star, either is enough.
        """
        if time > LATEST - (HORIZON_DAYS + 1) * 86_400.0:
            return None
        moment = datetime.fromtimestamp(time, UTC).replace(second=0, microsecond=0)
        moment += timedelta(minutes=1)
        end = moment + timedelta(days=HORIZON_DAYS)
        while moment < end:
            if moment.month not in self.months or not self._day(moment):
                moment = (moment + timedelta(days=1)).replace(hour=0, minute=0)
            elif moment.hour not in self.hours:
                moment = (moment + timedelta(hours=1)).replace(minute=0)
            elif moment.minute not in self.minutes:
                moment += timedelta(minutes=1)
            else:
                return moment.timestamp()
        return None

    def _day(self, moment: datetime) -> bool:
        by_date = moment.day in self.days
        by_weekday = moment.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_date and by_weekday
        return by_date or by_weekday


def parse(text: str) -> Schedule:
    """Parse a schedule.

    Raises:
        CronError: Not five fields, or a field names what does not exist.
    """
    fields = _MACROS.get(text.strip().lower(), text).lower().split()
    if len(fields) != 5:
        raise CronError(f"expected exactly 5 fields, found {len(fields)}: {fields}")
    minute, hour, day, month, weekday = fields
    weekdays = _field(weekday, 0, 7, {name: index for index, name in enumerate(_DAYS)})
    return Schedule(
        minutes=_field(minute, 0, 59),
        hours=_field(hour, 0, 23),
        days=_field(day, 1, 31),
        months=_field(month, 1, 12, {name: index for index, name in enumerate(_MONTHS, 1)}),
        weekdays=frozenset(item % 7 for item in weekdays),
        any_day=day[0] in "*?",
        any_weekday=weekday[0] in "*?",
    )


def _field(text: str, low: int, high: int, names: dict[str, int] | None = None) -> frozenset[int]:
    values: set[int] = set()
    for term in text.split(","):
        match = _TERM.fullmatch(term)
        if match is None:
            raise CronError(f"failed to parse {text!r}")
        star, first, last, step_text = match.groups()
        step = int(step_text) if step_text else 1
        if step == 0:
            raise CronError(f"step of range should be a positive number: {term}")
        if star in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first, names)
            # "5/15" means from 5 to the end, as "5-59/15".
            end = _number(last, names) if last else (high if step_text else start)
        if start < low or end > high or start > end:
            raise CronError(f"{term!r} is outside {low}-{high}")
        values.update(range(start, end + 1, step))
    return frozenset(values)


def _number(text: str, names: dict[str, int] | None) -> int:
    if text.isdecimal():
        return int(text)
    if names is None or text not in names:
        raise CronError(f"failed to parse int from {text}")
    return names[text]
