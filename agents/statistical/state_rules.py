"""Clues in the state of the cluster: objects that contradict each other, pods that cannot run.

Each rule yields clues from the survey alone; none knows any incident. Not here: metrics, logs and
traces (``signal_rules``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from .clues import Clue, restart, undo
from .objects import Row, labels, ports, quantity, selects, template_change
from .survey import Survey

_DIFF = re.compile(r"^data\.(?P<key>[A-Z0-9_]+): (?P<old>.*) -> (?P<new>.*)$")
_ABSENT = ("(none)", "(absent)", "null")
_SCALED = re.compile(r"^scale (?P<name>\S+): (?P<old>\d+) -> (?P<new>\d+)$")


def state_clues(seen: Survey) -> Iterator[Clue]:
    """Yield every clue of the cluster's state."""
    yield from _services(seen)
    yield from _workloads(seen)
    yield from _pods(seen)
    yield from _events(seen)
    yield from _config_changes(seen)
    yield from _policies(seen)


def _services(seen: Survey) -> Iterator[Clue]:
    """Services whose selector or port does not fit the pods of their workload."""
    for service in seen.objects["Service"]:
        name, spec = service["metadata"]["name"], service["spec"]
        workload = seen.named("Deployment", name) or seen.named("StatefulSet", name)
        if workload is None or not spec.get("selector"):
            continue
        template = workload["spec"]["template"]
        patch: Row
        if not selects(spec["selector"], template["metadata"].get("labels", {})):
            patch = {"spec": {"selector": workload["spec"]["selector"]["matchLabels"]}}
            call = _patch("Service", name, _without_extra(spec["selector"], patch))
            why = f"Service {name} selects {spec['selector']}, its workload's pods do not match"
            yield Clue(name, "service_selector_mismatch", 6.0, why, ("Service",), (call,))
        have = ports(template["spec"])
        for port in spec.get("ports", []):
            target = port.get("targetPort", port["port"])
            if have and target not in have.values() and target not in have:
                fixed = [{**port, "targetPort": next(iter(have.values()))}]
                call = _patch("Service", name, {"spec": {"ports": fixed}})
                why = f"Service {name} forwards to {target}, containers listen on {have}"
                yield Clue(name, "service_port_mismatch", 6.0, why, ("Service",), (call,))


def _workloads(seen: Survey) -> Iterator[Clue]:
    """Workloads without replicas, and what their last template change made worse."""
    for deployment in seen.objects["Deployment"]:
        name = deployment["metadata"]["name"]
        if deployment["spec"].get("replicas", 1) == 0:
            call = ("k8s_scale", {"name": name, "replicas": _earlier_replicas(seen, name)})
            why = f"{name} is scaled to no replicas"
            yield Clue(name, "scaled_to_zero", 6.0, why, ("Deployment",), (call,))
        change = template_change(deployment, seen.objects["ReplicaSet"])
        yield from _template_clues(name, change)


def _template_clues(name: str, change: dict[str, tuple[str | None, str | None]]) -> Iterator[Clue]:
    """Judge each changed path of a pod template."""
    for path, (old, new) in change.items():
        sources = ("ReplicaSet", "changes")
        why = f"{name}: {path} changed {old} -> {new}"
        if path.endswith("resources.limits.cpu") and _lower(old, new):
            yield Clue(name, "cpu_limit_too_low", 3.5, why, sources, undo(name))
        elif path.endswith("resources.limits.memory") and _lower(old, new):
            yield Clue(name, "memory_limit_too_low", 3.0, why, sources, undo(name))
        elif ".readinessProbe." in path:
            yield Clue(name, "readiness_probe_misconfigured", 2.0, why, sources, undo(name))
        elif ".livenessProbe." in path:
            yield Clue(name, "liveness_probe_misconfigured", 2.0, why, sources, undo(name))
        elif "nodeSelector" in path or "affinity" in path:
            yield Clue(name, "node_selector_unsatisfiable", 1.5, why, sources, undo(name))


