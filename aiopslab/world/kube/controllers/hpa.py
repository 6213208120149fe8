"""The HorizontalPodAutoscaler: replicas from CPU utilisation, every 15 s.

Algorithm of kubernetes/pkg/controller/podautoscaler: ratio of mean utilisation to the target, a
tolerance of 10 %, unready pods discounted, stabilisation over the past 300 s when scaling down,
at most doubling (or four pods) per 15 s when scaling up. Only ``Resource`` metrics on ``cpu`` are
known; usage comes from a callable, as metrics-server's would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiopslab.models.kube import KubeError
from aiopslab.models.timestamps import rfc3339
from aiopslab.world.kube import selectors
from aiopslab.world.kube.controllers.base import Controller, Surroundings
from aiopslab.world.kube.controllers.queue import Key
from aiopslab.world.kube.objects import (
    Object,
    deleting,
    dig,
    labels_of,
    name_of,
    namespace_of,
    set_condition,
)
from aiopslab.world.kube.validation.podspec import is_active, is_ready, resource_requests

SYNC_S = 15.0
TOLERANCE = 0.1
DOWN_WINDOW_S = 300.0
UP_PODS = 4
UP_FACTOR = 2.0

Usage = Callable[[Object], float | None]
"""Cores a pod used over the past half minute; None if there is no measurement yet."""


Mark = tuple[str, bool, str, str]
"""A condition: type, whether it holds, reason, message."""

_READY: Mark = (
    "AbleToScale",
    True,
    "ReadyForNewScale",
    "recommended size matches current size",
)
_STABILIZED: Mark = (
    "AbleToScale",
    True,
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent "
    "recommendation",
)


def _limit(wanted: int, low: int, high: int, fastest: int) -> Mark:
    """Word whether a limit changed the number of replicas wanted."""
    if wanted > high:
        text = "the desired replica count is more than the maximum replica count"
        return ("ScalingLimited", True, "TooManyReplicas", text)
    if wanted < low:
        text = "the desired replica count is less than the minimum replica count"
        return ("ScalingLimited", True, "TooFewReplicas", text)
    if wanted > fastest:
        text = "the desired replica count is increasing faster than the maximum scale rate"
        return ("ScalingLimited", True, "ScaleUpLimit", text)
    text = "the desired count is within the acceptable range"
    return ("ScalingLimited", False, "DesiredWithinRange", text)


@dataclass(frozen=True, slots=True)
class Sample:
    """One pod in the calculation, in cores."""

    usage: float | None
    request: float
    ready: bool


def utilisation(samples: Sequence[Sample]) -> float | None:
    """Mean usage as a share of requests over the measured, ready pods; None without any."""
    seen = [item for item in samples if item.usage is not None and item.ready]
    requests = sum(item.request for item in seen)
    if requests <= 0.0:
        return None
    return sum(item.usage or 0.0 for item in seen) / requests


def desired(samples: Sequence[Sample], target: float, current: int) -> int:
    """Replicas that would bring mean utilisation to ``target`` (a share of the request).

    Pods without a measurement count as idle when that would scale up and as at the target when it
    would scale down; unready ones count as idle when scaling up. If that turns the direction,
    nothing is changed.
    """
    mean = utilisation(samples)
    if mean is None:
        return current
    ratio = mean / target
    others = [item for item in samples if item.usage is None or not item.ready]
    if not others:
        if abs(ratio - 1.0) <= TOLERANCE:
            return current
        return math.ceil(ratio * len(samples) - 1e-9)
    filled = 0.0 if ratio > 1.0 else target
    usage = request = 0.0
    for item in samples:
        counted = item.usage is not None and item.ready
        usage += (item.usage or 0.0) if counted else filled * item.request
        request += item.request
    adjusted = usage / request / target
    if abs(adjusted - 1.0) <= TOLERANCE or (ratio > 1.0) != (adjusted > 1.0):
        return current
    return math.ceil(adjusted * len(samples) - 1e-9)


class HpaController(Controller):
    """Reconciles HorizontalPodAutoscalers.

    Args:
        around: Surroundings.
        usage: CPU usage of a pod.
    """

    name = "horizontal-pod-autoscaler"

    def __init__(self, around: Surroundings, usage: Usage) -> None:
        super().__init__(around)
        self._usage = usage
        self._advice: dict[Key, list[tuple[float, int]]] = {}
        """Recommendations of the past five minutes: (time, replicas)."""

    def watch(self) -> None:
        """Follow the autoscalers; the rest is looked at every 15 s."""
        self.follow("HorizontalPodAutoscaler", self._unknown)

    def _unknown(self, hpa: Object) -> list[Key]:
        key = (namespace_of(hpa), name_of(hpa))
        return [] if key in self._advice else [key]

    def reconcile(self, namespace: str, name: str) -> None:
        key = (namespace, name)
        hpa = self.find("HorizontalPodAutoscaler", name, namespace)
        if hpa is None or deleting(hpa):
            self._advice.pop(key, None)
            return
        self._advice.setdefault(key, [])
        self.queue.add_after(key, SYNC_S)
        reference = hpa["spec"]["scaleTargetRef"]
        try:
            scale = self.api.get_scale(reference["kind"], reference["name"], namespace)
        except KubeError as error:
            self.event(hpa, "Warning", "FailedGetScale", error.message)
            mark = ("AbleToScale", False, "FailedGetScale", error.message)
            self._report(hpa, dict(hpa.get("status") or {}), [mark])
            return
        self._autoscale(hpa, scale)

    # -- one round --------------------------------------------------------------------------------

    def _autoscale(self, hpa: Object, scale: Object) -> None:
        spec = hpa["spec"]
        current = int(scale["spec"].get("replicas", 0))
        status = {
            **(hpa.get("status") or {}),
            "currentReplicas": int(dig(scale, "status", "replicas", default=current)),
            "desiredReplicas": current,
        }
        if current == 0 and int(spec.get("minReplicas", 1)) != 0:
            why = "scaling is disabled since the replica count of the target is zero"
            self._report(hpa, status, [("ScalingActive", False, "ScalingDisabled", why)])
            return
        samples = self._samples(hpa, scale)
        mean, target = utilisation(samples), self._target(hpa)
        if mean is None or target is None:
            why = (
                "the HPA was unable to compute the replica count: failed to get cpu utilization: "
                "unable to get metrics for resource cpu: no metrics returned from resource "
                "metrics API"
            )
            self.event(hpa, "Warning", "FailedGetResourceMetric", why)
            self._report(hpa, status, [("ScalingActive", False, "FailedGetResourceMetric", why)])
            return
        proposal = desired(samples, target, current)
        replicas, marks = self._bound(hpa, current, proposal)
        status["desiredReplicas"] = replicas
        status["currentMetrics"] = [_metric(samples, mean)]
        if replicas != current:
            self._rescale(hpa, replicas, above=mean > target)
            status["lastScaleTime"] = rfc3339(self.now())
        valid = (
            "the HPA was able to successfully calculate a replica count from cpu resource "
            "utilization (percentage of request)"
        )
        self._report(hpa, status, [*marks, ("ScalingActive", True, "ValidMetricFound", valid)])

    def _target(self, hpa: Object) -> float | None:
        for metric in hpa["spec"].get("metrics") or ():
            if dig(metric, "resource", "name") == "cpu":
                percent = dig(metric, "resource", "target", "averageUtilization")
                return float(percent) / 100.0 if percent else None
        return None

    def _samples(self, hpa: Object, scale: Object) -> list[Sample]:
        reference = hpa["spec"]["scaleTargetRef"]
        target = self.api.get(reference["kind"], reference["name"], namespace_of(hpa))
        selector = selectors.from_object(target["spec"]["selector"])
        pods = [
            pod
            for pod in self.api.list("Pod", namespace_of(hpa))
            if is_active(pod) and selectors.matches(selector, labels_of(pod))
        ]
        return [
            Sample(self._usage(pod), resource_requests(pod["spec"]).get("cpu", 0.0), is_ready(pod))
            for pod in pods
        ]

    def _bound(self, hpa: Object, current: int, proposal: int) -> tuple[int, list[Mark]]:
        """Apply stabilisation, the scaling rate, and the limits of the spec."""
        now, key = self.now(), (namespace_of(hpa), name_of(hpa))
        behavior = hpa["spec"].get("behavior") or {}
        window = dig(behavior, "scaleDown", "stabilizationWindowSeconds", default=DOWN_WINDOW_S)
        # The size an autoscaler finds counts as advice, so that a new one does not shrink at once.
        known = self._advice[key] or [(now, current)]
        advice = [item for item in known if item[0] > now - float(window)]
        self._advice[key] = [*advice, (now, proposal)]
        stable = max(proposal, min(current, max(count for _, count in self._advice[key])))
        able: Mark = _READY if stable == proposal else _STABILIZED
        fastest = max(current + UP_PODS, math.ceil(current * UP_FACTOR))
        low = int(hpa["spec"].get("minReplicas", 1))
        high = int(hpa["spec"]["maxReplicas"])
        return max(low, min(stable, high, fastest)), [able, _limit(stable, low, high, fastest)]

    def _rescale(self, hpa: Object, replicas: int, *, above: bool) -> None:
        reference = hpa["spec"]["scaleTargetRef"]
        self.api.patch(
            reference["kind"],
            reference["name"],
            {"spec": {"replicas": replicas}},
            namespace=namespace_of(hpa),
            type="merge",
            subresource="scale",
            actor=self.actor,
        )
        why = (
            "cpu resource utilization (percentage of request) above target"
            if above
            else "All metrics below target"
        )
        self.event(hpa, "Normal", "SuccessfulRescale", f"New size: {replicas}; reason: {why}")

    def _report(self, hpa: Object, status: Object, marks: list[Mark]) -> None:
        now = rfc3339(self.now())
        conditions = status.get("conditions") or []
        for kind, holds, reason, message in marks:
            item = {"type": kind, "status": str(holds), "reason": reason, "message": message}
            conditions = set_condition(conditions, item, now)
        self.write_status(hpa, {**status, "conditions": conditions})


def _metric(samples: Sequence[Sample], mean: float) -> Object:
    seen = [item.usage for item in samples if item.usage is not None]
    average = sum(seen) / len(seen) if seen else 0.0
    current = {
        "averageUtilization": round(mean * 100),
        "averageValue": f"{math.ceil(average * 1000)}m",
    }
    return {"type": "Resource", "resource": {"name": "cpu", "current": current}}
