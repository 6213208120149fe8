"""The HTML report without a browser: its policy, its data, its numbers, its size."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import HOSTILE, ZERO, calibration, course, data_of, made_run, users

from aiopslab.errors import UsageError
from aiopslab.models.calibration import Calibration
from aiopslab.models.counterfactual import Counterfactual
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.report.curves import Recordings
from aiopslab.report.entries import Reading, read
from aiopslab.report.experience import of_users
from aiopslab.report.html import page
from aiopslab.report.html.charts import null_range
from aiopslab.report.html.drawing import Scale, steps
from aiopslab.report.html.elements import markup
from aiopslab.report.html.overview import sections
from aiopslab.report.html.transcript import transcript
from aiopslab.report.text import readable

ASSETS = Path(page.__file__).parent


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return made_run(tmp_path_factory.mktemp("run"))


def html(run: RunDirectory, *, with_calibration: bool = False) -> str:
    reading = calibrated(read(run), calibration()) if with_calibration else read(run)
    with Recordings() as recordings:
        return "".join(page.document(reading, records="", recordings=recordings))


def calibrated(reading: Reading, figures: Calibration | None) -> Reading:
    overall = reading.results.overall.model_copy(update={"calibration": figures})
    return replace(reading, results=reading.results.model_copy(update={"overall": overall}))


@pytest.fixture(scope="module")
def report(run: RunDirectory) -> str:
    return html(run)


def nodes(tree: Any) -> Iterator[list[Any]]:
    """Every element of a tree that is sent as data."""
    if isinstance(tree, list):
        yield tree
        for child in tree[2:]:
            yield from nodes(child)


def texts(tree: Any) -> str:
    return "".join(c for n in nodes(tree) for c in n[2:] if isinstance(c, str))


def trial(report: str, n: int) -> dict[str, Any]:
    found = data_of(report, f"trial-data-{n}")
    assert isinstance(found, dict)
    return found


def test_the_same_records_give_the_same_bytes(run: RunDirectory, report: str) -> None:
    assert html(run) == report


def test_the_policy_allows_the_one_style_and_the_one_script_and_no_address(report: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', report)
    assert policy is not None
    assert "default-src &#x27;none&#x27;" in policy[1]
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", report, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert digest in policy[1]
    outside = re.findall(r"(?:https?:)?//[a-z0-9.]+\.[a-z]+", report)
    assert set(outside) <= {"http://www.w3.org"}


def test_nothing_that_agents_wrote_stands_in_the_file_as_it_was(report: str) -> None:
    assert "window.broken" in report
    before, _, _ = report.partition("<script type")
    assert "<img" not in report
    assert "<script>window" not in report
    assert not set(report) & set("\x00\x1b\u2028\u2029\u202e")
    assert before.count("<script") == 0


def test_every_trial_has_its_data_and_the_last_says_that_it_has_no_record(report: str) -> None:
    table = data_of(report, "trials-data")
    assert isinstance(table, dict)
    for n, row in enumerate(table["rows"]):
        assert len(row) == len(table["columns"])
        assert trial(report, n)["tree"]
    assert "has no record" in texts(trial(report, len(table["rows"]) - 1)["tree"][0])


def test_the_script_knows_every_element_and_attribute_that_it_is_sent(report: str) -> None:
    script = (ASSETS / "report.js").read_text("utf-8")

    def listed(name: str) -> set[str]:
        found = re.search(rf"const {name} = new Set\(\((.*?)\)\.split", script, re.DOTALL)
        assert found is not None
        return set(" ".join(re.findall(r'"([^"]*)"', found[1])).split())

    rows = data_of(report, "trials-data")
    assert isinstance(rows, dict)
    trees = [t for n in range(len(rows["rows"])) for t in trial(report, n)["tree"]]
    sent = list(itertools.chain.from_iterable(map(nodes, trees)))
    assert {n[0] for n in sent} <= listed("TAGS")
    assert {a for n in sent for a in n[1]} <= listed("NAMES")
    assert "innerHTML" not in script
    assert not listed("TAGS") & {"script", "style", "iframe", "object", "img", "link", "form"}
    assert not {n for n in listed("NAMES") if n.startswith("on")}


def test_a_trial_shows_answer_grade_users_and_the_key_only_in_a_closed_part(report: str) -> None:
    # The third diagnosis is the ninth of the plan, and passed.
    shown = trial(report, 8)
    tree = shown["tree"]
    said = "".join(map(texts, tree))
    assert readable(HOSTILE) in said
    assert "before hand-over" in said
    (key,) = [n for t in tree for n in nodes(t) if n[0] == "details" and n[1].get("class") == "key"]
    assert "open" not in key[1]
    assert "scaled_to_zero" in texts(key)
    assert "scaled_to_zero" not in said.replace(texts(key), "")


def test_each_call_is_a_mark_of_its_kind_on_the_time_axis(report: str) -> None:
    tree = trial(report, 0)["tree"]
    marks = [n for t in tree for n in nodes(t) if n[0] == "rect" and "data-step" in n[1]]
    assert [m[1]["data-step"] for m in marks] == ["obs-1", "obs-2", "obs-3", "obs-4"]
    styles = [m[1]["class"] for m in marks]
    assert styles == ["call read", "call read refused", "call read", "call write"]
    places = [float(m[1]["x"]) for m in marks]
    assert places == sorted(places)
    words = "".join(map(texts, tree))
    for moment in ("fault at -0:50", "symptom at -0:20", "hand-over at +0:00", "answer at +2:00"):
        assert moment in words
    assert "HighErrorRatio fires at -0:05" in words


def test_what_a_write_changed_is_told_line_by_line(report: str) -> None:
    calls = trial(report, 0)["steps"]
    assert calls[-1][9] == "spec.replicas: 0 -> 2"
    assert calls[0][9] == ""


def test_curves_are_of_requests_from_outside_and_count_what_failed(run: RunDirectory) -> None:
    telemetry = run.trial(run.record().trials[0]).telemetry
    with Recordings() as recordings:
        found = recordings.curves(telemetry, ZERO, ZERO - 100)
        alerts = recordings.alerts(telemetry, ZERO - 100)
        assert recordings.curves(telemetry / "none", ZERO, ZERO - 100) is None
        assert recordings.alerts(telemetry, ZERO) == []
    assert found is not None
    assert list(found.routes) == ["GET /a", "GET /b"]
    failed = {p.at: p.failed for p in found.routes["GET /b"]}
    assert failed[-60.0] == 0
    assert all(failed[at] == 10 for at in range(-50, 40, 10))
    assert failed[40.0] == 0
    broken = next(p for p in found.routes["GET /b"] if p.failed)
    assert broken.p95_ms is None
    whole = next(p for p in found.routes["GET /a"] if p.at == 0.0)
    assert whole.n == 10
    assert whole.p95_ms is not None
    assert 20 < whole.p95_ms < 50
    assert min(p.at for p in found.routes["GET /a"]) == -100.0
    assert dict(found.volume)[0.0] == 20
    assert alerts == [(ZERO - 5, "HighErrorRatio")]


def test_what_a_directory_is_called_is_no_pattern_of_files(tmp_path: Path) -> None:
    made_run(tmp_path / "ab", attempts=1)
    odd = made_run(tmp_path / "a[b]?*", attempts=1)
    telemetry = odd.trial(odd.record().trials[0]).telemetry
    with Recordings() as recordings:
        found = recordings.curves(telemetry, ZERO, ZERO - 100)
    assert found is not None
    assert dict(found.volume)[0.0] == 20


def test_a_trial_shows_what_users_got_and_what_they_were_promised(report: str) -> None:
    words = "".join(map(texts, trial(report, 0)["tree"]))
    assert "users served" in words
    assert "measured at the load generator" in words
    assert "browse: promised 0.99" in words
    assert "buy: promised 250" in words
    assert "had nobody acted" not in words


def test_a_mitigation_stands_beside_what_would_have_happened_without_the_agent(
    report: str,
) -> None:
    (n,) = [
        n for n in range(12)
        if (row := rows_of(report)[n])[2] == "mitigation" and row[0].endswith("__1")
    ]  # fmt: skip
    words = "".join(map(texts, trial(report, n)["tree"]))
    for panel in ("users served, had nobody acted", "with the reference fix at once"):
        assert words.count(panel) >= 1


def rows_of(report: str) -> list[Any]:
    table = data_of(report, "trials-data")
    assert isinstance(table, dict)
    found: list[Any] = table["rows"]
    return found


def test_a_record_from_before_such_curves_shows_what_the_entry_saw(tmp_path: Path) -> None:
    old = made_run(tmp_path, attempts=1, slis=False)
    words = "".join(map(texts, trial(html(old), 0)["tree"]))
    assert "What the app's entry saw" in words
    assert "answered without error" in words


def test_users_curves_begin_and_end_with_their_requests_and_count_both_ways() -> None:
    series = users(0)
    found = of_users(series, None, ZERO)
    assert found is not None
    assert found.volume[0] == (-350.0, 100)
    buy = {s.at: s for s in found.lines["buy"]}
    assert [at for at, s in buy.items() if s.share == 0.0] == [float(t) for t in range(-50, 40, 10)]
    assert buy[-50.0].p95_ms is None
    quiet = [j.model_copy(update={"offered": [0] * 60}) for j in series.journeys]
    assert of_users(series.model_copy(update={"journeys": quiet}), None, ZERO) is None


def test_merged_buckets_add_counts_and_keep_the_highest_latency() -> None:
    found = of_users(users(0), None, ZERO, merged=4)
    assert found is not None
    assert found.bucket_s == 40.0
    assert found.volume[0] == (-350.0, 400)
    assert [s.p95_ms for s in found.lines["browse"]][:2] == [41.0, 48.0]
    shares = {s.at: s.share for s in found.lines["buy"]}
    assert [shares[at] for at in (-110.0, -70.0, -30.0, 10.0, 50.0)] == [1.0, 0.5, 0.0, 0.25, 1.0]


def test_courses_begin_at_hand_over() -> None:
    beside = Counterfactual(nothing=course(900.0), reference=course(30.0))
    found = of_users(users(0), beside, ZERO)
    assert found is not None
    assert list(found.courses) == ["had nobody acted", "with the reference fix at once"]
    nothing, reference = (lines["buy"] for lines in found.courses.values())
    assert nothing[0].at == reference[0].at == 0.0
    assert {s.share for s in nothing} == {0.0}
    assert [s.share for s in reference[:4]] == [0.0, 0.0, 0.0, 1.0]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "spans.parquet").write_text("no parquet", encoding="utf-8")
    with Recordings() as recordings, pytest.raises(UsageError, match=r"spans\.parquet"):
        recordings.curves(tmp_path, ZERO, ZERO)


def test_confidence_is_shown_where_there_are_figures_and_nowhere_else(run: RunDirectory) -> None:
    none = "".join(markup(s) for s in sections(calibrated(read(run), None)))
    assert "Reliability" not in none
    shown = "".join(markup(s) for s in sections(calibrated(read(run), calibration())))
    assert "Reliability: share right over stated confidence" in shown
    assert shown.count("confidence 0.85, right 0.67, 12 answers") == 1
    assert "Risk and coverage" in shown
    for cost, gain in (("1 hand-over", "+0.630"), ("5 hand-overs", "+0.120")):
        assert f'a mistake costs {cost}</th><td class="n">{gain}' in shown
    assert "acts from confidence 0.95 on" in shown
    assert "by chance 0.060 on average, 0.110 at most (95 %); p = 0.020" in shown


def test_overview_has_intervals_pass_k_cost_families_and_difficulty(report: str) -> None:
    for part in ("summary", "pass-k", "cost", "families", "difficulty", "trials"):
        assert f'<section id="{part}">' in report
    assert "US dollars, mean" in report
    assert re.search(r'class="bar"', report)


@given(st.integers(1, 60), st.floats(0.01, 0.99))
def test_the_null_band_holds_95_percent_of_calibrated_agents(n: int, p: float) -> None:
    import math

    low, high = null_range(n, p)
    assert 0.0 <= low <= high <= 1.0
    chance = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    inside = sum(c for k, c in enumerate(chance) if low - 1e-9 <= k / n <= high + 1e-9)
    assert inside >= 0.95 - 1e-9
    assert sum(c for k, c in enumerate(chance) if k / n < low - 1e-9) <= 0.025 + 1e-9


@given(st.floats(0, 1e6), st.floats(0.01, 1e6), st.integers(1, 12))
def test_ticks_are_few_inside_and_evenly_apart(low: float, width: float, most: int) -> None:
    found = steps(low, low + width, most)
    assert len(found) <= most
    slack = 1e-6 * width
    assert all(low - slack <= t <= low + width + slack for t in found)


def test_a_scale_draws_what_is_beyond_its_ends_at_them() -> None:
    scale = Scale(0.0, 10.0, 100.0, 0.0)
    assert [scale(v) for v in (-5, 0, 5, 10, 50)] == [100, 100, 50, 0, 0]


def test_a_large_run_shortens_texts_and_says_by_how_much(run: RunDirectory) -> None:
    steps_ = run.trial(run.record().trials[0]).steps()
    short = [s.model_copy(update={"text": "x" * 5000, "thought": "brief"}) for s in steps_]
    found = transcript(short, ZERO, 2000)["steps"]
    kept = [call[8] for call in found]
    assert all(left_out == 5000 - len(text) for text, left_out in kept)
    assert all(call[6] == "brief" for call in found)
    assert transcript(short, ZERO, 100_000)["steps"][0][8] == "x" * 5000


def test_instead_of_shreds_of_everything_the_arguments_are_shown(run: RunDirectory) -> None:
    steps_ = run.trial(run.record().trials[0]).steps()
    for call, step in zip(transcript(steps_, ZERO, 0)["steps"], steps_, strict=True):
        thought, given, observed = call[6:9]
        assert (thought[0], observed[0]) == ("", "")
        assert observed[1] == len(step.text)
        assert given[0].startswith("{")


def test_of_endless_calls_the_first_are_shown_and_the_others_counted(run: RunDirectory) -> None:
    one = run.trial(run.record().trials[0]).steps()[0]
    found = transcript([one] * 1234, ZERO, 10_000)
    assert (len(found["steps"]), found["left_out"]) == (500, 734)


@pytest.mark.parametrize(("trials", "bucket_s"), [(12, 10.0), (5000, 30.0)])
def test_trials_share_the_room_of_the_file(trials: int, bucket_s: float) -> None:
    room = page.room_of(trials)
    assert room.bucket_s == bucket_s
    assert trials * room.characters <= page.BUDGET or room.characters == page.LEAST


def test_links_lead_from_the_report_to_the_records(run: RunDirectory) -> None:
    reading = read(run)
    text = "".join(page.document(reading, records="../runs/a b"))
    first = reading.entries[0].name
    assert f"../runs/a%20b/trials/{first}/grade.json" in json.dumps(trial(text, 0))
