"""Who may write what: a policy function instead of roles.

Role objects can be stored, but nothing evaluates them; the environment gives each actor its
rights. Reads are not restricted here: ``wire.kubernetes`` holds clients to their identity.
"""

from __future__ import annotations

from collections.abc import Callable

from aiopslab.world.kube.errors import forbidden
from aiopslab.world.kube.kinds import Kind

Policy = Callable[[str, str, str, str], bool]
"""``(actor, verb, kind, namespace)``: whether the write is allowed."""


def authorize(
    policy: Policy | None, actor: str, verb: str, kind: Kind, namespace: str, name: str
) -> None:
    """Refuse a write the policy does not allow; None allows everything.

    Raises:
        KubeError: 403 in the words of role-based access control.
    """
    if policy is None or policy(actor, verb, kind.kind, namespace):
        return
    scope = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    why = (
        f'User "{actor}" cannot {verb} resource "{kind.plural}" in API group "{kind.group}" {scope}'
    )
    raise forbidden(kind, name, why)
