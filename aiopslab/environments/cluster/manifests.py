"""The manifests of an app as a real cluster takes them: what differs from the simulated ones.

Objects in, objects out; nothing is asked of the cluster. The differences are these, and no others:

* the namespace, which has a suffix of the trial's, lets in no pod that could take over its machine,
  and labels by which everything is found again;
* image references (``cluster.images``); CPU requests are a share of those stated, so that an app
  fits a small machine, and autoscalers count accordingly;
* the app's programs send telemetry to the observer, trust the authority of the partners, find
  partners by their host names, and run as nobody on a read-only root without capabilities;
* stores: a superuser's password and a folder below the volume for PostgreSQL, the password for
  Valkey's own client, a user name beside the password for NATS;
* rights of the programs that use the Kubernetes API (``cluster.rights``);
* probes wait ``PROBE_S`` for an answer, where the app says less;
* what asks for a node that the cluster does not have may run anywhere.

Not here: applying them (``cluster``), the manifests themselves (``services.manifests``), the lab's
own objects (``cluster.lab``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from aiopslab.environments.cluster.images import Images
from aiopslab.environments.cluster.labels import labelled, ours
from aiopslab.environments.cluster.rights import RENEWER, rights
from aiopslab.models.app import App
from aiopslab.models.kube import Object
from aiopslab.services.config import targets
from aiopslab.services.tls_manifests import RENEWAL
from aiopslab.world.kube import quantity
from aiopslab.world.kube.objects import name_of
from aiopslab.world.kube.podsecurity import ENFORCE

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
OTLP_PORT = 4318
_TRUST_FILE = "ca.crt"
_TRUST_DIR = "/etc/public"
_HOSTNAME = "kubernetes.io/hostname"
_DATA_DIR = "/var/lib/postgresql/data/pgdata"
"""Not the volume itself, which may have a ``lost+found`` of its own."""
_POD_OF: dict[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
PROBE_S = 5
"""Seconds within which a starved process on a shared processor still answers a probe."""
STANDARD = "baseline"
"""The pod security standard of an app's namespace: what apps and faults are made of meets it."""
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_CONFINED: Object = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
NOBODY: Object = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
"""Security context of a pod whose image names a user that is not root."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an app goes on a cluster, and what is there for it."""

    trial: str
    """Opaque id: suffix of both namespaces, value of a label."""
    images: Images = field(default_factory=Images)
    partners: dict[str, str] = field(default_factory=dict)
    """Host name of a party outside to the address that stands for it."""
    authority: str = ""
    """PEM of who signs the partners' certificates."""
    admin_password: str = ""
    """Of the superuser of every PostgreSQL."""
    nodes: frozenset[str] = frozenset()
    """Names of the cluster's nodes."""
    cpu_share: float = 0.5
    """Factor on CPU requests."""
    storage_class: str = ""
    """Of the stores' volumes; empty is the cluster's default."""

    @property
    def lab(self) -> str:
        """The lab's namespace."""
        return f"lab-{self.trial}"

    @property
    def labels(self) -> dict[str, str]:
        """What everything of the trial carries."""
        return ours(self.trial)


def placed(app: App, placement: Placement) -> App:
    """Return an app as it is called on the cluster: its namespace, and the images of services.

    Whatever asks the app (faults, tools, the oracle) then names what is really there.
    """
    named = placement.images.of_service
    services = {
        name: spec.model_copy(update={"image": named(spec.image)})
        for name, spec in app.services.items()
    }
    space = f"{app.namespace}-{placement.trial}"
    return app.model_copy(update={"namespace": space, "services": services})


def on_cluster(app: App, objects: Sequence[Object], placement: Placement) -> list[Object]:
    """Return the manifests of a placed app as the cluster takes them, in the order given.

    Args:
        app: The app, ``placed``.
        objects: Its manifests (``services.manifests``); they stay as they are.
        placement: Where it goes.
    """
    found = [copy.deepcopy(obj) for obj in objects]
    namespaces = [obj for obj in found if obj["kind"] == "Namespace"]
    others = [obj for obj in found if obj["kind"] != "Namespace"]
    made = [*_trust(app, placement), *_superusers(app, placement), *rights(app)]
    for obj in others:
        _changed(app, obj, placement)
    spaces = [space_of_app(obj, placement) for obj in namespaces]
    return [*spaces, *(labelled(obj, placement.labels) for obj in [*made, *others])]


