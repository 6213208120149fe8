"""Eviction: deleting a pod as far as its disruption budgets allow it.

What ``kubectl drain`` asks for. The budgets' status is kept by ``controllers.disruption``; an
eviction takes one disruption from it at once, so that two evictions in a row cannot both use the
last one. After kubernetes/pkg/registry/core/pod/storage/eviction.go. Not here: evictions by the
kubelet under pressure, which ask nobody.
"""

from __future__ import annotations

from aiopslab.models.kube import KubeError
from aiopslab.models.timestamps import rfc3339
from aiopslab.world.kube import selectors
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.authorization import authorize
from aiopslab.world.kube.metadata import check_preconditions
from aiopslab.world.kube.objects import (
    Object,
    Objects,
    deleting,
    dig,
    labels_of,
    name_of,
    namespace_of,
    set_condition,
)
from aiopslab.world.kube.options import DELETE, DeleteOptions
from aiopslab.world.kube.validation.podspec import is_finished, is_ready, phase

RETRY_S = 10
"""``retryAfterSeconds`` of a refusal that time alone may lift."""
_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."


def evict(
    api: ApiServer,
    name: str,
    namespace: str,
    *,
    actor: str,
    options: DeleteOptions = DELETE,
) -> None:
    """Delete a pod if every budget that covers it allows one more disruption.

    Args:
        api: The API server.
        name: The pod.
        namespace: Its namespace.
        actor: Who asks.
        options: The eviction's ``deleteOptions``.

    Raises:
        KubeError: 403, 404; 409 for a precondition; 429 ``TooManyRequests``, a budget forbids it;
            500, more than one budget covers the pod.
    """
    authorize(api.allowed, actor, "create", api.kind("Pod"), namespace, name)
    pod = api.get("Pod", name, namespace)
    check_preconditions(api.kind("Pod"), pod, options)
    if not (is_finished(pod) or phase(pod) == "Pending" or deleting(pod)):
        _take_disruption(api, pod, dry_run=options.dry_run)
    api.delete("Pod", name, namespace, actor=actor, options=options)


def covering(api: ApiServer, pod: Object) -> Objects:
    """Return the disruption budgets whose selector matches a pod."""
    budgets = api.list("PodDisruptionBudget", namespace_of(pod))
    return [b for b in budgets if covers(b, pod)]


def covers(budget: Object, pod: Object) -> bool:
    """Whether a budget's selector matches a pod; one without a selector covers nothing."""
    selector = dig(budget, "spec", "selector")
    if selector is None:
        return False
    return selectors.matches(selectors.from_object(selector), labels_of(pod))


def _take_disruption(api: ApiServer, pod: Object, *, dry_run: bool) -> None:
    """Count an eviction against the pod's budget.

    Raises:
        KubeError: 429 or 500, see :func:`evict`.
    """
    budgets = covering(api, pod)
    if not budgets:
        return
    if len(budgets) > 1:
        words = (
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does "
            "not support."
        )
        raise KubeError(500, "InternalError", words)
    budget = budgets[0]
    status = budget.get("status") or {}
    if not is_ready(pod) and _may_go_unhealthy(budget, status):
        return
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        words = f"The disruption budget {name_of(budget)} is still being processed by the server."
        raise _refusal(words, retry_s=RETRY_S)
    left = status.get("disruptionsAllowed", 0) - 1
    if left < 0:
        raise _refusal(
            f"The disruption budget {name_of(budget)} needs {status.get('desiredHealthy', 0)} "
            f"healthy pods and has {status.get('currentHealthy', 0)} currently"
        )
    if not dry_run:
        _count(api, budget, {**status, "disruptionsAllowed": left}, pod)


def _count(api: ApiServer, budget: Object, status: Object, pod: Object) -> None:
    now = rfc3339(api.now())
    disrupted = {**(status.get("disruptedPods") or {}), name_of(pod): now}
    conditions = set_condition(
        status.get("conditions") or (), allowed_condition(status["disruptionsAllowed"]), now
    )
    changed = {**status, "disruptedPods": disrupted, "conditions": conditions}
    api.update_status(
        "PodDisruptionBudget", name_of(budget), namespace_of(budget), changed, actor="system:api"
    )


def allowed_condition(disruptions: int) -> Object:
    """Return the ``DisruptionAllowed`` condition of a budget, without its time."""
    allowed = disruptions > 0
    return {
        "type": "DisruptionAllowed",
        "status": str(allowed),
        "reason": "SufficientPods" if allowed else "InsufficientPods",
        "message": "",
    }


def _may_go_unhealthy(budget: Object, status: Object) -> bool:
    """Whether a pod that is not ready may be evicted whatever disruptions are left."""
    if dig(budget, "spec", "unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    desired, healthy = int(status.get("desiredHealthy", 0)), int(status.get("currentHealthy", 0))
    return healthy >= desired > 0


def _refusal(why: str, *, retry_s: int = 0) -> KubeError:
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if retry_s:
        details["retryAfterSeconds"] = retry_s
    return KubeError(429, "TooManyRequests", _REFUSED, details)
