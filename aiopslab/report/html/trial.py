"""The page of one trial, from its record: picture, answer, grade, measurements, answer key, calls.

A tree of elements and the calls as compact data; both are inert until a reader asks for them. Not
here: how a picture is drawn (``timeline``), how the pages are put into a document (``page``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiopslab.models.answer import Answer, Detection, Diagnosis, Localization, Mitigation
from aiopslab.models.evidence import Evidence, SliWindow
from aiopslab.models.grade import Check, Grade
from aiopslab.models.trial import Step, Trial
from aiopslab.models.truth import Truth
from aiopslab.orchestrator.records import TrialDirectory
from aiopslab.report import curves as seen
from aiopslab.report.entries import Entry
from aiopslab.report.experience import Experience, of_entry, of_users
from aiopslab.report.html import charts
from aiopslab.report.html.elements import Element, Node, data, element, script_json, table
from aiopslab.report.html.timeline import Marks, timeline
from aiopslab.report.html.transcript import transcript
from aiopslab.report.text import MISSING, amount, clock, figure


@dataclass(frozen=True, slots=True)
class Room:
    """How much a trial may take of the file."""

    characters: int
    """About how many, all in all."""
    bucket_s: float
    """Length of the buckets of curves."""

    @property
    def lean(self) -> bool:
        """Whether passed checks are named without their reasons."""
        return self.characters < LEAN


_GONE = "This trial was planned, but has no record: not run, or not finished."
LEAN = 30_000
RECORDS = (
    "trial.json", "steps.jsonl", "answer.json", "evidence.json", "grade.json", "slis.json",
    "counterfactual/nothing.json", "counterfactual/reference.json", "truth/truth.json",
    "error.txt", "agent/stdout.txt", "agent/stderr.txt",
)  # fmt: skip
"""Files of a trial's record that are text; the page links to those that are there."""


def page(
    entry: Entry,
    directory: TrialDirectory,
    href: str,
    room: Room,
    recordings: seen.Recordings | None,
) -> dict[str, Any]:
    """Return what the page of a trial is made of: ``{"tree": ..., "steps": [...], ...}``.

    Args:
        entry: The trial.
        directory: Its record.
        href: Where the record lies, as seen from the report; for links.
        room: How much it may take.
        recordings: Reads its telemetry; None: no curves and no alerts are drawn.

    Raises:
        UsageError: A file of the record is no record.
    """
    trial = entry.trial
    if trial is None:
        return {"tree": [data(element("p", _GONE))], "steps": [], "left_out": 0}
    steps = directory.steps()
    truth = directory.truth() if directory.has_truth else None
    evidence = directory.evidence() if (directory.path / "evidence.json").is_file() else None
    parts: list[Node | None] = [_facts(entry, trial)]
    if truth is not None:
        found = _recorded(trial, truth, directory, room, recordings)
        parts.append(_picture(trial, truth, evidence or Evidence(), steps, found))
    parts += [
        _answer(directory.answer()),
        _grade(entry.grade, href, lean=room.lean),
        _measured(evidence, truth),
        _key(truth),
        _files(directory.path, href),
    ]
    zero = truth.handover_at if truth is not None else steps[0].start if steps else 0.0
    tree = [data(part) for part in parts if part is not None]
    # What the page takes without its calls is known now, so they get exactly what is left.
    return {"tree": tree, **transcript(steps, zero, room.characters - len(script_json(tree)))}


def _part(id: str, title: str, *children: Node | None) -> Element:
    return element("section", element("h3", title), *children, id=f"trial-{id}")


def _facts(entry: Entry, trial: Trial) -> Element:
    used = trial.usage
    tokens = [v for v in (used.tokens_in, used.tokens_out) if v is not None]
    pairs = [
        ("incident", trial.incident),
        ("task", trial.task),
        ("attempt", f"{trial.attempt}, seed {trial.seed}"),
        ("agent", trial.agent + (f", {trial.model}" if trial.model else "")),
        ("environment", f"{trial.environment}, clock {trial.clock}"),
        ("ended by", trial.termination),
        ("calls", f"reads {used.reads}, writes {used.writes}, refused {used.tool_errors}"),
        ("virtual time", clock(used.virtual_s).removeprefix("+")),
        ("tokens", f"{sum(tokens):,}" if tokens else MISSING),
        ("cost", MISSING if used.cost_usd is None else f"${used.cost_usd:,.4f}"),
    ]
    items = (element("div", element("dt", k), element("dd", v)) for k, v in pairs)
    error = element("pre", trial.error, class_="error") if trial.error else None
    return element("div", element("dl", *items, class_="facts"), error)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What of a trial's record is drawn over time."""

    begin: float
    """Where the axis begins, seconds from hand-over."""
    curves: Experience | None
    alerts: list[tuple[float, str]]
    asked: bool
    """Whether there was a wish to see any."""
    lean: bool


