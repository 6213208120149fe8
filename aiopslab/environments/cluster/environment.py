"""The environment on a real cluster: one app, its users and the lab beside it, in two namespaces.

``<app>-<trial>`` has the app, which agents see; ``lab-<trial>`` has the observer, the users and the
partners, in which they have no rights. Everything carries the trial's labels, so that ``aclose``,
or whoever cleans up after a crash, finds it. A warm cluster is put back between trials
(``snapshot``, ``restore``) instead of being made anew. Neighbours: ``cluster.manifests`` (what is
applied), ``cluster.kube``, ``cluster.traffic``, ``cluster.stores``, ``cluster.agent``; what is seen
by telemetry and what lies below Kubernetes is brought along (``Rooms``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from aiopslab.environments.cluster import lab as cluster_lab
from aiopslab.environments.cluster.access import Grant
from aiopslab.environments.cluster.agent import Agents
from aiopslab.environments.cluster.cleaning import Inventory, clean
from aiopslab.environments.cluster.connection import Connection
from aiopslab.environments.cluster.kube import ClusterKube, Recorder
from aiopslab.environments.cluster.manifests import Placement, on_cluster, space_of_app
from aiopslab.environments.cluster.readiness import KINDS, until_ready, why, workloads
from aiopslab.environments.cluster.restoring import ACTOR
from aiopslab.environments.cluster.seeding import seed
from aiopslab.environments.cluster.stores import ClusterStores
from aiopslab.environments.cluster.traffic import ClusterTraffic
from aiopslab.environments.cluster.warm import Warm
from aiopslab.environments.health import HEALTH_S, slo_checks
from aiopslab.environments.protocol import Environment, Kube, Substrate, Telemetry, Traffic
from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import KubeError, Object
from aiopslab.models.task import Task
from aiopslab.services.manifests import manifests, password
from aiopslab.services.real.partner import public_authority
from aiopslab.world.kube.objects import name_of

T = TypeVar("T")
_LAB = "aiopslab"
_LAST = ("Deployment", "HorizontalPodAutoscaler", "CronJob", "PodDisruptionBudget", "NetworkPolicy")
"""Kinds that wait until the stores are filled."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """The parts of an environment that others make."""

    observer: Callable[[App, Placement], Sequence[Object]]
    """Renders what collects telemetry, in the lab's namespace."""
    telemetry: Callable[[Cluster], Telemetry]
    substrate: Callable[[Cluster], Substrate]
    recorder: Callable[[Cluster], Recorder | None] = lambda _: None
    """Returns what is told of every write that is not the lab's own, for the change log."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that things may take on a cluster."""

    stores_s: float = 240.0
    """Until stores are ready; images may have to be pulled."""
    ready_s: float = 300.0
    """Until everything is."""
    warm_s: float = 90.0
    """Until everything is ready again after it was put back."""
    clean_s: float = 180.0
    """Until everything is gone."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How an environment is to be on a cluster."""

    seed: int
    """Determines passwords, and together with ``load`` what users do."""
    load: float = 1.0
    """Factor on the app's journeys."""
    patience: Patience = field(default_factory=Patience)
    token_s: int = 3600
    """Seconds until an agent's token expires, and is followed by another."""
    users_token: str = field(default="", repr=False)
    """Who knows it may control the users; empty is everybody."""


