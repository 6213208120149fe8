"""Configuration of a service process: typed reading, and the keys a service expects.

A process reads its environment once, at start, the way real services do: a missing key or a value
of the wrong type ends it. ``settings`` lists what the manifests put into the ConfigMap of a
service. Not here: how Kubernetes merges ConfigMaps, Secrets and plain variables (the kubelet).

Keys beside those an app declares (``GEO`` stands for any service or partner called):

======================  ========  ==================================================================
key                     default   meaning
======================  ========  ==================================================================
``GEO_ADDR``            required  ``host:port`` of the service
``GEO_TIMEOUT_MS``      1000      deadline of one attempt; 0: none
``GEO_RETRIES``         1         further attempts after a failure that may pass
``GEO_BACKOFF_MS``      50        first pause; doubles, full jitter
``GEO_POOL_SIZE``       32        connections at most
``GEO_MAX_AGE_S``       30        connections older than this are replaced
``GEO_BREAKER_ERRORS``  0         failures in a row that open the breaker; 0: no breaker
``GEO_BREAKER_OPEN_MS`` 5000      pause before one request may try again
``DB_HOST`` ``DB_PORT`` required  address of the database
``DB_NAME``             required  database
``DB_USER`` ``DB_PASSWORD``       required; from the Secret ``<store>-<user>``
``DB_POOL_SIZE``        10        connections at most
``DB_POOL_MIN_IDLE``    0         connections held ready from the start; 0: made when needed
``DB_POOL_TIMEOUT_MS``  2000      longest wait for a free connection; 0: for ever
``DB_TIMEOUT_MS``       3000      longest statement; 0: no limit
``DB_SSLMODE``          disable   TLS to the database: ``disable prefer require``
``CACHE_ADDR``          required  ``host:port`` of the cache
``CACHE_PASSWORD``      empty     from the Secret
``CACHE_POOL_SIZE``     16        connections at most
``CACHE_TIMEOUT_MS``    250       deadline of one command
``WORKERS``             the app's requests served at once
``WORKER_QUEUE``        the app's requests that wait; beyond it the service sheds with 503
``QUEUE_ADDR``          required  ``host:port`` of the queue
``QUEUE_PASSWORD``      empty     from the Secret
``QUEUE_TIMEOUT_MS``    2000      longest wait for the server to have stored a message
``<C>_SUBJECT``         as said   filter of the consumer ``c``; empty: all of its stream
``<C>_CONCURRENCY``     4         messages worked on at once, by one process
``<C>_BATCH``           10        messages asked for at once
``<C>_ACK_WAIT_MS``     30000     the server gives a message out again after this long
``<C>_MAX_DELIVER``     5         deliveries at most; -1: for ever
``<C>_MAX_ACK_PENDING`` 1000      messages given out at most, to all processes together
``<C>_REDELIVER_MS``    empty     pauses before each further delivery: ``1000,5000,30000``
``<C>_NAK_DELAY_MS``    0         pause that a process asks for after failed steps
``<C>_PER_MINUTE``      0         messages begun in a minute at most, by one process; 0: no bound
``LOG_LEVEL``           info      ``debug info warn error``
``ACCESS_LOG_RATIO``    0.05      share of served requests with a line in the access log
``FLAGS_REFRESH_MS``    5000      pause between two looks at the feature flags; 0: only at start
``TLS_RELOAD_MS``       10000     pause between two looks at the certificate; 0: only at start
``TOKEN_KEY``           required  key of tokens, where any are used; Secret ``<app>-token``
``TOKEN_TTL_S``         30        how long a token is good
``TOKEN_LEEWAY_S``      5         how far clocks may differ
``SHUTDOWN_DELAY_MS``   3000      serve on after SIGTERM, until callers have noticed
``HEALTH_ON_WORKERS``   false     answer ``/healthz`` from the worker pool
======================  ========  ==================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from aiopslab.models.app import App
from aiopslab.models.step import reach

UNLIMITED_S = 86_400.0
"""What a deadline of 0 means: longer than anything waits here."""
LANES = 10_000
"""Messages or rounds that one process can work on at once; more would not fit its memory."""
T = TypeVar("T", bound=str)
CONFIG_DIR = "/etc/config"
"""Where a named program (``services.programs``) finds its ConfigMap as files."""


class ConfigError(Exception):
    """A key is missing or has a value of the wrong type; ends the process.

    Args:
        key: The key.
        value: What it holds; None when it is missing.
        expected: ``a value``, ``an integer``, ``a number``, ``true or false``, ``host:port``.
    """

    def __init__(self, key: str, value: str | None, expected: str) -> None:
        super().__init__(f"{key}: expected {expected}, got {value!r}")
        self.key = key
        self.value = value
        self.expected = expected


class Config:
    """Typed access to an environment; every method raises ConfigError."""

    __slots__ = ("_env",)

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def text(self, key: str, default: str | None = None) -> str:
        """Return a value as it is; without a default the key is required."""
        value = self._env.get(key, default)
        if value is None:
            raise ConfigError(key, None, "a value")
        return value

    def integer(
        self, key: str, default: int | None = None, *, least: int = 0, most: int | None = None
    ) -> int:
        """Return a whole number from ``least`` to ``most``."""
        value = self.text(key, None if default is None else str(default))
        try:
            number = int(value)
        except ValueError:
            raise ConfigError(key, value, "an integer") from None
        if number < least:
            raise ConfigError(key, value, f"an integer >= {least}")
        if most is not None and number > most:
            raise ConfigError(key, value, f"an integer <= {most}")
        return number

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number that is not negative."""
        value = self.text(key, None if default is None else str(default))
        try:
            number = float(value)
        except ValueError:
            raise ConfigError(key, value, "a number") from None
        if not 0.0 <= number < float("inf"):
            raise ConfigError(key, value, "a number >= 0")
        return number

    def numbers(self, key: str) -> list[float]:
        """Return numbers separated by commas; none where the key is missing or empty."""
        value = self.text(key, "")
        try:
            numbers = [float(part) for part in value.split(",") if part.strip()]
        except ValueError:
            raise ConfigError(key, value, "numbers separated by commas") from None
        if any(not 0.0 <= number < float("inf") for number in numbers):
            raise ConfigError(key, value, "numbers >= 0")
        return numbers

    def seconds(self, key: str, default_ms: float) -> float:
        """Return a value given in milliseconds as seconds."""
        return self.number(key, default_ms) / 1000.0

    def deadline(self, key: str, default_ms: float) -> float:
        """Return a deadline in seconds; 0 is none, as most clients have it."""
        return self.seconds(key, default_ms) or UNLIMITED_S

    def boolean(self, key: str, default: bool) -> bool:
        """Return ``true`` or ``false``."""
        value = self.text(key, str(default)).lower()
        if value not in ("true", "false"):
            raise ConfigError(key, value, "true or false")
        return value == "true"

    def choice(self, key: str, default: T, allowed: Sequence[T]) -> T:
        """Return one of the words that are allowed."""
        value = self.text(key, default)
        for word in allowed:
            if word == value:
                return word
        raise ConfigError(key, value, f"one of {', '.join(allowed)}")

    def address(self, key: str) -> tuple[str, int]:
        """Return a required ``host:port``."""
        value = self.text(key)
        host, _, port = value.rpartition(":")
        if not host or not re.fullmatch(r"[0-9]{1,5}", port):
            raise ConfigError(key, value, "host:port")
        return host, int(port)


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """How a service calls one target."""

    host: str
    port: int
    timeout_s: float
    retries: int
    backoff_s: float
    pool: int
    max_age_s: float
    breaker_errors: int
    breaker_open_s: float

    @classmethod
    def read(cls, config: Config, target: str) -> ClientPolicy:
        """Read the policy for a target; raises ConfigError."""
        key = prefix(target)
        host, port = config.address(f"{key}_ADDR")
        return cls(
            host=host,
            port=port,
            timeout_s=config.deadline(f"{key}_TIMEOUT_MS", 1000),
            retries=config.integer(f"{key}_RETRIES", 1),
            backoff_s=config.seconds(f"{key}_BACKOFF_MS", 50),
            pool=config.integer(f"{key}_POOL_SIZE", 32, least=1),
            max_age_s=config.number(f"{key}_MAX_AGE_S", 30),
            breaker_errors=config.integer(f"{key}_BREAKER_ERRORS", 0),
            breaker_open_s=config.seconds(f"{key}_BREAKER_OPEN_MS", 5000),
        )


