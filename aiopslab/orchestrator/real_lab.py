"""Apps on real clusters: the labs behind ``--env kind`` and ``--env kubeconfig``.

One app at a time, in two namespaces of its own; several labs share a cluster side by side, and the
labs of a run take turns at its clusters. After a trial the faults are undone, everything is put
back as it was and looked at; the next trial of that app begins there. Whatever is not as before is
taken down and deployed anew. Not here: how an app is deployed
(``environments.cluster.environment``), making a cluster (``environments.kind_cluster``).
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Coroutine, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from aiopslab.content import near
from aiopslab.environments.cluster.cleaning import Found, clean_trials
from aiopslab.environments.cluster.connection import Connection, Reach
from aiopslab.environments.cluster.environment import Cluster, Patience, Terms, outline
from aiopslab.environments.cluster.images import Images
from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.manifests import Placement, placed
from aiopslab.environments.cluster.readiness import unpulled
from aiopslab.environments.contexts import AS_OPTIONS, Context, choose, kind_cluster, kind_context
from aiopslab.environments.protocol import Environment
from aiopslab.errors import InfraError, PreflightError, UsageError
from aiopslab.models.kube import KubeError
from aiopslab.models.real import RealOptions
from aiopslab.models.run import RunConfig
from aiopslab.models.task import Problem, Task
from aiopslab.orchestrator import staging, wallclock
from aiopslab.orchestrator.lab import Place
from aiopslab.orchestrator.library import Library
from aiopslab.orchestrator.real_rooms import begin, forget, rooms
from aiopslab.problems import catalogue, stage
from aiopslab.problems.draw import DrawnIncident, draw, world_key
from aiopslab.problems.playable import obstacles

T = TypeVar("T")
RUN_LENGTH = 6
"""Characters of a run's name that its trials' names begin with."""


@dataclass(slots=True)
class _Held:
    """An app that is deployed."""

    key: Hashable
    cluster: Cluster
    fit_at: float
    """When it is, or was, fit for its next incident: under load long enough, and as it should be.
    """
    used: bool = False
    """Whether an incident was played on it before."""


class RealLab(Library):
    """Apps on one real cluster of those that the run has."""

    forkable = False
    run = ""
    seat = 0
    kind: str

    def __init__(self, options: dict[str, str]) -> None:
        self.options = read_options(self.kind, options)
        self._connection: Connection | None = None
        self._held: _Held | None = None

    @property
    def patient(self) -> bool:
        """Whether reading tasks follow one another on one incident."""
        return self.options.warm

    @property
    def cluster(self) -> str:
        names = contexts_of(self.kind, self.options)
        return names[self.seat % len(names)]

    def clusters(self) -> Sequence[str]:
        """Return the names of all contexts.

        Raises:
            UsageError: One is unknown, or looks like production.
            PreflightError: There is no kubeconfig.
        """
        return [self._context(name).name for name in contexts_of(self.kind, self.options)]

    # -- what there is to play ---------------------------------------------------------------------

    def expand(self, targets: Sequence[str], tasks: Sequence[Task]) -> tuple[str, list[Problem]]:
        """Expand targets; of suites and globs only what exists on a cluster.

        Raises:
            UsageError: A target is unknown, or nothing of it exists on a cluster.
        """
        label, problems = super().expand(targets, tasks)
        why = {name: self._obstacles(name) for name in sorted({p.incident for p in problems})}
        kept = [p for p in problems if not why[p.incident]]
        if not kept:
            first = next(iter(why))
            raise UsageError(
                f"nothing of {label!r} can be played on {self.kind!r}: {first} needs "
                f"{'; '.join(why[first])}",
                hint="aiopslab list incidents",
            )
        return label, kept

    def preview(self, config: RunConfig) -> list[str]:
        """Say what will be left out of the targets, and what will be created where.

        Raises:
            UsageError: A context must not be used.
        """
        _, problems = super().expand(config.targets, config.tasks)
        names = sorted({p.incident for p in problems})
        why = {name: reasons for name in names if (reasons := self._obstacles(name))}
        lines = [f"left out: {name}: {'; '.join(reasons)}" for name, reasons in why.items()]
        contexts = map(self._context, contexts_of(self.kind, self.options))
        lines += [f"context {chosen.name}, {chosen.server}" for chosen in contexts]
        drawn = {d.app.name: d for n in names if n not in why for d in [self.draw(n, config.seed)]}
        for app, incident in sorted(drawn.items()):
            for space, objects in self._outline(incident).items():
                where = f"namespace {space}" if space else "outside of namespaces"
                kinds = Counter(obj.partition("/")[0] for obj in objects)
                counted = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
                lines.append(f"will create for {app}, {where}: {counted}")
        return lines

    def _outline(self, drawn: DrawnIncident) -> dict[str, list[str]]:
        placement = self._placement("xxxxxx")
        app = placed(drawn.app, placement)
        return dict(outline(app, placement, rooms("", self.options), self._terms(drawn)))

    def _obstacles(self, incident: str) -> list[str]:
        return obstacles(catalogue.load_incident(incident), "kind")

    def world(self, drawn: DrawnIncident) -> Hashable:
        return (drawn.app.name, drawn.seed)

    # -- worlds ------------------------------------------------------------------------------------

    def boot(self, drawn: DrawnIncident) -> Environment:
        return asyncio.run(self._deployed(drawn))

    async def place(self, drawn: DrawnIncident) -> Place:
        key = self.world(drawn)
        if self._held is not None and self._held.key != key:
            await self._drop()
        if self._held is None:
            made = await self._deployed(drawn)
            self._held = _Held(key, made, made.now() + self.options.first_s)
        held, cluster = self._held, self._held.cluster
        await cluster.advance(held.fit_at - cluster.now())
        drawn = draw(drawn.spec, cluster.app, drawn.seed)
        quiet_s = stage.quiet_s(drawn)
        # An app that is used again has shown for long that it is well.
        passed_s = quiet_s if held.used else min(quiet_s, cluster.now() - held.fit_at)
        held.used = True
        return Place(cluster, drawn, passed_s)

    def drive(self, env: Environment, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    async def accompany(self, env: Environment, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except InfraError as failure:
            raise await _with_images(env, failure) from failure

    async def release(self, env: Environment, staged: staging.Staged | None) -> str:
        if staged is None or not self.options.warm:
            await self._drop()
            return ""
        try:
            await staging.recover(staged)
            why = await self._restored()
        except (InfraError, KubeError) as error:
            why = str(error)
        if why:
            await self._drop()
        return why

    async def _restored(self) -> str:
        """Put the app back; returns what is not as before."""
        held = self._held
        assert held is not None, "only what is held is released"
        cluster = held.cluster
        unmet = [c for c in await cluster.restore() if not c.met]
        if unmet:
            return "; ".join(f"{c.id}: {c.detail}" for c in unmet)
        await forget(cluster, self.options)
        held.fit_at = cluster.now() + self.options.again_s
        return ""

    async def aclose(self) -> None:
        try:
            await self._drop()
        finally:
            if self._connection is not None:
                connection, self._connection = self._connection, None
                await connection.aclose()

    async def sweep(self) -> None:
        """Remove everything that was made for the run on any cluster, and wait until it is gone.

        Raises:
            InfraError: Something is still there, or may be; it says what.
        """
        # First of all: a request that is still under way makes what a look before it cannot see.
        # What cannot be taken down now is looked for once more below, and told there.
        with suppress(KubeError, InfraError):
            await self.aclose()
        async with asyncio.TaskGroup() as group:
            swept = [group.create_task(self._swept(name)) for name in self.clusters()]
        left = "; ".join(filter(None, (task.result() for task in swept)))
        if left:
            raise InfraError("clean", left)

    async def _swept(self, context: str) -> str:
        """Remove what the run made on one cluster; returns what is left, or may be."""
        try:
            left = await self._cleaned(context)
        except (KubeError, InfraError, PreflightError) as error:
            why = str(error)
        else:
            names = ", ".join(map(str, left[:5]))
            why = f"still there: {names}" if left else ""
        return f"{context}: {why}" if why else ""

    async def _cleaned(self, context: str) -> Sequence[Found]:
        reach = Reach(self.options.kubeconfig, context)
        connection = await asyncio.to_thread(Connection, reach)
        try:
            kube = ClusterKube(connection, now=wallclock.unix)
            return (await clean_trials(kube, self.run[:RUN_LENGTH])).left.objects
        finally:
            await connection.aclose()

    # -- making ------------------------------------------------------------------------------------

    async def _deployed(self, drawn: DrawnIncident) -> Cluster:
        connection = await self._connected()
        placement = self._placement(self.run[:RUN_LENGTH] + secrets.token_hex(2))
        app = placed(drawn.app, placement)
        made_of, terms = rooms(secrets.token_hex(16), self.options), self._terms(drawn)
        cluster = Cluster(app, placement, connection, made_of, terms, wallclock.unix)
        try:
            await cluster.deploy()
            # Requests fail while everything starts. An app that does not get well shows it later,
            # when its baseline is looked at.
            await cluster.calm()
            await begin(cluster, self.options)
            await cluster.snapshot()
        except BaseException:
            await cluster.abandon()
            raise
        return cluster

    async def _connected(self) -> Connection:
        if self._connection is None:
            reach = Reach(self.options.kubeconfig, self._context(self.cluster).name)
            self._connection = await asyncio.to_thread(Connection, reach)
        return self._connection

    def _context(self, name: str) -> Context:
        given = self.options
        allow = given.allow_production
        return choose(given.kubeconfig, name, allow_production=allow, typed=AS_OPTIONS)

    def _placement(self, trial: str) -> Placement:
        given = self.options
        stores = {"postgres": given.postgres, "valkey": given.valkey, "nats": given.nats}
        own = {kind: ref for kind, ref in stores.items() if ref}
        loaded = kind_cluster(self._context(self.cluster).name)
        images = Images(given.registry, own, pinned=not loaded)
        return Placement(
            trial, images, cpu_share=given.cpu_share, storage_class=given.storage_class
        )

    def _terms(self, drawn: DrawnIncident) -> Terms:
        load = world_key(drawn.app, drawn.seed).load_scale * self.options.load
        return Terms(drawn.seed, load, Patience(), users_token=secrets.token_hex(16))

    async def _drop(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            await held.cluster.abandon()


class KindLab(RealLab):
    """Apps on a kind cluster."""

    kind = "kind"


class KubeconfigLab(RealLab):
    """Apps on a cluster of the user's."""

    kind = "kubeconfig"


def read_options(kind: str, given: dict[str, str]) -> RealOptions:
    """Read the options of an environment on a real cluster.

    Raises:
        UsageError: There is no such option, or its value does not fit.
    """
    known = [f.alias or name for name, f in RealOptions.model_fields.items()]
    for key in sorted(given):
        if key not in known:
            hint = near(key, known) or f"known: {', '.join(known)}"
            raise UsageError(f"environment {kind!r} has no option {key!r}", hint=hint)
    try:
        return RealOptions.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"-E {first['loc'][0]}={first['input']}: {said}") from error


def contexts_of(kind: str, options: RealOptions) -> tuple[str, ...]:
    """Return the contexts that are meant; an empty name is the kubeconfig's current one."""
    if options.contexts:
        return options.contexts
    return tuple(kind_context(name) for name in options.names) if kind == "kind" else ("",)


async def _with_images(env: Environment, failure: InfraError) -> InfraError:
    """Say of a failure which images the cluster could not pull: what they run never happened."""
    try:
        missing = await unpulled(env.kube, env.app.namespace)
    except (InfraError, KubeError):
        return failure
    if not missing:
        return failure
    return InfraError(failure.stage, f"{failure.message}; not pulled: {', '.join(missing)}")