class Cluster:
    """One app on one cluster.

    Args:
        app: The app as it is called there (``cluster.manifests.placed``).
        placement: Where it goes.
        connection: The way to the API server, as the lab; closed by whoever made it.
        rooms: Telemetry, and what lies below Kubernetes.
        terms: How it is to be.
        now: Unix seconds of the host.
    """

    kube: Kube
    telemetry: Telemetry
    traffic: Traffic
    substrate: Substrate

    def __init__(
        self,
        app: App,
        placement: Placement,
        connection: Connection,
        rooms: Rooms,
        terms: Terms,
        now: Callable[[], float],
    ) -> None:
        self.app = app
        self.namespace = app.namespace
        self.placement = placement
        self.connection = connection
        self.terms = terms
        self.now = now
        self._rooms = rooms
        recorder = rooms.recorder(self)
        kube = ClusterKube(connection, now=now, recorder=recorder, labels=placement.labels)
        self.kube = kube
        self.quiet = kube.unrecorded()
        """The same for what is the lab's own business."""
        self.pipeline = kube.unrecorded("")
        """The same for what is written as the app's pipeline would, and is no change."""
        self.users = ClusterTraffic(connection, placement.lab, now, terms.users_token)
        self.traffic = self.users
        self.stores = ClusterStores(self.quiet, app, self.password)
        self.substrate = rooms.substrate(self)
        self.telemetry = rooms.telemetry(self)
        grant = Grant(placement.trial, "detection", self.namespace, placement.lab)
        self._agents = Agents(self.quiet, grant, terms.token_s, recorder)
        self._warm = Warm(self)
        self.took_s: dict[str, float] = {}
        """Seconds by step of the last deployment or restoration."""

    def password(self, store: str, user: str) -> str:
        """Return the password of a store's user."""
        return password(self.terms.seed, store, user)

    # -- the protocol -----------------------------------------------------------------------------

    async def advance(self, seconds: float) -> None:
        """Let time pass: it does by itself."""
        await asyncio.sleep(max(seconds, 0.0))

    async def within(self, coro: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine of the environment from whatever loop this is called on."""
        return await coro

    async def deploy(self) -> None:
        """Make everything, wait until it is ready, start the users.

        What is there when it fails, or is cancelled, goes with ``aclose``.

        Raises:
            InfraError: Not ready in time; says which pod and why.
            KubeError: The cluster refuses an object.
        """
        objects = manifests(self.app, self.terms.seed, self.now())
        spaces = [obj for obj in objects if obj["kind"] == "Namespace"]
        # The observer has rights in the app's namespace, so that must be there before it.
        await self._create([space_of_app(obj, self.placement) for obj in spaces])
        placement = await self._timed("lab", self._lab())
        rest = [obj for obj in objects if obj["kind"] != "Namespace"]
        early, late = _halves(on_cluster(self.app, rest, placement))
        patience = self.terms.patience
        await self._timed("apply", self._create(early))
        await self._timed("stores", self._ready(patience.stores_s, ("StatefulSet",)))
        await self._timed("seed", seed(self.quiet, self.app, self.password))
        await self._create(late)
        await self._timed("ready", self._ready(patience.ready_s, KINDS))
        await self._timed("users", self._users())

    async def probe(self) -> list[CheckResult]:
        """Return the app's health: every workload ready, every SLO met in the last minute."""
        checks = []
        for obj, check in await workloads(self.quiet, self.namespace):
            if not check.met:
                reason = (await why(self.quiet, obj)).partition("\n")[0]
                check = check.model_copy(update={"detail": check.detail + reason})
            checks.append(check)
        now = self.now()
        return checks + slo_checks(await self.traffic.slis(now - HEALTH_S, now))

    async def data_digest(self) -> dict[str, int]:
        """Return rows of every table and messages lost by every queue, as last known."""
        return await self.stores.digest()

    async def for_agent(self, task: Task) -> Environment:
        """Return the environment with the rights of a task's agent, and no others."""
        return await self._agents.view(self, task)

    async def calm(self) -> list[CheckResult]:
        """Wait until promises are kept, within patience; returns the last look at them."""
        return await self._timed("calm", self._warm.calm())

    async def snapshot(self) -> None:
        """Remember everything as it is now, healthy, for ``restore``."""
        await self._warm.remember()

    async def restore(self) -> list[CheckResult]:
        """Put everything back as it was at ``snapshot``.

        Returns:
            What was looked at; where something is not met, the app has to be deployed anew.
        """
        await self._agents.end()
        return await self._timed("restore", self._warm.restore())

    async def abandon(self) -> None:
        """Ask for everything of the trial to be removed, and do not wait until it is gone.

        Raises:
            KubeError: A deletion was refused.
            InfraError: The cluster does not answer.
        """
        await self._agents.hang_up()
        await clean(self.quiet, self.placement.labels, timeout_s=0.0)

    async def aclose(self) -> None:
        """Remove everything of the trial; a second call finds nothing to do.

        Raises:
            InfraError: Something is still there; it says what.
        """
        await self._agents.end()
        patience = self.terms.patience.clean_s
        cleaned = await clean(self.quiet, self.placement.labels, timeout_s=patience)
        if cleaned.left.objects:
            raise InfraError("clean", f"left after {patience:.0f} s: {_listed(cleaned.left)}")

    # -- making -----------------------------------------------------------------------------------

    async def _lab(self) -> Placement:
        """Make the lab's namespace and what is in it; returns where the app finds it."""
        app, placement = self.app, self.placement
        await self._create(cluster_lab.namespace_objects(placement), actor=_LAB)
        addresses = {}
        for host, service in cluster_lab.partner_services(app, placement).items():
            made = await self.quiet.create(service, actor=_LAB)
            addresses[host] = str(made["spec"]["clusterIP"])
        plan = cluster_lab.load_plan(app, self.terms.seed, self.terms.load)
        rest = [
            *self._rooms.observer(app, placement),
            *cluster_lab.partner_deployments(app, placement),
            *cluster_lab.users_objects(placement, plan, self.terms.users_token),
        ]
        await self._create(rest, actor=_LAB)
        nodes = await self.quiet.list("Node")
        return replace(
            placement,
            partners=addresses,
            authority=public_authority().certificate,
            admin_password=self.password("lab", "postgres"),
            nodes=frozenset(map(name_of, nodes)),
        )

    async def _create(self, objects: Sequence[Object], *, actor: str = ACTOR) -> None:
        # The app's objects are written as a pipeline would: its name is what an agent reads.
        kube = self.quiet if actor == _LAB else self.pipeline
        for obj in objects:
            try:
                await kube.create(obj, actor=actor)
            except KubeError as error:
                words = f"{obj['kind']} {name_of(obj)}: {error.message}"
                raise InfraError("deploy", words) from error

    async def _ready(self, timeout_s: float, kinds: Sequence[str]) -> None:
        await until_ready(self.quiet, self.namespace, timeout_s, kinds=kinds)

    async def _users(self) -> None:
        await until_ready(self.quiet, self.placement.lab, self.terms.patience.ready_s)
        await self.users.ready()
        await self.traffic.start()

    async def _timed(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        begun = asyncio.get_running_loop().time()
        try:
            return await work
        finally:
            self.took_s[name] = round(asyncio.get_running_loop().time() - begun, 3)


def outline(app: App, placement: Placement, rooms: Rooms, terms: Terms) -> Mapping[str, list[str]]:
    """Return what ``deploy`` will create, by namespace (empty: the cluster's own), as kind/name."""
    objects = [
        *cluster_lab.namespace_objects(placement),
        *cluster_lab.partner_services(app, placement).values(),
        *rooms.observer(app, placement),
        *cluster_lab.partner_deployments(app, placement),
        *cluster_lab.users_objects(placement, cluster_lab.load_plan(app, 0, terms.load), ""),
        *on_cluster(app, manifests(app, terms.seed), placement),
    ]
    found: dict[str, list[str]] = {}
    for obj in objects:
        space = obj["metadata"].get("namespace", "")
        found.setdefault(space, []).append(f"{obj['kind']}/{name_of(obj)}")
    return found


def _halves(objects: Sequence[Object]) -> tuple[list[Object], list[Object]]:
    """Part what stores need from what waits for them."""
    late = [obj for obj in objects if obj["kind"] in _LAST]
    return [obj for obj in objects if obj["kind"] not in _LAST], late


def _listed(left: Inventory) -> str:
    names = [str(obj) for obj in left.objects]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
