"""What a cluster has before anybody deploys to it: namespaces, its own Service, standard roles.

After what kubeadm leaves behind, as far as somebody looking around would miss it. Not here: nodes
and leases (the kubelets), default accounts (``controllers.gc``).
"""

from __future__ import annotations

from aiopslab.world.kube.allocation import SERVICE_NETWORK
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.objects import Object

ACTOR = "system:apiserver"
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
ADDRESS = str(SERVICE_NETWORK[1])
"""Cluster IP of the ``kubernetes`` Service."""
ENDPOINT = "198.18.240.2"
"""Where the API server itself listens, on the machines' network."""
PORT = 6443
_RBAC = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_CONFIG = ["configmaps", "endpoints", "events", "persistentvolumeclaims", "pods", "pods/log",
           "replicationcontrollers", "serviceaccounts", "services"]  # fmt: skip
_WORKLOADS = (
    ("apps", ["controllerrevisions", "daemonsets", "deployments", "deployments/scale",
              "replicasets", "replicasets/scale", "statefulsets", "statefulsets/scale"]),
    ("autoscaling", ["horizontalpodautoscalers"]),
    ("batch", ["cronjobs", "jobs"]),
    ("discovery.k8s.io", ["endpointslices"]),
    ("networking.k8s.io", ["ingresses", "networkpolicies"]),
    ("policy", ["poddisruptionbudgets"]),
)  # fmt: skip


def bootstrap(api: ApiServer) -> None:
    """Create the cluster's own objects; call once, before anything else is created."""
    for name in NAMESPACES:
        _create(api, "v1", "Namespace", {"name": name})
    _service(api)
    for name, rules in _roles().items():
        labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
        _create(api, f"{_RBAC}/v1", "ClusterRole", {"name": name, "labels": labels}, rules=rules)
    masters = {"kind": "Group", "apiGroup": _RBAC, "name": "system:masters"}
    reference = {"kind": "ClusterRole", "apiGroup": _RBAC, "name": "cluster-admin"}
    metadata = {"name": "cluster-admin", "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}
    _create(
        api, f"{_RBAC}/v1", "ClusterRoleBinding", metadata, roleRef=reference, subjects=[masters]
    )


def _service(api: ApiServer) -> None:
    """Create the Service ``kubernetes``, and what it leads to."""
    labels = {"component": "apiserver", "provider": "kubernetes"}
    place = {"name": "kubernetes", "namespace": "default"}
    ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": PORT}]
    spec = {"clusterIP": ADDRESS, "ports": ports, "type": "ClusterIP"}
    _create(api, "v1", "Service", {**place, "labels": labels}, spec=spec)
    mirrored = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    port = {"name": "https", "port": PORT, "protocol": "TCP"}
    subsets = [{"addresses": [{"ip": ENDPOINT}], "ports": [port]}]
    _create(api, "v1", "Endpoints", {**place, "labels": mirrored}, subsets=subsets)
    _create(
        api,
        "discovery.k8s.io/v1",
        "EndpointSlice",
        {**place, "labels": {"kubernetes.io/service-name": "kubernetes"}},
        addressType="IPv4",
        endpoints=[{"addresses": [ENDPOINT], "conditions": {"ready": True}}],
        ports=[port],
    )


def _roles() -> dict[str, list[Object]]:
    """Return the rules of the user-facing roles by name."""
    everything = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]
    view = [_rule("", _CONFIG, _READ), *(_rule(g, r, _READ) for g, r in _WORKLOADS)]
    secrets = _rule("", ["secrets"], [*_READ, *_WRITE])
    enter = _rule("", ["pods/attach", "pods/exec", "pods/portforward"], ["create", "get"])
    change = [_rule("", _CONFIG, _WRITE), *(_rule(g, r, _WRITE) for g, r in _WORKLOADS)]
    edit = [*view, secrets, enter, *change]
    own = _rule(_RBAC, ["rolebindings", "roles"], [*_READ, *_WRITE])
    return {"admin": [*edit, own], "cluster-admin": everything, "edit": edit, "view": view}


def _rule(group: str, resources: list[str], verbs: list[str]) -> Object:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _create(api: ApiServer, version: str, kind: str, metadata: Object, **parts: object) -> None:
    api.create({"apiVersion": version, "kind": kind, "metadata": metadata, **parts}, actor=ACTOR)
