"""A world: one cluster with one app under load, assembled from its rooms.

Everything runs on one ``VirtualLoop`` and draws from one seed. ``boot`` applies the app's
manifests and starts controllers, kubelets, monitoring and, once pods are ready, the users. Not
here: what may be asked of a world from outside (``environments.sim``).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from aiopslab.load.generator import Generator
from aiopslab.load.slis import Slis
from aiopslab.models.app import App
from aiopslab.models.kube import KubeError
from aiopslab.seeds import Streams
from aiopslab.services.manifests import manifests
from aiopslab.telemetry.rules import RuleEvaluator, load_rules
from aiopslab.telemetry.store import Store
from aiopslab.world.changelog import ChangeLog
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.container import Container
from aiopslab.world.dialling import dialler
from aiopslab.world.disk import Volume
from aiopslab.world.externals import parties
from aiopslab.world.images import kubectl
from aiopslab.world.images.registry import Registry
from aiopslab.world.images.renewer import Renewer
from aiopslab.world.images.shell import shell
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.bootstrap import bootstrap
from aiopslab.world.kube.controllers.manager import ControllerManager
from aiopslab.world.kube.errors import not_found
from aiopslab.world.kube.events import EventRecorder
from aiopslab.world.kube.kubelet.kubelet import Kubelet
from aiopslab.world.kube.objects import Object, name_of
from aiopslab.world.network import Network
from aiopslab.world.node import Node
from aiopslab.world.outsiders import Outsiders
from aiopslab.world.process import Process
from aiopslab.world.reclaimer import Reclaimer
from aiopslab.world.scrape import Scraper
from aiopslab.world.spot import SpotMarket
from aiopslab.world.users import Users

DEPLOYER = "ci-pipeline"
"""Who applies the app's manifests."""


class World:
    """One cluster, one app.

    Args:
        app: What is deployed.
        seed: Every stream of the world is derived from it.
        epoch: Unix seconds at boot.
        load_scale: Factor on the app's journeys.
    """

    def __init__(self, app: App, seed: int, *, epoch: float, load_scale: float) -> None:
        self.app = app
        self.seed = seed
        self.load_scale = load_scale
        self.streams = Streams(seed)
        self.loop = VirtualLoop(epoch)
        self.network = Network(self.loop, self.streams)
        self.api = ApiServer(self.loop.time, self.streams)
        self.recorder = EventRecorder(self.api)
        self.store = Store()
        self.registry = Registry.for_app(app, self.api)
        if app.tls is not None:
            self.registry.add(app.tls.image.ref, lambda: Renewer(self.api, app))
        self.registry.add(kubectl.IMAGE, lambda: kubectl.Kubectl(self.api))
        self.api.webhooks.dial = dialler(self.api, self.network)
        self.claims: dict[tuple[str, str], Volume] = {}
        self.nodes = self._machines()
        self.kubelets = {
            name: self._kubelet(i, n) for i, (name, n) in enumerate(self.nodes.items())
        }
        self.slis = Slis(app.slos)
        self.users = Generator(
            Users(self.network, app),
            self.loop,
            self.streams.scope("load"),
            app.journeys,
            app.load.model_copy(update={"scale": load_scale}),
            self.slis,
        )
        domain = f"{app.namespace}.svc.cluster.local"
        self.outsiders = Outsiders(self.network, self.registry, domain)
        self.changelog = ChangeLog(app, self.store.change)
        self.rules = RuleEvaluator(
            self.store, load_rules(journey.entry for journey in app.journeys.values())
        )
        self.reclaimer = Reclaimer(self.loop, self.api, self.recorder, self.nodes)
        self.parties = parties(app, self.network, self.streams, self.store.post)
        self._monitoring = Process(self.loop)

    def _machines(self) -> dict[str, Node]:
        """Make the nodes, known to the network by their clocks."""
        nodes = {
            spec.name: Node(self.loop, spec, f"198.18.240.{i}")
            for i, spec in enumerate(self.app.nodes, start=10)
        }
        self.network.ways.zones = {name: node.zone for name, node in nodes.items()}
        self.network.clocks = {name: node.clock for name, node in nodes.items()}
        for name, node in nodes.items():
            node.retransmitted = partial(self.network.ways.lost, name)
        return nodes

    def _kubelet(self, index: int, node: Node) -> Kubelet:
        return Kubelet(
            self.api,
            node,
            self.loop,
            self.network,
            self.registry,
            self.streams,
            self.store,
            recorder=self.recorder,
            claims=self.claims,
            shell=shell,
            pod_prefix=f"198.19.{index}",
        )

    def boot(self) -> None:
        """Start the cluster and apply the app's manifests; nothing has run yet."""
        bootstrap(self.api)
        self.recorder.on_event(self.store.event)
        self.changelog.history(self.loop.time())
        manager = ControllerManager(
            self.api,
            self.loop,
            self.streams,
            self.network,
            recorder=self.recorder,
            usage=self.pod_usage,
        )
        manager.start()
        for kubelet in self.kubelets.values():
            kubelet.start()
        SpotMarket(self.loop, self.api, self.nodes, self.kubelets).start()
        for obj in manifests(self.app, self.seed, self.loop.time()):
            self.api.create(obj, actor=DEPLOYER)
        # From here on every write is a change; the first deployment was not one.
        self.api.on_audit.append(self.changelog.on_audit)
        self._monitoring.spawn(self._scraper().run())

    def _scraper(self) -> Scraper:
        kubelets, nodes = list(self.kubelets.values()), list(self.nodes.values())
        return Scraper(self.loop, self.store, self.api, kubelets, nodes, self.rules)

    def pod_usage(self, pod: Object) -> float | None:
        """Return cores a pod used over the past half minute, as metrics-server knows it."""
        query = f'sum(rate(container_cpu_usage_seconds_total{{pod="{name_of(pod)}"}}[30s]))'
        found = self.store.promql.instant(query, self.loop.time())
        return found[0].points[0][1] if found else None

    def kubelet_of(self, pod: str, namespace: str) -> Kubelet:
        """Return the kubelet that runs a pod.

        Raises:
            KubeError: 404 for the pod, 400 while it is not scheduled.
        """
        obj = self.api.get("Pod", pod, namespace)
        node = obj["spec"].get("nodeName")
        if node is None:
            raise KubeError(400, "BadRequest", f"pod {pod} does not have a host assigned")
        if node not in self.kubelets:
            raise not_found(self.api.kind("Node"), node)
        return self.kubelets[node]

    def boxes(self) -> Iterator[tuple[Object, Container]]:
        """Iterate over (pod, container) of everything that runs, by node."""
        for kubelet in self.kubelets.values():
            yield from kubelet.boxes()
