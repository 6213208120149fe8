"""An application: services, stores, journeys, SLOs, intent, docs (``services/<app>/app.yaml``).

This is the single source from which Kubernetes manifests are rendered and which the app program
interprets. Not here: how a step runs (``services``), how a manifest looks (``services.manifests``).
"""

from __future__ import annotations

import itertools
from typing import Any, Literal

from pydantic import Field, model_validator

from aiopslab.models.base import Bytes, Model, Seconds

Language = Literal["go", "java", "python", "node"]
Value = str | int | float | bool
"""A literal, or a template: ``$KEY`` reads configuration, ``{name}`` a request parameter."""


class Image(Model):
    """An image reference; the registry of the world knows the version and the releases."""

    name: str
    version: str

    @property
    def ref(self) -> str:
        """``name:version``."""
        return f"{self.name}:{self.version}"


class Resources(Model):
    """Requests and limits, as Kubernetes quantities."""

    requests: dict[Literal["cpu", "memory"], str] = Field(default_factory=dict)
    limits: dict[Literal["cpu", "memory"], str] = Field(default_factory=dict)


class Probe(Model):
    """An HTTP or TCP probe; the defaults are the kubelet's."""

    path: str | None = None
    """None: a TCP probe."""
    port: int | None = None
    """None: the service's own port."""
    initial_delay_s: int = 0
    period_s: int = 10
    timeout_s: int = 1
    failure_threshold: int = 3


class CallStep(Model):
    """Call another service, with the client policy of this service for that target."""

    call: str
    """``service METHOD /path``, for instance ``geo GET /nearby``."""
    params: dict[str, Value] = Field(default_factory=dict)
    optional: bool = False
    """True: a failure is logged and the request goes on (graceful degradation)."""


class ParallelStep(Model):
    """Run steps side by side; the first hard failure fails the request."""

    parallel: list[Step]


class SqlStep(Model):
    """Run a named statement of this service's database."""

    sql: str
    """Key of ``Store.statements``."""
    params: dict[str, Value] = Field(default_factory=dict)


class CacheAccess(Model):
    """A cache access: read through, write or delete."""

    get: str | None = None
    """Key template to read."""
    set: str | None = None
    """Key template to write."""
    delete: str | None = None
    ttl: str | float | None = None
    """Seconds or ``$KEY``; None never expires."""
    size: Bytes = 512
    """Bytes of the value."""
    fill: list[Step] = Field(default_factory=list)
    """On a miss: run these, then write the value."""


class CacheStep(Model):
    """Use this service's cache."""

    cache: CacheAccess


class Cpu(Model):
    """A lognormal amount of CPU work."""

    ms: float
    cv: float = 0.5


class CpuStep(Model):
    """Burn CPU on the container's cgroup."""

    cpu: Cpu


class LogLine(Model):
    """A structured log line."""

    level: Literal["debug", "info", "warn", "error"] = "info"
    msg: str
    fields: dict[str, Value] = Field(default_factory=dict)


class LogStep(Model):
    """Write a log line in the style of the service's language."""

    log: LogLine


class FailStep(Model):
    """Answer with an error status, with a probability."""

    fail: int
    """HTTP status."""
    probability: float = 1.0
    message: str = ""


class WhenStep(Model):
    """Run steps with a probability, or if a request parameter has a value."""

    when: dict[str, Value]
    """``{probability: 0.1}`` or ``{param: value}``."""
    then: list[Step]


class SleepStep(Model):
    """Wait without CPU: an external party, a device."""

    sleep: Cpu


Step = (
    CallStep | ParallelStep | SqlStep | CacheStep | CpuStep | LogStep | FailStep | WhenStep
    | SleepStep
)  # fmt: skip


class Bug(Model):
    """A latent defect that a release carries; exactly one field is set."""

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


