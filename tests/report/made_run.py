"""A made-up run on disk: every outcome, several attempts, agents that write hostile text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb

from aiopslab.grading import SCORING_VERSION
from aiopslab.models.answer import (
    Answer,
    Candidate,
    Detection,
    Diagnosis,
    Hypothesis,
    Localization,
    Mitigation,
)
from aiopslab.models.calibration import Bin, BinnedError, Calibration, Floor
from aiopslab.models.counterfactual import Course, CoursePoint
from aiopslab.models.evidence import Evidence, SliWindow
from aiopslab.models.grade import Check, Grade
from aiopslab.models.lock import Lock
from aiopslab.models.run import PlannedTrial, RunConfig, RunRecord
from aiopslab.models.sli_series import JourneySeries, SliSeries
from aiopslab.models.task import TASKS, Task
from aiopslab.models.trial import Outcome, Step, Trial, Usage
from aiopslab.models.truth import RootCause, Truth
from aiopslab.orchestrator.lock import incident_digest
from aiopslab.orchestrator.records import RunDirectory, TrialDirectory
from aiopslab.problems import catalogue
from aiopslab.report.curves import Recordings
from aiopslab.report.entries import Entry, read
from aiopslab.report.html.page import document
from aiopslab.report.html.trial import Room
from aiopslab.report.html.trial import page as trial_page
from aiopslab.telemetry.store import Store

ZERO = 1_770_000_000.0
"""The hand-over, unix seconds of the world."""
HOSTILE = (
    "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>"
    "<!-- <script> --> ]]> \u2028\u2029\x00\x1b[31m\u202e [x](javascript:alert(1)) =1+1 \"'`"
)
OUTCOMES: tuple[Outcome, ...] = (
    "passed",
    "failed",
    "passed",
    "limit",
    "agent_error",
    "infra_error",
)


def made_run(
    path: Path,
    *,
    incidents: tuple[str, ...] = ("release-errors", "service-target-port"),
    attempts: int = 3,
    calls: int = 4,
    text: str = HOSTILE,
    telemetry: bool = True,
    slis: bool = True,
) -> RunDirectory:
    """Write the record of a run; its last trial is missing, and outcomes take turns."""
    plans = [
        PlannedTrial(problem=f"{i}-{t}", incident=i, task=t, attempt=k)
        for i in incidents
        for t in TASKS
        for k in range(1, attempts + 1)
    ]
    config = RunConfig(targets=["made"], agent="made", model="m-1", attempts=attempts)
    run = RunDirectory(path)
    run.open()
    run.write(RunRecord(label="made@1", status="success", config=config, trials=plans))
    run.write(_lock(incidents))
    for n, plan in enumerate(plans[:-1]):
        outcome = OUTCOMES[n % len(OUTCOMES)]
        _write(run.trial(plan), plan, outcome, n, calls, text)
        if telemetry:
            _telemetry(run.trial(plan).telemetry)
        if slis and outcome != "infra_error":
            run.trial(plan).write_slis(users(plan.attempt))
        if plan.task == "mitigation" and outcome != "infra_error":
            for name, healed in (("nothing", 900.0), ("reference", 30.0)):
                run.trial(plan).write_course(name, course(healed))
    return run


def users(seed: int) -> SliSeries:
    """Two journeys in buckets of ten seconds; one fails from the fault until a repair."""
    ats = range(-350, 250, 10)

    def journey(name: str, broken: bool) -> JourneySeries:
        bad = [broken and -50 <= at < 40 for at in ats]
        return JourneySeries(
            journey=name, slo_success=0.99, slo_p95_ms=250,
            offered=[50] * len(ats), succeeded=[0 if b else 50 for b in bad],
            p95_ms=[None if b else 20.0 + (7 * n + seed) % 30 for n, b in enumerate(bad)],
        )  # fmt: skip

    start = ZERO + ats[0]
    journeys = [journey("browse", False), journey("buy", True)]
    return SliSeries(start=start, bucket_s=10.0, journeys=journeys)


def course(healed: float) -> Course:
    """One journey, broken until so many seconds after hand-over."""
    points = [
        CoursePoint(
            at=ZERO + at, journey="buy", success=float(at > healed),
            p95_ms=40.0 if at > healed else None,
        )
        for at in range(10, 251, 10)
    ]  # fmt: skip
    return Course(until=ZERO + 250, slo_violation_s=min(250.0, healed), points=points)


def calibration() -> Calibration:
    """Made-up figures of thirty answers."""
    floor = Floor(mean=0.06, p95=0.11, p_value=0.02)
    return Calibration(
        n=30, brier=0.21, reliability=0.03, resolution=0.05, uncertainty=0.23, log_loss=0.6,
        ece_width=BinnedError(value=0.13, bins=10, floor=floor),
        ece_mass=BinnedError(value=0.12, bins=5, floor=floor),
        overconfidence=0.1, overconfidence_low=0.02, overconfidence_high=0.18, auroc=0.71,
        aurc=0.3, aurc_excess=0.1, utility={"1": 0.63, "5": 0.12, "20": -0.4},
        risk_coverage=[(0.25, 0.25), (0.6, 0.3), (0.8, 0.35), (1.0, 0.4)],
        bins=[
            Bin(low=0.2, high=0.3, n=4, confidence=0.25, right=0.25),
            Bin(low=0.5, high=0.6, n=6, confidence=0.56, right=0.33),
            Bin(low=0.8, high=0.9, n=12, confidence=0.85, right=0.67),
            Bin(low=0.9, high=1.0, n=8, confidence=0.95, right=0.75),
        ],
    )  # fmt: skip


def _lock(incidents: tuple[str, ...]) -> Lock:
    known = catalogue.incidents()
    digests = {i: incident_digest(known[i]) if i in known else "0" * 64 for i in incidents}
    return Lock(
        version="0", harness="", scoring_version=SCORING_VERSION, suite="", incidents=digests,
        apps={}, agent="", rules="",
    )  # fmt: skip


def _write(
    directory: TrialDirectory, plan: PlannedTrial, outcome: Outcome, n: int, calls: int, text: str
) -> None:
    directory.open()
    infra = outcome == "infra_error"
    if not infra:
        for step in _steps(calls, text):
            directory.add_step(step)
        answered = outcome in ("passed", "failed")
        directory.write_parts(
            answer=_answer(plan.task, text) if answered else None,
            truth=_truth(plan),
            evidence=_evidence(),
            grade=_grade(plan.task, outcome, 0.5 + 0.1 * (n % 5), text),
        )
    used = Usage(steps=calls, reads=calls - 1, writes=1, tokens_in=100 * n, cost_usd=0.01 * n)
    directory.finish(
        Trial(
            id="t-1", problem=plan.problem, incident=plan.incident, task=plan.task, agent="made",
            model="m-1", attempt=plan.attempt, seed=plan.attempt - 1, environment="sim",
            clock="stepped", outcome=outcome,
            termination={"limit": "limit:steps", "infra_error": "error: ready"}.get(
                outcome, "submitted"
            ),
            twin=None if infra else False,
            phases={} if infra else {"incident": 60.0, "agent": 120.0, "settle": 130.0},
            usage=Usage() if infra else used.model_copy(update={"virtual_s": 120.0}),
            error=f"=2+2 {text}" if outcome in ("agent_error", "infra_error") else None,
        )
    )  # fmt: skip


def _steps(calls: int, text: str) -> list[Step]:
    web = {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 0, "note": text}}
    mended = {**web, "spec": {"replicas": 2, "note": text}}
    return [
        Step(
            n=i, id=f"obs-{i}", tool="k8s_scale" if i == calls else "logs_search",
            effect="write" if i == calls else "read", arguments={"pattern": text}, thought=text,
            ok=i != 2, text=f"line {i}\n{text}\n" * 3, start=ZERO + 10 * i, end=ZERO + 10 * i + 2,
            before=web if i == calls else None, after=mended if i == calls else None,
        )
        for i in range(1, calls + 1)
    ]  # fmt: skip


def _answer(task: Task, text: str) -> Answer:
    match task:
        case "detection":
            return Detection(anomaly=True, confidence=0.8)
        case "localization":
            return Localization(candidates=[Candidate(component=text, probability=0.7)])
        case "diagnosis":
            cause = Hypothesis(component="web", cause=text, mechanism=text, probability=0.6)
            return Diagnosis(hypotheses=[cause], evidence=["obs-1", text])
        case "mitigation":
            return Mitigation(summary=text, confidence=0.9)


def _grade(task: Task, outcome: Outcome, confidence: float, text: str) -> Grade:
    passed = outcome == "passed"
    checks = [
        Check(id="answered", passed=True, gating=True, reason="an answer", evidence="answer.json"),
        Check(
            id="right", passed=passed, gating=True, reason=f"said {text}",
            evidence="answer.json#hypotheses[0]",
        ),
        Check(
            id="cited", passed=False, gating=False, reason="cites nothing",
            evidence="answer.json#evidence",
        ),
    ]  # fmt: skip
    return Grade(
        scoring_version=SCORING_VERSION, task=task, passed=passed, checks=checks,
        scores={"brier": (confidence - passed) ** 2, "mrr": None}, confidence=confidence,
    )  # fmt: skip


def _truth(plan: PlannedTrial) -> Truth:
    cause = RootCause(
        component="web", cause="scaled_to_zero", system_level="Virtualization",
        fault_type="Operation Error",
    )  # fmt: skip
    return Truth(
        incident=plan.incident, twin=False, seed=0, draws={}, root_causes=[cause], fix=[],
        injected_at=ZERO - 50, symptom_at=ZERO - 20, handover_at=ZERO, symptom="browse 0.5 < 0.9",
    )  # fmt: skip


def _evidence() -> Evidence:
    def window(start: float, good: int) -> SliWindow:
        return SliWindow(
            journey="browse", start=ZERO + start, end=ZERO + start + 60, offered=100,
            succeeded=good, p50_ms=20, p95_ms=80, p99_ms=90, slo_success=0.99, slo_p95_ms=250,
            met=good >= 99,
        )  # fmt: skip

    return Evidence(handover=[window(-60, 40)], settle=[[window(130, 100)], [window(190, 100)]])


def _telemetry(directory: Path) -> None:
    """Ten requests in ten seconds on each of two routes; between fault and repair one fails all."""
    store = Store()
    for n, at in enumerate(range(-200, 250)):
        for k, (route, parent) in enumerate((("GET /a", 0), ("GET /b", 0), ("inner", 7))):
            start = ZERO + at
            error = "503" if route == "GET /b" and -50 <= at < 40 else ""
            took = (20 + at % 30) / 1e3
            span = 10 * n + k + 1
            store.span(
                1, span, parent, "web", "web-1", route, "server", start, start + took, error, {}
            )
    directory.mkdir()
    store.write_parquet(directory)
    target = str(directory / "alerts.parquet")
    rows = f"VALUES ({ZERO - 5}, 'HighErrorRatio'), (NULL, 'Calm')"
    query = f"COPY (SELECT * FROM ({rows}) AS a(fired_at, name)) TO '{target}' (FORMAT parquet)"
    duckdb.sql(query)


def large_report(path: Path, trials: int) -> Path:
    """Write the report of a run whose trials are all one record, which is read only once."""
    run = made_run(path / "run", attempts=1, calls=40, text="what tools say, at length; " * 15)
    record = run.record()
    source = record.trials[0]
    plans = [source.model_copy(update={"attempt": k}) for k in range(1, trials + 1)]
    for plan in plans[1:]:
        target = run.trial(plan).path
        if not target.exists():
            target.symlink_to(run.trial(source).path.name)
    run.write(record.model_copy(update={"trials": plans}))
    made = path / "report.html"
    first = read(run).entries[0]
    made_pages: dict[Room, Any] = {}

    def page(_: Entry, __: TrialDirectory, ___: str, room: Room, reader: Recordings) -> Any:
        if room not in made_pages:
            where = f"trials/{source.directory}"
            made_pages[room] = trial_page(first, run.trial(source), where, room, reader)
        return made_pages[room]

    with (
        mock.patch("aiopslab.report.html.page.page", page),
        Recordings() as recordings,
        made.open("w", encoding="utf-8") as file,
    ):
        file.writelines(document(read(run), records="run", recordings=recordings))
    return made


def data_of(html: str, id: str) -> object:
    """Return what an inert script element of a report holds."""
    head = f'<script type="application/json" id="{id}">'
    return json.loads(html.partition(head)[2].partition("</script>")[0])