def _pods(seen: Survey) -> Iterator[Clue]:
    """Pods that wait, die or stay pending, and the reasons the kubelet gives."""
    told: set[tuple[str, str]] = set()
    for pod in seen.objects["Pod"]:
        name = labels(pod).get("app.kubernetes.io/name", "")
        for clue in _pod(seen, pod, name):
            if (clue.component, clue.cause) not in told:
                told.add((clue.component, clue.cause))
                yield clue


def _pod(seen: Survey, pod: Row, name: str) -> Iterator[Clue]:
    status = pod.get("status", {})
    for condition in status.get("conditions", []):
        message = condition.get("message", "")
        if condition.get("reason") == "Unschedulable" and re.search(r"selector|affinity", message):
            cause = "node_selector_unsatisfiable"
            yield Clue(name, cause, 5.0, message, ("Pod", "events"), undo(name))
    for one in status.get("containerStatuses", []):
        waiting = one.get("state", {}).get("waiting", {}).get("reason", "")
        last = one.get("lastState", {}).get("terminated", {})
        if waiting in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName"):
            why = f"{name}: {waiting} of {one.get('image', '')}"
            yield Clue(name, "image_not_pullable", 6.0, why, ("Pod", "events"), undo(name))
        if waiting == "CreateContainerConfigError":
            why = f"{name}: {one['state']['waiting'].get('message', waiting)}"
            yield Clue(name, "missing_configuration", 5.0, why, ("Pod", "events"), undo(name))
        if last.get("reason") == "OOMKilled":
            yield from _out_of_memory(seen, name)
        elif waiting == "CrashLoopBackOff" and last.get("exitCode") == 1:
            why = f"{name} exits with 1 at start"
            yield Clue(name, "missing_configuration", 2.0, why, ("Pod", "logs"), undo(name))


def _out_of_memory(seen: Survey, name: str) -> Iterator[Clue]:
    """Killed at the limit: by a new version that leaks, or by a limit that was cut."""
    deployment = seen.named("Deployment", name)
    change = template_change(deployment, seen.objects["ReplicaSet"]) if deployment else {}
    why = f"{name} was killed at its memory limit"
    sources = ("Pod", "memory")
    if any(path.endswith("limits.memory") for path in change):
        yield Clue(name, "memory_limit_too_low", 3.0, why, sources, undo(name))
    elif any(path.endswith(".image") for path in change):
        yield Clue(name, "memory_leak", 5.0, f"{why} after a rollout", sources, undo(name))
    else:
        yield Clue(name, "memory_leak", 2.0, why, sources, (restart(name),))
        yield Clue(name, "memory_limit_too_low", 1.5, why, sources)


def _events(seen: Survey) -> Iterator[Clue]:
    """What components of the cluster complain about."""
    kinds = {
        "Readiness probe failed": "readiness_probe_misconfigured",
        "Liveness probe failed": "liveness_probe_misconfigured",
    }
    told: set[tuple[str, str]] = set()
    for event in seen.events:
        name = seen.component_named_in(event["name"])
        message = event["message"]
        for text, cause in kinds.items():
            if text in message and event["count"] >= 2 and (name, cause) not in told:
                told.add((name, cause))
                # Probes fail for many reasons; refusals of a port or path that answers are one.
                weight = 2.5 if re.search(r"statuscode: 404|refused", message) else 1.0
                yield Clue(name, cause, weight, message, ("events",), undo(name))
        if "exceeded quota" in message and (name, "quota_exceeded") not in told:
            told.add((name, "quota_exceeded"))
            yield Clue(name, "quota_exceeded", 5.0, message, ("events",))


def _config_changes(seen: Survey) -> Iterator[Clue]:
    """Configuration values that recently shrank or went."""
    for change in seen.changes:
        if change["kind"] != "config":
            continue
        name = seen.component_named_in(change["component"])
        for line in change["diff"].splitlines():
            found = _DIFF.match(line.strip())
            if found is not None:
                yield from _value(name, found["key"], found["old"], found["new"])


