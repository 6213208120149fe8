"""One service of an app: image, client policies, endpoints, releases with latent defects."""

from __future__ import annotations

from pydantic import Field

from aiopslab.models.base import Bytes, Model, Seconds
from aiopslab.models.queue import Consumer
from aiopslab.models.step import Role, Step, reach
from aiopslab.models.workload import Image, Language, Probe, Resources, Value


class Bug(Model):
    """A latent defect that a release carries or a flag wakes.

    One defect is set. ``only`` narrows those that act on requests: errors, latency, leaks.
    """

    only: dict[str, Value] = Field(default_factory=dict)
    """Request parameters that a request must carry, for instance ``{language: fr}``."""

    leak_bytes_per_request: Bytes | None = None
    """Memory never freed, per request."""
    cpu_factor: float | None = None
    """Every CPU step costs this many times as much."""
    n_plus_one: int | None = None
    """Every SQL step is repeated this many times."""
    error_rate: float | None = None
    """Share of requests that hit an unhandled exception."""
    connection_leak: float | None = None
    """Share of SQL steps that never give their pooled connection back."""
    latency_ms: float | None = None
    """Requests wait this long without need (mean; varies by a third)."""
    pause_ms: float | None = None
    """The runtime is made to collect garbage again and again: everything stands still so long."""
    pause_every_s: Seconds = 2.0
    """Time between two such pauses."""
    kept_per_key: Bytes | None = None
    """A cache inside the process without a bound keeps so many bytes per distinct ``key``."""
    key: str = ""
    """Template over request parameters: what that cache is keyed by."""
    lock_ms: float | None = None
    """Every request holds a lock of its process for so many milliseconds (mean), off the CPU."""
    deadlock_ms: float | None = None
    """Requests take two locks in either order, holding the first for so long before the second."""


class Release(Model):
    """A version of a service's image beside the deployed one."""

    changes: str
    """Line of the change log."""
    bug: Bug | None = None
    migration: list[str] = Field(default_factory=list)
    """SQL that the pipeline runs on the service's database before it rolls this version out."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Columns by the names that the deployed version uses, to what this one's statements say."""


class Background(Model):
    """Steps that run every ``every`` seconds in each replica."""

    name: str
    every: Seconds
    steps: list[Step]


class Service(Model):
    """One service of the app."""

    image: Image
    language: Language
    summary: str
    owner: str
    replicas: int = 1
    port: int = 8080
    resources: Resources = Field(default_factory=Resources)
    readiness: Probe | None = Field(
        default_factory=lambda: Probe(path="/readyz", initial_delay_s=4)
    )
    liveness: Probe | None = Field(
        default_factory=lambda: Probe(path="/healthz", initial_delay_s=20)
    )
    tls: bool = False
    """Serves mutual TLS on its port; needs ``tls`` of the app."""
    startup_s: float = 2.0
    """Virtual seconds from process start to listening."""
    memory_base: Bytes = 48 * 2**20
    memory_per_request: Bytes = 96 * 2**10
    """Held while a request is in flight."""
    workers: int = 64
    """Requests served at once; further ones queue."""
    queue: int = 128
    """Waiting requests; beyond it the service sheds with 503."""
    config: dict[str, Value] = Field(default_factory=dict)
    """ConfigMap ``<service>-config``: client policies and tunables, read at start."""
    env: dict[str, Value] = Field(default_factory=dict)
    """Plain environment of the container; hides a ConfigMap key of the same name."""
    uses: dict[Role, str] = Field(default_factory=dict)
    """Role to store name."""
    endpoints: dict[str, list[Step]] = Field(default_factory=dict)
    """``METHOD /path`` to steps."""
    consumers: dict[str, Consumer] = Field(default_factory=dict)
    """Work on messages of the queue, by name."""
    background: list[Background] = Field(default_factory=list)
    """Periodic work beside requests."""
    program: str | None = None
    """Name in ``services.programs`` of what the image runs; None: the program that interprets
    ``endpoints``. A named program serves the endpoints itself; they are listed without steps."""
    calls: list[str] = Field(default_factory=list)
    """Services that a named program calls."""
    grace_s: int = 30
    """Seconds from SIGTERM to SIGKILL: how long the longest request may still take."""
    node: str | None = None
    """The node its pods must run on, for a service tied to hardware."""
    releases: dict[str, Release] = Field(default_factory=dict)
    """Further versions that the registry holds."""

    def depends_on(self) -> list[str]:
        """Name the services and stores this service calls, sorted."""
        found: set[str] = {*self.uses.values(), *self.calls}
        for steps in self.work():
            found |= {call.split(" ", 1)[0] for call in reach(steps).calls}
        return sorted(found)

    def steps_at(self, place: str, key: str) -> list[Step]:
        """Return the steps of ``endpoints`` or ``consumers`` under a key; empty without it."""
        if place == "endpoints":
            return self.endpoints.get(key, [])
        consumer = self.consumers.get(key)
        return consumer.steps if consumer else []

    def work(self) -> list[list[Step]]:
        """Return the steps of every endpoint, consumer and background job."""
        return [
            *self.endpoints.values(),
            *(consumer.steps for consumer in self.consumers.values()),
            *(job.steps for job in self.background),
        ]
