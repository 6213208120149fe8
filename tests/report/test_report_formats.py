"""Markdown, CSV, JSON and JUnit of one run: rows and counts, and text that stays text."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from made_run import calibration, made_run

from aiopslab.models.calibration import Calibration
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.report import tabular
from aiopslab.report.entries import Reading, read
from aiopslab.report.junit import as_junit
from aiopslab.report.markdown import as_markdown, escape

AGENT = "cmd:a \x1b[31m\ufffe <&\"' \ud800"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return made_run(tmp_path_factory.mktemp("run"), telemetry=False)


@pytest.fixture(scope="module")
def reading(run: RunDirectory) -> Reading:
    return read(run)


def test_a_planned_trial_without_a_record_is_an_entry_that_says_so(reading: Reading) -> None:
    assert len(reading.entries) == len(reading.record.trials)
    last = reading.entries[-1]
    assert (last.outcome, last.why()) == ("unfinished", "no record: not run, or not finished")


def test_an_incident_whose_file_is_another_one_than_was_played_has_no_family(
    tmp_path: Path,
) -> None:
    incidents = ("release-errors", "nowhere")
    made = made_run(tmp_path, incidents=incidents, attempts=1, telemetry=False)
    played = {e.plan.incident: (e.families, e.hops) for e in read(made).entries}
    assert played["release-errors"][0] == ["release"]
    assert played["nowhere"] == (None, None)
    locked = made.lock()
    other = {**locked.incidents, "release-errors": "f" * 64}
    made.write(locked.model_copy(update={"incidents": other}))
    assert all(e.spec is None for e in read(made).entries)


def test_csv_has_a_row_a_trial_and_unknown_is_empty(reading: Reading) -> None:
    text = tabular.as_csv(reading)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [r["trial"] for r in rows] == [e.name for e in reading.entries]
    assert {r["outcome"] for r in rows} >= {
        "passed",
        "failed",
        "limit",
        "infra_error",
        "unfinished",
    }
    last = rows[-1]
    assert (last["passed"], last["steps"], last["score.brier"]) == ("", "", "")
    failed = next(r for r in rows if r["outcome"] == "failed")
    assert (failed["passed"], failed["failed_checks"], failed["score.mrr"]) == (
        "false",
        "right",
        "",
    )


def test_csv_holds_no_formula_and_no_line_end_inside_a_cell(reading: Reading) -> None:
    text = tabular.as_csv(reading)
    assert text.count("\r\n") == len(reading.entries) + 1
    cells = [c for row in csv.reader(io.StringIO(text, newline="")) for c in row]
    assert any(c.startswith("'=2+2") for c in cells)
    assert not any(c.startswith(("=", "+", "@")) for c in cells)


def test_json_holds_the_aggregates_and_the_rows(reading: Reading) -> None:
    found = json.loads(json.dumps(tabular.as_document(reading)))
    assert found["results"]["schema"] == "aiopslab/results@1"
    assert found["results"]["overall"]["n_planned"] == len(found["trials"])
    assert found["trials"][-1]["passed"] is None


def test_junit_counts_failures_errors_and_what_was_skipped_apart(reading: Reading) -> None:
    root = ET.fromstring(as_junit(reading))
    cases = root.findall(".//testcase")
    assert len(cases) == int(root.attrib["tests"]) == len(reading.entries)
    for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert len(root.findall(f".//{kind}")) == int(root.attrib[attribute]) > 0
        assert sum(int(s.attrib[attribute]) for s in root) == int(root.attrib[attribute])
    by_name = {c.attrib["name"]: c for c in cases}
    for entry in reading.entries:
        found = [child.tag for child in by_name[entry.name]]
        assert found == {
            "passed": [], "infra_error": ["error"], "unfinished": ["skipped"],
        }.get(entry.outcome, ["failure"])  # fmt: skip
        if entry.outcome == "failed":
            failure = by_name[entry.name].find("failure")
            assert failure is not None
            assert "right: said" in str(failure.text)


def test_junit_is_xml_whatever_an_agent_is_called(run: RunDirectory) -> None:
    reading = read(run)
    entries = [dataclasses.replace(e, agent=AGENT) for e in reading.entries[:1]]
    reading = dataclasses.replace(reading, entries=entries)
    [case] = ET.fromstring(as_junit(reading)).findall(".//testcase")
    assert case.attrib["classname"].startswith("cmd:a \N{SYMBOL FOR ESCAPE}[31m")


def test_markdown_names_what_did_not_pass_and_no_text_of_a_record_acts(reading: Reading) -> None:
    text = as_markdown(reading)
    assert "| all |" in text
    assert "trials that did not pass</summary>" in text
    bare = (
        text.replace("<details><summary>", "").replace("</summary>", "").replace("</details>", "")
    )
    assert "<" not in bare.replace("\\<", "")
    assert "](" not in bare.replace("\\](", "").replace("\\]\\(", "")


@pytest.mark.parametrize(
    "text", ["a|b", "[x](y)", "<b>", "@someone", "#12", "a\nb", "`x`", "http://x"]
)
def test_markdown_finds_nothing_to_act_on(text: str) -> None:
    shown = escape(text)
    assert "\n" not in shown
    for active in "|[]<>@#`:":
        assert active not in shown.replace(f"\\{active}", "")


def test_markdown_gives_the_calibration_error_beside_its_noise_floor(reading: Reading) -> None:
    def shown(figures: Calibration | None) -> str:
        told = reading.results.overall.model_copy(update={"calibration": figures})
        results = reading.results.model_copy(update={"overall": told})
        return as_markdown(Reading(reading.run, reading.record, results, reading.entries))

    assert "Calibration error" not in shown(None)
    assert "0.120; a perfectly calibrated agent" in shown(calibration())


def test_the_same_records_give_the_same_text(run: RunDirectory, reading: Reading) -> None:
    again = read(run)
    for write in (as_markdown, as_junit, tabular.as_csv):
        assert write(again) == write(reading)
