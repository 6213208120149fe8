"""Where a pod may run and where it would best: the filters and scores of the scheduler.

Pure functions over one snapshot of the cluster. Texts are those of the kube-scheduler's plugins.
Not here: when to try again, binding, preemption (``scheduler``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiopslab.world.kube import selectors
from aiopslab.world.kube.objects import Object, dig, labels_of, name_of, namespace_of
from aiopslab.world.kube.quantity import amount
from aiopslab.world.kube.validation.podspec import is_finished, resource_requests, tolerates

UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


@dataclass(slots=True)
class NodeState:
    """A node with what is placed on it."""

    node: Object
    pods: list[Object] = field(default_factory=list)
    used: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Node name."""
        return name_of(self.node)

    def allocatable(self, resource: str) -> float:
        """Amount of a resource that pods may request in all."""
        return amount(dig(self.node, "status", "allocatable", resource, default="0"))

    def place(self, pod: Object) -> None:
        """Count a pod."""
        self.pods.append(pod)
        for resource, value in resource_requests(pod["spec"]).items():
            self.used[resource] = self.used.get(resource, 0.0) + value


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node cannot take a pod; evicting pods helps only with some reasons."""

    reasons: tuple[str, ...]
    preemptible: bool


def snapshot(nodes: Iterable[Object], pods: Iterable[Object]) -> list[NodeState]:
    """Put every unfinished, placed pod on its node; nodes by name."""
    states = {name_of(node): NodeState(node) for node in sorted(nodes, key=name_of)}
    for pod in pods:
        state = states.get(pod["spec"].get("nodeName", ""))
        if state is not None and not is_finished(pod):
            state.place(pod)
    return list(states.values())


# -- filters --------------------------------------------------------------------------------------


def refuse(pod: Object, state: NodeState, cluster: Sequence[NodeState]) -> Refusal | None:
    """Return why a node cannot take a pod, None if it can. The first failing filter decides."""
    spec = pod["spec"]
    if spec.get("nodeName") and spec["nodeName"] != state.name:
        return Refusal(("node(s) didn't match the requested node name",), False)
    if dig(state.node, "spec", "unschedulable") and not tolerates(
        spec.get("tolerations") or (), UNSCHEDULABLE
    ):
        return Refusal(("node(s) were unschedulable",), False)
    for taint in dig(state.node, "spec", "taints", default=()):
        if taint["effect"] == "PreferNoSchedule":
            continue
        if not tolerates(spec.get("tolerations") or (), taint):
            label = f"{taint['key']}: {taint.get('value', '')}"
            return Refusal((f"node(s) had untolerated taint {{{label}}}",), False)
    if not matches_node(spec, state.node):
        return Refusal(("node(s) didn't match Pod's node affinity/selector",), False)
    lacking = insufficient(pod, state)
    if lacking:
        return Refusal(lacking, True)
    return _refuse_neighbours(pod, state, cluster)


def insufficient(pod: Object, state: NodeState) -> tuple[str, ...]:
    """Name what a node lacks for a pod's requests."""
    reasons = []
    if len(state.pods) + 1 > state.allocatable("pods"):
        reasons.append("Too many pods")
    for resource, value in sorted(resource_requests(pod["spec"]).items()):
        free = state.allocatable(resource) - state.used.get(resource, 0.0)
        # Sums of milli-cores in floats: a hair above is still a fit.
        if value > free + 1e-9:
            reasons.append(f"Insufficient {resource}")
    return tuple(reasons)


