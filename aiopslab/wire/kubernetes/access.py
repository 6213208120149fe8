"""Rights: whether an identity may do what it asks, in the words of role-based access control.

Not here: who somebody is (``wire.guard``), reviews of one's own rights (``reviews``).
"""

from __future__ import annotations

from aiopslab.models.kube import KubeError
from aiopslab.wire.identity import Identity
from aiopslab.wire.kubernetes.target import Target


def require(identity: Identity, verb: str, target: Target) -> None:
    """Let an allowed request pass.

    Raises:
        KubeError: 403 naming user, verb, resource and scope.
    """
    resource = target.resource
    if identity.allows(verb, resource.group, target.resource_name, target.namespace):
        return
    subject = f'{resource.qualified} "{target.name}"' if target.name else resource.qualified
    # The request of one namespace counts as made in it.
    space = target.name if resource.kind == "Namespace" else target.namespace
    where = f'in the namespace "{space}"' if space else "at the cluster scope"
    message = (
        f'{subject} is forbidden: User "{identity.user}" cannot {verb} resource '
        f'"{target.resource_name}" in API group "{resource.group}" {where}'
    )
    details = {"name": target.name, "group": resource.group, "kind": resource.plural}
    raise KubeError(403, "Forbidden", message, details)