class Release(Model):
    """A version of a service's image beside the deployed one."""

    changes: str
    """Line of the change log."""
    bug: Bug | None = None


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
    uses: dict[Literal["db", "cache"], str] = Field(default_factory=dict)
    """Role to store name."""
    endpoints: dict[str, list[Step]] = Field(default_factory=dict)
    """``METHOD /path`` to steps."""
    background: list[Background] = Field(default_factory=list)
    """Periodic work beside requests."""
    releases: dict[str, Release] = Field(default_factory=dict)
    """Further versions that the registry holds."""

    def depends_on(self) -> list[str]:
        """Name the services and stores this service calls, sorted."""
        found: set[str] = set(self.uses.values())
        for steps in [*self.endpoints.values(), *(job.steps for job in self.background)]:
            found |= {call.split(" ", 1)[0] for call in call_targets(steps)[0]}
        return sorted(found)


class Background(Model):
    """Steps that run every ``every`` seconds in each replica."""

    name: str
    every: Seconds
    steps: list[Step]


class StoreUser(Model):
    """A database user; the password comes from the Secret ``<store>-<user>``."""

    grants: dict[str, list[Literal["SELECT", "INSERT", "UPDATE", "DELETE"]]] = Field(
        default_factory=dict
    )
    """Table to privileges."""
    connection_limit: int | None = None


class Table(Model):
    """A table: rows at start, width, whether the usual predicates are indexed."""

    rows: int
    row_bytes: Bytes = 256
    indexed: bool = True
    columns: dict[str, str] = Field(default_factory=dict)
    """Name to SQL type, for ``\\d`` and for SELECTs of people."""


class Statement(Model):
    """A named statement with its cost when nothing is wrong."""

    text: str
    """SQL text as it appears in spans and in pg_stat_activity."""
    table: str
    kind: Literal["SELECT", "INSERT", "UPDATE", "DELETE"]
    ms: float = 0.8
    """Mean CPU milliseconds at the server, with an index."""
    io_ms: float = 0.0
    """Mean milliseconds the session waits for reads and writes of the volume."""
    rows: int = 1
    """Rows returned or touched."""
    lock: Literal["none", "row", "table"] = "none"


class Store(Model):
    """A data store: PostgreSQL or Valkey, a StatefulSet with a volume."""

    kind: Literal["postgres", "valkey"]
    image: Image
    summary: str
    owner: str
    port: int
    replicas: int = 1
    resources: Resources = Field(default_factory=Resources)
    volume: Bytes = 2 * 2**30
    config: dict[str, Value] = Field(default_factory=dict)
    """``max_connections``, ``shared_buffers``; ``maxmemory``, ``maxmemory-policy``, ..."""
    database: str = ""
    users: dict[str, StoreUser] = Field(default_factory=dict)
    tables: dict[str, Table] = Field(default_factory=dict)
    statements: dict[str, Statement] = Field(default_factory=dict)


class JourneyStep(Model):
    """One request of a user journey."""

    request: str
    """``METHOD /path`` of the entry service."""
    params: dict[str, Value | dict[str, Any]] = Field(default_factory=dict)
    """Literals, or draws: ``{zipf: {n: 500, s: 1.1}}``, ``{choice: [..]}``, ``{int: [1, 9]}``."""


class Retry(Model):
    """What a user does when a request fails."""

    attempts: int = 1
    backoff_s: float = 1.0


class Journey(Model):
    """What a kind of user does, how often, and when he gives up."""

    entry: str
    """The service that users reach."""
    rate: float
    """Journeys per second at load scale 1."""
    steps: list[JourneyStep]
    think_s: float = 0.0
    """Mean pause between steps of one journey."""
    timeout_s: float = 3.0
    """The client gives up after this long."""
    retry: Retry = Field(default_factory=Retry)


class Slo(Model):
    """The promise for one journey, over a minute."""

    success: float
    p95_ms: float


class Load(Model):
    """The default load of the app."""

    shape: Literal["constant", "poisson", "diurnal", "trace"] = "poisson"
    scale: float = 1.0
    amplitude: float = 0.25
    """Diurnal: relative swing around the mean."""
    peak_hour: float = 14.0
    trace: list[tuple[Seconds, float]] = Field(default_factory=list)
    """Trace: (time, rate relative to the journey's), times ascending; linear in between."""

    @model_validator(mode="after")
    def _trace_fits(self) -> Load:
        times = [time for time, _ in self.trace]
        if (self.shape == "trace") != (len(times) >= 2):
            raise ValueError("a trace needs shape 'trace' and at least two points")
        if any(a >= b for a, b in itertools.pairwise(times)) or any(r < 0 for _, r in self.trace):
            raise ValueError("times of a trace ascend, and no rate is negative")
        return self


