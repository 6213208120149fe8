"""Which controllers a cluster runs, and their start: kube-controller-manager and its companions.

Also starts the scheduler and the programmer of the data plane, which on a real cluster are
processes of their own. Not here: kubelets, one per node.
"""

from __future__ import annotations

from aiopslab.seeds import Streams
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.controllers.base import Controller, Surroundings
from aiopslab.world.kube.controllers.cronjob import CronJobController
from aiopslab.world.kube.controllers.daemonset import DaemonSetController
from aiopslab.world.kube.controllers.deployment import DeploymentController
from aiopslab.world.kube.controllers.disruption import DisruptionController
from aiopslab.world.kube.controllers.endpoints import EndpointsController, EndpointSliceController
from aiopslab.world.kube.controllers.gc import (
    GarbageCollector,
    NamespaceController,
    ServiceAccountController,
)
from aiopslab.world.kube.controllers.hpa import HpaController, Usage
from aiopslab.world.kube.controllers.job import JobController
from aiopslab.world.kube.controllers.node_lifecycle import NodeLifecycleController
from aiopslab.world.kube.controllers.quota import QuotaController
from aiopslab.world.kube.controllers.replicaset import ReplicaSetController
from aiopslab.world.kube.controllers.serviceproxy import ServiceProxy
from aiopslab.world.kube.controllers.statefulset import StatefulSetController
from aiopslab.world.kube.controllers.volumes import VolumeController
from aiopslab.world.kube.events import EventRecorder
from aiopslab.world.kube.objects import Object
from aiopslab.world.kube.scheduler import Scheduler
from aiopslab.world.network import Network


def no_measurement(_pod: Object) -> float | None:
    """CPU usage where nothing measures: autoscalers report that they cannot scale."""
    return None


class ControllerManager:
    """Every control loop of the cluster.

    Args:
        api: The API server.
        loop: The world's loop.
        streams: Random streams; reaction times draw from them by controller.
        network: What the data plane's programmer writes to.
        recorder: Writes events.
        usage: CPU usage of a pod in cores, for autoscalers.
    """

    def __init__(
        self,
        api: ApiServer,
        loop: VirtualLoop,
        streams: Streams,
        network: Network,
        *,
        recorder: EventRecorder,
        usage: Usage = no_measurement,
    ) -> None:
        around = Surroundings(api, loop, streams, recorder)
        self.controllers: list[Controller] = [
            GarbageCollector(around),
            NamespaceController(around),
            ServiceAccountController(around),
            NodeLifecycleController(around),
            VolumeController(around),
            DeploymentController(around),
            ReplicaSetController(around),
            StatefulSetController(around),
            DaemonSetController(around),
            JobController(around),
            CronJobController(around),
            HpaController(around, usage),
            DisruptionController(around),
            QuotaController(around),
            EndpointsController(around),
            EndpointSliceController(around),
            ServiceProxy(around, network),
            Scheduler(around),
        ]

    def start(self) -> None:
        """Subscribe, and reconcile what exists. Call once."""
        for controller in self.controllers:
            controller.start()
