"""A lab in memory: one service, one journey, time by addition; and agents that play on it.

Everything above the Environment protocol (stages, faults, tools, grading, records) is the real one.
"""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import Coroutine, Hashable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from aiopslab.environments.cluster.traffic import series_of
from aiopslab.errors import InfraError, UsageError
from aiopslab.faults.base import Site
from aiopslab.faults.workload import ScaledToZero
from aiopslab.models.app import App
from aiopslab.models.evidence import CheckResult, SliWindow
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.kube import KubeError
from aiopslab.models.signal import Alert
from aiopslab.models.sli_series import SliSeries
from aiopslab.models.task import TASKS, Problem, Task
from aiopslab.orchestrator.lab import Place
from aiopslab.orchestrator.staging import Staged
from aiopslab.problems.draw import DrawnIncident, Due
from aiopslab.seeds import Streams, derive

EPOCH = 1_770_000_000.0

APP = App.model_validate(
    {
        "schema": "aiopslab/app@1",
        "name": "shop",
        "title": "Shop",
        "summary": "A shop with one service.",
        "namespace": "shop",
        "nodes": [{"name": "node-a"}],
        "services": {
            "web": {
                "image": {"name": "shop-web", "version": "1.0.0"},
                "language": "go",
                "summary": "Serves pages.",
                "owner": "web-team",
                "replicas": 2,
            }
        },
        "stores": {},
        "journeys": {"browse": {"entry": "web", "rate": 5, "steps": [{"request": "GET /"}]}},
        "slos": {"browse": {"success": 0.99, "p95_ms": 250}},
        "intent": {
            "invariants": [{"id": "ready", "kind": "ready_replicas", "target": "*"}],
            "forbidden": ["delete Deployment/*", "scale Deployment/web below 1"],
        },
    }
)


def spec(name: str, *, faulty: bool = True) -> IncidentSpec:
    """An incident of the shop; without a fault it only looks alarming."""
    fault = {"kind": "workload/scaled-to-zero", "target": "web"}
    symptom = {"any": [{"alert": "HighErrorRatio"}], "within": "2m"}
    return IncidentSpec.model_validate(
        {
            "schema": "aiopslab/incident@1",
            "name": name,
            "title": name,
            "app": "shop",
            "baseline": "6m",
            "faults": [fault] if faulty else [],
            "symptom": symptom if faulty else None,
            "handover": "10s",
            "settle": "60s",
            "difficulty": {"hops": 1, "signals": ["kube"]},
        }
    )


SPECS = {s.name: s for s in (spec("one"), spec("two"), spec("calm", faulty=False))}


class FakeKube:
    """Objects by kind and name; workloads are ready the moment they are asked for."""

    def __init__(self, env: FakeEnvironment) -> None:
        self.env = env
        containers = [{"name": "web", "image": "shop-web:1.0.0", "resources": {}}]
        self.objects: dict[tuple[str, str], dict[str, Any]] = {
            ("Deployment", "web"): {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "shop", "generation": 1},
                "spec": {"replicas": 2, "template": {"spec": {"containers": containers}}},
            },
            ("Service", "web"): {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web", "namespace": "shop", "generation": 1},
                "spec": {"ports": [{"port": 80}]},
            },
        }

    async def snapshot(self, namespace: str) -> list[dict[str, Any]]:
        found = copy.deepcopy([self.objects[key] for key in sorted(self.objects)])
        for obj in found:
            obj["metadata"].pop("generation")
        return found

    async def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        if (kind, name) not in self.objects:
            raise KubeError(404, "NotFound", f"{kind} {name!r} not found")
        obj = copy.deepcopy(self.objects[kind, name])
        if kind == "Deployment":
            n = obj["spec"]["replicas"]
            seen = obj["metadata"]["generation"]
            obj["status"] = {
                "replicas": n,
                "readyReplicas": n,
                "updatedReplicas": n,
                "observedGeneration": seen,
            }
        return obj

    async def list(self, kind: str, namespace: str | None = None, **_: Any) -> list[Any]:
        return [await self.get(k, n) for k, n in sorted(self.objects) if k == kind]

    async def patch(self, kind: str, name: str, patch: Any, **_: Any) -> dict[str, Any]:
        await self.get(kind, name)
        obj = self.objects[kind, name]
        _merge(obj, patch)
        obj["metadata"]["generation"] += 1
        self.env.note_replicas()
        return await self.get(kind, name)

    async def delete(self, kind: str, name: str, namespace: str | None = None, **_: Any) -> None:
        await self.get(kind, name)
        del self.objects[kind, name]
        self.env.note_replicas()


