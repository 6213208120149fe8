"""Parameters of the monitoring APIs: read from a URL and a form, as strings, times and durations.

Prometheus, Loki, Jaeger and Tempo each have their own grammar of time; all are here, because they
share their pitfalls: NaN, infinity, years no date can hold, digits without end. Beside the real
servers' forms, ``now`` and ``now-15m`` are understood everywhere, since a client's own clock need
not be the cluster's. Not here: which endpoint takes what (each API).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from datetime import datetime
from urllib.parse import parse_qsl

from starlette.requests import Request

from aiopslab.models.timestamps import rfc3339
from aiopslab.telemetry.promql.durations import UNITS_S

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 1000
"""Parameters of one request."""
MAX_NUMBER = 25
"""Characters of a number; what is longer is no time and no count."""
_YEAR_1 = -62135596800.0
_YEAR_10000 = 253402300800.0
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(ns|us|µs|ms|[ywdhms])", re.ASCII)
_WHOLE = re.compile(r"-?\d+", re.ASCII)


class BadParameter(ValueError):
    """A parameter is missing or cannot be read; the message names it."""


class Parameters:
    """What a request asks for; a form's values come before the URL's, as Go's servers read them."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    @classmethod
    async def of(cls, request: Request) -> Parameters:
        """Read a request.

        Raises:
            BadParameter: More than ``MAX_FIELDS``, or a form that is not UTF-8.
        """
        texts = [request.scope["query_string"].decode("latin-1")]
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method == "POST" and kind in ("", FORM):
            try:
                texts.insert(0, (await request.body()).decode("utf-8"))
            except UnicodeDecodeError as error:
                raise BadParameter("the form is not UTF-8") from error
        pairs = []
        for text in texts:
            try:
                pairs += parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
            except ValueError as error:
                raise BadParameter(f"more than {MAX_FIELDS} parameters") from error
        return cls(pairs)

    def get(self, name: str, default: str = "") -> str:
        """Return the first value; the default where there is none or it is empty."""
        return self._values.get(name, [""])[0] or default

    def all(self, *names: str) -> list[str]:
        """Return every value that is not empty, under any of the names."""
        return [value for name in names for value in self._values.get(name, []) if value]

    def required(self, name: str) -> str:
        """Return a value that must be there.

        Raises:
            BadParameter: It is missing.
        """
        value = self.get(name)
        if not value:
            raise BadParameter(f'parameter "{name}" is missing')
        return value

    def whole(self, name: str, default: int, *, most: int) -> int:
        """Return a count, at least 0; what is more than ``most`` is ``most``.

        Raises:
            BadParameter: Not a whole number, or a negative one.
        """
        text = self.get(name)
        if not text:
            return default
        if len(text) > MAX_NUMBER or not _WHOLE.fullmatch(text):
            raise BadParameter(f'invalid parameter "{name}": {brief(text)} is not a whole number')
        if int(text) < 0:
            raise BadParameter(f'invalid parameter "{name}": it must not be negative')
        return min(int(text), most)

    def flag(self, name: str, default: bool) -> bool:
        """Return a boolean in Go's spellings.

        Raises:
            BadParameter: Neither true nor false.
        """
        text = self.get(name).lower()
        if not text:
            return default
        if text in ("1", "t", "true"):
            return True
        if text in ("0", "f", "false"):
            return False
        raise BadParameter(f'invalid parameter "{name}": {brief(text)} is not a boolean')


def brief(text: str) -> str:
    """Quote a value for an error; of a long one, its beginning."""
    return f'"{text}"' if len(text) <= 100 else f'"{text[:100]}..."'


def seconds_or_date(text: str, now: float) -> float:
    """Read unix seconds or RFC 3339, as Prometheus does; or ``now-15m``.

    Raises:
        BadParameter: None of these.
    """
    moment = _common(text, now)
    if moment is None:
        moment = _number(text)
    if moment is None or not _YEAR_1 <= moment < _YEAR_10000:
        raise BadParameter(f"cannot parse {brief(text)} to a valid timestamp")
    return moment


