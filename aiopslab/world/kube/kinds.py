"""The kinds the API server serves: names, groups, scope, subresources.

A closed registry; custom resources are not modelled. Neighbours: ``schema`` (the fields of each
kind), ``api`` (the server).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Kind:
    """One served kind."""

    kind: str
    """Singular CamelCase name: ``Deployment``."""
    group: str
    """API group; empty for core."""
    version: str
    plural: str
    short: tuple[str, ...] = ()
    namespaced: bool = True
    scale: bool = False
    """Has the ``scale`` subresource."""
    schema: str = ""
    """Name of its message in the derived schema."""

    @property
    def api_version(self) -> str:
        """``apps/v1``, or ``v1`` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """``deployments.apps``, ``pods``: the name messages use."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified(self) -> str:
        """``Deployment.apps``, ``Pod``: the name messages about validity use."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def has_status(self) -> bool:
        """Whether it has the ``status`` subresource."""
        return self.kind not in _WITHOUT_STATUS


_WITHOUT_STATUS = frozenset(
    {"Endpoints", "ConfigMap", "Secret", "ServiceAccount", "Event", "LimitRange"}
    | {"ControllerRevision", "NetworkPolicy", "EndpointSlice", "Lease", "PriorityClass"}
    | {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    | {"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}
)


def _kind(
    name: str, api: str, plural: str, short: str = "", *, scoped: bool = True, scale: bool = False
) -> Kind:
    group, _, version = api.rpartition("/")
    package = {"": "core"}.get(group, group.split(".")[0])
    schema = f"{package}.{name}"
    return Kind(name, group, version, plural, tuple(short.split()), scoped, scale, schema)


KINDS: tuple[Kind, ...] = (
    _kind("Namespace", "v1", "namespaces", "ns", scoped=False),
    _kind("Node", "v1", "nodes", "no", scoped=False),
    _kind("Pod", "v1", "pods", "po"),
    _kind("Service", "v1", "services", "svc"),
    _kind("Endpoints", "v1", "endpoints", "ep"),
    _kind("ConfigMap", "v1", "configmaps", "cm"),
    _kind("Secret", "v1", "secrets"),
    _kind("ServiceAccount", "v1", "serviceaccounts", "sa"),
    _kind("Event", "v1", "events", "ev"),
    _kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims", "pvc"),
    _kind("PersistentVolume", "v1", "persistentvolumes", "pv", scoped=False),
    _kind("LimitRange", "v1", "limitranges", "limits"),
    _kind("ResourceQuota", "v1", "resourcequotas", "quota"),
    _kind("Deployment", "apps/v1", "deployments", "deploy", scale=True),
    _kind("ReplicaSet", "apps/v1", "replicasets", "rs", scale=True),
    _kind("StatefulSet", "apps/v1", "statefulsets", "sts", scale=True),
    _kind("DaemonSet", "apps/v1", "daemonsets", "ds"),
    _kind("ControllerRevision", "apps/v1", "controllerrevisions"),
    _kind("Job", "batch/v1", "jobs"),
    _kind("CronJob", "batch/v1", "cronjobs", "cj"),
    _kind("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers", "hpa"),
    _kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies", "netpol"),
    _kind("Ingress", "networking.k8s.io/v1", "ingresses", "ing"),
    _kind("EndpointSlice", "discovery.k8s.io/v1", "endpointslices"),
    _kind("Lease", "coordination.k8s.io/v1", "leases"),
    _kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets", "pdb"),
    _kind("Role", "rbac.authorization.k8s.io/v1", "roles"),
    _kind("RoleBinding", "rbac.authorization.k8s.io/v1", "rolebindings"),
    _kind("ClusterRole", "rbac.authorization.k8s.io/v1", "clusterroles", scoped=False),
    _kind(
        "ClusterRoleBinding", "rbac.authorization.k8s.io/v1", "clusterrolebindings", scoped=False
    ),
    _kind("PriorityClass", "scheduling.k8s.io/v1", "priorityclasses", "pc", scoped=False),
    _kind(
        "ValidatingWebhookConfiguration",
        "admissionregistration.k8s.io/v1",
        "validatingwebhookconfigurations",
        scoped=False,
    ),
    _kind(
        "MutatingWebhookConfiguration",
        "admissionregistration.k8s.io/v1",
        "mutatingwebhookconfigurations",
        scoped=False,
    ),
)

BY_KIND: dict[str, Kind] = {kind.kind: kind for kind in KINDS}


@lru_cache(maxsize=512)
def find(name: str) -> Kind | None:
    """Look a kind up the way kubectl does; None if not served.

    Accepts the kind in any case, its plural, a short name, or ``plural.group``:
    ``Deployment``, ``deployments``, ``deploy``, ``deployments.apps``.
    """
    exact = BY_KIND.get(name)
    if exact is not None:
        return exact
    wanted = name.lower()
    for kind in KINDS:
        names = (kind.kind.lower(), kind.plural, kind.resource, kind.qualified.lower(), *kind.short)
        if wanted in names:
            return kind
    return None


def names() -> list[str]:
    """Every name :func:`find` knows in lower case, for hints."""
    return sorted({n for k in KINDS for n in (k.kind.lower(), k.plural, *k.short)})
