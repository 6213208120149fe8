"""Pod security admission: what a namespace's enforced standard forbids in new pods.

The label ``pod-security.kubernetes.io/enforce`` names ``privileged`` (nothing), ``baseline`` or
``restricted``. After k8s.io/pod-security-admission; of its checks those that the fields of ordinary
workloads can fail. Pods that run are left alone. Neighbours: ``api`` (when it is asked).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from aiopslab.world.kube.errors import forbidden
from aiopslab.world.kube.kinds import BY_KIND
from aiopslab.world.kube.objects import Object, dig, labels_of, name_of, namespace_of
from aiopslab.world.kube.store import ObjectStore

ENFORCE = "pod-security.kubernetes.io/enforce"
_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"}
    | {"projected", "secret"}
)
_NOT_A_SOURCE = "name"


def check(pod: Object, store: ObjectStore) -> None:
    """Hold a new pod to the standard that its namespace enforces.

    Raises:
        KubeError: 403 with everything that breaks it.
    """
    namespace = store.get("Namespace", "", namespace_of(pod))
    level = labels_of(namespace).get(ENFORCE, "") if namespace is not None else ""
    broken = problems(level, pod["spec"])
    if broken:
        text = f'violates PodSecurity "{level}:latest": {", ".join(broken)}'
        raise forbidden(BY_KIND["Pod"], name_of(pod), text)


def problems(level: str, spec: Object) -> list[str]:
    """Word what in a pod's spec breaks a standard; nothing breaks an unknown one."""
    if level == "baseline":
        return list(_baseline(spec))
    if level == "restricted":
        return [*_baseline(spec), *_restricted(spec)]
    return []


def _baseline(spec: Object) -> Iterator[str]:
    host = [f"{key}=true" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    if host:
        yield f"host namespaces ({', '.join(host)})"
    paths = [v["name"] for v in spec.get("volumes") or () if "hostPath" in v]
    if paths:
        yield f"hostPath volumes ({_listed('volume', paths)})"
    bad = _where(spec, lambda own: own.get("privileged") is True)
    if bad:
        yield (
            f"privileged ({_listed('container', bad)} must not set securityContext.privileged=true)"
        )


def _restricted(spec: Object) -> Iterator[str]:
    pod = spec.get("securityContext") or {}
    bad = _where(spec, lambda own: own.get("allowPrivilegeEscalation") is not False)
    if bad:
        yield (
            f"allowPrivilegeEscalation != false ({_listed('container', bad)} must set "
            "securityContext.allowPrivilegeEscalation=false)"
        )
    bad = _where(spec, lambda own: "ALL" not in (dig(own, "capabilities", "drop") or ()))
    if bad:
        yield (
            f"unrestricted capabilities ({_listed('container', bad)} must set "
            'securityContext.capabilities.drop=["ALL"])'
        )
    sources = {key for v in spec.get("volumes") or () for key in v if key != _NOT_A_SOURCE}
    if sources - _VOLUMES:
        yield f"restricted volume types ({', '.join(sorted(sources - _VOLUMES))})"
    bad = _where(spec, lambda own: own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True)
    if bad:
        yield (
            f"runAsNonRoot != true (pod or {_listed('container', bad)} must set "
            "securityContext.runAsNonRoot=true)"
        )
    bad = _where(spec, lambda own: own.get("runAsUser", pod.get("runAsUser")) == 0)
    if bad:
        yield f"runAsUser=0 (pod or {_listed('container', bad)} must not set runAsUser=0)"
    bad = _where(spec, lambda own: not _confined(own) and not _confined(pod))
    if bad:
        yield (
            f"seccompProfile (pod or {_listed('container', bad)} must set "
            'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
        )


def _confined(context: Object) -> bool:
    return dig(context, "seccompProfile", "type") in ("RuntimeDefault", "Localhost")


def _where(spec: Object, bad: Callable[[Object], bool]) -> list[str]:
    """Name the containers whose security context is bad."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return [c["name"] for c in containers if bad(c.get("securityContext") or {})]


def _listed(noun: str, names: Sequence[str]) -> str:
    plural = "s" if len(names) > 1 else ""
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"{noun}{plural} {quoted}"