def nanoseconds_or_date(text: str, now: float) -> float:
    """Read what Loki reads: nanoseconds, seconds (up to 10 digits or a fraction), RFC 3339.

    Raises:
        BadParameter: None of these.
    """
    moment = _common(text, now)
    if moment is None:
        moment = _number(text)
        if moment is not None and _WHOLE.fullmatch(text) and len(text) > 10:
            moment = int(text) / 10**9
    if moment is None or not _YEAR_1 <= moment < _YEAR_10000:
        raise BadParameter(f"cannot parse {brief(text)} to a valid timestamp")
    return moment


def duration(text: str) -> float:
    """Read seconds (``15``, ``0.5``) or a duration (``1h30m``, ``100ms``, ``1.5s``) as seconds.

    Raises:
        BadParameter: Neither.
    """
    number = _number(text)
    if number is not None:
        return number
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text)
    parts = _PART.findall(rest) if len(rest) <= 100 else []
    if not parts or "".join(n + u for n, u in parts) != rest:
        raise BadParameter(f"cannot parse {brief(text)} to a valid duration")
    return sign * math.fsum(float(n) * UNITS_S[u] for n, u in parts)


def trace_id(text: str) -> str:
    """Return a trace id as 32 lower-case hex digits.

    Raises:
        BadParameter: Not up to 32 hex digits.
    """
    if not 0 < len(text) <= 32 or not set(text.lower()) <= set("0123456789abcdef"):
        raise BadParameter(f"{brief(text)} is no trace ID: it has up to 32 hex digits")
    return text.lower().zfill(32)


def json_object(text: str) -> dict[str, str]:
    """Read a JSON object of strings; numbers and booleans are taken by their text.

    Raises:
        BadParameter: Not such an object.
    """
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadParameter(f"{brief(text)} is not JSON") from error
    if not isinstance(read, dict) or not all(
        isinstance(value, str | int | float) for value in read.values()
    ):
        raise BadParameter(f"{brief(text)} is not a JSON object of strings")
    return {key: v if isinstance(v, str) else json.dumps(v) for key, v in read.items()}


def skew(start: float, end: float, now: float) -> str:
    """Return a hint where a time range misses what the cluster's clock can have recorded.

    Clients that ask for "the last hour" by a clock of their own would otherwise see nothing and
    not know why. Empty where the range is plausible.
    """
    minute, day = 60.0, 86400.0
    if start > now + minute:
        far = f"begins {_span(start - now)} after it"
    elif end < now - day:
        far = f"ends {_span(now - end)} before it"
    else:
        return ""
    return (
        f"time difference between client and server: the server's clock is at {rfc3339(now)}, the"
        f" requested range {far}; give times by the server's clock, for instance now-1h"
    )


def _span(seconds: float) -> str:
    if seconds >= 2 * 86400.0:
        return f"{seconds / 86400.0:.0f} days"
    return f"{seconds / 60.0:.0f} minutes"


def _common(text: str, now: float) -> float | None:
    """Read RFC 3339 and times relative to now; None if it is neither."""
    if text == "now":
        return now
    if text.startswith(("now-", "now+")):
        return now + duration(text[4:]) * (1.0 if text[3] == "+" else -1.0)
    parts = _RFC3339.fullmatch(text)
    if parts is None:
        return None
    date, time, fraction, zone = parts.groups()
    try:
        # Offsets beyond a day and days beyond the month are for ``datetime`` to refuse.
        moment = datetime.fromisoformat(f"{date}T{time}{zone.upper().replace('Z', '+00:00')}")
        return moment.timestamp() + float(f"0.{fraction or 0}")
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> float | None:
    """Read a finite number; Python's underscores and its ``nan`` are none."""
    if len(text) > MAX_NUMBER or "_" in text or not text.isascii():
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
