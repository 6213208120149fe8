"""What a language's dialect must be able to say. The four languages are this module's neighbours.

Texts are those of the clients most used in each language (net/http and pgx; java.net.http and
pgjdbc; httpx and psycopg; undici and node-postgres), so that an engineer recognises them.
"""

from __future__ import annotations

import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from aiopslab.services.config import ConfigError
from aiopslab.services.protocols import NetError, SqlError

Level = str
"""DEBUG, INFO, WARN, ERROR or FATAL."""
Fields = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as the language's client reports it."""

    type: str
    """Class or code, as ``error.type`` of a span."""
    message: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A place in the service's own code: handler of a route, client of a target, ..."""

    module: str
    """For instance ``rates`` or ``db``."""
    function: str
    line: int


class Dialect(ABC):
    """How one service writes."""

    def __init__(self, service: str) -> None:
        self.service = service

    @abstractmethod
    def line(
        self, time: float, level: Level, message: str, fields: Fields, trace: str, span: str
    ) -> str:
        """Return one log record; ``trace`` and ``span`` are hex ids or empty."""

    @abstractmethod
    def stack(self, problem: Problem, frames: Sequence[Frame]) -> str:
        """Return the stack trace, innermost frame where the language puts it."""

    @abstractmethod
    def http_problem(self, error: NetError, method: str, url: str) -> Problem:
        """Say why an HTTP request got no answer."""

    @abstractmethod
    def sql_problem(self, error: NetError | SqlError, user: str, database: str) -> Problem:
        """Say why a statement failed."""

    @abstractmethod
    def cache_problem(self, error: Exception) -> Problem:
        """Say why a cache command failed."""

    @abstractmethod
    def queue_problem(self, error: Exception) -> Problem:
        """Say why the queue did not take or give a message."""

    @abstractmethod
    def config_problem(self, error: ConfigError) -> Problem:
        """Say which configuration key is wrong."""

    @abstractmethod
    def defect(self, route: str) -> Problem:
        """Return the unhandled error of a defective release."""

    def frame(self, module: str, words: str) -> Frame:
        """Name a place in the code: ``frame("geo_client", "get/nearby")``; the line is stable."""
        parts = [w for w in re.split(r"[^a-z0-9]+", words.lower()) if w]
        line = 20 + zlib.crc32(f"{module} {words}".encode()) % 180
        return Frame(module, self._function(parts), line)

    def _function(self, words: list[str]) -> str:
        return words[0] + "".join(word.capitalize() for word in words[1:])

    def failed(
        self,
        time: float,
        level: Level,
        message: str,
        problem: Problem,
        frames: Sequence[Frame],
        trace: str,
        span: str,
    ) -> str:
        """Return a log record of a failure with its stack trace below it."""
        text = self.line(time, level, message, {"error": problem.message}, trace, span)
        return f"{text}\n{self.stack(problem, frames)}"

    def fatal(self, time: float, problem: Problem, frames: Sequence[Frame]) -> str:
        """Return what the runtime prints when the process dies at start."""
        return self.failed(time, "FATAL", "startup failed", problem, frames, "", "")


def iso(time: float, separator: str = "T") -> str:
    """Write unix seconds as ``2026-03-10T09:00:00.123`` in UTC."""
    second, millisecond = divmod(round(time * 1000), 1000)
    return f"{_second(second, separator)}.{millisecond:03d}"


@lru_cache(maxsize=16)
def _second(time: int, separator: str) -> str:
    text = datetime.fromtimestamp(time, UTC).isoformat(sep=separator, timespec="seconds")
    return text.removesuffix("+00:00")


def camel(name: str) -> str:
    """Write ``room-rates`` as ``RoomRates``."""
    return "".join(part.capitalize() for part in name.replace("_", "-").split("-"))
