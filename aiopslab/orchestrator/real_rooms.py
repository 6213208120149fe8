"""What an app on a real cluster is observed by and changed through, as a run's options say.

The observer is always there: it takes what the app's processes send, and tells them what the lab
wants of their ways. Whether agents are answered from its recording or from a monitoring stack that
was there before, is an option. Not here: deploying (``environments.cluster``), when things begin
and are forgotten (``real_lab``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiopslab.environments.byo import check as byo_check
from aiopslab.environments.byo.sources import Urls
from aiopslab.environments.byo.telemetry import ByoTelemetry
from aiopslab.environments.cluster.environment import Cluster, Rooms
from aiopslab.environments.cluster.errands import LabPlace
from aiopslab.environments.cluster.forwarding import forwarded
from aiopslab.environments.cluster.kube import Recorder
from aiopslab.environments.cluster.manifests import Placement
from aiopslab.environments.cluster.observer import observer_objects, place
from aiopslab.environments.cluster.substrate import ClusterSubstrate
from aiopslab.environments.cluster.telemetry import ClusterTelemetry
from aiopslab.environments.protocol import Substrate
from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.models.kube import Object
from aiopslab.models.real import RealOptions
from aiopslab.world.kube.journal import Verb

_SEEN_S = 180.0
"""Seconds of load after which a stack of somebody's must know the app."""


def rooms(token: str, options: RealOptions) -> Rooms:
    """Return what an environment on a cluster is made of beside itself.

    Args:
        token: Who knows it may ask the observer, and control it.
        options: What the run says of its cluster.
    """

    def observer(app: App, placement: Placement) -> list[Object]:
        lab, image = placement.lab, placement.images.lab
        where = place(app, lab=lab, image=image, token=token, forward=options.otlp)
        return observer_objects(where, placement.trial)

    def substrate(cluster: Cluster) -> Substrate:
        placement, connection = cluster.placement, cluster.connection
        lab = LabPlace(placement.lab, placement.trial, placement.images.lab, token)

        @asynccontextmanager
        async def dial(pod: str, port: int) -> AsyncIterator[tuple[str, int]]:
            async with forwarded(connection, cluster.namespace, pod, port) as forwarding:
                yield forwarding.address

        return ClusterSubstrate(cluster.quiet, cluster.app, lab, dial, cluster.now)

    return Rooms(observer, _observed, substrate, _recorder)


async def begin(cluster: Cluster, options: RealOptions) -> None:
    """Let an app that was deployed be observed, and its processes be told what to do.

    Raises:
        InfraError: The observer does not answer, or a stack that was there before lacks something.
    """
    assert isinstance(cluster.substrate, ClusterSubstrate), "so they are made here"
    await cluster.substrate.open()
    # What was said while everything started is nobody's affair.
    await _observed(cluster).begin(clear=True)
    urls = _urls(options)
    if urls is not None:
        await cluster.advance(_SEEN_S)
        missing = await byo_check.check(urls, cluster.app, cluster.now())
        if missing:
            raise InfraError("monitoring", "; ".join(map(str, missing)))
        _brought(cluster, urls)


async def forget(cluster: Cluster, options: RealOptions) -> None:
    """Let telemetry begin anew, so that the next agent reads nothing of an incident before."""
    await _observed(cluster).begin(clear=True)
    urls = _urls(options)
    if urls is None:
        cluster.telemetry = _observed(cluster)
    else:
        _brought(cluster, urls)


def _recorder(cluster: Cluster) -> Recorder:
    """Return what enters a write into the change log with who it was, which no watch tells."""

    def record(actor: str, verb: Verb, before: Object | None, after: Object | None) -> None:
        known = cluster.telemetry
        if isinstance(known, ClusterTelemetry):
            known.recorder(cluster.app)(actor, verb, before, after)

    return record


def _observed(cluster: Cluster) -> ClusterTelemetry:
    return ClusterTelemetry(cluster.connection, cluster.placement.lab, now=cluster.now)


def _brought(cluster: Cluster, urls: Urls) -> None:
    """Answer from a stack that was there before, of what it has from now on."""
    now = cluster.now
    cluster.telemetry = ByoTelemetry(
        urls, cluster.app, now=now, since=now(), news=_observed(cluster)
    )


def _urls(options: RealOptions) -> Urls | None:
    """Return where a stack answers that was there before; None: the observer does."""
    if not options.prometheus:
        return None
    return Urls(options.prometheus, options.loki, options.jaeger)
