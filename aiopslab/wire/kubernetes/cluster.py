"""What the handlers of the Kubernetes API are given: the world, its environment, the gate.

The application keeps one ``Cluster`` in its ``state``; handlers of requests and of streams find it
through their scope. Not here: routes (``app``), rights as rules (``wire.identity``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiopslab.environments.sim import Sim
from aiopslab.models.kube import KubeError
from aiopslab.models.observation import Effect
from aiopslab.wire.gate import Call, Gate, Turn
from aiopslab.wire.identity import Identity, administrator
from aiopslab.world.world import World

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import Scope


@dataclass(frozen=True, slots=True)
class Cluster:
    """One served cluster; ``scope["app"].state.cluster``."""

    world: World
    env: Sim
    gate: Gate


def cluster_of(scope: Scope) -> Cluster:
    """Return the cluster that a request is about."""
    found: Cluster = scope["app"].state.cluster
    return found


def identity_of(scope: Scope) -> Identity:
    """Return who asks; without a guard before the application, its administrator."""
    found: Identity | None = scope.get("identity")
    return found if found is not None else administrator()


def call_of(connection: HTTPConnection, effect: Effect = "read", /, **more: Any) -> Call:
    """Return what the record says of a stream; plain requests are recorded by ``wire.metered``."""
    arguments: dict[str, Any] = {
        "method": connection.scope.get("method", "GET"),
        "path": connection.scope["path"].removeprefix(connection.scope.get("root_path", "")),
        "query": [list(pair) for pair in connection.query_params.multi_items()],
    }
    return Call("kubernetes", {**arguments, **more}, effect)


@asynccontextmanager
async def refusable(gate: Gate, call: Call) -> AsyncIterator[Turn]:
    """Hold a turn in which the cluster may refuse.

    What escapes a turn is a failure of ours; a refusal is an answer: it is recorded, and raised
    once the turn is over.
    """
    refused: KubeError | None = None
    async with gate.turn(call) as turn:
        try:
            yield turn
        except KubeError as error:
            turn.saw(error.message, ok=False)
            refused = error
    if refused is not None:
        raise refused


def may_write(who: Identity, namespace: str) -> bool:
    """Whether an identity may change what runs in a namespace."""
    return who.allows("update", "apps", "deployments", namespace)
