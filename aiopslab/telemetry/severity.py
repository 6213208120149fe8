"""How grave a line is that only says so in its text: stores, jobs, last words of a process.

The ways of PostgreSQL, Valkey and NATS, then of ordinary loggers. What says nothing is ``INFO``, as
log collection has it. Not here: lines that come with a severity (``otlp.logs``).
"""

from __future__ import annotations

import re

_POSTGRES = re.compile(r"\[\d+\] (?:\S+ )?(FATAL|PANIC|ERROR|WARNING|[A-Z]+\d?):  ")
_VALKEY = re.compile(r"\d+:[MSCX] \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} ([.*#-]) ")
_NATS = re.compile(r"\[\d+\] \S+ \S+ \[(INF|WRN|ERR|FTL|DBG|TRC)\] ")
_FIELD = re.compile(
    r"[\"']?(?:level|severity|lvl)[\"']?\s*[=:]\s*[\"']?"
    r"(trace|debug|info|warn|warning|error|err|fatal|critical|panic)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\b(TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL|CRITICAL|PANIC)\b")
_HEAD = 120
"""Characters of a line in which a logger says how grave it is."""
_OF = {
    "FATAL": "FATAL", "PANIC": "FATAL", "CRITICAL": "FATAL", "FTL": "FATAL",
    "ERROR": "ERROR", "ERR": "ERROR",
    "WARNING": "WARN", "WARN": "WARN", "WRN": "WARN",
    "DEBUG": "DEBUG", "TRACE": "DEBUG", "DBG": "DEBUG", "TRC": "DEBUG",
    "#": "WARN", ".": "DEBUG",
}  # fmt: skip


def severity_of(line: str) -> str:
    """Return one of ``telemetry.logs.SEVERITIES``.

    >>> severity_of("2026-11-30 05:00:00.000 UTC [31] FATAL:  sorry, too many clients already")
    'FATAL'
    """
    for pattern in (_POSTGRES, _NATS):
        if match := pattern.search(line[:_HEAD]):
            return _OF.get(match[1], "INFO")
    if match := _VALKEY.match(line):
        return _OF.get(match[1], "INFO")
    if match := _FIELD.search(line) or _WORD.search(line[:_HEAD]):
        return _OF.get(match[1].upper(), "INFO")
    return "INFO"
