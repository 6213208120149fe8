"""What the handlers of the Kubernetes API are given: the world, its environment, the gate.

The application keeps one ``Cluster`` in its ``state``; handlers of requests and of streams find it
through their scope. Not here: routes (``app``), rights as rules (``wire.identity``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiopslab.environments.sim import Sim
from aiopslab.models.kube import KubeError, Object
from aiopslab.wire.gate import Gate
from aiopslab.wire.identity import Identity, administrator
from aiopslab.world.world import World

if TYPE_CHECKING:
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


def authorize(who: Identity, verb: str, resource: str, name: str, namespace: str) -> None:
    """Refuse what no rule of an identity allows on a resource of the core group.

    Raises:
        KubeError: 403 in the words of role-based access control.
    """
    if who.allows(verb, "", resource, namespace):
        return
    main = resource.partition("/")[0]
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    text = (
        f'{main} "{name}" is forbidden: User "{who.user}" cannot {verb} resource "{resource}"'
        f' in API group "" {where}'
    )
    raise KubeError(403, "Forbidden", text, {"name": name, "kind": main})


def may_write(who: Identity, namespace: str) -> bool:
    """Whether an identity may change what runs in a namespace."""
    return who.allows("update", "apps", "deployments", namespace)


def failure(error: KubeError) -> dict[str, Any]:
    """Return a refusal as a ``Status`` object."""
    status: Object = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": error.message, "reason": error.reason,
    }  # fmt: skip
    if error.details:
        status["details"] = error.details
    return {**status, "code": error.code}
