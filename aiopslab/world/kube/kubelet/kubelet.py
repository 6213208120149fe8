"""The kubelet of a node: runs the pods bound to it and answers ``logs`` and ``exec``.

Follows the API's pods; registers its node and renews its lease. Not here: one pod
(``kubelet.pod``), one container (``kubelet.container``), where pods go (``scheduler``), what
happens when heartbeats stop (``controllers.node_lifecycle``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from aiopslab.models.kube import ExecResult, KubeError
from aiopslab.seeds import Streams
from aiopslab.telemetry.store import Store
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.container import Container, Shell
from aiopslab.world.images.shell import shell as image_shell
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.events import EventRecorder
from aiopslab.world.kube.kubelet.container import ContainerWorker
from aiopslab.world.kube.kubelet.images import ImageCache, Images
from aiopslab.world.kube.kubelet.node import NodeReporter
from aiopslab.world.kube.kubelet.pod import PodWorker
from aiopslab.world.kube.kubelet.runtime import PROPAGATION_S, Claims, Runtime
from aiopslab.world.kube.objects import (
    Object,
    deleting,
    dig,
    name_of,
    namespace_of,
    uid_of,
)
from aiopslab.world.kube.options import DELETE_NOW
from aiopslab.world.kube.validation.podspec import is_finished
from aiopslab.world.network import Network
from aiopslab.world.node import Node
from aiopslab.world.process import Process

_NO_ADDRESS = (
    "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for "
    'sandbox: plugin type="ptp" failed (add): failed to allocate for range 0: no IP addresses '
    "available in range set"
)
NOTICE_S = (0.005, 0.03)
"""Range of the time until the kubelet hears of a pod."""


class Addresses:
    """Pod addresses of one node, handed out in turn so that none comes back soon.

    Args:
        prefix: First two bytes of the pod network and the node's own byte: ``198.19.1``.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._taken: set[int] = set()
        self._last = 1

    def take(self) -> str | None:
        """Return a free address, None if all 253 are in use."""
        for step in range(1, 254):
            host = 2 + (self._last - 2 + step) % 253
            if host not in self._taken:
                self._taken.add(host)
                self._last = host
                return f"{self._prefix}.{host}"
        return None

    def release(self, ip: str) -> None:
        """Give an address back."""
        self._taken.discard(int(ip.rpartition(".")[2]))


