"""What values the parts of an object may have, in the API server's words.

``RULES`` maps a schema message to the function that checks it wherever it occurs, so a container
is held to the same rules in a Pod and in a CronJob's template. ``ENUMS`` lists fields with a
closed set of values. Workload specs are in ``workloads``, roles in ``rbac``, forms of names in
``syntax``. Neighbours: ``validation`` walks objects and calls these; ``immutability``
compares versions.
"""

from __future__ import annotations

from collections.abc import Callable

from aiopslab.world.kube import quantity
from aiopslab.world.kube.errors import Cause
from aiopslab.world.kube.objects import Object, dig
from aiopslab.world.kube.validation.rbac import RBAC_RULES
from aiopslab.world.kube.validation.syntax import (
    DATA_KEY,
    DATA_KEY_WORDS,
    DNS_LABEL,
    ENV_NAME,
    LABEL_WORDS,
    check_labels,
    check_object_meta,
    check_port,
    check_port_name,
    wrong,
)
from aiopslab.world.kube.validation.workloads import WORKLOAD_RULES, check_mounts

Rule = Callable[[Object, str], list[Cause]]

ENUMS: dict[tuple[str, str], tuple[str, ...]] = {
    ("core.Container", "imagePullPolicy"): ("Always", "IfNotPresent", "Never"),
    ("core.PodSpec", "restartPolicy"): ("Always", "OnFailure", "Never"),
    ("core.PodSpec", "dnsPolicy"): ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"),
    ("core.ContainerPort", "protocol"): ("SCTP", "TCP", "UDP"),
    ("core.ServicePort", "protocol"): ("SCTP", "TCP", "UDP"),
    ("core.ServiceSpec", "type"): ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"),
    ("core.ServiceSpec", "sessionAffinity"): ("ClientIP", "None"),
    ("core.HTTPGetAction", "scheme"): ("HTTP", "HTTPS"),
    ("core.Taint", "effect"): ("NoSchedule", "PreferNoSchedule", "NoExecute"),
    ("core.Toleration", "operator"): ("Equal", "Exists"),
    ("core.Toleration", "effect"): ("", "NoSchedule", "PreferNoSchedule", "NoExecute"),
    ("core.TopologySpreadConstraint", "whenUnsatisfiable"): ("DoNotSchedule", "ScheduleAnyway"),
    ("core.PersistentVolumeClaimSpec", "accessModes"): (
        "ReadOnlyMany",
        "ReadWriteMany",
        "ReadWriteOnce",
        "ReadWriteOncePod",
    ),
    ("LabelSelectorRequirement", "operator"): ("In", "NotIn", "Exists", "DoesNotExist"),
    ("apps.DeploymentStrategy", "type"): ("Recreate", "RollingUpdate"),
    ("apps.StatefulSetUpdateStrategy", "type"): ("OnDelete", "RollingUpdate"),
    ("apps.DaemonSetUpdateStrategy", "type"): ("OnDelete", "RollingUpdate"),
    ("apps.StatefulSetSpec", "podManagementPolicy"): ("OrderedReady", "Parallel"),
    ("batch.CronJobSpec", "concurrencyPolicy"): ("Allow", "Forbid", "Replace"),
    ("networking.NetworkPolicySpec", "policyTypes"): ("Egress", "Ingress"),
    ("networking.NetworkPolicyPort", "protocol"): ("SCTP", "TCP", "UDP"),
    ("networking.HTTPIngressPath", "pathType"): ("Exact", "ImplementationSpecific", "Prefix"),
}

MAY_BE_EMPTY = frozenset(
    {
        ("core.Container", "image"),  # its own text comes from the container's rule
        ("core.PodSpec", "containers"),  # likewise, and so the next three
        ("rbac.PolicyRule", "verbs"),
        ("rbac.RoleRef", "kind"),
        ("rbac.Subject", "kind"),
        ("core.VolumeMount", "name"),
        ("core.Toleration", "key"),
        ("Condition", "message"),
        ("core.ObjectFieldSelector", "apiVersion"),
        ("core.ConfigMapKeySelector", "name"),
        ("core.SecretKeySelector", "name"),
        ("apps.StatefulSetSpec", "serviceName"),
        ("networking.NetworkPolicySpec", "podSelector"),
        ("discovery.EndpointSlice", "endpoints"),
        ("core.ScopeSelector", "matchExpressions"),
        ("core.HTTPGetAction", "path"),
    }
)
"""Fields the schema calls required although the server takes objects without them."""

