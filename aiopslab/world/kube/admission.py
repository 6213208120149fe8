"""What the API server adds to or refuses in new objects, beyond validity.

LimitRange defaults and bounds, ResourceQuota, the selector of a Job, default tolerations and
priority of a pod. Quota usage is computed from the objects that exist, so it can never drift;
writing ``status.used`` is the quota controller's work. Neighbours: ``allocation`` (addresses and
ports of Services), ``defaults`` (constants), ``rules`` (validity), ``api`` (the order of things).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Protocol

from aiopslab.models.kube import KubeError
from aiopslab.world.kube import podsecurity, quantity
from aiopslab.world.kube.errors import forbidden, not_found
from aiopslab.world.kube.kinds import BY_KIND, Kind
from aiopslab.world.kube.objects import Object, Objects, deleting, dig, name_of, namespace_of
from aiopslab.world.kube.store import ObjectStore

MAX_PODS = 1000
"""Pods the cluster's database takes, some times what its nodes can run. A real one's end comes
later, but comes: whoever asks for a million replicas must not keep the simulation for days."""
_FINISHED = ("Succeeded", "Failed")
_IMMORTAL = ("default", "kube-public", "kube-system")


def check_namespace(kind: Kind, new: Object, store: ObjectStore) -> None:
    """Refuse a new object in a namespace that does not exist or is being deleted.

    Raises:
        KubeError: 404 or 403.
    """
    if not kind.namespaced:
        return
    namespace = namespace_of(new)
    found = store.get("Namespace", "", namespace)
    if found is None:
        raise not_found(BY_KIND["Namespace"], namespace)
    if deleting(found):
        why = (
            f"unable to create new content in namespace {namespace} because it is being terminated"
        )
        raise forbidden(kind, new["metadata"].get("name", ""), why)


def check_deletable(kind: Kind, name: str) -> None:
    """Refuse to delete a namespace the cluster cannot do without.

    Raises:
        KubeError: 403.
    """
    if kind.kind == "Namespace" and name in _IMMORTAL:
        raise forbidden(kind, name, "this namespace may not be deleted")


def prepare(kind: Kind, new: Object, store: ObjectStore) -> None:
    """Complete a new pod or job before it is validated.

    Raises:
        KubeError: 403, a pod outside the bounds of a LimitRange, of an unknown priority class, or
            against the security standard of its namespace.
    """
    if kind.kind == "Pod":
        default_tolerations(new["spec"])
        set_priority(new, store)
        check_account(new, store)
        apply_limit_ranges(new, store)
        podsecurity.check(new, store)
        new.setdefault("status", {"phase": "Pending"})
        new["status"].setdefault("qosClass", qos_class(new))
    elif kind.kind == "Job":
        select_own_pods(new)


# -- pods -----------------------------------------------------------------------------------------


def default_tolerations(spec: Object) -> None:
    """Let a pod stay 300 s on a node that is not ready or unreachable."""
    present = {t.get("key") for t in spec.get("tolerations") or ()}
    for condition in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{condition}"
        if key not in present:
            toleration = {
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 300,
            }
            spec["tolerations"] = [*(spec.get("tolerations") or ()), toleration]


def check_account(pod: Object, store: ObjectStore) -> None:
    """Hold a pod to an account that exists; every namespace gets a default one.

    Raises:
        KubeError: 403, no such account.
    """
    name, namespace = pod["spec"].get("serviceAccountName", "default"), namespace_of(pod)
    if name != "default" and store.get("ServiceAccount", namespace, name) is None:
        why = (
            f"error looking up service account {namespace}/{name}: serviceaccount "
            f'"{name}" not found'
        )
        raise forbidden(BY_KIND["Pod"], name_of(pod), why)


def set_priority(pod: Object, store: ObjectStore) -> None:
    """Resolve the pod's priority class to a number.

    Raises:
        KubeError: 403, no such class.
    """
    name = pod["spec"].get("priorityClassName")
    if not name:
        pod["spec"].setdefault("priority", 0)
        return
    found = store.get("PriorityClass", "", name)
    if found is None:
        why = f"no PriorityClass with name {name} was found"
        raise forbidden(BY_KIND["Pod"], name_of(pod), why)
    pod["spec"]["priority"] = found.get("value", 0)


def apply_limit_ranges(pod: Object, store: ObjectStore) -> None:
    """Fill requests and limits of containers from LimitRanges and hold them to the bounds.

    Raises:
        KubeError: 403 with every bound that is broken.
    """
    problems: list[str] = []
    for limit_range in store.list("LimitRange", namespace_of(pod)):
        for item in limit_range["spec"].get("limits") or ():
            if item.get("type") != "Container":
                continue
            for container in _containers(pod):
                _fill_resources(container, item)
                problems += _bounds_broken(container, item)
    if problems:
        text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise forbidden(BY_KIND["Pod"], name_of(pod), text)


def _containers(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"].get("containers", ())]


def _fill_resources(container: Object, item: Object) -> None:
    resources = container["resources"] = dict(container.get("resources") or {})
    for part, default in (("requests", "defaultRequest"), ("limits", "default")):
        values = {**(item.get(default) or {}), **(resources.get(part) or {})}
        if values:
            resources[part] = values


def _bounds_broken(container: Object, item: Object) -> Iterator[str]:
    resources = container.get("resources") or {}
    for bound, part, word in (("min", "requests", "minimum"), ("max", "limits", "maximum")):
        for name, limit in sorted((item.get(bound) or {}).items()):
            wording = f"{word} {name} usage per Container is {limit}"
            value = dig(resources, part, name)
            if value is None:
                yield f"{wording}.  No {part[:-1]} is specified"
                continue
            given, wanted = quantity.parse(value), quantity.parse(limit)
            if (bound == "min" and given < wanted) or (bound == "max" and given > wanted):
                yield f"{wording}, but {part[:-1]} is {value}"


# -- quota ----------------------------------------------------------------------------------------


def usage_of(obj: Object) -> dict[str, Decimal]:
    """Return what an object counts against quotas, by resource name."""
    kind = BY_KIND[obj["kind"]]
    count = {f"count/{kind.resource}": Decimal(1)}
    if kind.kind == "Pod":
        if dig(obj, "status", "phase") in _FINISHED:
            return count
        count["pods"] = Decimal(1)
        for part in ("requests", "limits"):
            for name, value in _pod_resources(obj, part).items():
                count[f"{part}.{name}"] = value
                if part == "requests":
                    count[name] = value
    elif kind.kind == "PersistentVolumeClaim":
        size = dig(obj, "spec", "resources", "requests", "storage", default="0")
        count |= {"persistentvolumeclaims": Decimal(1), "requests.storage": quantity.parse(size)}
    elif kind.kind in ("Service", "ConfigMap", "Secret", "ResourceQuota"):
        count[kind.plural] = Decimal(1)
    return count


def _pod_resources(pod: Object, part: str) -> dict[str, Decimal]:
    """Sum over containers; an init container counts if it needs more than all of them."""
    total: dict[str, Decimal] = {}
    for container in pod["spec"].get("containers", ()):
        for name, value in (dig(container, "resources", part) or {}).items():
            total[name] = total.get(name, Decimal(0)) + quantity.parse(value)
    for container in pod["spec"].get("initContainers", ()):
        for name, value in (dig(container, "resources", part) or {}).items():
            total[name] = max(total.get(name, Decimal(0)), quantity.parse(value))
    return total


class Listing(Protocol):
    """What knows the objects of a kind in a namespace."""

    def list(self, kind: str, namespace: str | None) -> Objects:
        """Return them by name."""
        ...


def quota_used(quota: Object, store: Listing) -> dict[str, str]:
    """Return the present usage of each resource a quota limits, as quantities."""
    hard = quota["spec"].get("hard") or {}
    used = dict.fromkeys(hard, Decimal(0))
    for kind in _counted_kinds(hard):
        for obj in store.list(kind, namespace_of(quota)):
            for name, value in usage_of(obj).items():
                if name in used:
                    used[name] += value
    return {name: quantity.format_resource(name, used[name]) for name in sorted(used)}


def _counted_kinds(hard: Object) -> list[str]:
    """List the kinds whose objects can count against these limits."""
    kinds = {"Pod"}
    if "requests.storage" in hard:
        kinds.add("PersistentVolumeClaim")
    for kind in BY_KIND.values():
        if f"count/{kind.resource}" in hard or kind.plural in hard:
            kinds.add(kind.kind)
    return sorted(kinds)


def check_quota(kind: Kind, obj: Object, store: ObjectStore) -> None:
    """Refuse a new object that does not fit into its namespace's quotas.

    Raises:
        KubeError: 403 with the amounts requested, used and limited.
    """
    for quota in store.list("ResourceQuota", namespace_of(obj)):
        hard = quota["spec"].get("hard") or {}
        requested = usage_of(obj)
        if kind.kind == "Pod":
            _must_specify(obj, quota, hard)
        used = quota_used(quota, store) if requested.keys() & hard.keys() else {}
        over = [
            name
            for name in sorted(requested.keys() & hard.keys())
            if quantity.parse(used[name]) + requested[name] > quantity.parse(hard[name])
        ]
        if over:
            asked = {n: quantity.format_resource(n, requested[n]) for n in over}
            parts = [
                f"{word}: {','.join(f'{n}={values[n]}' for n in over)}"
                for word, values in (("requested", asked), ("used", used), ("limited", hard))
            ]
            why = f"exceeded quota: {name_of(quota)}, {', '.join(parts)}"
            raise forbidden(kind, name_of(obj), why)


def check_room(kind: Kind, store: ObjectStore) -> None:
    """Refuse a pod beyond what the cluster's database takes.

    Raises:
        KubeError: 500 with the database's words.
    """
    if kind.kind == "Pod" and store.count("Pod") >= MAX_PODS:
        words = "etcdserver: mvcc: database space exceeded"
        raise KubeError(500, "InternalError", words)


def _must_specify(pod: Object, quota: Object, hard: Object) -> None:
    """Refuse a pod that leaves out a compute resource its quota limits."""
    missing = []
    for name in sorted(hard):
        part, _, resource = name.rpartition(".")
        if resource not in ("cpu", "memory") or part not in ("", "requests", "limits"):
            continue
        lacking = [
            c["name"]
            for c in pod["spec"].get("containers", ())
            if dig(c, "resources", part or "requests", resource) is None
        ]
        if lacking:
            missing.append(f"{name} for: {','.join(lacking)}")
    if missing:
        why = f"failed quota: {name_of(quota)}: must specify {'; '.join(missing)}"
        raise forbidden(BY_KIND["Pod"], name_of(pod), why)


# -- what the server fills in ---------------------------------------------------------------------


def select_own_pods(job: Object) -> None:
    """Give a Job the selector and template labels that tie its pods to its uid."""
    spec = job["spec"]
    if spec.get("manualSelector"):
        return
    uid = job["metadata"]["uid"]
    labels = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name_of(job),
        "controller-uid": uid,
        "job-name": name_of(job),
    }
    metadata = spec["template"].setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def qos_class(pod: Object) -> str:
    """Return ``Guaranteed``, ``Burstable`` or ``BestEffort`` from requests and limits."""
    containers = _containers(pod)
    requests = [dig(c, "resources", "requests", default={}) for c in containers]
    limits = [dig(c, "resources", "limits", default={}) for c in containers]
    if not any(requests) and not any(limits):
        return "BestEffort"
    guaranteed = all(
        name in limit
        and quantity.parse(request.get(name, limit[name])) == quantity.parse(limit[name])
        for request, limit in zip(requests, limits, strict=True)
        for name in ("cpu", "memory")
    )
    return "Guaranteed" if guaranteed else "Burstable"