@dataclass(frozen=True, slots=True)
class ConsumerPolicy:
    """How a service works on the messages of one consumer."""

    subject: str
    concurrency: int
    batch: int
    ack_wait_s: float
    max_deliver: int
    max_ack_pending: int
    backoff_s: tuple[float, ...]
    nak_delay_s: float
    pause_s: float
    """From the begin of one message to the begin of the next, at least."""

    @classmethod
    def read(cls, config: Config, name: str) -> ConsumerPolicy:
        """Read the policy of a consumer; raises ConfigError."""
        key = prefix(name)
        per_minute = config.number(f"{key}_PER_MINUTE", 0)
        return cls(
            subject=config.text(f"{key}_SUBJECT", ""),
            concurrency=config.integer(f"{key}_CONCURRENCY", 4, least=1, most=LANES),
            batch=config.integer(f"{key}_BATCH", 10, least=1),
            ack_wait_s=config.seconds(f"{key}_ACK_WAIT_MS", 30_000),
            max_deliver=config.integer(f"{key}_MAX_DELIVER", 5, least=-1),
            max_ack_pending=config.integer(f"{key}_MAX_ACK_PENDING", 1000, least=1),
            backoff_s=tuple(ms / 1000.0 for ms in config.numbers(f"{key}_REDELIVER_MS")),
            nak_delay_s=config.seconds(f"{key}_NAK_DELAY_MS", 0),
            pause_s=60.0 / per_minute if per_minute else 0.0,
        )