def space_of_app(obj: Object, placement: Placement) -> Object:
    """Return the app's namespace as the cluster takes it.

    Who mitigates may make pods there: none of them is to be privileged, or to see its machine.
    """
    return labelled(obj, {**placement.labels, ENFORCE: STANDARD})


def pod_of(obj: Object) -> Object | None:
    """Return the pod, or pod template, of an object; None if it has none."""
    path = _POD_OF.get(obj["kind"])
    if path is None:
        return None
    for key in path:
        obj = obj[key]
    return obj


def _changed(app: App, obj: Object, placement: Placement) -> None:
    """Change one object in place."""
    match obj["kind"]:
        case "HorizontalPodAutoscaler":
            _scaled_target(obj, placement.cpu_share)
        case "ConfigMap" if name_of(obj) in {f"{s}-config" for s in app.stores}:
            _queue_user(obj)
        case "StatefulSet":
            _volumes(obj, placement)
        case "NetworkPolicy":
            _observed(obj, placement)
    pod = pod_of(obj)
    if pod is None:
        return
    spec: Object = pod["spec"]
    _anywhere(spec, placement)
    for container in spec["containers"]:
        _container(app, obj, spec, container, placement)


def _container(
    app: App, obj: Object, spec: Object, container: Object, placement: Placement
) -> None:
    image = str(container["image"])
    name = name_of(obj)
    _requests(container, placement.cpu_share)
    _patient_probes(container)
    service = app.jobs[name].service if name in app.jobs else name
    if image in {s.image.ref for s in app.services.values()} and service in app.services:
        _program(app, service, spec, container, placement)
    elif name in app.stores:
        store = app.stores[name]
        container["image"] = placement.images.store(store)
        _STORE_ENV[store.kind](name, container)
    elif app.tls is not None and name == RENEWAL:
        _renewer(app, spec, container, placement)
    else:
        container["image"] = placement.images.other(image)


def _patient_probes(container: Object) -> None:
    """Let a probe wait for a processor that a laptop, unlike the simulated world, may not have."""
    for name in _PROBES:
        if name in container:
            probe = container[name]
            probe["timeoutSeconds"] = max(PROBE_S, probe.get("timeoutSeconds", 1))


def _observed(obj: Object, placement: Placement) -> None:
    """Let the observer in wherever an ingress policy lets somebody in, as any cluster's would."""
    space = {"matchLabels": {"kubernetes.io/metadata.name": placement.lab}}
    for rule in obj["spec"].get("ingress") or []:
        if "from" in rule:
            rule["from"].append({"namespaceSelector": space})


# -- the app's programs ---------------------------------------------------------------------------


def _program(app: App, service: str, spec: Object, container: Object, placement: Placement) -> None:
    """Let a program of the app send telemetry, find its partners, and do nothing else."""
    endpoint = f"http://observer.{placement.lab}:{OTLP_PORT}"
    env: list[Object] = container.setdefault("env", [])
    env.append({"name": ENDPOINT, "value": endpoint})
    _confine(spec, container)
    # Whoever calls one party may be configured to call another instead.
    abroad = any(target in app.externals for target in targets(app, service))
    known = sorted(placement.partners) if abroad else []
    if known:
        spec["hostAliases"] = [{"ip": placement.partners[h], "hostnames": [h]} for h in known]
    if known and placement.authority:
        env.append({"name": "SSL_CERT_FILE", "value": f"{_TRUST_DIR}/{_TRUST_FILE}"})
        mount = {"name": "public", "mountPath": _TRUST_DIR, "readOnly": True}
        container.setdefault("volumeMounts", []).append(mount)
        source = {"name": "public", "configMap": {"name": _trust_name(app)}}
        spec.setdefault("volumes", []).append(source)


def _confine(spec: Object, container: Object) -> None:
    spec["securityContext"] = copy.deepcopy(NOBODY)
    container["securityContext"] = copy.deepcopy(_CONFINED)


def confined(container: Object) -> Object:
    """Return a container that can change nothing but what is mounted for it to be changed."""
    return container | {"securityContext": copy.deepcopy(_CONFINED)}


