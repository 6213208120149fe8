"""Clusters as commands name them, each asked once: which contexts, and rows of what is ours there.

Not here: what is asked (``cluster_command``, ``clean_command``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
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
    """Which cluster, or clusters."""

    name: str = "aiopslab"
    """Of a kind cluster; its context is kind-NAME. Several: A,B."""
    context: str = ""
    """Another cluster, by its context. Several: A,B."""
    kubeconfig: str = ""
    """Path of the kubeconfig. Default: KUBECONFIG, then ~/.kube/config."""
    allow_production: bool = False
    """Whether a context is meant that looks like production."""

    def names(self) -> tuple[str, ...]:
        """Return the names of the kind clusters.

        Raises:
            UsageError: There is none, or one is there twice.
        """
        from aiopslab.errors import UsageError

        found = names(self.name, "--name")
        if not found:
            raise UsageError("--name names no cluster", hint="leave it out, or --name aiopslab")
        return found

    def contexts(self) -> tuple[str, ...]:
        """Return the contexts that are meant; raises as ``names``."""
        from aiopslab.environments.contexts import kind_context

        given = names(self.context, "--context")
        return given or tuple(kind_context(name) for name in self.names())


def names(text: str, flag: str) -> tuple[str, ...]:
    """Read what stands behind a flag as names with commas between them.

    Raises:
        UsageError: One is missing, or there twice.
    """
    from aiopslab.errors import UsageError
    from aiopslab.models.real import parse_names

    try:
        return tuple(parse_names(text))
    except ValueError as error:
        raise UsageError(f"{flag} {text}: {error}") from error


def ask(where: Where, question: Callable[[ClusterKube], Awaitable[T]]) -> dict[str, T]:
    """Ask every cluster that is meant; returns the answers by context.

    Raises:
        UsageError: There is no such context, or it must not be used; then none was asked.
        PreflightError: Credentials cannot be had.
        KubeError: A cluster refuses.
        InfraError: One does not answer; all others were asked nevertheless.
    """
    import asyncio

    from aiopslab.environments.contexts import choose
    from aiopslab.errors import InfraError, PreflightError
    from aiopslab.models.kube import KubeError

    allow = where.allow_production
    chosen = [choose(where.kubeconfig, c, allow_production=allow) for c in where.contexts()]
    answers: dict[str, T] = {}
    failures: dict[str, Exception] = {}
    for context in chosen:
        try:
            answers[context.name] = asyncio.run(_asked(where.kubeconfig, context.name, question))
        except (InfraError, PreflightError, KubeError) as error:
            if len(chosen) == 1:
                raise
            failures[context.name] = error
    if failures:
        said = "; ".join(f"{context}: {error}" for context, error in failures.items())
        raise InfraError("clusters", said)
    return answers


async def _asked(
    kubeconfig: str, context: str, question: Callable[[ClusterKube], Awaitable[T]]
) -> T:
    import asyncio

    from aiopslab.environments.cluster.connection import Connection, Reach
    from aiopslab.environments.cluster.kube import ClusterKube
    from aiopslab.orchestrator import wallclock

    connection = await asyncio.to_thread(Connection, Reach(kubeconfig, context))
    try:
        return await question(ClusterKube(connection, now=wallclock.unix))
    finally:
        await connection.aclose()


def rows(found: Mapping[str, Iterable[Found]]) -> list[dict[str, str]]:
    """Return objects of ours for a table, by the contexts of their clusters."""
    return [row(context, one) for context, objects in found.items() for one in objects]


def row(context: str, found: Found) -> dict[str, str]:
    """Return one object of ours for a table."""
    return {
        "context": context,
        "trial": found.trial,
        "namespace": found.namespace,
        "object": f"{found.served.kind.resource}/{found.name}",
        "state": "going" if found.going else "there",
    }
