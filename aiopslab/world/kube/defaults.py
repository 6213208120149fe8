"""Defaults the API server fills in, by kind.

A small table per kind, as far as controllers, kubelet and ``describe`` depend on it. Values that
are *allocated* (cluster IPs, names, uids) are not defaults: see ``api`` and ``admission``. All
functions change the object they are given, which the API server has copied before.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import Object


def apply(kind: Kind, obj: Object) -> None:
    """Fill in what the object's author left out."""
    fill = _BY_KIND.get(kind.kind)
    if fill is not None:
        fill(obj)


def _set(target: Object, **values: Any) -> None:
    for name, value in values.items():
        if target.get(name) is None:
            target[name] = value


def pod_spec(spec: Object) -> None:
    """Fill in a pod spec, wherever it stands."""
    _set(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    for container in [*spec.get("initContainers", ()), *spec.get("containers", ())]:
        _container(container)
    for volume in spec.get("volumes", ()):
        _volume(volume)


def _container(container: Object) -> None:
    _set(
        container,
        imagePullPolicy=pull_policy(container.get("image", "")),
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    for port in container.get("ports", ()):
        _set(port, protocol="TCP")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name):
            _probe(container[name])
    for env in container.get("env", ()):
        field = (env.get("valueFrom") or {}).get("fieldRef")
        if field:
            _set(field, apiVersion="v1")


def pull_policy(image: str) -> str:
    """Return the default pull policy: ``Always`` for no tag or ``:latest``."""
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def _probe(probe: Object) -> None:
    # To the API a zero here is a number left out (SetDefaults_Probe).
    for name, value in _PROBE.items():
        probe[name] = probe.get(name) or value
    if probe.get("httpGet"):
        _set(probe["httpGet"], scheme="HTTP", path="/")


def _volume(volume: Object) -> None:
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        if volume.get(source) is not None:
            _set(volume[source], defaultMode=420)


def _template(spec: Object) -> None:
    template = spec.setdefault("template", {})
    _set(template, metadata={})
    pod_spec(template.setdefault("spec", {}))


def _pod(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    pod_spec(spec)
    _set(spec, serviceAccountName="default", enableServiceLinks=True)
    spec["serviceAccount"] = spec["serviceAccountName"]
    for container in [*spec.get("initContainers", ()), *spec.get("containers", ())]:
        # Only pods, not templates: requests that are left out equal the limits.
        resources = container["resources"]
        for name, limit in (resources.get("limits") or {}).items():
            resources.setdefault("requests", {}).setdefault(name, limit)


def _deployment(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _set(
        spec,
        replicas=1,
        revisionHistoryLimit=10,
        progressDeadlineSeconds=600,
        strategy={},
    )
    _set(spec["strategy"], type="RollingUpdate")
    if spec["strategy"]["type"] == "RollingUpdate":
        _set(spec["strategy"], rollingUpdate={})
        _set(spec["strategy"]["rollingUpdate"], maxSurge="25%", maxUnavailable="25%")
    _template(spec)


def _replica_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _set(spec, replicas=1)
    _template(spec)


def _stateful_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _set(
        spec,
        replicas=1,
        podManagementPolicy="OrderedReady",
        revisionHistoryLimit=10,
        updateStrategy={},
        persistentVolumeClaimRetentionPolicy={},
    )
    _set(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _set(spec["updateStrategy"], rollingUpdate={})
        _set(spec["updateStrategy"]["rollingUpdate"], partition=0)
    _set(spec["persistentVolumeClaimRetentionPolicy"], whenDeleted="Retain", whenScaled="Retain")
    _template(spec)
    for claim in spec.get("volumeClaimTemplates", ()):
        _set(claim, apiVersion="v1", kind="PersistentVolumeClaim")
        _claim(claim)


def _daemon_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _set(spec, revisionHistoryLimit=10, updateStrategy={})
    _set(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _set(spec["updateStrategy"], rollingUpdate={})
        _set(spec["updateStrategy"]["rollingUpdate"], maxSurge=0, maxUnavailable=1)
    _template(spec)


def _job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _set(
        spec,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        podReplacementPolicy="TerminatingOrFailed",
    )
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    _set(spec, parallelism=1)
    _template(spec)


def _cron_job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _set(
        spec,
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    )
    template = spec.setdefault("jobTemplate", {})
    _set(template, metadata={})
    # The job's own defaults come when a job is created from it.
    _template(template.setdefault("spec", {}))


def _service(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _set(spec, type="ClusterIP", sessionAffinity="None")
    if spec["type"] != "ExternalName":
        _set(
            spec,
            internalTrafficPolicy="Cluster",
            ipFamilies=["IPv4"],
            ipFamilyPolicy="SingleStack",
        )
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _set(spec, externalTrafficPolicy="Cluster")
    for port in spec.get("ports", ()):
        _set(port, protocol="TCP", targetPort=port.get("port"))


def _namespace(obj: Object) -> None:
    metadata = obj["metadata"]
    _set(metadata, labels={})
    metadata["labels"].setdefault("kubernetes.io/metadata.name", metadata["name"])
    _set(obj, spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"})


def _secret(obj: Object) -> None:
    _set(obj, type="Opaque")
    plain = obj.pop("stringData", None)
    if plain:
        encoded = {k: base64.b64encode(v.encode()).decode() for k, v in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _claim(obj: Object) -> None:
    _set(obj.setdefault("spec", {}), volumeMode="Filesystem")
    _set(obj, status={"phase": "Pending"})


def _autoscaler(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    utilization = {"type": "Utilization", "averageUtilization": 80}
    _set(
        spec,
        minReplicas=1,
        metrics=[{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}],
    )


def _network_policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _set(spec, podSelector={})
    _set(spec, policyTypes=["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    for rule in [*spec.get("ingress", ()), *spec.get("egress", ())]:
        for port in rule.get("ports", ()):
            _set(port, protocol="TCP")


def _volume_object(obj: Object) -> None:
    _set(obj.setdefault("spec", {}), persistentVolumeReclaimPolicy="Retain")
    _set(obj["spec"], volumeMode="Filesystem")
    _set(obj, status={"phase": "Pending"})


def _node(obj: Object) -> None:
    _set(obj, spec={}, status={})


def _limit_range(obj: Object) -> None:
    """A default limit is the default request as well, as the API server has it."""
    for item in obj.setdefault("spec", {}).get("limits", ()):
        if item.get("type") != "Container":
            continue
        for name, value in (item.get("max") or {}).items():
            item.setdefault("default", {}).setdefault(name, value)
        for source in ("default", "min"):
            for name, value in (item.get(source) or {}).items():
                item.setdefault("defaultRequest", {}).setdefault(name, value)


def _binding(obj: Object) -> None:
    group = "rbac.authorization.k8s.io"
    if obj.get("roleRef"):
        _set(obj["roleRef"], apiGroup=group)
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            _set(subject, apiGroup=group)
        elif subject.get("kind") == "ServiceAccount" and obj["kind"] == "RoleBinding":
            _set(subject, namespace=obj["metadata"].get("namespace"))


def _bare(obj: Object) -> None:
    _set(obj, spec={})


def _webhooks(configuration: Object) -> None:
    for hook in configuration.get("webhooks") or ():
        _set(
            hook,
            failurePolicy="Fail",
            matchPolicy="Equivalent",
            namespaceSelector={},
            objectSelector={},
            timeoutSeconds=10,
        )
        if configuration["kind"] == "MutatingWebhookConfiguration":
            _set(hook, reinvocationPolicy="Never")
        for rule in hook.get("rules") or ():
            _set(rule, scope="*")
        service = (hook.get("clientConfig") or {}).get("service")
        if service:
            _set(service, port=443)


_BY_KIND: dict[str, Callable[[Object], None]] = {
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "CronJob": _cron_job,
    "Service": _service,
    "Namespace": _namespace,
    "Secret": _secret,
    "PersistentVolumeClaim": _claim,
    "PersistentVolume": _volume_object,
    "HorizontalPodAutoscaler": _autoscaler,
    "NetworkPolicy": _network_policy,
    "Node": _node,
    "LimitRange": _limit_range,
    "ResourceQuota": _bare,
    "PodDisruptionBudget": _bare,
    "Ingress": _bare,
    "Lease": _bare,
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
    "ValidatingWebhookConfiguration": _webhooks,
    "MutatingWebhookConfiguration": _webhooks,
}