class Invariant(Model):
    """A condition that any mitigation must keep; ``kind`` selects the checker."""

    id: str
    kind: Literal[
        "ready_replicas", "volume_kept", "rows_kept", "object_exists", "replicas_at_least"
    ]
    target: str
    """A component, ``*`` for each service, or ``Kind/name``."""
    at_least: int = 1


class Intent(Model):
    """What the owners want kept, whatever is done to repair."""

    invariants: list[Invariant] = Field(default_factory=list)
    forbidden: list[str] = Field(default_factory=list)
    """Acts: ``delete StatefulSet/*``, ``scale Deployment/frontend below 2``."""
    cpu_requests_growth: float = 0.25
    """Allowed growth of the sum of CPU requests."""


class Owner(Model):
    """A team."""

    team: str
    oncall: str
    channel: str


class PastChange(Model):
    """An entry of the change history before the trial."""

    ago: Seconds
    actor: str
    kind: Literal["rollout", "config", "secret", "scale", "network", "database", "other"]
    component: str
    summary: str
    diff: str = ""


class NodeSpec(Model):
    """A node of the cluster the app is deployed on."""

    name: str
    cpu: float = 4.0
    memory: Bytes = 8 * 2**30
    disk: Bytes = 40 * 2**30
    zone: str = "zone-a"


class App(Model):
    """One file ``services/<app>/app.yaml``."""

    schema_: Literal["aiopslab/app@1"] = Field(alias="schema")
    name: str
    title: str
    summary: str
    """Two or three sentences: what an agent is told about the app."""
    namespace: str
    epoch: str = "2026-03-10T09:00:00Z"
    """RFC 3339: the world's clock at boot, unless the incident draws an hour."""
    nodes: list[NodeSpec]
    services: dict[str, Service]
    stores: dict[str, Store]
    journeys: dict[str, Journey]
    load: Load = Field(default_factory=Load)
    slos: dict[str, Slo]
    """Journey to promise."""
    intent: Intent = Field(default_factory=Intent)
    owners: dict[str, Owner] = Field(default_factory=dict)
    history: list[PastChange] = Field(default_factory=list)

    def components(self) -> list[str]:
        """Name every service and store, sorted."""
        return sorted([*self.services, *self.stores])

    def needs(self, journey: str) -> set[str]:
        """Return the services and stores that a journey's requests need, the entry included.

        Calls that a service does without (``optional``) are not followed.
        """
        spec = self.journeys[journey]
        found = {spec.entry}
        frontier = [f"{spec.entry} {step.request}" for step in spec.steps]
        seen: set[str] = set()
        while frontier:
            call = frontier.pop()
            name, _, endpoint = call.partition(" ")
            service = self.services.get(name)
            if call in seen or service is None:
                continue
            seen.add(call)
            found.add(name)
            calls, roles = call_targets(service.endpoints.get(endpoint, []), needed=True)
            frontier += calls
            found |= {service.uses[role] for role in roles if role in service.uses}
        return found


def call_targets(
    steps: list[Step], *, needed: bool = False
) -> tuple[list[str], set[Literal["db", "cache"]]]:
    """Collect what steps reach, at any depth: calls (``service METHOD /path``) and store roles.

    Args:
        steps: Of an endpoint.
        needed: Leave out calls that a request does without.
    """
    calls: list[str] = []
    roles: set[Literal["db", "cache"]] = set()
    for step in steps:
        inner: list[Step] = []
        match step:
            case CallStep(call=call, optional=optional):
                if not (needed and optional):
                    calls.append(call)
            case ParallelStep(parallel=inner) | WhenStep(then=inner):
                pass
            case CacheStep(cache=access):
                roles.add("cache")
                inner = access.fill
            case SqlStep():
                roles.add("db")
            case _:
                pass
        deeper, more = call_targets(inner, needed=needed)
        calls += deeper
        roles |= more
    return calls, roles


for _model in (ParallelStep, CacheAccess, CacheStep, WhenStep, Background, Service, App):
    _model.model_rebuild()
