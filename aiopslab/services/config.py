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
``GEO_BREAKER_ERRORS``  0         failures in a row that open the breaker; 0: no breaker
``GEO_BREAKER_OPEN_MS`` 5000      pause before one request may try again
``DB_HOST`` ``DB_PORT`` required  address of the database
``DB_NAME``             required  database
``DB_USER`` ``DB_PASSWORD``       required; from the Secret ``<store>-<user>``
``DB_POOL_SIZE``        10        connections at most
``DB_POOL_TIMEOUT_MS``  2000      longest wait for a free connection; 0: for ever
``DB_TIMEOUT_MS``       3000      longest statement; 0: no limit
``CACHE_ADDR``          required  ``host:port`` of the cache
``CACHE_PASSWORD``      empty     from the Secret
``CACHE_POOL_SIZE``     16        connections at most
``CACHE_TIMEOUT_MS``    250       deadline of one command
``WORKERS``             the app's requests served at once
``WORKER_QUEUE``        the app's requests that wait; beyond it the service sheds with 503
``LOG_LEVEL``           info      ``debug info warn error``
``ACCESS_LOG_RATIO``    0.05      share of served requests with a line in the access log
``FLAGS_REFRESH_MS``    5000      pause between two looks at the feature flags
``SHUTDOWN_DELAY_MS``   3000      serve on after SIGTERM, until callers have noticed
``HEALTH_ON_WORKERS``   false     answer ``/healthz`` from the worker pool
======================  ========  ==================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiopslab.models.app import App
from aiopslab.models.service import Service
from aiopslab.models.step import CallStep, Step
from aiopslab.services.walk import walk

UNLIMITED_S = 86_400.0
"""What a deadline of 0 means: longer than anything waits here."""


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

    def integer(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        """Return a whole number of at least ``least``."""
        value = self.text(key, None if default is None else str(default))
        try:
            number = int(value)
        except ValueError:
            raise ConfigError(key, value, "an integer") from None
        if number < least:
            raise ConfigError(key, value, f"an integer >= {least}")
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

    def address(self, key: str) -> tuple[str, int]:
        """Return a required ``host:port``."""
        value = self.text(key)
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit():
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
            breaker_errors=config.integer(f"{key}_BREAKER_ERRORS", 0),
            breaker_open_s=config.seconds(f"{key}_BREAKER_OPEN_MS", 5000),
        )


def prefix(component: str) -> str:
    """Return the prefix of the keys of a component.

    >>> prefix("search-index")
    'SEARCH_INDEX'
    """
    return component.upper().replace("-", "_")


def steps_of(service: Service) -> list[Step]:
    """Return the top-level steps of all endpoints and background jobs."""
    lists = [*service.endpoints.values(), *(job.steps for job in service.background)]
    return [step for steps in lists for step in steps]


def targets(service: Service) -> list[str]:
    """Name the services and outside parties that a service calls, sorted."""
    calls = {s.call.split(" ", 1)[0] for s in walk(steps_of(service)) if isinstance(s, CallStep)}
    return sorted(calls)


def settings(app: App, name: str) -> dict[str, str]:
    """Return the ConfigMap data of a service: addresses, then what the app declares."""
    service = app.services[name]
    data = {f"{prefix(t)}_ADDR": address(app, t) for t in targets(service)}
    if db := service.uses.get("db"):
        store = app.stores[db]
        data |= {"DB_HOST": db, "DB_PORT": str(store.port), "DB_NAME": store.database}
    if cache := service.uses.get("cache"):
        data["CACHE_ADDR"] = f"{cache}:{app.stores[cache].port}"
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
