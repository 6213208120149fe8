"""What a container is given at its start: environment, arguments, files and volumes.

Resolves references to ConfigMaps, Secrets and the pod's own fields as the kubelet does, with its
error texts. Not here: when this is done and how failures are retried (``kubelet.container``).
"""

from __future__ import annotations

import base64
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiopslab.world.disk import Volume
from aiopslab.world.kube.objects import (
    Object,
    annotations_of,
    dig,
    labels_of,
    name_of,
    namespace_of,
)
from aiopslab.world.kube.quantity import amount

Lookup = Callable[[str, str, str], Object | None]
"""Kind, name, namespace to the object, None if there is none."""


class ConfigError(Exception):
    """A reference of a container does not resolve; the text is the kubelet's."""


class MountError(Exception):
    """A volume of a pod cannot be set up; the text is the kubelet's."""


def decoded(obj: Object) -> dict[str, str]:
    """Return the entries of a ConfigMap or Secret as text."""
    data = obj.get("data") or {}
    if obj["kind"] == "ConfigMap":
        return {str(key): str(value) for key, value in data.items()}
    plain = {str(key): str(value) for key, value in (obj.get("stringData") or {}).items()}
    binary = {
        str(key): base64.b64decode(value).decode("utf-8", "replace") for key, value in data.items()
    }
    return {**binary, **plain}


# -- environment ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """What only the kubelet knows of a pod when it resolves ``fieldRef``."""

    pod_ip: str
    node_name: str
    node_ip: str


def environment(pod: Object, container: Object, facts: Facts, lookup: Lookup) -> dict[str, str]:
    """Resolve ``envFrom`` and ``env``; later entries win, ``$(NAME)`` refers to earlier ones.

    Raises:
        ConfigError: A ConfigMap, Secret or key that is not optional is missing.
    """
    env: dict[str, str] = {"HOSTNAME": dig(pod, "spec", "hostname", default=name_of(pod))}
    for source in container.get("envFrom") or ():
        env.update(_env_from(pod, source, lookup))
    for item in container.get("env") or ():
        if "valueFrom" in item:
            value = _value_from(pod, container, item["valueFrom"], facts, lookup)
            if value is not None:
                env[item["name"]] = value
        else:
            env[item["name"]] = expand(str(item.get("value", "")), env)
    return env


def _env_from(pod: Object, source: Object, lookup: Lookup) -> dict[str, str]:
    prefix = source.get("prefix", "")
    for field_name, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        reference = source.get(field_name)
        if reference is not None:
            obj = _fetch(pod, kind, reference, lookup)
            return (
                {prefix + key: value for key, value in sorted(decoded(obj).items())} if obj else {}
            )
    return {}


def _fetch(pod: Object, kind: str, reference: Object, lookup: Lookup) -> Object | None:
    obj = lookup(kind, reference["name"], namespace_of(pod))
    if obj is None and not reference.get("optional"):
        raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
    return obj


