"""The log of one process: level filter, the language's style, trace ids on every line.

Not here: where lines go (``Telemetry.log``), how a language words them (``languages``).
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopslab.services.config import Config, ConfigError
from aiopslab.services.exchange import Exchange
from aiopslab.services.languages import Dialect, Frame, Problem
from aiopslab.services.languages.dialect import Fields
from aiopslab.services.protocols import Clock, Telemetry

_RANK = {"DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 40, "FATAL": 50}
_LEVELS = {"debug": "DEBUG", "info": "INFO", "warn": "WARN", "error": "ERROR"}


class Journal:
    """Writes log lines of one process."""

    def __init__(self, dialect: Dialect, clock: Clock, telemetry: Telemetry) -> None:
        self._dialect = dialect
        self._clock = clock
        self._telemetry = telemetry
        self._rank = _RANK["INFO"]

    def configure(self, config: Config) -> None:
        """Read ``LOG_LEVEL``; raises ConfigError."""
        name = config.text("LOG_LEVEL", "info")
        if name not in _LEVELS:
            raise ConfigError("LOG_LEVEL", name, "one of debug, info, warn, error")
        self._rank = _RANK[_LEVELS[name]]

    def enabled(self, level: str) -> bool:
        """Say whether a level is written."""
        return _RANK[level] >= self._rank

    def write(
        self, level: str, message: str, fields: Fields | None = None, x: Exchange | None = None
    ) -> None:
        """Write a line, if its level is enabled."""
        if _RANK[level] < self._rank:
            return
        trace, span = _ids(x)
        line = self._dialect.line(self._clock.now(), level, message, fields or {}, trace, span)
        self._emit(line, level, x)

    def failure(
        self,
        level: str,
        message: str,
        problem: Problem,
        frames: Sequence[Frame],
        x: Exchange | None = None,
    ) -> None:
        """Write a line with its stack trace."""
        if _RANK[level] < self._rank:
            return
        trace, span = _ids(x)
        now = self._clock.now()
        line = self._dialect.failed(now, level, message, problem, frames, trace, span)
        self._emit(line, level, x)

    def fatal(self, problem: Problem, frames: Sequence[Frame]) -> None:
        """Write the last words of a process that cannot start."""
        self._emit(self._dialect.fatal(self._clock.now(), problem, frames), "FATAL", None)

    def _emit(self, line: str, level: str, x: Exchange | None) -> None:
        if x is None:
            self._telemetry.log(line, level, 0, 0)
        else:
            self._telemetry.log(line, level, x.trace_id, x.span_id)


def _ids(x: Exchange | None) -> tuple[str, str]:
    return ("", "") if x is None else (f"{x.trace_id:032x}", f"{x.span_id:016x}")