def matches_node(spec: Object, node: Object) -> bool:
    """Whether a node has the labels a pod spec asks for, by nodeSelector and required affinity."""
    labels = labels_of(node)
    wanted = spec.get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    required = dig(
        spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if required is None:
        return True
    return any(node_term(term, node) for term in required.get("nodeSelectorTerms") or ())


def node_term(term: Mapping[str, Any], node: Object) -> bool:
    """Whether a node selector term matches; an empty term matches nothing."""
    expressions = list(term.get("matchExpressions") or ())
    fields = list(term.get("matchFields") or ())
    if not expressions and not fields:
        return False
    return all(_expression(item, labels_of(node)) for item in expressions) and all(
        _expression(item, {"metadata.name": name_of(node)}) for item in fields
    )


def _expression(item: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = item["key"], item["operator"], item.get("values") or []
    value = labels.get(key)
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    try:
        number, bound = int(str(value)), int(str(values[0]))
    except (ValueError, IndexError):
        return False
    return number > bound if operator == "Gt" else number < bound


# -- affinity between pods ------------------------------------------------------------------------


def _pod_terms(pod: Object, kind: str) -> list[Object]:
    path = ("affinity", kind, "requiredDuringSchedulingIgnoredDuringExecution")
    return list(dig(pod["spec"], *path, default=()))


def _selects(term: Mapping[str, Any], owner: Object, other: Object) -> bool:
    namespaces = term.get("namespaces") or [namespace_of(owner)]
    selector = selectors.from_object(term.get("labelSelector"))
    return namespace_of(other) in namespaces and selectors.matches(selector, labels_of(other))


def _shares_domain(term: Mapping[str, Any], first: Object, second: Object) -> bool:
    key = term["topologyKey"]
    value = labels_of(first).get(key)
    return value is not None and value == labels_of(second).get(key)


def _in_domain(pod: Object, term: Object, state: NodeState, cluster: Sequence[NodeState]) -> bool:
    return any(
        _selects(term, pod, other)
        for peer in cluster
        if _shares_domain(term, state.node, peer.node)
        for other in peer.pods
    )


def _refuse_neighbours(
    pod: Object, state: NodeState, cluster: Sequence[NodeState]
) -> Refusal | None:
    for term in _pod_terms(pod, "podAffinity"):
        if _in_domain(pod, term, state, cluster):
            continue
        nobody = not any(_selects(term, pod, other) for peer in cluster for other in peer.pods)
        # The first pod of a group that wants to be with its own kind may go anywhere.
        if not (nobody and _selects(term, pod, pod)):
            return Refusal(("node(s) didn't match pod affinity rules",), False)
    for term in _pod_terms(pod, "podAntiAffinity"):
        if _in_domain(pod, term, state, cluster):
            return Refusal(("node(s) didn't match pod anti-affinity rules",), True)
    for peer in cluster:
        for other in peer.pods:
            for term in _pod_terms(other, "podAntiAffinity"):
                if _shares_domain(term, state.node, peer.node) and _selects(term, other, pod):
                    text = "node(s) didn't satisfy existing pods anti-affinity rules"
                    return Refusal((text,), True)
    return None


# -- scores ---------------------------------------------------------------------------------------


def score(pod: Object, state: NodeState, cluster: Sequence[NodeState]) -> float:
    """Rate a node that passed the filters; more is better.

    Least allocated of CPU and memory (0..100), preferred affinities by weight, spreading over
    nodes what has the same labels, PreferNoSchedule taints.
    """
    requests = resource_requests(pod["spec"])
    total = 0.0
    for resource in ("cpu", "memory"):
        capacity = state.allocatable(resource)
        if capacity > 0:
            used = state.used.get(resource, 0.0) + requests.get(resource, 0.0)
            total += 50.0 * max(0.0, 1.0 - used / capacity)
    total += _preferences(pod, state, cluster)
    owner_labels = labels_of(pod)
    twins = sum(
        labels_of(other) == owner_labels and namespace_of(other) == namespace_of(pod)
        for other in state.pods
    )
    total -= 100.0 * twins  # the weight-2 default topology spread over hostnames
    for taint in dig(state.node, "spec", "taints", default=()):
        if taint["effect"] == "PreferNoSchedule" and not tolerates(
            pod["spec"].get("tolerations") or (), taint
        ):
            total -= 100.0
    return total


def _preferences(pod: Object, state: NodeState, cluster: Sequence[NodeState]) -> float:
    path = "preferredDuringSchedulingIgnoredDuringExecution"
    affinity = pod["spec"].get("affinity") or {}
    total = 0.0
    for item in dig(affinity, "nodeAffinity", path, default=()):
        if node_term(item["preference"], state.node):
            total += float(item["weight"])
    for kind, sign in (("podAffinity", 1.0), ("podAntiAffinity", -1.0)):
        for item in dig(affinity, kind, path, default=()):
            if _in_domain(pod, item["podAffinityTerm"], state, cluster):
                total += sign * float(item["weight"])
    return total


# -- texts ----------------------------------------------------------------------------------------


def explain(refusals: Sequence[Refusal], *, prefix: str = "") -> str:
    """Word the outcome of a failed attempt as the FailedScheduling event has it."""
    count = len(refusals)
    head = f"0/{count} nodes are available"
    if not refusals:
        return "no nodes available to schedule pods"
    first = prefix or _histogram([reason for item in refusals for reason in item.reasons])
    after = _histogram([NO_VICTIMS if item.preemptible else NOT_HELPFUL for item in refusals])
    return f"{head}: {first}. preemption: {head}: {after}."


def _histogram(reasons: Sequence[str]) -> str:
    counted: dict[str, int] = {}
    for reason in reasons:
        counted[reason] = counted.get(reason, 0) + 1
    return ", ".join(sorted(f"{count} {reason}" for reason, count in counted.items()))