# -- pods -----------------------------------------------------------------------------------------


def _pod_spec(spec: Object, path: str) -> list[Cause]:
    causes = []
    if not spec.get("containers"):
        causes.append(Cause(f"{path}.containers", "Required value"))
    if spec.get("hostNetwork") or spec.get("hostPID") or spec.get("hostIPC"):
        words = "Forbidden: sharing the host's namespaces is not allowed in this cluster"
        causes.append(Cause(f"{path}.hostNetwork", words))
    grace = spec.get("terminationGracePeriodSeconds", 30)
    if grace < 0:
        at = f"{path}.terminationGracePeriodSeconds"
        causes.append(wrong(at, grace, "must be greater than or equal to 0"))
    if spec.get("dnsPolicy") == "None" and not (spec.get("dnsConfig") or {}).get("nameservers"):
        words = "Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"
        causes.append(Cause(f"{path}.dnsConfig.nameservers", words))
    return causes + check_labels(spec.get("nodeSelector") or {}, f"{path}.nodeSelector")


def _pod(pod: Object, path: str) -> list[Cause]:
    return check_mounts(pod.get("spec", {}), f"{path}.spec" if path else "spec")


def _container(container: Object, path: str) -> list[Cause]:
    causes = []
    name = container.get("name", "")
    if name and (not DNS_LABEL.match(name) or len(name) > 63):
        causes.append(wrong(f"{path}.name", name, LABEL_WORDS))
    image = container.get("image", "")
    if not image:
        causes.append(Cause(f"{path}.image", "Required value"))
    elif image != image.strip():
        words = "must not have leading or trailing whitespace"
        causes.append(wrong(f"{path}.image", image, words))
    if dig(container, "securityContext", "privileged"):
        words = "Forbidden: disallowed by cluster policy"
        causes.append(Cause(f"{path}.securityContext.privileged", words))
    for name in ("livenessProbe", "startupProbe"):
        threshold = dig(container, name, "successThreshold", default=1)
        if threshold != 1:
            causes.append(wrong(f"{path}.{name}.successThreshold", threshold, "must be 1"))
    return causes


def _volume(volume: Object, path: str) -> list[Cause]:
    sources = [key for key in volume if key != "name"]
    if not sources:
        return [Cause(path, "Required value: must specify a volume type")]
    if len(sources) > 1:
        words = "Forbidden: may not specify more than 1 volume type"
        return [Cause(f"{path}.{sources[1]}", words)]
    if sources[0] == "hostPath":
        return [Cause(f"{path}.hostPath", "Forbidden: host paths are not allowed in this cluster")]
    return []


def _empty_dir(source: Object, path: str) -> list[Cause]:
    if quantity.parse(source.get("sizeLimit", "0")) >= 0:
        return []
    words = "Forbidden: SizeLimit field must be a valid resource quantity"
    return [Cause(f"{path}.sizeLimit", words)]


def _needs(name: str) -> Rule:
    """Return the rule that a reference has to have a name; the schema lets it be left out."""

    def rule(reference: Object, path: str) -> list[Cause]:
        return [] if reference.get(name) else [Cause(f"{path}.{name}", "Required value")]

    return rule


def _container_port(port: Object, path: str) -> list[Cause]:
    causes = check_port(port.get("containerPort", 0), f"{path}.containerPort")
    return causes + check_port_name(port.get("name"), f"{path}.name")


def _env(env: Object, path: str) -> list[Cause]:
    causes = []
    name = env.get("name", "")
    if name and not ENV_NAME.match(name):
        words = (
            "a valid environment variable name must consist of alphabetic characters, digits, "
            "'_', '-', or '.', and must not start with a digit"
        )
        causes.append(wrong(f"{path}.name", name, words))
    source = env.get("valueFrom")
    if source is not None and env.get("value"):
        words = "may not be specified when `value` is not empty"
        causes.append(wrong(f"{path}.valueFrom", "", words))
    elif source is not None and len(source) != 1:
        words = "may not have more than one field specified at a time"
        words = (
            words
            if source
            else "must specify one of: `fieldRef`, `configMapKeyRef` or `secretKeyRef`"
        )
        causes.append(wrong(f"{path}.valueFrom", "", words))
    return causes