def _value_from(
    pod: Object, container: Object, source: Object, facts: Facts, lookup: Lookup
) -> str | None:
    for field_name, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        reference = source.get(field_name)
        if reference is None:
            continue
        obj = _fetch(pod, kind, reference, lookup)
        values = decoded(obj) if obj is not None else {}
        if reference["key"] in values:
            return values[reference["key"]]
        if reference.get("optional"):
            return None
        where = f"{namespace_of(pod)}/{reference['name']}"
        raise ConfigError(f"couldn't find key {reference['key']} in {kind} {where}")
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"], facts)
    if "resourceFieldRef" in source:
        reference = source["resourceFieldRef"]
        section, _, resource = reference["resource"].partition(".")
        value = amount(dig(container, "resources", section, resource, default="0"))
        divisor = amount(reference.get("divisor") or "1") or 1.0
        return str(int(-(-value // divisor)))
    return None


_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def field_value(pod: Object, path: str, facts: Facts) -> str:
    """Read a downward API field.

    Raises:
        ConfigError: The field is not one a pod can refer to.
    """
    keyed = _KEYED.fullmatch(path)
    if keyed:
        source = labels_of(pod) if keyed[1] == "labels" else annotations_of(pod)
        return source.get(keyed[2], "")
    known = {
        "metadata.name": name_of(pod),
        "metadata.namespace": namespace_of(pod),
        "metadata.uid": str(pod["metadata"].get("uid", "")),
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": str(pod["spec"].get("serviceAccountName", "default")),
        "status.podIP": facts.pod_ip,
        "status.hostIP": facts.node_ip,
    }
    if path not in known:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return known[path]


_REFERENCE = re.compile(r"\$(\$|\(([-._a-zA-Z0-9]+)\))")


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace ``$(NAME)``; unknown names stay as written, ``$$`` is a dollar.

    >>> expand("$(A)/$(B)/$$(A)", {"A": "1"})
    '1/$(B)/$(A)'
    """

    def value(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return env.get(match[2], match[0])

    return _REFERENCE.sub(value, text)


def arguments(items: Sequence[str] | None, env: Mapping[str, str]) -> list[str]:
    """Expand the entries of ``command`` or ``args``."""
    return [expand(item, env) for item in items or ()]


# -- volumes --------------------------------------------------------------------------------------

DEFAULT_EMPTY_DIR = 8 * 2**30
"""Bytes an emptyDir without a size limit can take: its share of the node's disk."""


@dataclass(slots=True)
class Mounts:
    """What is mounted into one container."""

    files: dict[str, str] = field(default_factory=dict)
    """Absolute path to content, from ConfigMaps, Secrets and the downward API."""
    volumes: dict[str, Volume] = field(default_factory=dict)
    """Mount path to what can be written."""


@dataclass(slots=True)
class PodVolumes:
    """The volumes of one pod, set up before its containers start."""

    files: dict[str, dict[str, str]] = field(default_factory=dict)
    """Volume name to relative path to content."""
    disks: dict[str, Volume] = field(default_factory=dict)
    """Volume name to a writable volume."""

    def into(self, container: Object) -> Mounts:
        """Arrange the volumes as a container mounts them."""
        mounts = Mounts()
        for mount in container.get("volumeMounts") or ():
            path, sub = mount["mountPath"], mount.get("subPath", "")
            if mount["name"] in self.disks:
                mounts.volumes[path] = self.disks[mount["name"]]
            for name, content in self.files.get(mount["name"], {}).items():
                if not sub:
                    mounts.files[posixpath.join(path, name)] = content
                elif name == sub:
                    mounts.files[path] = content
                elif name.startswith(sub + "/"):
                    mounts.files[posixpath.join(path, name[len(sub) + 1 :])] = content
        return mounts


def file_volumes(pod: Object, facts: Facts, lookup: Lookup) -> dict[str, dict[str, str]]:
    """Render every volume whose content comes from the API.

    Raises:
        MountError: A ConfigMap, Secret or key that is not optional is missing.
    """
    result = {}
    for volume in pod["spec"].get("volumes") or ():
        sources = dig(volume, "projected", "sources", default=[volume])
        content: dict[str, str] = {}
        for source in sources:
            content.update(_source_files(pod, volume["name"], source, facts, lookup))
        if content or any(key in volume for key in ("configMap", "secret", "projected")):
            result[volume["name"]] = content
    return result


def _source_files(
    pod: Object, volume: str, source: Object, facts: Facts, lookup: Lookup
) -> dict[str, str]:
    if "downwardAPI" in source:
        return {
            item["path"]: field_value(pod, item["fieldRef"]["fieldPath"], facts)
            for item in source["downwardAPI"].get("items") or ()
            if "fieldRef" in item
        }
    for key, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
        if key not in source:
            continue
        reference = source[key]
        name = reference.get("secretName") or reference.get("name")
        obj = lookup(kind, name, namespace_of(pod))
        head = f'MountVolume.SetUp failed for volume "{volume}" : '
        if obj is None:
            if reference.get("optional"):
                return {}
            raise MountError(f'{head}{kind.lower()} "{name}" not found')
        values = decoded(obj)
        items = reference.get("items")
        if items is None:
            return values
        for item in items:
            if item["key"] not in values and not reference.get("optional"):
                what = "configmap" if kind == "ConfigMap" else "secret"
                raise MountError(f"{head}{what} references non-existent {what} key: {item['key']}")
        return {item["path"]: values[item["key"]] for item in items if item["key"] in values}
    return {}


def claimed(pod: Object, lookup: Lookup) -> dict[str, tuple[str, int]]:
    """List volume name to (claim, bytes) of the PersistentVolumeClaims a pod mounts.

    Raises:
        MountError: A claim is missing or not bound.
    """
    result = {}
    for volume in pod["spec"].get("volumes") or ():
        claim_name = dig(volume, "persistentVolumeClaim", "claimName")
        if claim_name is None:
            continue
        claim = lookup("PersistentVolumeClaim", claim_name, namespace_of(pod))
        if claim is None:
            raise MountError(f'persistentvolumeclaim "{claim_name}" not found')
        size = dig(claim, "spec", "resources", "requests", "storage", default="1Gi")
        result[volume["name"]] = (claim_name, int(amount(size)))
    return result


def scratch(pod: Object) -> dict[str, int]:
    """List volume name to size in bytes of the emptyDir volumes of a pod."""
    return {
        volume["name"]: int(amount((volume["emptyDir"] or {}).get("sizeLimit", DEFAULT_EMPTY_DIR)))
        for volume in pod["spec"].get("volumes") or ()
        if "emptyDir" in volume
    }
