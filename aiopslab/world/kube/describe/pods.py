"""``kubectl describe`` of pods and of the pod templates inside workloads."""

from __future__ import annotations

import time
from typing import Any

from aiopslab.models.timestamps import unix
from aiopslab.world.kube.describe.page import Page
from aiopslab.world.kube.objects import Object, controller_of, deleting, dig
from aiopslab.world.kube.table.cells import NONE, duration, join, labels


def when(text: str | None) -> str:
    """Print an API timestamp as ``Mon, 02 Jan 2006 15:04:05 +0000``."""
    if not text:
        return NONE
    return time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(unix(text)))


def pod(page: Page, obj: Object, now: float) -> None:
    """Write a pod, up to its events."""
    spec, status, metadata = obj["spec"], obj.get("status") or {}, obj["metadata"]
    page.field(0, "Name", metadata["name"])
    page.field(0, "Namespace", metadata["namespace"])
    page.field(0, "Priority", spec.get("priority", 0))
    page.field(0, "Service Account", spec.get("serviceAccountName", "default"))
    node = spec.get("nodeName")
    page.field(0, "Node", f"{node}/{status.get('hostIP', '')}" if node else NONE)
    if status.get("startTime"):
        page.field(0, "Start Time", when(status["startTime"]))
    page.mapping(0, "Labels", metadata.get("labels"))
    page.annotations(0, metadata.get("annotations"))
    if deleting(obj):
        ago = duration(now - unix(metadata["deletionTimestamp"]))
        page.field(0, "Status", f"Terminating (lasts {ago})")
        grace = metadata.get("deletionGracePeriodSeconds")
        page.field(0, "Termination Grace Period", f"{grace}s")
    else:
        page.field(0, "Status", status.get("phase", "Pending"))
    for key, name in (("Reason", "reason"), ("Message", "message")):
        if status.get(name):
            page.field(0, key, status[name])
    page.field(0, "IP", status.get("podIP", ""))
    page.values(0, "IPs", (f"IP: {ip['ip']}" for ip in status.get("podIPs") or ()))
    owner = controller_of(obj)
    if owner:
        page.field(0, "Controlled By", f"{owner['kind']}/{owner['name']}")
    _all_containers(page, 0, spec, status)
    conditions = [[c["type"], c["status"]] for c in status.get("conditions") or ()]
    if conditions:
        page.line(0, "Conditions:")
        for type_, value in (["Type", "Status"], *conditions):
            page.line(1, f"{type_:<27} {value}".rstrip())
    _volumes(page, 0, spec)
    page.field(0, "QoS Class", status.get("qosClass", "BestEffort"))
    page.field(0, "Node-Selectors", labels(spec.get("nodeSelector")))
    page.values(0, "Tolerations", map(toleration, spec.get("tolerations") or ()))


def template(page: Page, obj: Object) -> None:
    """Write the pod template of a workload."""
    metadata, spec = dig(obj, "metadata", default={}), obj["spec"]
    page.line(0, "Pod Template:")
    page.mapping(1, "Labels", metadata.get("labels"))
    if metadata.get("annotations"):
        page.annotations(1, metadata["annotations"])
    if spec.get("serviceAccountName"):
        page.field(1, "Service Account", spec["serviceAccountName"])
    _all_containers(page, 1, spec, {})
    _volumes(page, 1, spec)
    page.field(1, "Node-Selectors", labels(spec.get("nodeSelector")))
    page.values(1, "Tolerations", map(toleration, spec.get("tolerations") or ()))


def toleration(value: Object) -> str:
    """Print a toleration: ``key=value:effect op=Exists for 300s``."""
    text = str(value.get("key", ""))
    if value.get("value"):
        text += f"={value['value']}"
    if value.get("effect"):
        text += f":{value['effect']}"
    if value.get("operator") == "Exists":
        text += " op=Exists"
    if value.get("tolerationSeconds") is not None:
        text += f" for {value['tolerationSeconds']}s"
    return text


def _all_containers(page: Page, level: int, spec: Object, status: Object) -> None:
    for key, title, states in (
        ("initContainers", "Init Containers", "initContainerStatuses"),
        ("containers", "Containers", "containerStatuses"),
    ):
        if not spec.get(key):
            continue
        page.line(level, f"{title}:")
        by_name = {s["name"]: s for s in status.get(states) or ()}
        for container in spec[key]:
            page.line(level + 1, f"{container['name']}:")
            _container(page, level + 2, container, by_name.get(container["name"]))


def _container(page: Page, level: int, container: Object, status: Object | None) -> None:
    if status is not None:
        page.field(level, "Container ID", status.get("containerID", ""))
    page.field(level, "Image", container.get("image", ""))
    if status is not None:
        page.field(level, "Image ID", status.get("imageID", ""))
    ports = container.get("ports") or ()
    page.field(
        level,
        "Port" if len(ports) < 2 else "Ports",
        ", ".join(f"{p['containerPort']}/{p.get('protocol', 'TCP')}" for p in ports) or NONE,
    )
    for key, name in (("Command", "command"), ("Args", "args")):
        if container.get(name):
            page.line(level, f"{key}:")
            for word in container[name]:
                page.line(level + 1, word)
    if status is not None:
        _state(page, level, "State", status.get("state") or {})
        if status.get("lastState"):
            _state(page, level, "Last State", status["lastState"])
        page.field(level, "Ready", bool(status.get("ready")))
        page.field(level, "Restart Count", status.get("restartCount", 0))
    _requirements(page, level, container)
    _environment(page, level, container)
    _mounts(page, level, container)