def _recorded(
    trial: Trial,
    truth: Truth,
    directory: TrialDirectory,
    room: Room,
    recordings: seen.Recordings | None,
) -> _Recorded:
    zero = truth.handover_at
    first = min(0.0, -trial.phases.get("incident", 0.0), (truth.injected_at or zero) - zero)
    begin = first - seen.LEAD_S
    if recordings is None:
        return _Recorded(first - 30.0, None, [], asked=False, lean=room.lean)
    found = _curves(directory, zero, begin, room, recordings)
    fired = recordings.alerts(directory.telemetry, zero + begin)
    if found is not None and found.volume:
        # The record may begin later than that.
        begin = max(begin, found.volume[0][0])
    return _Recorded(begin, found, [(at - zero, name) for at, name in fired], True, room.lean)


def _curves(
    directory: TrialDirectory, zero: float, begin: float, room: Room, recordings: seen.Recordings
) -> Experience | None:
    """Return what users got; of a record that did not keep that, what the entry saw."""
    kept = directory.slis()
    if kept is not None:
        merged = max(1, round(room.bucket_s / kept.bucket_s))
        return of_users(kept, directory.counterfactual(), zero, merged=merged)
    found = recordings.curves(directory.telemetry, zero, zero + begin, room.bucket_s)
    return None if found is None else of_entry(found)


def _picture(
    trial: Trial, truth: Truth, evidence: Evidence, steps: Sequence[Step], found: _Recorded
) -> Element:
    zero = truth.handover_at
    agent_end = trial.phases.get("agent", trial.usage.virtual_s)
    windows = sorted({(w.start - zero, w.end - zero) for w in _windows(evidence)})
    marks = Marks(
        begin=found.begin,
        incident=max(found.begin, -trial.phases.get("incident", 0.0)),
        onset=_from(zero, truth.injected_at),
        symptom=_from(zero, truth.symptom_at),
        agent_end=agent_end,
        end=agent_end + trial.phases.get("settle", 0.0),
        alerts=tuple((at, name) for at, name in found.alerts if at >= found.begin),
        windows=tuple(windows),
    )
    drawn = timeline(found.curves, marks, zero, steps, lean=found.lean)
    box = {"class_": "wide timeline", "role": "region", "aria_label": "Timeline"}
    scroll = element("div", drawn, tabindex=0, **box)
    return _part("timeline", "Timeline", scroll, *_explained(found))


def _explained(found: _Recorded) -> list[Node]:
    curves = found.curves
    if curves is None:
        why = "kept no requests of users" if found.asked else "is drawn without its telemetry"
        return [element("p", f"The trial {why}. Minutes from hand-over.", class_="note")]
    if curves.of_users:
        said = (
            "What users got, measured at the load generator, by journey, in buckets of"
            f" {curves.bucket_s:g} s; dashed: what they were promised."
        )
    else:
        said = (
            f"What the app's entry saw, by route, in buckets of {curves.bucket_s:g} s: requests"
            " that did not reach it show as missing volume only."
        )
    if curves.courses:
        said += " Beside it, the same world from hand-over on without the agent."
    said += " Shaded: windows in which the users' SLIs decide (below). Minutes from hand-over."
    if curves.further:
        said += f" {curves.further} routes with fewer requests are not drawn."
    return [charts.legend(list(curves.lines)), element("p", said, class_="note")]


def _from(zero: float, at: float | None) -> float | None:
    return None if at is None else at - zero


def _windows(evidence: Evidence) -> list[SliWindow]:
    return [w for group in (evidence.handover, *evidence.settle) for w in group]


def _answer(answer: Answer | None) -> Element:
    if answer is None:
        return _part("answer", "Answer", element("p", "None was submitted.", class_="note"))
    escalated = element("p", "The agent handed over to a person.") if answer.escalate else None
    return _part("answer", "Answer", *_said(answer), escalated)


def _said(answer: Answer) -> list[Node]:
    match answer:
        case Detection(anomaly=anomaly, confidence=confidence):
            word = "something is wrong" if anomaly else "nothing is wrong"
            return [element("p", element("b", word), f", confidence {confidence:.2f}")]
        case Localization(candidates=candidates):
            rows = [[c.component, figure(c.probability)] for c in candidates]
            return [_ranked(["component", "probability"], rows)]
        case Diagnosis(hypotheses=hypotheses, evidence=cited):
            causes = [
                [h.component, h.cause, figure(h.probability), h.mechanism] for h in hypotheses
            ]
            columns = ["component", "cause", "probability", "mechanism"]
            links = [element("a", id, href="#", data_step=id) for id in cited]
            spaced = [node for link in links for node in (link, " ")]
            given = spaced or ["nothing"]
            return [_ranked(columns, causes), element("p", "Evidence cited: ", *given)]
        case Mitigation(summary=summary, confidence=confidence):
            said = element("p", f"Stated confidence that it is repaired: {confidence:.2f}")
            return [element("p", summary, class_="said"), said]