def prefix(component: str) -> str:
    """Return the prefix of the keys of a component.

    >>> prefix("search-index")
    'SEARCH_INDEX'
    """
    return component.upper().replace("-", "_")


def targets(app: App, name: str) -> list[str]:
    """Name the services and outside parties that a service calls, its jobs included; sorted."""
    lists = [*app.services[name].work(), *(j.steps for j in app.jobs.values() if j.service == name)]
    calls = {call for steps in lists for call in reach(steps).calls}
    return sorted({*(call.split(" ", 1)[0] for call in calls), *app.services[name].calls})


def settings(app: App, name: str) -> dict[str, str]:
    """Return the ConfigMap data of a service: addresses, then what the app declares."""
    service = app.services[name]
    data = {f"{prefix(t)}_ADDR": address(app, t) for t in targets(app, name)}
    if db := service.uses.get("db"):
        store = app.stores[db]
        data |= {"DB_HOST": db, "DB_PORT": str(store.port), "DB_NAME": store.database}
    if cache := service.uses.get("cache"):
        data["CACHE_ADDR"] = f"{cache}:{app.stores[cache].port}"
    if queue := service.uses.get("queue"):
        data["QUEUE_ADDR"] = f"{queue}:{app.stores[queue].port}"
    for key, consumer in service.consumers.items():
        data[f"{prefix(key)}_SUBJECT"] = consumer.subject
    return data | {key: as_text(value) for key, value in service.config.items()}


def address(app: App, target: str) -> str:
    """Return ``host:port`` of a service or of a party outside."""
    external = app.externals.get(target)
    if external is not None:
        return f"{external.host}:{external.port}"
    return f"{target}:{app.services[target].port}"


def as_text(value: str | int | float | bool) -> str:
    """Write a literal as an environment variable holds it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