def _renewer(app: App, spec: Object, container: Object, placement: Placement) -> None:
    """Let the renewal of certificates be done by the app's program, with rights of its own."""
    image = str(container["image"])
    found = placement.images.other(image)
    container["image"] = placement.images.partners(app) if found == image else found
    container["args"] = ["renew", app.name]
    spec["serviceAccountName"] = RENEWER
    # A python that signs needs more than what the program of ``app.yaml`` was written for.
    container["resources"]["limits"] = {"cpu": "500m", "memory": "128Mi"}
    _confine(spec, container)


def _trust_name(app: App) -> str:
    return f"{app.name}-public-trust"


def _trust(app: App, placement: Placement) -> Iterator[Object]:
    """Render the bundle of authorities that callers of partners trust."""
    if placement.partners and placement.authority:
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": _metadata(app, _trust_name(app)),
            "data": {_TRUST_FILE: placement.authority},
        }


# -- stores ---------------------------------------------------------------------------------------


def admin_secret(store: str) -> str:
    """Name the Secret of a database's superuser."""
    return f"{store}-postgres"


def _superusers(app: App, placement: Placement) -> Iterator[Object]:
    for name, store in sorted(app.stores.items()):
        if store.kind == "postgres":
            text = {"username": "postgres", "password": placement.admin_password}
            yield {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": _metadata(app, admin_secret(name)),
                "type": "Opaque",
                "stringData": text,
            }


def _postgres_env(name: str, container: Object) -> None:
    env: list[Object] = container.setdefault("env", [])
    env.append(_from_secret("POSTGRES_PASSWORD", admin_secret(name)))
    env.append({"name": "PGDATA", "value": _DATA_DIR})


def _valkey_env(name: str, container: Object) -> None:
    """Let the client in the container log in as the server expects, as an operator's would."""
    env: list[Object] = container.setdefault("env", [])
    known = [copy.deepcopy(e) for e in env if e["name"] == "VALKEY_PASSWORD"]
    env += [e | {"name": "REDISCLI_AUTH"} for e in known]


def _nats_env(name: str, container: Object) -> None:
    """Leave it as it is: the configuration says what differs."""


_STORE_ENV: dict[str, Callable[[str, Object], None]] = {
    "postgres": _postgres_env,
    "valkey": _valkey_env,
    "nats": _nats_env,
}


def _queue_user(obj: Object) -> None:
    """Name the user of a queue's password: alone, a real server asks nobody for it."""
    text = obj["data"].get("nats.conf")
    if text is not None:
        old, new = "authorization {\n  password:", "authorization {\n  user: default\n  password:"
        obj["data"]["nats.conf"] = text.replace(old, new)


def _volumes(obj: Object, placement: Placement) -> None:
    if placement.storage_class:
        for claim in obj["spec"].get("volumeClaimTemplates", []):
            claim["spec"]["storageClassName"] = placement.storage_class


# -- any pod --------------------------------------------------------------------------------------


def _anywhere(spec: Object, placement: Placement) -> None:
    """Let a pod run on any node if the one it asks for is not there."""
    selector = spec.get("nodeSelector", {})
    if _HOSTNAME in selector and selector[_HOSTNAME] not in placement.nodes:
        del selector[_HOSTNAME]
        spec.pop("tolerations", None)
        if not selector:
            del spec["nodeSelector"]


def _requests(container: Object, share: float) -> None:
    requests = container.get("resources", {}).get("requests", {})
    if "cpu" in requests:
        milli = round(float(quantity.parse(requests["cpu"])) * share * 1000)
        requests["cpu"] = f"{max(milli, 1)}m"


def _scaled_target(obj: Object, share: float) -> None:
    """Keep the CPU at which an autoscaler acts: it counts in shares of requests."""
    for metric in obj["spec"].get("metrics", []):
        resource = metric.get("resource", {})
        if resource.get("name") == "cpu" and resource["target"]["type"] == "Utilization":
            target = resource["target"]
            target["averageUtilization"] = round(target["averageUtilization"] / share)


def _metadata(app: App, name: str) -> Object:
    labels = {"app.kubernetes.io/part-of": app.name}
    return {"name": name, "namespace": app.namespace, "labels": labels}


def _from_secret(variable: str, secret: str) -> Object:
    reference = {"secretKeyRef": {"name": secret, "key": "password"}}
    return {"name": variable, "valueFrom": reference}
