"""One container of a pod, through all its lives: image, configuration, start, probes, restart.

A coroutine that follows the kubelet's sync loop for a single container. Not here: the process
itself (``world.container``), the pod around it (``kubelet.pod``), texts of probes (``probes``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from aiopslab.world.container import Container, Exit, Program
from aiopslab.world.kube.backoff import Backoff
from aiopslab.world.kube.kubelet import config as kubelet_config
from aiopslab.world.kube.kubelet import status as kubelet_status
from aiopslab.world.kube.kubelet.box import build_box
from aiopslab.world.kube.kubelet.config import ConfigError, Facts, PodVolumes
from aiopslab.world.kube.kubelet.images import Factory, PullError, image_id
from aiopslab.world.kube.kubelet.probes import Outcome, ProbeKind, Prober, Target
from aiopslab.world.kube.kubelet.runtime import CREATE_S, SYNC_S, Runtime
from aiopslab.world.kube.kubelet.status import ContainerView, terminated, waiting
from aiopslab.world.kube.kubelet.stop import stop_process
from aiopslab.world.kube.objects import Object, name_of, namespace_of, uid_of
from aiopslab.world.netns import Netns
from aiopslab.world.process import Process

START_FAILED = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
    "runc create failed: unable to start container process: error during container init: "
    'exec: "{program}": executable file not found in $PATH: unknown'
)


@dataclass(slots=True)
class PodContext:
    """What the containers of a pod share."""

    pod: Object
    netns: Netns
    facts: Facts
    volumes: PodVolumes
    publish: Callable[[], None]
    """Writes the pod's status if it changed."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A life of a container that is over: what ``logs --previous`` shows."""

    box: Container
    exit: Exit


