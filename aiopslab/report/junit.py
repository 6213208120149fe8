"""A run as JUnit XML, which continuous integration shows: one test case a trial.

A trial that did not pass is a failure with the reasons of its grade; one whose lab failed is an
error, one without a record is skipped. ``time`` is virtual seconds from hand-over to the answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from aiopslab.models.task import TASKS
from aiopslab.report.entries import UNFINISHED, Entry, Reading
from aiopslab.report.text import one_line, readable


def as_junit(reading: Reading) -> str:
    """Return the XML document; a suite for each task."""
    root = ET.Element("testsuites", {"name": one_line(reading.results.label), **_counts(reading)})
    for task in TASKS:
        entries = [e for e in reading.entries if e.plan.task == task]
        if entries:
            suite = ET.SubElement(root, "testsuite", {"name": task, **_figures(entries)})
            for entry in entries:
                _case(suite, entry)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _counts(reading: Reading) -> dict[str, str]:
    return _figures(reading.entries)


def _figures(entries: Sequence[Entry]) -> dict[str, str]:
    outcomes = Counter(e.outcome for e in entries)
    errors, skipped = outcomes["infra_error"], outcomes[UNFINISHED]
    failures = len(entries) - outcomes["passed"] - errors - skipped
    seconds = sum(e.trial.usage.virtual_s for e in entries if e.trial is not None)
    return {
        "tests": str(len(entries)),
        "failures": str(failures),
        "errors": str(errors),
        "skipped": str(skipped),
        "time": f"{seconds:.3f}",
    }


def _case(suite: ET.Element, entry: Entry) -> None:
    seconds = entry.trial.usage.virtual_s if entry.trial is not None else 0.0
    case = ET.SubElement(
        suite,
        "testcase",
        {
            "classname": one_line(f"{entry.agent}.{entry.plan.task}"),
            "name": one_line(entry.name),
            "time": f"{seconds:.3f}",
        },
    )
    if entry.outcome == "passed":
        return
    kind = {"infra_error": "error", UNFINISHED: "skipped"}.get(entry.outcome, "failure")
    about = {"message": one_line(entry.why())}
    if kind != "skipped":
        about["type"] = entry.outcome
    found = ET.SubElement(case, kind, about)
    found.text = readable("\n".join(_reasons(entry))) or None


def _reasons(entry: Entry) -> list[str]:
    ended = entry.trial.termination if entry.trial is not None else ""
    lines = [f"ended by: {ended}"] if ended else []
    if entry.trial is not None and entry.trial.error:
        lines.append(entry.trial.error)
    return lines + [f"{c.id}: {c.reason} ({c.evidence})" for c in entry.failures]
