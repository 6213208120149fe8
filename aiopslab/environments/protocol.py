"""The Environment: the one contract between the lab and everything above it.

Faults, tools, oracles, grading evidence and agents are written once against this and do not know
whether a simulated world or a cluster is behind it. Implementations are this module's neighbours:
``sim`` (virtual time, forkable) and ``cluster`` (any Kubernetes). What monitoring answers is
``telemetry``.

Kubernetes objects are plain dicts in their wire form. Times are unix seconds of the
environment's clock. Every method is a coroutine because on a real cluster it is I/O; on ``sim``
the time a call takes passes in the world.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, Protocol

from aiopslab.environments.telemetry import Telemetry as Telemetry
from aiopslab.models.app import App
from aiopslab.models.evidence import CheckResult, SliWindow
from aiopslab.models.external import Disturbance
from aiopslab.models.journey import Journey
from aiopslab.models.kube import ExecResult, Object, PatchType
from aiopslab.models.signal import Change
from aiopslab.models.sli_series import SliSeries
from aiopslab.models.task import Task
from aiopslab.telemetry.answers import LogAnswer as LogAnswer
from aiopslab.telemetry.answers import LogStats as LogStats
from aiopslab.telemetry.answers import SqlAnswer as SqlAnswer
from aiopslab.telemetry.answers import TagValue as TagValue
from aiopslab.telemetry.answers import TraceMatch as TraceMatch
from aiopslab.telemetry.rows import LogRow as LogRow
from aiopslab.telemetry.rows import PathSegment as PathSegment
from aiopslab.telemetry.rows import ScrapeTarget as ScrapeTarget
from aiopslab.telemetry.rows import Series as Series
from aiopslab.telemetry.rows import SpanRow as SpanRow
from aiopslab.telemetry.rows import TraceSummary as TraceSummary


class Kube(Protocol):
    """The Kubernetes API. ``kind`` is the singular kind, for instance ``Deployment``.

    All raise ``models.kube.KubeError``. ``actor`` names who acts, for the audit trail and the
    change log.
    """

    async def snapshot(self, namespace: str) -> list[Object]:
        """Return every object of a namespace without status and server-set fields, sorted."""
        ...

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Object: ...

    async def list(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
    ) -> list[Object]: ...

    def watch(self, kind: str, namespace: str | None = None) -> AsyncIterator[tuple[str, Object]]:
        """Yield (``ADDED`` | ``MODIFIED`` | ``DELETED``, object) from now on."""
        ...

    async def create(self, obj: Object, *, actor: str, dry_run: bool = False) -> Object: ...

    async def replace(self, obj: Object, *, actor: str, dry_run: bool = False) -> Object: ...

    async def patch(
        self,
        kind: str,
        name: str,
        patch: Any,
        *,
        namespace: str | None = None,
        type: PatchType = "strategic",
        subresource: Literal["", "scale"] = "",
        actor: str,
        dry_run: bool = False,
    ) -> Object: ...

    async def apply(
        self,
        kind: str,
        name: str,
        config: Object,
        *,
        namespace: str | None = None,
        manager: str,
        force: bool = False,
        actor: str,
        dry_run: bool = False,
    ) -> Object:
        """Apply on the server's side; fields that other managers own raise 409 unless forced."""
        ...

    async def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        actor: str,
        grace_s: int | None = None,
    ) -> None: ...

    async def logs(
        self,
        pod: str,
        namespace: str,
        *,
        container: str | None = None,
        previous: bool = False,
        tail: int | None = None,
        since_s: float | None = None,
        timestamps: bool = False,
    ) -> str: ...

    async def exec(
        self,
        pod: str,
        namespace: str,
        argv: Sequence[str],
        *,
        container: str | None = None,
        stdin: str = "",
        timeout_s: float = 30.0,
    ) -> ExecResult: ...

    async def describe(self, kind: str, name: str, namespace: str | None = None) -> str:
        """Text in the manner of ``kubectl describe``."""
        ...

    async def table(
        self, kind: str, namespace: str | None = None, *, labels: str = "", wide: bool = False
    ) -> str:
        """Text in the manner of ``kubectl get``."""
        ...


