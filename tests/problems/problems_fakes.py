"""A small app to draw on, and an environment in memory to stage on."""

from __future__ import annotations

from typing import Any

from aiopslab.models.app import App
from aiopslab.models.evidence import CheckResult, SliWindow
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.kube import KubeError
from aiopslab.models.signal import Alert
from aiopslab.models.task import Task

EPOCH = 1_773_133_200.0


def _service(**more: Any) -> dict[str, Any]:
    return {
        "image": {"name": "shop-x", "version": "1.0.0"},
        "language": "go",
        "summary": "Does something.",
        "owner": "team",
        "config": {"LOG_LEVEL": "info"},
        **more,
    }


def make_app() -> App:
    """web -> cart -> cart-postgres; ads is optional; idle is called by nobody."""
    return App.model_validate(
        {
            "schema": "aiopslab/app@1",
            "name": "shop",
            "title": "Shop",
            "summary": "A shop.",
            "namespace": "shop",
            "nodes": [{"name": "node-a"}, {"name": "node-b"}],
            "services": {
                "web": _service(
                    replicas=3,
                    endpoints={
                        "GET /": [
                            {"call": "cart GET /cart"},
                            {"call": "ads GET /ads", "optional": True},
                        ]
                    },
                ),
                "cart": _service(
                    language="java",
                    replicas=2,
                    uses={"db": "cart-postgres"},
                    config={"LOG_LEVEL": "info", "DB_POOL_SIZE": 8},
                    endpoints={"GET /cart": [{"sql": "cart"}]},
                    releases={"1.1.0": {"changes": "faster"}},
                ),
                "ads": _service(config={}, endpoints={"GET /ads": []}),
                "idle": _service(endpoints={"GET /": []}),
            },
            "stores": {
                "cart-postgres": {
                    "kind": "postgres",
                    "image": {"name": "postgres", "version": "17.5"},
                    "summary": "Carts.",
                    "owner": "team",
                    "port": 5432,
                    "users": {"cart": {"grants": {"carts": ["SELECT"]}}},
                    "tables": {"carts": {"rows": 10}},
                    "statements": {
                        "cart": {"text": "SELECT 1", "table": "carts", "kind": "SELECT"}
                    },
                }
            },
            "journeys": {"browse": {"entry": "web", "rate": 5, "steps": [{"request": "GET /"}]}},
            "slos": {"browse": {"success": 0.99, "p95_ms": 250}},
            "intent": {
                "invariants": [
                    {"id": "ready", "kind": "ready_replicas", "target": "*"},
                    {"id": "rows", "kind": "rows_kept", "target": "*"},
                    {"id": "volume", "kind": "volume_kept", "target": "cart-postgres"},
                    {"id": "fronted", "kind": "object_exists", "target": "Service/web"},
                ],
                "forbidden": ["delete Deployment/*", "scale Deployment/web below 2"],
                "cpu_requests_growth": 0.5,
            },
        }
    )


def make_spec(**more: Any) -> IncidentSpec:
    """An incident of the shop."""
    fields: dict[str, Any] = {
        "schema": "aiopslab/incident@1",
        "name": "cart-away",
        "title": "The cart is away",
        "app": "shop",
        "faults": [{"kind": "workload/scaled-to-zero", "target": {"kind": "service"}}],
        "symptom": {"any": [{"alert": "HighErrorRatio"}], "within": "2m"},
        "handover": "10s",
        "difficulty": {"hops": 1, "signals": ["kube"]},
        **more,
    }
    return IncidentSpec.model_validate(fields)


def deployment(name: str, *, replicas: int = 2, ready: int | None = None, cpu: str = "100m") -> Any:
    """A Deployment, ready unless told otherwise."""
    container = {"name": name, "image": f"{name}:1", "resources": {"requests": {"cpu": cpu}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [container]}}},
        "status": {
            "replicas": replicas,
            "readyReplicas": replicas if ready is None else ready,
        },
    }


class MemoryKube:
    """Objects by kind and name; patches are kept, not applied."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Any] = {}
        self.patched: list[tuple[float, str, str]] = []
        self.now = EPOCH

    def put(self, *objects: Any) -> None:
        for obj in objects:
            self.objects[obj["kind"], obj["metadata"]["name"]] = obj

    async def snapshot(self, namespace: str) -> list[Any]:
        return [
            {k: v for k, v in self.objects[key].items() if k != "status"}
            for key in sorted(self.objects)
        ]

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Any:
        if (kind, name) not in self.objects:
            raise KubeError(404, "NotFound", f"{kind} {name!r} not found")
        return self.objects[kind, name]

    async def create(self, obj: Any, *, actor: str) -> Any:
        self.put(obj)
        return obj

    async def patch(self, kind: str, name: str, patch: Any, **_: Any) -> Any:
        self.patched.append((self.now, kind, name))
        return await self.get(kind, name)


class MemoryEnvironment:
    """Time by addition; symptoms, health and alerts as the test sets them."""

    def __init__(self) -> None:
        self.app = make_app()
        self.namespace = "shop"
        self.kube = MemoryKube()
        self.telemetry = self
        self.traffic = self
        self.substrate = self
        self.time = EPOCH
        self.unhealthy = ""
        self.alerts_from: dict[str, float] = {}
        """Alert to the instant from which it fires."""
        self.success = 1.0
        self.p95_ms: float | None = 80.0
        self.factors: list[float] = []
        self.rows = {"table:cart-postgres/carts": 10}
        self.results: dict[str, list[Any]] = {}

    def now(self) -> float:
        return self.time

    async def advance(self, seconds: float) -> None:
        assert seconds >= 0
        self.time += seconds
        self.kube.now = self.time

    async def probe(self) -> list[CheckResult]:
        return [CheckResult(id="ready:web", met=not self.unhealthy, detail=self.unhealthy)]

    async def data_digest(self) -> dict[str, int]:
        return dict(self.rows)

    async def for_agent(self, task: Task) -> MemoryEnvironment:
        return self

    async def scale(self, factor: float, *, journey: str | None = None) -> None:
        self.factors.append(factor)

    async def slis(self, start: float, end: float) -> list[SliWindow]:
        offered = round((end - start) * 5)
        good = round(offered * self.success)
        met = self.success >= 0.99 and self.p95_ms is not None and self.p95_ms <= 250
        return [
            SliWindow(
                journey="browse", start=start, end=end, offered=offered, succeeded=good,
                p50_ms=self.p95_ms, p95_ms=self.p95_ms, p99_ms=self.p95_ms,
                slo_success=0.99, slo_p95_ms=250, met=met,
            )
        ]  # fmt: skip

    async def instant(self, promql: str, at: float | None = None) -> list[Any]:
        return self.results.get(promql, [])

    async def alerts(self, *, include_resolved: bool = False) -> list[Alert]:
        return [
            Alert(
                name=name,
                state="firing" if self.time >= since else "pending",
                severity="critical" if name == "HighErrorRatio" else "warning",
                labels={"service": "cart"},
                annotations={"summary": "users see errors"},
                active_at=since - 30,
            )
            for name, since in sorted(self.alerts_from.items())
        ]