def _probe(probe: Object, path: str) -> list[Cause]:
    handlers = [h for h in ("exec", "grpc", "httpGet", "tcpSocket") if probe.get(h) is not None]
    causes = []
    if not handlers:
        causes.append(Cause(path, "Required value: must specify a handler type"))
    elif len(handlers) > 1:
        words = "Forbidden: may not specify more than 1 handler type"
        causes.append(Cause(f"{path}.{handlers[1]}", words))
    for handler in ("httpGet", "tcpSocket"):
        port = dig(probe, handler, "port")
        if port is not None:
            causes += check_port(port, f"{path}.{handler}.port")
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"):
        if probe.get(name, 0) < 0:
            words = "must be greater than or equal to 0"
            causes.append(wrong(f"{path}.{name}", probe[name], words))
    return causes


def _handler(handler: Object, path: str) -> list[Cause]:
    kinds = [kind for kind in ("exec", "httpGet", "sleep", "tcpSocket") if kind in handler]
    if not kinds:
        return [Cause(path, "Required value: must specify a handler type")]
    if len(kinds) > 1:
        words = "Forbidden: may not specify more than 1 handler type"
        return [Cause(f"{path}.{kinds[1]}", words)]
    port = dig(handler, kinds[0], "port")
    return [] if port is None else check_port(port, f"{path}.{kinds[0]}.port")


_DATA_LIMIT = 1024 * 1024
"""Most bytes the values of a ConfigMap or Secret may have together."""
_STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage", "storage")


def _resources(resources: Object, path: str) -> list[Cause]:
    causes = []
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for part, values in (("limits", limits), ("requests", requests)):
        for name, value in values.items():
            at = f"{path}.{part}[{name}]"
            if "/" not in name and name not in _STANDARD_RESOURCES:
                words = "must be a standard resource type or fully qualified"
                causes.append(wrong(at, name, words))
            if quantity.parse(value) < 0:
                words = "must be greater than or equal to 0"
                causes.append(wrong(f"{path}.{part}.{name}", str(value), words))
    for name, value in requests.items():
        limit = limits.get(name)
        if limit is not None and quantity.parse(value) > quantity.parse(limit):
            words = f"must be less than or equal to {name} limit of {limit}"
            causes.append(wrong(f"{path}.requests", str(value), words))
    return causes


# -- configuration --------------------------------------------------------------------------------


def _data(obj: Object, _path: str) -> list[Cause]:
    causes = []
    size = 0
    for part in ("data", "binaryData"):
        for key, value in (obj.get(part) or {}).items():
            size += len(value)
            if not DATA_KEY.match(key) or len(key) > 253:
                causes.append(wrong(f"{part}[{key}]", key, DATA_KEY_WORDS))
    if size > _DATA_LIMIT:
        causes.append(Cause("", f"Too long: may not be more than {_DATA_LIMIT} bytes"))
    return causes


RULES: dict[str, Rule] = {
    "ObjectMeta": check_object_meta,
    "core.Pod": _pod,
    "core.PodSpec": _pod_spec,
    "core.Container": _container,
    "core.ContainerPort": _container_port,
    "core.EnvVar": _env,
    "core.Probe": _probe,
    "core.LifecycleHandler": _handler,
    "core.ExecAction": _needs("command"),
    "core.ConfigMapEnvSource": _needs("name"),
    "core.ConfigMapKeySelector": _needs("name"),
    "core.ConfigMapProjection": _needs("name"),
    "core.ConfigMapVolumeSource": _needs("name"),
    "core.SecretEnvSource": _needs("name"),
    "core.SecretKeySelector": _needs("name"),
    "core.SecretProjection": _needs("name"),
    "core.SecretVolumeSource": _needs("secretName"),
    "core.EmptyDirVolumeSource": _empty_dir,
    "core.ResourceRequirements": _resources,
    "core.Volume": _volume,
    "core.ConfigMap": _data,
    "core.Secret": _data,
    **WORKLOAD_RULES,
    **RBAC_RULES,
}