class Traffic(Protocol):
    """The users. SLIs are of *intended* requests, measured at the generator."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def scale(self, factor: float, *, journey: str | None = None) -> None: ...

    async def visitor(self, address: str, journey: Journey | None) -> None:
        """Let one client beside the users send a journey from its own address; None ends it.

        It counts in no SLI.
        """
        ...

    async def slis(self, start: float, end: float) -> list[SliWindow]:
        """One window a journey; requests whose outcome is still open are not counted."""
        ...

    async def series(self, start: float, bucket_s: float, n: int) -> SliSeries:
        """The same in n buckets from ``start`` on, for people to look at."""
        ...


class Substrate(Protocol):
    """What lies below Kubernetes; for faults, never for agents.

    Each change is what a real mistake or mishap would change; it lasts until undone by the same
    call with neutral values.
    """

    async def link(
        self,
        source: str,
        target: str,
        *,
        delay_s: float = 0.0,
        loss: float = 0.0,
        cut: bool = False,
    ) -> None:
        """Shape the path from the pods of one component to those of another (both by name)."""
        ...

    async def uplink(self, node: str, *, delay_s: float = 0.0, loss: float = 0.0) -> None:
        """Shape all packets that leave or reach a node."""
        ...

    async def zone(self, zone: str, *, delay_s: float = 0.0, loss: float = 0.0) -> None:
        """Shape all packets that leave or reach a zone."""
        ...

    async def bulk(self, node: str, *, name: str, rate: float) -> None:
        """Let a bulk transfer that is not the app's offer bytes per second to a node's uplink."""
        ...

    async def host(
        self,
        node: str,
        *,
        cores: float | None = None,
        backed: int | None = None,
        unlimited: bool = True,
    ) -> None:
        """Change what the host under a node gives it.

        Args:
            node: The node.
            cores: Cores that are left to it; None: all.
            backed: Bytes of its memory that the host really has; None: all.
            unlimited: Whether a burstable machine may go on without credits.
        """
        ...

    async def memory_stream(self, node: str, *, name: str, rate: float) -> None:
        """Let another guest of a node's host move so many bytes per second; 0 ends it."""
        ...

    async def memory_held(self, node: str) -> int:
        """Return the bytes of memory that are in use on a node."""
        ...

    async def take_back(self, *, every_s: float) -> None:
        """Let the provider take its preemptible capacity back, again and again; 0 ends it."""
        ...

    async def pod_path(self, pod: str, *, delay_s: float = 0.0, loss: float = 0.0) -> None:
        """Shape all packets from and to one pod of the app, as long as it lives."""
        ...

    async def clock(self, node: str, *, ahead_s: float) -> None:
        """Let the clock of a node be ahead of the time; negative: behind it."""
        ...

    async def neighbour(self, node: str, *, name: str, threads: float, memory: int = 0) -> None:
        """Run a tenant outside the app on a node; ``threads`` 0 removes it."""
        ...

    async def hardware(self, node: str, condition: str, value: float | None) -> None:
        """Set a condition of a machine, as its sensors would tell it; None: as it was at first."""
        ...

    async def partner(self, name: str, disturbance: Disturbance) -> None:
        """Let a party outside behave like this; a neutral ``Disturbance`` ends it."""
        ...

    async def disturbance(self, partner: str) -> Disturbance:
        """Return how a party outside behaves; neutral on a good day."""
        ...

    async def announce(self, partner: str, *, begins_at: float, lasts_s: float) -> None:
        """Have a party outside publish a maintenance beforehand (unix seconds)."""
        ...

    async def power(self, node: str, *, on: bool) -> None:
        """Switch a machine off, with everything that runs on it, or on again."""
        ...

    async def suspend(self, pod: str, *, on: bool) -> None:
        """Stop all threads of the first container of a pod of the app, or let them go on.

        One that is not running is left alone.
        """
        ...

    async def leave_file(self, claim: str, path: str, size: int) -> None:
        """Leave a file on a claim's volume, as a tool that was run there does; 0 removes it.

        What does not fit is cut off.
        """
        ...

    async def store_admin(self, store: str, command: str) -> str:
        """Run SQL or a Valkey command as the operator of a store; returns its output.

        Raises:
            InfraError: The command failed.
        """
        ...

    async def terminal(self, store: str, sql: str, *, application: str = "psql") -> None:
        """Run SQL as superuser in a session on a database that is then left open.

        Raises:
            InfraError: The store is down or refused it.
        """
        ...

    async def tool(
        self,
        store: str,
        *,
        application: str,
        user: str,
        password: str,
        address: str,
        sessions: int,
        again_s: float = 10.0,
    ) -> None:
        """Let a tool outside the app keep sessions on a database; ``sessions`` 0 ends it.

        It dials from ``address``, again at once whenever a session is lost and ``again_s`` seconds
        later where it was refused.
        """
        ...

    async def record_change(self, change: Change) -> None:
        """Enter a line into the change log, for changes that Kubernetes does not see."""
        ...


class Monitored(Protocol):
    """What the monitoring APIs ask: telemetry and the clock that dates it."""

    @property
    def telemetry(self) -> Telemetry:
        """What is known."""
        ...

    def now(self) -> float:
        """Return unix seconds of its clock."""
        ...


class Environment(Protocol):
    """One deployed application under load."""

    app: App
    namespace: str
    kube: Kube
    telemetry: Telemetry
    traffic: Traffic
    substrate: Substrate

    def now(self) -> float:
        """Return unix seconds of the environment's clock."""
        ...

    async def advance(self, seconds: float) -> None:
        """Let the environment's time pass."""
        ...

    async def deploy(self) -> None:
        """Apply the app's manifests, wait until ready, start the load.

        Raises:
            InfraError: Not ready in time; says which pod and why.
        """
        ...

    async def for_agent(self, task: Task) -> Environment:
        """Return the same environment as the agent of a task may use it.

        Where the cluster itself decides what somebody may do, ``kube`` acts as the agent.
        """
        ...

    async def probe(self) -> list[CheckResult]:
        """Return the app's health from outside: each workload ready, each SLO met right now."""
        ...

    async def data_digest(self) -> dict[str, int]:
        """Return what stores hold.

        ``table:store/name`` gives rows, ``messages:store/stream`` how many messages have left a
        queue before they were worked on.
        """
        ...

    async def aclose(self) -> None:
        """Leave nothing behind."""
        ...
