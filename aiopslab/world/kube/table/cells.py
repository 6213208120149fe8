"""Cells of ``kubectl get``: what is derived from an object rather than read off it.

``describe`` uses some of them too. Neighbour: ``table`` (which columns a kind has).
"""

from __future__ import annotations

from typing import Any

from aiopslab.models.timestamps import unix
from aiopslab.world.kube.objects import Object, condition, deleting, dig

NONE = "<none>"


def duration(seconds: float) -> str:
    """Print a span of time the way kubectl does: ``45s``, ``2m5s``, ``3h``, ``5d2h``."""
    total = max(int(seconds), 0)
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return f"{minutes}m{total % 60}s" if total % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y{days % 365}d"


def since(text: str | None, now: float) -> str:
    """Print how long ago an API timestamp was; ``<unknown>`` if there is none."""
    return duration(now - unix(text)) if text else "<unknown>"


def age(obj: Object, now: float) -> str:
    """Print the age of an object."""
    return since(obj["metadata"].get("creationTimestamp"), now)


def join(items: Any, *, limit: int | None = None) -> str:
    """Join with commas; ``<none>`` if empty; ``+ N more...`` beyond a limit."""
    texts = [str(item) for item in items or ()]
    if not texts:
        return NONE
    if limit is not None and len(texts) > limit:
        return f"{','.join(texts[:limit])} + {len(texts) - limit} more..."
    return ",".join(texts)


def labels(values: dict[str, str] | None) -> str:
    """Print labels as ``a=1,b=2``."""
    return join(f"{k}={v}" for k, v in sorted((values or {}).items()))


# -- pods -----------------------------------------------------------------------------------------


def pod_ready(pod: Object) -> str:
    """Print ready containers of all containers: ``1/2``."""
    statuses = dig(pod, "status", "containerStatuses", default=())
    ready = sum(1 for status in statuses if status.get("ready"))
    return f"{ready}/{len(dig(pod, 'spec', 'containers', default=()))}"


def pod_restarts(pod: Object, now: float) -> str:
    """Print the sum of restarts and when the last was: ``3 (5m ago)``."""
    statuses = dig(pod, "status", "containerStatuses", default=())
    count = sum(status.get("restartCount", 0) for status in statuses)
    ends = [dig(s, "lastState", "terminated", "finishedAt") for s in statuses]
    last = max((unix(end) for end in ends if end), default=None)
    if not count or last is None:
        return str(count)
    return f"{count} ({duration(now - last)} ago)"


def pod_status(pod: Object) -> str:
    """Derive the STATUS cell: what holds the pod back, else its phase."""
    status = pod.get("status") or {}
    phase = status.get("phase", "Pending")
    initializing, reason = _init_reason(pod, status.get("reason") or phase)
    if not initializing:
        reason = _container_reason(status, reason)
    if deleting(pod) and phase not in ("Succeeded", "Failed"):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return reason


def _init_reason(pod: Object, reason: str) -> tuple[bool, str]:
    """Return whether an init container is unfinished, and the words for it."""
    statuses = dig(pod, "status", "initContainerStatuses", default=())
    total = len(dig(pod, "spec", "initContainers", default=()))
    for index, container in enumerate(statuses):
        terminated = dig(container, "state", "terminated")
        if terminated is not None and terminated.get("exitCode") == 0:
            continue
        if terminated is not None:
            return True, f"Init:{_ended(terminated)}"
        waiting = dig(container, "state", "waiting", "reason")
        if waiting and waiting != "PodInitializing":
            return True, f"Init:{waiting}"
        return True, f"Init:{index}/{total}"
    return False, reason


def _container_reason(status: Object, reason: str) -> str:
    running = False
    for container in reversed(status.get("containerStatuses") or ()):
        state = container.get("state") or {}
        if dig(state, "waiting", "reason"):
            reason = state["waiting"]["reason"]
        elif "terminated" in state:
            reason = _ended(state["terminated"])
        elif container.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        ready = (condition({"status": status}, "Ready") or {}).get("status")
        return "Running" if ready == "True" else "NotReady"
    return reason


