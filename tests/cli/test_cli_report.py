"""``report``: where each format goes, links that lead to the record, and mistakes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest


def test_html_goes_into_the_run_and_nothing_else_is_written(aiopslab, finished) -> None:
    before = set(Path(finished).iterdir())
    done = aiopslab("report", finished, "-q")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{finished}/report.html\n"
    assert set(Path(finished).iterdir()) - before == {Path(finished) / "report.html"}
    text = Path(finished, "report.html").read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert '"trials/one-mitigation__1/grade.json"' in text


def test_a_report_elsewhere_links_back_to_the_record(aiopslab, finished) -> None:
    Path("out").mkdir()
    assert aiopslab("report", finished, "-o", "out/r.html", "-q").code == 0
    text = Path("out/r.html").read_text("utf-8")
    assert f'"../{finished}/trials/one-mitigation__1/grade.json"' in text
    assert Path("out", f"../{finished}/trials/one-mitigation__1/grade.json").is_file()


def test_the_same_run_gives_the_same_file(aiopslab, finished) -> None:
    aiopslab("report", finished)
    first = Path(finished, "report.html").read_bytes()
    aiopslab("report", finished)
    assert Path(finished, "report.html").read_bytes() == first


def test_other_formats_go_to_standard_output_or_to_a_file(aiopslab, finished) -> None:
    assert aiopslab("report", finished, "-f", "md").out.startswith("## one")
    assert len(ET.fromstring(aiopslab("report", finished, "-f", "junit").out)) == 4
    document = aiopslab("report", finished, "--format", "json").document
    assert document["schema"] == "aiopslab/report@1"
    assert len(document["data"]["trials"]) == 4
    printed = aiopslab("report", finished, "-f", "csv").out
    assert aiopslab("report", finished, "-f", "csv", "-o", "rows.csv").out == "rows.csv\n"
    assert Path("rows.csv").read_bytes().decode() == printed


def test_without_curves_no_telemetry_is_read(aiopslab, finished) -> None:
    trial = Path(finished, "trials/one-mitigation__1/telemetry")
    (trial / "spans.parquet").write_text("damaged", encoding="utf-8")
    failed = aiopslab("report", finished)
    assert failed.code == 2
    assert "spans.parquet" in failed.err
    assert not Path(finished, "report.html").exists()
    assert [p.name for p in Path(finished).iterdir() if "report" in p.name] == []
    assert aiopslab("report", finished, "--no-curves").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "no run at 'nowhere'"),
        (("runs/done", "-f", "pdf"), "pdf"),
        (("runs/done", "-o", "no/such/r.html"), "no directory 'no/such'"),
    ],
)
def test_mistakes_are_told_in_a_line(aiopslab, finished, arguments, said) -> None:
    done = aiopslab("report", *arguments)
    assert done.code == 2
    assert said in done.err
    assert done.out == ""


def test_help_of_the_command_loads_no_database_and_no_grading(aiopslab) -> None:
    import subprocess

    script = (
        "import sys\nfrom aiopslab.cli import main\n"
        "try:\n    main(['report', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import json\n{script}"], capture_output=True, text=True, check=True
    )
    assert "--format" in done.stdout
    assert {"duckdb", "numpy", "pandas"}.isdisjoint(json.loads(done.stderr.splitlines()[-1]))


def test_beside_another_run_the_paired_differences_are_shown(aiopslab, finished) -> None:
    bare = Path("runs/bare")
    shutil.copytree(finished, bare)
    record = json.loads((bare / "run.json").read_text("utf-8"))
    record["config"]["context"] = {"profile": "P0"}
    (bare / "run.json").write_text(json.dumps(record), encoding="utf-8")
    shown = aiopslab("report", finished, "-f", "md", "--against", str(bare)).out
    assert "### Paired differences" in shown
    assert r"context P0" in shown
    assert "setting differs" in shown
    document = aiopslab("report", finished, "-f", "json", "--against", str(bare)).document
    assert document["data"]["against"]["a"]["context"] == "P0"
    assert document["data"]["against"]["overall"]["n"] == 4
    assert "against" not in aiopslab("report", finished, "-f", "json").document["data"]
    assert aiopslab("report", finished, "-q", "--against", str(bare)).code == 0
    page = Path(finished, "report.html").read_text("utf-8")
    assert 'id="against"' in page
    assert "context.profile: P0 -&gt; P4" in page or "context.profile: P0 -> P4" in page


def test_rows_and_test_cases_have_no_place_for_another_run(aiopslab, finished) -> None:
    refused = aiopslab("report", finished, "-f", "csv", "--against", finished)
    assert refused.code == 2
    assert "--against is not for 'csv'" in refused.err