def _value(name: str, key: str, old: str, new: str) -> Iterator[Clue]:
    """Judge one changed value of a ConfigMap."""
    back = json.dumps({"data": {key: old.strip("'\"")}})
    patch = {"kind": "ConfigMap", "name": f"{name}-config", "patch": back, "type": "merge"}
    repair = (("k8s_patch", patch), restart(name))
    why = f"{name}: {key} changed {old} -> {new}"
    sources = ("changes", "ConfigMap")
    if old in _ABSENT:
        yield Clue(name, "config_value_wrong", 0.5, why, sources)
    elif new in _ABSENT:
        yield Clue(name, "missing_configuration", 4.0, why, sources, repair)
    elif key.endswith("_POOL_SIZE") and _lower(old, new):
        yield Clue(name, "connection_pool_too_small", 4.0, why, sources, repair)
    elif key.endswith("_TIMEOUT_MS") and _lower(old, new):
        yield Clue(name, "timeout_too_short", 4.0, why, sources, repair)
    else:
        yield Clue(name, "config_value_wrong", 1.5, why, sources, repair)


def _policies(seen: Survey) -> Iterator[Clue]:
    """Ingress policies that shut out a declared caller."""
    callers: dict[str, list[str]] = {}
    for edge in seen.edges:
        if edge["declared"]:
            callers.setdefault(edge["callee"], []).append(edge["caller"])
    for policy in seen.objects["NetworkPolicy"]:
        spec = policy["spec"]
        if "Ingress" not in spec.get("policyTypes", ["Ingress"]):
            continue
        chosen = spec.get("podSelector", {}).get("matchLabels", {})
        for name, clients in sorted(callers.items()):
            if not selects(chosen, {"app.kubernetes.io/name": name, **_pod_labels(seen, name)}):
                continue
            shut = [c for c in clients if not _admits(spec, _pod_labels(seen, c))]
            if shut:
                title = policy["metadata"]["name"]
                call = ("k8s_delete", {"kind": "NetworkPolicy", "name": title})
                why = f"NetworkPolicy {title} keeps {', '.join(shut)} from {name}"
                sources = ("NetworkPolicy", "topology")
                yield Clue(name, "network_policy_denied", 5.5, why, sources, (call,))


def _admits(spec: Row, client: dict[str, str]) -> bool:
    """Say whether some ingress rule admits pods with these labels (same namespace)."""
    for rule in spec.get("ingress") or []:
        peers = rule.get("from")
        if not peers:
            return True
        for peer in peers:
            chosen = (peer.get("podSelector") or {}).get("matchLabels", {})
            if "podSelector" not in peer or selects(chosen, client):
                return True
    return False


def _pod_labels(seen: Survey, name: str) -> dict[str, str]:
    workload = seen.named("Deployment", name) or seen.named("StatefulSet", name)
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"] if workload else {}
    return found


def _earlier_replicas(seen: Survey, name: str) -> int:
    """Return how many replicas there were, by the change log; else one."""
    for change in seen.changes:
        found = _SCALED.match(change["summary"])
        if found is not None and found["name"] == name and int(found["old"]) > 0:
            return int(found["old"])
    return 1


def _patch(kind: str, name: str, patch: Row) -> tuple[str, Row]:
    text = json.dumps(patch)
    return ("k8s_patch", {"kind": kind, "name": name, "patch": text, "type": "merge"})


def _without_extra(old: dict[str, str], patch: Row) -> Row:
    """A merge patch keeps what it does not name; name the superfluous keys with null."""
    wanted = patch["spec"]["selector"]
    return {"spec": {"selector": {**{k: None for k in old if k not in wanted}, **wanted}}}


def _lower(old: str | None, new: str | None) -> bool:
    """Say whether a quantity shrank; a value set where there was none counts."""
    if new is None:
        return False
    if old is None:
        return True
    return quantity(new.strip("'\"")) < quantity(old.strip("'\""))