def _ranked(columns: list[str], rows: list[list[str]]) -> Element:
    if not rows:
        return element("p", element("b", "nothing is wrong"), " (an empty list)")
    return table("Answer", columns, rows, numeric=[columns.index("probability")])


def _grade(grade: Grade | None, href: str, *, lean: bool) -> Element:
    if grade is None:
        return _part("grade", "Grade", element("p", "None: the lab failed.", class_="note"))
    failed = [c for c in grade.checks if not c.passed]
    passed = [c for c in grade.checks if c.passed]
    scores = [element("div", element("dt", k), element("dd", *_score(v, grade.floors.get(k))))
              for k, v in grade.scores.items()]  # fmt: skip
    parts: list[Node] = []
    if failed:
        parts.append(_checks("Checks that did not pass", failed, href))
    if passed and lean:
        names = ", ".join(c.id for c in passed)
        parts.append(element("p", f"Checks that passed, {len(passed)}: {names}", class_="note"))
    elif passed:
        summary = element("summary", f"Checks that passed: {len(passed)}")
        opened = None if failed or len(passed) > 8 else ""
        shown = _checks("Checks that passed", passed, href)
        parts.append(element("details", summary, shown, open=opened))
    return _part("grade", "Grade", *parts, element("dl", *scores, class_="facts"))


def _score(value: float | None, floor: float | None) -> list[Node]:
    if value is None:
        return [MISSING]
    beside = [] if floor is None else [element("small", f" by chance {amount(floor)}")]
    return [amount(value), *beside]


def _checks(label: str, checks: Sequence[Check], href: str) -> Element:
    rows: list[list[Node]] = [
        [
            c.id if c.gating else f"{c.id} (does not decide)",
            element("span", "pass" if c.passed else "fail", class_=f"outcome {_verdict(c)}"),
            c.reason,
            element("a", c.evidence, href=f"{href}/{quote(c.evidence.partition('#')[0])}"),
        ]
        for c in checks
    ]
    return table(label, ["check", "", "reason", "evidence"], rows)


def _verdict(check: Check) -> str:
    return "passed" if check.passed else "failed" if check.gating else "limit"


def _measured(evidence: Evidence | None, truth: Truth | None) -> Element | None:
    if evidence is None or truth is None or not _windows(evidence):
        return None
    groups = [("before hand-over", evidence.handover)]
    groups += [(f"settle {n}", group) for n, group in enumerate(evidence.settle, start=1)]
    rows: list[list[Node]] = [
        [
            name,
            w.journey,
            f"{w.succeeded}/{w.offered}",
            f"{100 * w.succeeded / w.offered:.1f} %" if w.offered else MISSING,
            f"{100 * w.slo_success:g} %",
            MISSING if w.p95_ms is None else f"{w.p95_ms:.0f}",
            f"{w.slo_p95_ms:.0f}",
            _met(w),
        ]
        for name, group in groups
        for w in group
    ]
    columns = ["window", "journey", "succeeded", "share", "promised", "p95 ms", "promised", "SLO"]
    note = element("p", "Measured at the load generator, as users saw it.", class_="note")
    shown = table("SLIs of users", columns, rows, numeric=range(2, 7))
    return _part("measured", "What users got", shown, note)


def _met(window: SliWindow) -> Element:
    word, style = ("met", "passed") if window.met else ("broken", "failed")
    return element("span", word, class_=f"outcome {style}")


def _key(truth: Truth | None) -> Element | None:
    """Return the answer key, closed until somebody opens it."""
    if truth is None:
        return None
    causes = [[c.component, c.cause, c.system_level, c.fault_type] for c in truth.root_causes]
    parts: list[Node] = []
    if causes:
        columns = ["component", "cause", "system level", "fault type"]
        parts.append(table("Root causes", columns, causes))
    else:
        why = "The fault was left out (a twin)." if truth.twin else "The incident has no fault."
        parts.append(element("p", f"{why} Nothing is wrong."))
    if truth.symptom:
        parts.append(element("p", "Seen before hand-over: ", element("b", truth.symptom)))
    if truth.fix:
        calls = "\n".join(f"{s.tool} {_arguments(s.arguments)}" for s in truth.fix)
        parts += [element("p", "Reference fix:"), element("pre", calls)]
    summary = element("summary", "Show the answer key")
    return _part("key", "Truth", element("details", summary, *parts, class_="key"))


def _arguments(arguments: dict[str, Any]) -> str:
    return " ".join(f"{k}={v}" for k, v in arguments.items())


def _files(path: Path, href: str) -> Element:
    there = [n for n in RECORDS if (path / n).is_file()]
    links = [node for n in there for node in (element("a", n, href=f"{href}/{n}"), " ")]
    return _part("files", "Record", element("p", *links, class_="files"))
