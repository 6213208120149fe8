"""An observer beside a simulated world that is served as any cluster would be.

What the world's API server does not have is answered here: kubelets, by what the world's containers
use, in cAdvisor's own words; and the proxy to the observer's Service.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cluster_served import Cluster, served
from starlette.responses import JSONResponse, PlainTextResponse, Response

from aiopslab.environments.cluster.telemetry import ClusterTelemetry
from aiopslab.environments.sim import Sim
from aiopslab.observer.lacks import Lacks
from aiopslab.observer.observer import Observer, watched
from aiopslab.observer.serving import telling
from aiopslab.telemetry.samples import SCRAPE_S
from aiopslab.wire.gate import OpenGate
from aiopslab.wire.identity import Tokens

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LAB = "lab-x1"
TOKEN = "secret-of-the-lab"
_SERVICE = f"/api/v1/namespaces/{LAB}/services/observer:http/proxy"


class Silent:
    """A log that nobody reads."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, text: str) -> int:
        self.lines.append(text)
        return len(text)

    def flush(self) -> None: ...


@dataclass
class Lab:
    """An observer, and the cluster it observes."""

    cluster: Cluster
    observer: Observer
    front: Front
    log: Silent
    telemetry: ClusterTelemetry = field(init=False)

    def __post_init__(self) -> None:
        self.telemetry = self.reader()

    @property
    def sim(self) -> Sim:
        return self.cluster.sim

    def reader(self) -> ClusterTelemetry:
        return ClusterTelemetry(self.cluster.connect(), LAB, now=self.sim.now)

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait for what another thread or the world's time will bring."""
        async with asyncio.timeout(180):
            while not met():  # noqa: ASYNC110 - a thread sets it
                await asyncio.sleep(0.02)

    async def round(self, due: float | None = None) -> float:
        """Make one round, dated as the world's own."""
        at = float(self.sim.world.store.samples.times()[-1]) if due is None else due
        await self.observer.pace.round(at)
        return at


class Front:
    """Answers what the world's API server has not."""

    def __init__(self, sim: Sim) -> None:
        self.sim = sim
        self.observer: ASGIApp | None = None
        """Behind the Service; None: nothing is."""
        self.kubelets: Callable[[str], Response] = self.cadvisor

    def __call__(self, api: ASGIApp, tokens: Tokens) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            path = scope.get("path", "")
            answer: Callable[..., Awaitable[None]] = api
            if path.startswith(_SERVICE):
                answer = self._proxied(dict(scope), path.removeprefix(_SERVICE))
            elif path.startswith("/api/v1/nodes/") and "/proxy/" in path:
                node, _, what = path.removeprefix("/api/v1/nodes/").partition("/proxy/")
                answer = self.kubelets(node) if "cadvisor" in what else self.summary(node)
            await answer(scope, receive, send)

        return app

    def _proxied(self, scope: Scope, path: str) -> Callable[..., Awaitable[None]]:
        async def app(_: Scope, receive: Receive, send: Send) -> None:
            if self.observer is None:
                status = {"kind": "Status", "code": 503, "message": "no endpoints available"}
                await JSONResponse(status, 503)(scope, receive, send)
                return
            inner = {**scope, "path": path, "raw_path": path.encode()}
            # A real proxy passes no credentials on.
            inner["headers"] = [h for h in scope["headers"] if h[0] != b"authorization"]
            await self.observer(inner, receive, send)

        return app

    def cadvisor(self, node: str) -> Response:
        lines = ["# HELP container_memory_rss Size of RSS in bytes.", "machine_cpu_cores{} 2"]
        for pod, box in self.sim.world.kubelets[node].boxes():
            if box.exit is not None:
                continue
            name, space = pod["metadata"]["name"], pod["metadata"]["namespace"]
            uid = pod["metadata"]["uid"]
            figures = {
                "container_cpu_usage_seconds_total": box.cpu.usage_seconds,
                "container_cpu_cfs_throttled_seconds_total": box.cpu.throttled_seconds,
                "container_memory_working_set_bytes": box.memory.working_set,
                "container_start_time_seconds": box.started_at,
                "container_spec_memory_limit_bytes": box.memory.limit or 0,
            }
            for metric, value in figures.items():
                cpu = 'cpu="total",' if "cpu_usage" in metric else ""
                for container, image in (
                    (box.name, f"docker.io/library/{box.image_ref}"), ("", ""),
                ):  # fmt: skip
                    lines.append(
                        f'{metric}{{container="{container}",{cpu}id="/kubepods/{uid}/{container}",'
                        f'image="{image}",name="x",namespace="{space}",pod="{name}"}} {value!r} '
                        "1796017362902"
                    )
        return PlainTextResponse("\n".join(lines) + "\n")

    def summary(self, node: str) -> Response:
        machine = self.sim.world.nodes[node]
        memory = {"availableBytes": machine.memory.available}
        return JSONResponse({"node": {"nodeName": node, "memory": memory}, "pods": []})


async def lab_objects(cluster: Cluster) -> None:
    """Make the lab's namespace and the Secret with the token."""
    kube = cluster.kube()
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LAB}}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "observer", "namespace": LAB},
        "data": {"token": base64.b64encode(TOKEN.encode()).decode()},
    }
    if not any(o["metadata"]["name"] == LAB for o in await kube.list("Namespace")):
        for obj in (space, secret):
            await kube.create(obj, actor="t")


@asynccontextmanager
async def observed(
    sim: Sim, home: Path, *, limit: int = 2**29, factor: float = 1.0
) -> AsyncIterator[Lab]:
    """Observe a world; rounds are made when they are asked for.

    With a ``factor`` of 0 its time stands still, at the time of its own last round.
    """
    if not factor:
        sim.run_for(SCRAPE_S - sim.now() % SCRAPE_S + 0.001)
    front = Front(sim)
    async with served(sim, home, front, factor=factor) as cluster:
        await lab_objects(cluster)
        log = Silent()
        lacks = Lacks(sim.now, log)  # type: ignore[arg-type]  # a log that nobody reads
        # Addresses of the world lead nowhere: of its stores nothing is asked.
        app = sim.app.model_copy(update={"stores": {}})
        connection = cluster.connect(concurrency=16)
        observer = Observer(app, connection, sim.now, lacks, limit=limit)
        front.observer = telling(observer, TOKEN, OpenGate())
        lab = Lab(cluster, observer, front, log)
        kinds = [each.kind for each in watched(app.namespace)]
        watching = asyncio.create_task(observer.mirror.run())
        try:
            await lab.until(lambda: all(observer.mirror.complete(kind) for kind in kinds))
            yield lab
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            await observer.aclose()