class ContainerWorker:
    """Runs one container until it will not be started again.

    Args:
        runtime: The kubelet's surroundings.
        pod: The pod it belongs to.
        spec: Entry of ``containers`` or ``initContainers``.
        init: It is an init container: it has to succeed once, and has no probes.
        process: Where its tasks live; ends with the pod.
    """

    def __init__(
        self, runtime: Runtime, pod: PodContext, spec: Object, *, init: bool, process: Process
    ) -> None:
        self._runtime = runtime
        self._pod = pod
        self._process = process
        self._backoff = Backoff()
        self._wake = asyncio.Event()
        self._probes: Process | None = None
        self._stopping: asyncio.Task[None] | None = None
        self.spec = spec
        self.init = init
        self.name = str(spec["name"])
        self.view = ContainerView(self.name, str(spec["image"]))
        if init:
            self.view.state = waiting("PodInitializing")
        self.box: Container | None = None
        """The running process, if any."""
        self.previous: Instance | None = None
        """The life before the present one."""
        self.closing = False
        """The pod is ending: nothing is started any more."""

    # -- the loop ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start, and start again, as the restart policy says."""
        while not self.closing:
            try:
                factory = await self._image()
            except PullError as error:
                await self._wait_for_image(error)
                continue
            await asyncio.sleep(self._runtime.between(CREATE_S))
            if self.closing or self._wake.is_set():
                continue
            failed_at = await self._live(factory)
            if failed_at is None or self.closing:
                continue
            if not self._starts_again():
                self.view.done = True
                self._pod.publish()
                return
            await self._back_off(failed_at)

    def update(self, spec: Object) -> None:
        """Take over a changed spec; a new image ends the running process."""
        if spec["image"] != self.spec["image"]:
            self.view.image = str(spec["image"])
            self.spec = spec
            self._backoff = Backoff()  # what crashed was another container
            self._wake.set()
            text = f"Container {self.name} definition changed, will be restarted"
            self.stop(text, grace_s=self._grace())

    def _starts_again(self) -> bool:
        policy = self._pod.pod["spec"].get("restartPolicy", "Always")
        if policy == "Always":
            return not (self.init and self.view.succeeded)
        return bool(policy == "OnFailure" and not self.view.succeeded)

    def _grace(self) -> float:
        return float(self._pod.pod["spec"].get("terminationGracePeriodSeconds", 30))

    # -- image and waiting ------------------------------------------------------------------------

    async def _image(self) -> Factory:
        self._wake.clear()
        image = str(self.spec["image"])
        return await self._runtime.images.ensure(
            image, self.spec.get("imagePullPolicy", "IfNotPresent"), self._event
        )

    async def _wait_for_image(self, error: PullError) -> None:
        self._show(waiting(error.reason, str(error)))
        if error.reason == "ErrImageNeverPull":
            await self._pause(self._runtime.between(SYNC_S))
            return
        image, now = str(self.spec["image"]), self._runtime.now()
        delay = self._runtime.images.backoff(image).advance(now, now)
        text = f'Back-off pulling image "{image}"'
        await self._pause(1.5)  # until the next sync the status shows why

        def say() -> None:
            self._event("Normal", "BackOff", text)
            self._event("Warning", "Failed", "Error: ImagePullBackOff")

        await self._hold(waiting("ImagePullBackOff", text), now + delay, say)

    async def _back_off(self, failed_at: float) -> None:
        """Wait as long as the back-off of a crashed container says; the first time not at all."""
        ended = self.view.state
        await self._pause(0.5)  # until the next sync the status shows how it ended
        self.view.last_state = ended
        left = self._backoff.remaining(failed_at, self._runtime.now())
        if left > 0.0:
            pod = self._pod.pod
            where = f"{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})"
            minutes, rest = divmod(round(self._backoff.delay_s), 60)
            spoken = f"{minutes}m{rest}s" if minutes else f"{rest}s"
            message = f"back-off {spoken} restarting failed container={self.name} pod={where}"
            text = f"Back-off restarting failed container {self.name} in pod {where}"
            await self._hold(
                waiting("CrashLoopBackOff", message),
                self._runtime.now() + left,
                lambda: self._event("Warning", "BackOff", text),
            )
        self._backoff.advance(failed_at, self._runtime.now())
        self.view.restarts += 1

    async def _hold(self, state: Object, until: float, say: Callable[[], None]) -> None:
        """Show a waiting state, and repeat its event with each sync, until a time or a change."""
        while (left := until - self._runtime.now()) > 0.0 and not self._wake.is_set():
            self._show(state)
            say()
            await self._pause(min(left, self._runtime.between(SYNC_S)))

    async def _pause(self, seconds: float) -> None:
        """Sleep, or less if the spec changed meanwhile."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return

    # -- one life ---------------------------------------------------------------------------------

    async def _live(self, factory: Factory) -> float | None:
        """Run one process to its end; returns when it ended, None if it could not be configured."""
        try:
            box = self._build()
        except ConfigError as error:
            self._show(waiting("CreateContainerConfigError", str(error)))
            self._event("Warning", "Failed", f"Error: {error}")
            await self._pause(self._runtime.between(SYNC_S))
            return None
        program = factory()
        self._event("Normal", "Created", f"Created container: {self.name}")
        self.view.image_id = image_id(self.view.image)
        self.view.container_id = self._new_id()
        if not _can_run(program, box.command):
            box.kill()
            return self._start_failed(str(box.command[0]))
        box.start(program)
        self.box = box
        self._event("Normal", "Started", f"Started container {self.name}")
        self._begin(box)
        ended = await box.wait()
        self._end(box, ended)
        return self._runtime.now()

    def _build(self) -> Container:
        pod, runtime = self._pod, self._runtime
        env = kubelet_config.environment(pod.pod, self.spec, pod.facts, runtime.find)
        return build_box(
            runtime,
            pod.pod,
            self.spec,
            env=env,
            netns=pod.netns,
            mounts=pod.volumes.into(self.spec),
        )

    def _begin(self, box: Container) -> None:
        probed = {kind for kind in ("startup", "readiness") if self.spec.get(f"{kind}Probe")}
        self.view.started = self.init or "startup" not in probed
        self.view.ready = self.view.started and not self.init and "readiness" not in probed
        self._show(kubelet_status.running(self._runtime.now()))
        if not self.init:
            self._probes = Process(self._runtime.loop)
            if self.view.started:
                self._probe(box, ("liveness", "readiness"))
            else:
                self._probe(box, ("startup",))

    def _end(self, box: Container, ended: Exit) -> None:
        if self._probes is not None:
            self._probes.end()
            self._probes = None
        self.box, self.previous = None, Instance(box, ended)
        self.view.ready = self.view.started = False
        self._show(
            terminated(
                ended.reason,
                ended.code,
                started=ended.started_at,
                finished=ended.finished_at,
                container_id=self.view.container_id,
            )
        )

    def _start_failed(self, program: str) -> float:
        now = self._runtime.now()
        message = START_FAILED.format(program=program)
        self._event("Warning", "Failed", f"Error: {message}")
        self.view.ready = self.view.started = False
        self._show(
            terminated(
                "StartError", 128, started=0.0, finished=now,
                container_id=self.view.container_id, message=message,
            )
        )  # fmt: skip
        return now

    def _new_id(self) -> str:
        return f"containerd://{self._runtime.draw.getrandbits(256):064x}"

    # -- probes -----------------------------------------------------------------------------------

    def _probe(self, box: Container, kinds: Sequence[ProbeKind]) -> None:
        target = self._target(box)
        for kind in kinds:
            spec = self.spec.get(f"{kind}Probe")
            if spec and self._probes is not None:
                prober = Prober(kind, spec, target, self._probed)
                # Replicas that start together must not be probed in step for ever.
                self._probes.spawn(prober.run(jitter_s=self._runtime.draw.uniform(0.0, 0.5)))

    def _target(self, box: Container) -> Target:
        pod = self._pod
        return Target(box, pod.facts.pod_ip, pod.pod["spec"], self._runtime.netns)

    def _probed(self, kind: ProbeKind, outcome: Outcome, verdict: bool | None) -> None:
        if self.box is None or self._stopping is not None:
            return
        if not outcome.ok:
            text = f"{kind.capitalize()} probe failed: {outcome.text}"
            self._event("Warning", "Unhealthy", text)
        if verdict is None:
            return
        if kind == "readiness":
            if self.view.ready != verdict:
                self.view.ready = verdict
                self._pod.publish()
        elif not verdict:
            text = f"Container {self.name} failed {kind} probe, will be restarted"
            probe = self.spec.get(f"{kind}Probe") or {}
            grace = float(probe.get("terminationGracePeriodSeconds") or self._grace())
            self.stop(text, grace_s=grace)
        elif kind == "startup" and self._probes is not None:
            self._started(self.box)

    def _started(self, box: Container) -> None:
        """The startup probe succeeded: the others take over."""
        if self._probes is not None:
            self._probes.end()
        self._probes = Process(self._runtime.loop)
        self.view.started = True
        self.view.ready = not self.spec.get("readinessProbe")
        self._pod.publish()
        self._probe(box, ("liveness", "readiness"))

    # -- ending -----------------------------------------------------------------------------------

    def stop(self, message: str, *, grace_s: float) -> None:
        """Begin to end the running process: preStop, SIGTERM, and SIGKILL after the grace."""
        if self.box is not None and self._stopping is None:
            self._event("Normal", "Killing", message)
            self._stopping = self._process.spawn(self._stop(self.box, grace_s))

    async def _stop(self, box: Container, grace_s: float) -> None:
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        try:
            await stop_process(
                self._target(box),
                hook,
                grace_s,
                lambda text: self._event("Warning", "FailedPreStopHook", text),
            )
        finally:
            self._stopping = None

    async def stopped(self, message: str, *, grace_s: float) -> None:
        """End the running process and wait until it is gone."""
        self.stop(message, grace_s=grace_s)
        stopping, box = self._stopping, self.box
        if stopping is not None:
            await asyncio.wait([stopping])
        if box is not None and self.box is box:
            self._end(box, await box.wait())

    def kill(self) -> None:
        """End the process at once: the pod object is gone."""
        if self._probes is not None:
            self._probes.end()
            self._probes = None
        if self.box is not None:
            self.box.kill()
            self.box = None

    # -- telling ----------------------------------------------------------------------------------

    def _show(self, state: Object) -> None:
        self.view.state = state
        self._pod.publish()

    def _event(self, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self._runtime.event(
            self._pod.pod, kind, reason, message, container=self.name, init=self.init
        )


def _can_run(program: Program, command: Sequence[str]) -> bool:
    """Whether the image has the executable a ``command`` override names.

    Programs that understand other commands than their own say so with ``accepts(command)``.
    """
    if not command:
        return True
    accepts = getattr(program, "accepts", None)
    return bool(accepts is not None and accepts(command))
