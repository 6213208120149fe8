"""What a kubelet makes of a pod template, without a cluster: environment and mounted files.

ConfigMaps and Secrets are looked up among the manifests of the app. Not here: starting anything
(``local``), the kubelet of the simulated world (``world.kube``).
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Object = dict[str, Any]


class Manifests:
    """The objects of an app, by kind and name."""

    def __init__(self, objects: Iterable[Object]) -> None:
        self._objects = {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}

    def pod(self, deployment: str) -> Object:
        """Return the pod spec of a Deployment, or of the CronJob of a job."""
        found = self._objects.get(("Deployment", deployment))
        if found is None:
            found = self._objects["CronJob", deployment]["spec"]["jobTemplate"]
        spec: Object = found["spec"]["template"]["spec"]
        return spec

    def environment(self, pod: Object) -> dict[str, str]:
        """Return the environment of a pod's container."""
        container = pod["containers"][0]
        env: dict[str, str] = {}
        for source in container.get("envFrom", []):
            (kind, reference), *_ = source.items()
            env |= self._data(_KIND_OF[kind], reference["name"])
        for variable in container.get("env", []):
            env[variable["name"]] = self._value(variable)
        return env

    def files(self, pod: Object) -> dict[str, str]:
        """Return the mounted files of a pod's container, path to text."""
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        found = {}
        for mount in pod["containers"][0].get("volumeMounts", []):
            for key, text in self._content(volumes[mount["name"]]).items():
                found[posixpath.join(mount["mountPath"], key)] = text
        return found

    def _value(self, variable: Object) -> str:
        if "valueFrom" not in variable:
            return str(variable["value"])
        (kind, reference), *_ = variable["valueFrom"].items()
        return self._data(_KIND_OF[kind], reference["name"])[reference["key"]]

    def _content(self, volume: Object) -> Mapping[str, str]:
        if "configMap" in volume:
            return self._data("ConfigMap", volume["configMap"]["name"])
        return self._data("Secret", volume["secret"]["secretName"])

    def _data(self, kind: str, name: str) -> Mapping[str, str]:
        data: dict[str, str] = self._objects[kind, name].get("data", {})
        if kind == "ConfigMap":
            return data
        return {key: base64.b64decode(text).decode() for key, text in data.items()}


_KIND_OF = {
    "configMapRef": "ConfigMap",
    "configMapKeyRef": "ConfigMap",
    "secretRef": "Secret",
    "secretKeyRef": "Secret",
}


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write files below a folder, each in one step; readers see the old or the new content."""
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"..{path.name}")
        draft.write_text(text, "utf-8")
        draft.replace(path)
        if posixpath.basename(name).endswith(".key"):
            path.chmod(0o600)