class Kubelet:
    """Runs pods.

    Args:
        api: The API server.
        node: The machine.
        loop: The world's loop.
        network: The world's network; the kubelet has its own netns for probes.
        registry: Where images come from.
        streams: Random streams of the world.
        store: Where containers' telemetry goes.
        recorder: Writes events.
        claims: Persistent data of the cluster, shared by all kubelets.
        pod_prefix: First three bytes of this node's pod addresses: ``198.19.1``.
        shell: Runs commands that a container's program does not know.
    """

    def __init__(
        self,
        api: ApiServer,
        node: Node,
        loop: VirtualLoop,
        network: Network,
        registry: Images,
        streams: Streams,
        store: Store,
        *,
        recorder: EventRecorder,
        claims: Claims,
        pod_prefix: str,
        shell: Shell | None = image_shell,
    ) -> None:
        own = streams.scope("kubelet", node.name)
        self._runtime = Runtime(
            api=api,
            loop=loop,
            node=node,
            network=network,
            netns=network.netns(
                node.ip, namespace="", component=node.name, labels={}, node=node.name
            ),
            streams=streams,
            draw=own("timing"),
            store=store,
            recorder=recorder,
            images=ImageCache(loop, registry, own),
            claims=claims,
            shell=shell,
        )
        self._addresses = Addresses(pod_prefix)
        self._workers: dict[str, PodWorker] = {}
        self._process = Process(loop)
        self._adopting: set[str] = set()
        self._reporter = NodeReporter(
            self._runtime, pod_cidr=f"{pod_prefix}.0/24", on_beat=self._sync
        )

    @property
    def name(self) -> str:
        """The node's name."""
        return self._runtime.node.name

    def start(self) -> None:
        """Register the node, send heartbeats, and run what is bound to it."""
        self._reporter.register()
        self._reporter.start()
        self._runtime.api.subscribe("Pod", self._changed)
        for kind in ("ConfigMap", "Secret"):
            self._runtime.api.subscribe(kind, self._config_changed)
        self._runtime.api.subscribe("PersistentVolumeClaim", self._claim_changed)
        for pod in self._runtime.api.list("Pod"):
            self._changed("ADDED", pod, None)

    @property
    def silent(self) -> bool:
        """Whether the kubelet hangs: no heartbeat, no status, no reaction; containers go on."""
        return self._runtime.silent

    @silent.setter
    def silent(self, silent: bool) -> None:
        self._runtime.silent = silent

    def power(self, on: bool) -> None:
        """Switch the machine off, with everything on it, or on again.

        Nobody is told that it went; back, it runs what is still bound to it.
        """
        node = self._runtime.node
        if on == node.powered:
            return
        node.powered, self.silent = on, not on
        if on:
            node.booted_at = self._runtime.now()
            self._sync()
        for worker in [] if on else list(self._workers.values()):
            worker.lose()

    # -- pods -------------------------------------------------------------------------------------

    def _changed(self, event: str, pod: Object, old: Object | None) -> None:
        if pod["spec"].get("nodeName") != self.name or self.silent:
            return
        worker = self._workers.get(uid_of(pod))
        if event == "DELETED":
            if worker is not None:
                worker.discard()
        elif worker is None:
            self._notice(pod)
        elif old is None or pod["metadata"] != old["metadata"] or pod["spec"] != old["spec"]:
            worker.update(pod)

    def _sync(self) -> None:
        """Look at everything once more: what was missed while silent, and statuses that differ."""
        bound = {
            uid_of(pod): pod
            for pod in self._runtime.api.list("Pod")
            if pod["spec"].get("nodeName") == self.name
        }
        for uid, worker in list(self._workers.items()):
            if uid not in bound:
                worker.discard()
                continue
            if bound[uid] is not worker.pod:
                worker.update(bound[uid])
            worker.publish()
        for uid, pod in bound.items():
            if uid not in self._workers:
                self._notice(pod)

    def _notice(self, pod: Object) -> None:
        """Begin to run a pod that was bound to this node."""
        if not is_finished(pod) and uid_of(pod) not in self._adopting:
            self._adopting.add(uid_of(pod))
            self._process.spawn(self._adopt(pod))

    async def _adopt(self, pod: Object) -> None:
        await asyncio.sleep(self._runtime.between(NOTICE_S))
        self._adopting.discard(uid_of(pod))
        current = self._runtime.api.find("Pod", name_of(pod), namespace_of(pod))
        if current is None or uid_of(current) != uid_of(pod):
            return
        if deleting(current):
            self._runtime.api.delete(
                "Pod",
                name_of(pod),
                namespace_of(pod),
                actor=self._runtime.actor,
                options=DELETE_NOW,
            )
            return
        address = self._addresses.take()
        if address is None:  # it is tried again with the next heartbeat
            self._runtime.event(current, "Warning", "FailedCreatePodSandBox", _NO_ADDRESS)
            return
        worker = PodWorker(self._runtime, current, address, self._gone)
        self._workers[worker.uid] = worker
        worker.start()

    def _gone(self, worker: PodWorker) -> None:
        self._workers.pop(worker.uid, None)
        self._addresses.release(worker.ip)

    def _config_changed(self, _event: str, obj: Object, _old: Object | None) -> None:
        for worker in list(self._workers.values()):
            if namespace_of(worker.pod) == namespace_of(obj) and worker.mounts(
                obj["kind"], name_of(obj)
            ):
                delay = self._runtime.between(PROPAGATION_S)
                self._runtime.loop.call_later(delay, self._refresh, worker.uid)

    def _claim_changed(self, _event: str, claim: Object, _old: Object | None) -> None:
        """Grow the file system of a claim that grew, where a pod of this node uses it."""
        for worker in [] if self.silent else list(self._workers.values()):
            if namespace_of(worker.pod) == namespace_of(claim):
                worker.grow(claim)

    def _refresh(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.refresh_files()

    # -- what runs here ---------------------------------------------------------------------------

    def boxes(self) -> Iterator[tuple[Object, Container]]:
        """Iterate over (pod, container) of everything that runs, for metrics."""
        for worker in self._workers.values():
            for item in [*worker.init, *worker.containers]:
                if item.box is not None:
                    yield worker.pod, item.box

    def restart(self, pod: str, namespace: str, container: str) -> None:
        """End a container's process as an operator on the node would; the kubelet restarts it.

        Raises:
            KubeError: No such pod or container here, or it is not running.
        """
        self.running(pod, namespace, container).kill()

    def logs(
        self,
        pod: str,
        namespace: str,
        container: str | None = None,
        *,
        previous: bool = False,
        tail: int | None = None,
        since: float | None = None,
    ) -> list[tuple[float, str]]:
        """Return (unix time, line) that a container wrote to its standard output.

        Args:
            pod: Name.
            namespace: Its namespace.
            container: Name; None is the first.
            previous: Of the life before.
            tail: The last so many lines.
            since: Not before this unix time.

        Raises:
            KubeError: 404, 400 if it has not started or has no life before.
        """
        box = self.log_source(pod, namespace, container, previous=previous)
        return list(box.log_lines(tail=tail, since=since))

    def log_source(
        self, pod: str, namespace: str, container: str | None = None, *, previous: bool = False
    ) -> Container:
        """Return the life of a container whose output ``logs`` shows.

        Raises:
            KubeError: As ``logs``.
        """
        worker = self._container(pod, namespace, container)
        box = worker.previous.box if worker.previous is not None else None
        if previous and box is None:
            text = f'previous terminated container "{worker.name}" in pod "{pod}" not found'
            raise KubeError(400, "BadRequest", text)
        if not previous:
            box = worker.box or box
        if box is None:
            reason = dig(worker.view.state, "waiting", "reason", default="ContainerCreating")
            why = "trying and failing to pull image" if "Image" in reason else reason
            state = "is waiting to start"
            text = f'container "{worker.name}" in pod "{pod}" {state}: {why}'
            raise KubeError(400, "BadRequest", text)
        return box

    def running(self, pod: str, namespace: str, container: str | None = None) -> Container:
        """Return a container that runs right now, for those who enter it.

        Raises:
            KubeError: 404, or 400 if the container is not running.
        """
        worker = self._container(pod, namespace, container)
        if worker.box is None:
            raise _not_running(worker.name)
        return worker.box

    async def exec(
        self,
        pod: str,
        namespace: str,
        container: str | None,
        argv: Sequence[str],
        stdin: str = "",
    ) -> ExecResult:
        """Run a command in a running container.

        Raises:
            KubeError: 404, or 400 if the container is not running.
        """
        return await self.running(pod, namespace, container).exec(list(argv), stdin)

    def _container(self, pod: str, namespace: str, container: str | None) -> ContainerWorker:
        obj = self._runtime.api.get("Pod", pod, namespace)
        if not self._runtime.node.powered:
            address = f"{self._runtime.node.ip}:10250"
            text = f'Get "https://{address}/": dial tcp {address}: connect: no route to host'
            raise KubeError(500, "InternalError", text)
        worker = self._workers.get(uid_of(obj))
        if worker is None:
            text = f'pod "{pod}" is not running on node "{self.name}"'
            raise KubeError(400, "BadRequest", text)
        name = container or worker.containers[0].name
        found = worker.worker(name)
        if found is None:
            raise KubeError(400, "BadRequest", f"container {name} is not valid for pod {pod}")
        return found


def _not_running(name: str) -> KubeError:
    text = f'unable to upgrade connection: container not found ("{name}")'
    return KubeError(400, "BadRequest", text)
