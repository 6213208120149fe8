"""Disruption budgets: how many pods of a set may be taken away right now.

After kubernetes/pkg/controller/disruption. What is expected comes from the controllers of the
matching pods for ``maxUnavailable`` and percentages, and from the pods themselves for an absolute
``minAvailable``. Not here: who asks (``eviction``).
"""

from __future__ import annotations

import math

from aiopslab.models.kube import KubeError
from aiopslab.models.timestamps import rfc3339, unix
from aiopslab.world.kube.controllers.base import Controller
from aiopslab.world.kube.controllers.queue import Key
from aiopslab.world.kube.eviction import allowed_condition, covering, covers
from aiopslab.world.kube.objects import (
    Object,
    controller_of,
    deleting,
    dig,
    name_of,
    namespace_of,
    set_condition,
)
from aiopslab.world.kube.validation.podspec import is_finished, is_ready

EVICTION_S = 120.0
"""A pod whose eviction was granted counts as going for so long, if it does not go."""


class DisruptionController(Controller):
    """Keeps the status of PodDisruptionBudgets."""

    name = "disruption-controller"

    def watch(self) -> None:
        """Follow budgets, and the pods they cover."""
        self.follow_own("PodDisruptionBudget")
        self.follow("Pod", self._budgets)

    def _budgets(self, pod: Object) -> list[Key]:
        return [(namespace_of(b), name_of(b)) for b in covering(self.api, pod)]

    def reconcile(self, namespace: str, name: str) -> None:
        budget = self.find("PodDisruptionBudget", name, namespace)
        if budget is None or deleting(budget):
            return
        pods = [
            pod
            for pod in self.api.list("Pod", namespace)
            if covers(budget, pod) and not is_finished(pod)
        ]
        going = self._going(budget, pods)
        try:
            expected = self._expected(budget, pods)
        except KubeError as error:
            self.event(budget, "Warning", "CalculateExpectedPodCountFailed", error.message)
            return
        desired = _desired(budget["spec"], expected)
        healthy = sum(is_ready(p) and not deleting(p) and name_of(p) not in going for p in pods)
        allowed = max(0, healthy - desired) if expected > 0 else 0
        now = rfc3339(self.now())
        old = budget.get("status") or {}
        status = {
            "conditions": set_condition(
                old.get("conditions") or (), allowed_condition(allowed), now
            ),
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "disruptionsAllowed": allowed,
            "expectedPods": expected,
            "observedGeneration": budget["metadata"].get("generation", 1),
        }
        if going:
            status["disruptedPods"] = going
            oldest = min(unix(time) for time in going.values())
            self.queue.add_after((namespace, name), oldest + EVICTION_S - self.now())
        self.write_status(budget, status)

    def _going(self, budget: Object, pods: list[Object]) -> dict[str, str]:
        """Return the pods whose eviction was granted and that have not begun to go."""
        granted = dig(budget, "status", "disruptedPods", default={})
        staying = {name_of(pod) for pod in pods if not deleting(pod)}
        return {
            pod: time
            for pod, time in sorted(granted.items())
            if pod in staying and unix(time) + EVICTION_S > self.now()
        }

    def _expected(self, budget: Object, pods: list[Object]) -> int:
        """Return how many pods there should be.

        Raises:
            KubeError: 404, a pod has no controller whose size is known.
        """
        minimum = budget["spec"].get("minAvailable")
        if isinstance(minimum, int):
            return len(pods)
        sizes: dict[str, int] = {}
        for pod in pods:
            owner = controller_of(pod)
            if owner is None:
                words = f"found no controllers for pod {name_of(pod)!r}"
                raise KubeError(404, "NotFound", words)
            if owner["uid"] not in sizes:
                scale = self.api.get_scale(owner["kind"], owner["name"], namespace_of(pod))
                sizes[owner["uid"]] = int(scale["spec"].get("replicas", 0))
        return sum(sizes.values())


def _desired(spec: Object, expected: int) -> int:
    """Return how many pods must stay healthy."""
    unavailable = spec.get("maxUnavailable")
    if unavailable is not None:
        return max(0, expected - _share(unavailable, expected))
    return _share(spec.get("minAvailable", 1), expected)


def _share(value: int | str, whole: int) -> int:
    """Resolve an int-or-percent; both kinds of budget round up."""
    if isinstance(value, int):
        return value
    return math.ceil(int(value.rstrip("%")) / 100.0 * whole)