def _requirements(page: Page, level: int, container: Object) -> None:
    """Write resources and probes."""
    for key, name in (("Limits", "limits"), ("Requests", "requests")):
        values = dig(container, "resources", name, default={})
        if values:
            page.line(level, f"{key}:")
            for resource in sorted(values):
                page.field(level + 1, resource, values[resource])
    for key, name in (
        ("Liveness", "livenessProbe"),
        ("Readiness", "readinessProbe"),
        ("Startup", "startupProbe"),
    ):
        if container.get(name):
            page.field(level, key, probe(container[name]))


def _state(page: Page, level: int, title: str, state: Object) -> None:
    if "running" in state:
        page.field(level, title, "Running")
        page.field(level + 1, "Started", when(state["running"].get("startedAt")))
    elif "terminated" in state:
        ended = state["terminated"]
        page.field(level, title, "Terminated")
        for key, name in (("Reason", "reason"), ("Message", "message")):
            if ended.get(name):
                page.field(level + 1, key, ended[name])
        page.field(level + 1, "Exit Code", ended.get("exitCode", 0))
        page.field(level + 1, "Started", when(ended.get("startedAt")))
        page.field(level + 1, "Finished", when(ended.get("finishedAt")))
    else:
        page.field(level, title, "Waiting")
        waiting = state.get("waiting") or {}
        if waiting.get("reason"):
            page.field(level + 1, "Reason", waiting["reason"])


def probe(value: Object) -> str:
    """Print a probe: what it does, then its timing."""
    what = "unknown"
    if value.get("exec"):
        what = f"exec [{' '.join(value['exec'].get('command') or ())}]"
    elif value.get("httpGet"):
        get = value["httpGet"]
        scheme, host = get.get("scheme", "HTTP").lower(), get.get("host", "")
        what = f"http-get {scheme}://{host}:{get['port']}{get.get('path', '/')}"
    elif value.get("tcpSocket"):
        what = f"tcp-socket {value['tcpSocket'].get('host', '')}:{value['tcpSocket']['port']}"
    elif value.get("grpc"):
        what = f"grpc <pod>:{value['grpc']['port']}"
    return (
        f"{what} delay={value.get('initialDelaySeconds', 0)}s "
        f"timeout={value.get('timeoutSeconds', 1)}s period={value.get('periodSeconds', 10)}s "
        f"#success={value.get('successThreshold', 1)} "
        f"#failure={value.get('failureThreshold', 3)}"
    )


def _flag(value: Any) -> str:
    """Print a boolean as Go does."""
    return "true" if value else "false"


def _environment(page: Page, level: int, container: Object) -> None:
    if container.get("envFrom"):
        page.line(level, "Environment Variables from:")
        for source in container["envFrom"]:
            for name, title in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if source.get(name):
                    optional = _flag(source[name].get("optional"))
                    text = f"{source[name].get('name')}  {title}  Optional: {optional}"
                    page.line(level + 1, text)
    if not container.get("env"):
        page.field(level, "Environment", NONE)
        return
    page.line(level, "Environment:")
    for variable in container["env"]:
        page.field(level + 1, variable["name"], _variable(variable))


def _variable(variable: Object) -> str:
    """Print an environment variable's value or where it comes from; never a secret's value."""
    source = variable.get("valueFrom")
    if source is None:
        return str(variable.get("value", ""))
    for name, title in (("secretKeyRef", "secret"), ("configMapKeyRef", "config map")):
        if source.get(name):
            ref = source[name]
            optional = _flag(ref.get("optional"))
            return (
                f"<set to the key '{ref.get('key')}' of {title} '{ref.get('name')}'>"
                f"  Optional: {optional}"
            )
    if source.get("fieldRef"):
        return f" ({source['fieldRef'].get('apiVersion', 'v1')}:{source['fieldRef']['fieldPath']})"
    return f"({dig(source, 'resourceFieldRef', 'resource', default='')})"


def _mounts(page: Page, level: int, container: Object) -> None:
    mounts = container.get("volumeMounts")
    if not mounts:
        page.field(level, "Mounts", NONE)
        return
    page.line(level, "Mounts:")
    for mount in sorted(mounts, key=lambda m: str(m["mountPath"])):
        flags = "ro" if mount.get("readOnly") else "rw"
        if mount.get("subPath"):
            flags += f',path="{mount["subPath"]}"'
        page.line(level + 1, f"{mount['mountPath']} from {mount['name']} ({flags})")


_VOLUME_KINDS: dict[str, tuple[str, str]] = {
    "configMap": ("ConfigMap (a volume populated by a ConfigMap)", "name"),
    "secret": ("Secret (a volume populated by a Secret)", "secretName"),
    "persistentVolumeClaim": (
        "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
        "claimName",
    ),
    "emptyDir": ("EmptyDir (a temporary directory that shares a pod's lifetime)", ""),
}


def _volumes(page: Page, level: int, spec: Object) -> None:
    volumes = spec.get("volumes")
    if not volumes:
        page.field(level, "Volumes", NONE)
        return
    page.line(level, "Volumes:")
    for volume in volumes:
        page.line(level + 1, f"{volume['name']}:")
        source = next((key for key in volume if key != "name"), "")
        title, name = _VOLUME_KINDS.get(source, (source, ""))
        details: Any = volume.get(source) or {}
        page.field(level + 2, "Type", title)
        if name:
            key = {"configMap": "Name", "secret": "SecretName"}.get(source, "ClaimName")
            page.field(level + 2, key, details.get(name, ""))
        if source in ("configMap", "secret"):
            page.field(level + 2, "Optional", _flag(details.get("optional")))
        if source == "emptyDir":
            page.field(level + 2, "Medium", details.get("medium", ""))
            page.field(level + 2, "SizeLimit", details.get("sizeLimit", "<unset>"))
        if details.get("items") and source in ("configMap", "secret"):
            page.field(level + 2, "Items", join(i.get("key") for i in details["items"]))
