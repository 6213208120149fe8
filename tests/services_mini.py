"""A cluster without Kubernetes: the app's containers on nodes, wired straight from its manifests.

Only what the app program and its stores need; the real thing is ``world.world``.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from aiopslab.load.generator import Generator
from aiopslab.load.slis import Slis
from aiopslab.models.app import App
from aiopslab.models.base import parse_size
from aiopslab.seeds import Streams
from aiopslab.services.manifests import manifests
from aiopslab.telemetry.store import Store
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.container import Container, ContainerSpec, PodIdentity
from aiopslab.world.disk import Volume
from aiopslab.world.externals import parties
from aiopslab.world.images.registry import Registry
from aiopslab.world.network import Network
from aiopslab.world.node import Node
from aiopslab.world.users import Users

Object = dict[str, Any]
START = 1_773_133_200.0


class MiniWorld:
    """Every workload of an app, running; ``changes`` replaces ConfigMap keys per service."""

    def __init__(
        self,
        app: App,
        *,
        seed: int = 1,
        changes: Mapping[str, Mapping[str, str]] | None = None,
        limits: Mapping[str, float] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self.app = app
        self.loop = VirtualLoop(START)
        self.streams = Streams(seed)
        self.network = Network(self.loop, self.streams)
        self.store = Store()
        self.nodes = [
            Node(self.loop, spec, f"198.18.240.{i + 1}") for i, spec in enumerate(app.nodes)
        ]
        self.boxes: dict[str, list[Container]] = {}
        self.registry = Registry.for_app(app)
        self._objects = manifests(app, seed, START)
        self._changes = changes or {}
        self._limits = limits or {}
        self._versions = versions or {}
        for obj in self._objects:
            if obj["kind"] in ("StatefulSet", "Deployment"):
                self._workload(obj)
        self._services()
        self.parties = parties(app, self.network, self.streams, self.store.post)
        self.slis = Slis(app.slos)
        users = Users(self.network, app)
        self.load = Generator(users, self.loop, self.streams, app.journeys, app.load, self.slis)

    def run_for(self, seconds: float) -> None:
        self.loop.run_until(self.loop.time() + seconds)

    def _find(self, kind: str, name: str) -> Object:
        return next(o for o in self._objects if o["kind"] == kind and o["metadata"]["name"] == name)

    def _workload(self, obj: Object) -> None:
        name = obj["metadata"]["name"]
        for ordinal in range(obj["spec"]["replicas"]):
            self._pod(name, ordinal, obj["spec"]["template"])

    def _pod(self, name: str, ordinal: int, template: Object) -> None:
        number = sum(map(len, self.boxes.values()))
        node = self.nodes[number % len(self.nodes)]
        ip = f"198.19.0.{number + 1}"
        labels = template["metadata"]["labels"]
        netns = self.network.netns(
            ip, namespace=self.app.namespace, component=name, labels=labels, node=node.name
        )
        (template_container,) = template["spec"]["containers"]
        spec = self._spec(name, template_container, template["spec"])
        pod = PodIdentity(f"{name}-{ordinal}", self.app.namespace, f"u{number}", ip, labels, name)
        box = Container(spec, pod, node=node, netns=netns, streams=self.streams, store=self.store)
        factory = self.registry.resolve(spec.image_ref)
        assert factory is not None, spec.image_ref
        box.start(factory())
        self.boxes.setdefault(name, []).append(box)

    def _spec(self, name: str, container: Object, pod: Object) -> ContainerSpec:
        env: dict[str, str] = {}
        for source in container.get("envFrom", []):
            env |= self._find("ConfigMap", source["configMapRef"]["name"])["data"]
        env |= self._changes.get(name, {})
        for entry in container.get("env", []):
            env[entry["name"]] = self._value(entry)
        files = {}
        for volume in pod.get("volumes", []):
            if "secret" in volume:
                secret = self._find("Secret", volume["secret"]["secretName"])["data"]
                data = {key: base64.b64decode(value).decode() for key, value in secret.items()}
            else:
                data = self._find("ConfigMap", volume["configMap"]["name"])["data"]
            mount = next(m for m in container["volumeMounts"] if m["name"] == volume["name"])
            files |= {f"{mount['mountPath']}/{key}": text for key, text in data.items()}
        image = container["image"]
        if name in self._versions:
            image = f"{image.rpartition(':')[0]}:{self._versions[name]}"
        limits, requests = container["resources"]["limits"], container["resources"]["requests"]
        return ContainerSpec(
            name=container["name"],
            image_ref=image,
            env=env,
            files=files,
            args=[_expand(arg, env) for arg in container.get("args", [])],
            volumes={
                m["mountPath"]: Volume(4 * 2**30)
                for m in container.get("volumeMounts", [])
                if m["name"] == "data"
            },
            cpu_request=_cores(requests["cpu"]),
            cpu_limit=self._limits.get(name, _cores(limits["cpu"])),
            memory_request=parse_size(requests["memory"]),
            memory_limit=parse_size(limits["memory"]),
        )

    def _value(self, entry: Object) -> str:
        if "value" in entry:
            return str(entry["value"])
        reference = entry["valueFrom"]["secretKeyRef"]
        data = self._find("Secret", reference["name"])["data"]
        return base64.b64decode(data[reference["key"]]).decode()

    def _services(self) -> None:
        names = [o["metadata"]["name"] for o in self._objects if o["kind"] == "Service"]
        for number, name in enumerate(n for n in names if n in self.boxes):
            (port,) = self._find("Service", name)["spec"]["ports"]
            vip = f"198.18.1.{number + 1}"
            endpoints = [(box.pod.ip, port["targetPort"]) for box in self.boxes[name]]
            self.network.program_service(vip, port["port"], endpoints)
            self.network.dns.publish(f"{name}.{self.app.namespace}.svc.cluster.local", [vip])


def _cores(quantity: str) -> float:
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def _expand(text: str, env: Mapping[str, str]) -> str:
    for key, value in env.items():
        text = text.replace(f"$({key})", value)
    return text