def _ended(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


# -- others ---------------------------------------------------------------------------------------


def node_status(node: Object) -> str:
    """Print ``Ready``, ``NotReady`` or ``Unknown``, and ``SchedulingDisabled`` when cordoned."""
    ready = condition(node, "Ready")
    words = ["Unknown" if ready is None else "Ready" if ready["status"] == "True" else "NotReady"]
    if dig(node, "spec", "unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def node_roles(node: Object) -> str:
    """Print the roles a node's labels name."""
    prefix = "node-role.kubernetes.io/"
    names = node["metadata"].get("labels") or {}
    return join(sorted(k.removeprefix(prefix) for k in names if k.startswith(prefix)))


def node_address(node: Object, type_: str) -> str:
    """Print a node's address of one type."""
    for address in dig(node, "status", "addresses", default=()):
        if address.get("type") == type_:
            return str(address.get("address"))
    return NONE


def service_ports(service: Object) -> str:
    """Print ``80/TCP,443:30443/TCP``."""
    return join(
        f"{p['port']}:{p['nodePort']}/{p['protocol']}"
        if p.get("nodePort")
        else f"{p['port']}/{p['protocol']}"
        for p in dig(service, "spec", "ports", default=())
    )


def external_address(service: Object) -> str:
    """Print a Service's external name or address."""
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", NONE))
    ingress = dig(service, "status", "loadBalancer", "ingress", default=())
    if ingress:
        return join(i.get("ip") or i.get("hostname") for i in ingress)
    if spec.get("externalIPs"):
        return join(spec["externalIPs"])
    return "<pending>" if spec.get("type") == "LoadBalancer" else NONE


def endpoint_addresses(endpoints: Object) -> str:
    """Print the ready addresses of an Endpoints object, at most three."""
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in endpoints.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    return join(found, limit=3)


def job_status(job: Object) -> str:
    """Print ``Complete``, ``Failed``, ``Suspended``, ``Terminating`` or ``Running``."""
    for type_, word in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        found = condition(job, type_)
        if found is not None and found["status"] == "True":
            return word
    return "Terminating" if deleting(job) else "Running"


def job_completions(job: Object) -> str:
    """Print succeeded pods of those wanted."""
    done = dig(job, "status", "succeeded", default=0)
    wanted = dig(job, "spec", "completions")
    if wanted is not None:
        return f"{done}/{wanted}"
    return f"{done}/1 of {dig(job, 'spec', 'parallelism', default=1)}"


def job_duration(job: Object, now: float) -> str:
    """Print how long a job ran, or has been running."""
    started = dig(job, "status", "startTime")
    if started is None:
        return ""
    ended = dig(job, "status", "completionTime")
    return duration((unix(ended) if ended else now) - unix(started))


def autoscaler_targets(autoscaler: Object) -> str:
    """Print current and target of each metric: ``cpu: 42%/80%``."""
    current = {
        dig(m, "resource", "name"): dig(m, "resource", "current", default={})
        for m in dig(autoscaler, "status", "currentMetrics", default=())
    }
    parts = []
    for metric in dig(autoscaler, "spec", "metrics", default=()):
        name = dig(metric, "resource", "name", default=metric["type"])
        target = dig(metric, "resource", "target", default={})
        have = current.get(name, {})
        if "averageUtilization" in target:
            now = have.get("averageUtilization")
            shown = "<unknown>" if now is None else f"{now}%"
            parts.append(f"{name}: {shown}/{target['averageUtilization']}%")
        else:
            parts.append(
                f"{have.get('averageValue', '<unknown>')}/{target.get('averageValue', '<auto>')}"
            )
    return join(parts)


def quota_line(quota: Object, *, limits: bool) -> str:
    """Print used and hard values: the limits, or everything else."""
    hard = dig(quota, "status", "hard") or dig(quota, "spec", "hard", default={})
    used = dig(quota, "status", "used", default={})
    names = [n for n in sorted(hard) if n.startswith("limits.") is limits]
    return ", ".join(f"{n}: {used.get(n, 0)}/{hard[n]}" for n in names)
