"""A cluster as commands name it, asked once: which context, and rows of what is ours there.

Not here: what is asked (``cluster_command``, ``clean_command``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cyclopts import Parameter

if TYPE_CHECKING:
    from aiopslab.environments.cluster.cleaning import Found
    from aiopslab.environments.cluster.kube import ClusterKube

T = TypeVar("T")


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Which cluster."""

    name: str = "aiopslab"
    """Of a kind cluster; its context is kind-NAME."""
    context: str = ""
    """Another cluster, by its context."""
    kubeconfig: str = ""
    """Path of the kubeconfig. Default: KUBECONFIG, then ~/.kube/config."""
    allow_production: bool = False
    """Whether a context is meant that looks like production."""


def ask(where: Where, question: Callable[[ClusterKube], Awaitable[T]]) -> T:
    """Ask the cluster that is meant.

    Raises:
        UsageError: There is no such context, or it must not be used.
        PreflightError: Its credentials cannot be had.
        InfraError: It does not answer.
    """
    import asyncio

    from aiopslab.environments.cluster.connection import Connection, Reach
    from aiopslab.environments.cluster.kube import ClusterKube
    from aiopslab.environments.contexts import choose
    from aiopslab.orchestrator import wallclock

    wanted = where.context or f"kind-{where.name}"
    chosen = choose(where.kubeconfig, wanted, allow_production=where.allow_production)
    connection = Connection(Reach(where.kubeconfig, chosen.name))

    async def asked() -> T:
        try:
            return await question(ClusterKube(connection, now=wallclock.unix))
        finally:
            await connection.aclose()

    return asyncio.run(asked())


def row(found: Found) -> dict[str, str]:
    """Return one object of ours for a table."""
    return {
        "trial": found.trial,
        "namespace": found.namespace,
        "object": f"{found.served.kind.resource}/{found.name}",
        "state": "going" if found.going else "there",
    }