def _merge(into: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


class FakeTelemetry:
    def __init__(self, env: FakeEnvironment) -> None:
        self.env = env

    async def alerts(self, *, include_resolved: bool = False) -> list[Alert]:
        since, replicas = self.env.history[-1]
        if replicas or self.env.now() - since < 30:
            return []
        return [
            Alert(
                name="HighErrorRatio",
                state="firing",
                severity="critical",
                labels={"journey": "browse"},
                annotations={"summary": "users see errors"},
                active_at=since,
            )
        ]

    async def write_parquet(self, directory: Path) -> None:
        self._write(directory)

    def _write(self, directory: Path) -> None:
        lines = [f"{self.env.seed} {at:.3f} {n}" for at, n in self.env.history]
        (directory / "samples.parquet").write_text("\n".join(lines), encoding="utf-8")


class FakeTraffic:
    """Five requests a second; each succeeds if a replica was there when it began."""

    def __init__(self, env: FakeEnvironment) -> None:
        self.env = env
        self.forgetful = False

    async def scale(self, factor: float, *, journey: str | None = None) -> None:
        self.env.factor = factor

    async def series(self, start: float, bucket_s: float, n: int) -> SliSeries:
        if self.forgetful:
            raise InfraError("traffic", "GET slis: away")
        bounds = [start + i * bucket_s for i in range(n)]
        return series_of(start, bucket_s, [await self.slis(a, a + bucket_s) for a in bounds])

    async def slis(self, start: float, end: float) -> list[SliWindow]:
        offered = int((end - start) * 5)
        good = sum(self.env.up(start + i / 5) for i in range(offered))
        p95 = 80 + derive(self.env.seed, "p95", int(start)) % 20 if good else None
        return [
            SliWindow(
                journey="browse",
                start=start,
                end=end,
                offered=offered,
                succeeded=good,
                p50_ms=p95 and p95 / 2,
                p95_ms=p95,
                p99_ms=p95 and p95 * 2,
                slo_success=0.99,
                slo_p95_ms=250,
                met=offered == 0 or (good / offered >= 0.99),
            )
        ]


class FakeEnvironment:
    """The shop in memory."""

    def __init__(self, seed: int) -> None:
        self.app = APP
        self.namespace = "shop"
        self.seed = seed
        self.factor = 1.0
        self.closed = False
        self._now = EPOCH + derive(seed, "epoch") % 3600
        self.history: list[tuple[float, int]] = [(0.0, 2)]
        self.kube = FakeKube(self)
        self.telemetry = FakeTelemetry(self)
        self.traffic = FakeTraffic(self)
        self.substrate = None

    def now(self) -> float:
        return self._now

    async def advance(self, seconds: float) -> None:
        self._now += seconds

    def note_replicas(self) -> None:
        web = self.kube.objects.get(("Deployment", "web"))
        self.history.append((self._now, web["spec"]["replicas"] if web else 0))

    def up(self, at: float) -> bool:
        return [n for since, n in self.history if since <= at][-1] > 0

    async def probe(self) -> list[CheckResult]:
        return [CheckResult(id="web", met=self.up(self._now), detail="replicas of web")]

    async def data_digest(self) -> dict[str, int]:
        return {}

    async def for_agent(self, task: Task) -> FakeEnvironment:
        return self

    async def aclose(self) -> None:
        self.closed = True


class FakeLab:
    """Options: ``cold`` (cannot fork); ``patient``; ``fail_once=FILE`` (boot fails until the file
    exists); ``fail=boot`` (always); ``fail=series`` (what users experienced); ``die=FILE`` (the
    host dies until the file exists); ``clusters=A,B`` (taken in turns; ``prod`` is refused)."""

    def __init__(self, options: dict[str, str]) -> None:
        self.options = options
        self.forkable = "cold" not in options
        self.patient = "patient" in options
        self.run = ""
        self.seat = 0

    @property
    def cluster(self) -> str:
        names = self.clusters()
        return names[self.seat % len(names)] if names else ""

    def clusters(self) -> Sequence[str]:
        names = [name for name in self.options.get("clusters", "").split(",") if name]
        if "prod" in names:
            raise UsageError("cluster 'prod' must not be used")
        return names

    def expand(self, targets: Sequence[str], tasks: Sequence[Any]) -> tuple[str, list[Problem]]:
        names = [n for t in targets for n in (sorted(SPECS) if t == "all" else [t])]
        for name in names:
            if name not in SPECS:
                raise UsageError(f"no incident {name!r}")
        problems = [
            Problem(id=f"{n}-{task}", incident=n, task=task)
            for n in names
            for task in TASKS
            if task in tasks
        ]
        return "+".join(targets), problems

    def draw(self, incident: str, seed: int) -> DrawnIncident:
        found = SPECS[incident]
        fault = ScaledToZero(Site(APP, "web"), ScaledToZero.Params())
        faults = [Due(0.0, fault)] if found.faults else []
        delay = float(Streams(derive(seed, incident))("delay").randrange(60, 120))
        return DrawnIncident(found, APP, seed, {}, faults, [], delay)

    def world(self, drawn: DrawnIncident) -> Hashable:
        return (drawn.app.name, drawn.seed)

    def boot(self, drawn: DrawnIncident) -> FakeEnvironment:
        if self.options.get("fail") == "boot" or _first_time(self.options.get("fail_once")):
            raise InfraError("ready", "pod web-0 is not ready")
        if _first_time(self.options.get("die")):
            os._exit(9)
        env = FakeEnvironment(drawn.seed)
        env.traffic.forgetful = self.options.get("fail") == "series"
        asyncio.run(env.advance(300.0))
        return env

    async def place(self, drawn: DrawnIncident) -> Place:
        return Place(await asyncio.to_thread(self.boot, drawn), drawn)

    async def accompany(self, env: Any, work: Coroutine[Any, Any, Any]) -> Any:
        return await work

    async def release(self, env: Any, staged: Staged | None) -> str:
        await env.aclose()
        return ""

    async def aclose(self) -> None: ...

    async def sweep(self) -> None:
        if self.options.get("fail") == "sweep":
            raise InfraError("clean", "here: still there: namespaces/web")

    def drive(self, env: Any, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)


def _first_time(marker: str | None) -> bool:
    if marker is None or Path(marker).exists():
        return False
    Path(marker).touch()
    return True


class Repairer:
    """Scales the shop up again, and submits a sure answer whatever the task."""

    answers: ClassVar[dict[str, dict[str, Any]]] = {
        "detection": {"anomaly": True, "confidence": 0.9},
        "localization": {"candidates": [{"component": "deployment/web", "probability": 0.8}]},
        "diagnosis": {
            "hypotheses": [{"component": "web", "cause": "scaled_to_zero", "probability": 0.7}],
            "evidence": ["obs-1"],
        },
        "mitigation": {"summary": "scaled up", "confidence": 0.95},
    }

    async def run(self, trial: Any) -> None:
        trial.note("look first")
        await trial.call("alerts")
        trial.usage(100, 20, 0.01)
        if trial.brief.task == "mitigation":
            await trial.call("k8s_scale", name="web", replicas=2)
            await trial.call("wait", seconds=60)
        await trial.call("submit", **self.answers[trial.brief.task])


class Deleter:
    """Deletes the victim, then claims success."""

    async def run(self, trial: Any) -> None:
        if trial.brief.task == "mitigation":
            await trial.call("k8s_scale", name="web", replicas=2)
            await trial.call("k8s_delete", kind="Deployment", name="web")
        await trial.call("submit", **Repairer.answers[trial.brief.task])


class Crasher:
    async def run(self, trial: Any) -> None:
        raise RuntimeError("out of ideas")


class Unbuilt:
    def __init__(self) -> None:
        raise ValueError("no settings")

    async def run(self, trial: Any) -> None:
        pass


class Suicidal:
    async def run(self, trial: Any) -> None:
        os._exit(3)


class Divided:
    """Ends the program from a task beside its own: no ``except`` around its ``run`` sees that."""

    def __init__(self, how: str) -> None:
        self.how = how

    async def run(self, trial: Any) -> None:
        asyncio.create_task(self.end())  # noqa: RUF006 - it is over before it could be lost
        await trial.call("wait", seconds=60)
        await asyncio.Event().wait()

    async def end(self) -> None:
        raise SystemExit(4) if self.how == "exit" else KeyboardInterrupt


class Endless:
    async def run(self, trial: Any) -> None:
        while True:
            await trial.call("alerts")


class Hanging:
    async def run(self, trial: Any) -> None:
        await asyncio.Event().wait()


class Mumbler:
    """Submits rubbish twice."""

    async def run(self, trial: Any) -> None:
        await trial.call("submit", anomaly="perhaps")
        await trial.call("submit", anomaly="perhaps")


class Babbler:
    """Calls tools whose names no pipe or encoding was made for, then answers."""

    async def run(self, trial: Any) -> None:
        await trial.call("x" * 3_000_000)
        trial.note("\ud800")
        await trial.call("\ud800")
        await trial.call("alerts", include_resolved="\ud800")
        await trial.call("submit", anomaly=True, confidence=0.5)


class Screamer:
    """Fails with more words than a pipe's line holds."""

    async def run(self, trial: Any) -> None:
        raise RuntimeError("a" * 3_000_000 + "\ud800")


class Gated:
    """Stops for good at one problem while its gate (a FIFO) exists; else repairs."""

    def __init__(self, gate: str = "") -> None:
        self.gate = Path(gate)

    async def run(self, trial: Any) -> None:
        if trial.brief.task == "diagnosis" and self.gate.exists():
            with self.gate.open("w") as fifo:
                fifo.write("here\n")
                fifo.flush()
                await asyncio.Event().wait()
        await Repairer().run(trial)
