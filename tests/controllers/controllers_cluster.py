"""A small cluster of real parts: API server, controllers, scheduler, kubelets, network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aiopslab.models.app import NodeSpec
from aiopslab.models.kube import ExecResult
from aiopslab.seeds import Streams
from aiopslab.services.protocols import Request, Response
from aiopslab.telemetry.store import Store
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.connection import Peer
from aiopslab.world.container import Container, ProgramExit
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.controllers.manager import ControllerManager
from aiopslab.world.kube.events import EventRecorder
from aiopslab.world.kube.kubelet.kubelet import Kubelet
from aiopslab.world.kube.kubelet.runtime import Claims
from aiopslab.world.kube.objects import Object
from aiopslab.world.network import Network
from aiopslab.world.node import Node

START = 1_767_600_000.0
"""2026-01-05 08:00:00 UTC, a Monday."""
GIB = 2**30
MIB = 2**20


class Web:
    """A server on port 8080 whose health, memory and end are set by its environment."""

    async def run(self, box: Container) -> int:
        env = box.env
        box.log(f"starting with {env.get('GREETING', 'nothing')}")
        if "EXIT" in env:
            await box.burn(0.01)
            raise ProgramExit(int(env["EXIT"]))
        if "HOLD" in env:
            box.memory.hold("heap", int(env["HOLD"]))
        box.netns.listen(8080, self.answer)
        self.env = env
        await box.terminating.wait()
        return 0

    async def answer(self, message: Any, peer: Peer) -> Response:
        assert isinstance(message, Request)
        return Response(int(self.env.get("STATUS", "200")), "ok")

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None:
        return ExecResult("pong\n", "", 0) if argv[0] == "ping" else None


class Shell(Web):
    """An image whose commands are ``sleep SECONDS`` and ``fail``."""

    def accepts(self, command: Sequence[str]) -> bool:
        return command[0] in ("sleep", "fail")

    async def run(self, box: Container) -> int:
        if box.command and box.command[0] == "fail":
            return 1
        import asyncio

        await asyncio.sleep(float((box.command or ["", "1"])[1]))
        return 0


class Images:
    """A registry with ``web:*`` and ``shell:1``; ``web:gone`` does not exist."""

    def resolve(self, image_ref: str) -> Callable[[], Web] | None:
        name, _, tag = image_ref.partition(":")
        if tag == "gone":
            return None
        return {"web": Web, "shell": Shell}.get(name)


class Cluster:
    """Everything together; times in virtual seconds."""

    def __init__(self, nodes: int = 3, *, kubelets: bool = True) -> None:
        self.loop = VirtualLoop(START)
        self.streams = Streams(7)
        self.network = Network(self.loop, self.streams)
        self.api = ApiServer(self.loop.time, self.streams)
        self.recorder = EventRecorder(self.api)
        self.usage: dict[str, float] = {}
        self.claims: Claims = {}
        for name in ("default", "kube-system", "kube-node-lease", "shop"):
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.manager = ControllerManager(
            self.api, self.loop, self.streams, self.network,
            recorder=self.recorder, usage=lambda pod: self.usage.get(pod["metadata"]["name"]),
        )  # fmt: skip
        self.kubelets = {}
        for index in range(1, nodes + 1):
            spec = NodeSpec(name=f"node-{index}", cpu=4, memory=8 * GIB, zone="a")
            node = Node(self.loop, spec, f"198.18.240.{index}")
            self.kubelets[node.name] = Kubelet(
                self.api, node, self.loop, self.network, Images(), self.streams, Store(),
                recorder=self.recorder, claims=self.claims, pod_prefix=f"198.19.{index}",
            )  # fmt: skip
        self.manager.start()
        if kubelets:
            for kubelet in self.kubelets.values():
                kubelet.start()
        self.client = self.network.netns(
            "198.18.250.1", namespace="", component="edge", labels={}, node=""
        )

    def create(self, obj: Object) -> Object:
        return self.api.create(obj, actor="alice")

    def patch(self, kind: str, name: str, patch: Any, **more: Any) -> Object:
        return self.api.patch(kind, name, patch, namespace="shop", actor="alice", **more)

    def get(self, kind: str, name: str) -> Object:
        return self.api.get(kind, name, "shop")

    def wait(self, seconds: float) -> None:
        self.loop.run_until(self.loop.time() + seconds)

    def wait_for(self, condition: Callable[[], bool], *, limit: float = 120.0) -> float:
        """Let time pass until something holds; returns how long it took."""
        since = self.loop.time()
        while not condition():
            assert self.loop.time() - since < limit, "it did not come"
            self.wait(0.25)
        return self.loop.time() - since

    def pods(self, selector: str = "") -> list[Object]:
        return self.api.list("Pod", "shop", labels=selector)

    def ready(self, kind: str, name: str, count: int) -> bool:
        status = self.get(kind, name).get("status") or {}
        return int(status.get("readyReplicas", 0)) == count

    def events(self, reason: str) -> list[str]:
        found = [item for item in self.api.list("Event") if item["reason"] == reason]
        return [item["message"] for item in found]

    def state(self, pod: str, container: int = 0) -> Object:
        """Return the status of a container; neutral before the kubelet reported."""
        statuses = self.get("Pod", pod)["status"].get("containerStatuses") or []
        neutral: Object = {"state": {}, "restartCount": 0, "started": False}
        return statuses[container] if statuses else neutral


def container(image: str = "web:1", **more: Any) -> Object:
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 2}
    return {
        "name": "main",
        "image": image,
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        "readinessProbe": probe,
        **more,
    }


def pod(name: str, *containers: Object, **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {"containers": list(containers) or [container()], **spec},
    }


def deployment(name: str = "web", replicas: int = 3, **spec: Any) -> Object:
    template_spec = spec.pop("pod", None) or {"containers": [container()]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": template_spec},
            **spec,
        },
    }
