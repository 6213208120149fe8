"""Running, resuming, regrading and showing runs from the command line, on an in-memory lab."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import LAB

from aiopslab.grading import SCORING_VERSION

RUN = ("run", "one", *LAB, "-n", "1", "--name", "r")


def test_a_run_prints_scores_to_stdout_and_progress_to_stderr(aiopslab):
    ended = aiopslab(*RUN, "-a", "orchestrator_fakes:Repairer")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].startswith("one · ")
    assert [line.split()[0] for line in lines[2:7]] == [
        "detection", "localization", "diagnosis", "mitigation", "all",
    ]  # fmt: skip
    assert "coverage 4/4" in ended.out
    assert "records runs/r" in ended.out
    assert "[4/4]" in ended.err
    assert "\x1b" not in ended.out + ended.err


def test_confidence_is_shown_where_some_was_stated_at_the_end_and_later(aiopslab):
    ended = aiopslab(*RUN, "-a", "orchestrator_fakes:Repairer")
    shown = aiopslab("show", "r")
    for out in (ended.out, shown.out):
        (title,) = [line for line in out.splitlines() if line.startswith("confidence ")]
        assert title.split()[1:5] == ["n", "Brier", "skill", "ECE"]
    overall = aiopslab(*RUN[:-1], "j", "-a", "orchestrator_fakes:Repairer", "--json").document
    assert overall["data"]["overall"]["calibration"]["n"] == 4
    broken = aiopslab(*RUN[:-1], "b", "-a", "noop", "-E", "fail=boot", "--retry-infra", "0")
    assert "confidence " not in broken.out


def test_what_failed_and_what_to_type_next_is_said_at_the_end(aiopslab):
    ended = aiopslab(*RUN, "-a", "orchestrator_fakes:Crasher")
    assert "what failed: runs/r/trials/*/error.txt" in ended.out
    assert ended.out.splitlines()[-1] == "next: aiopslab show runs/r · aiopslab report runs/r"
    assert aiopslab("show", "r").out.splitlines()[-1] == "next: aiopslab report runs/r"
    fine = aiopslab(*RUN[:-1], "s", "-a", "noop")
    assert "what failed" not in fine.out


def test_bad_scores_are_no_failure_of_the_command(aiopslab):
    assert aiopslab(*RUN, "-a", "noop").code == 0


def test_a_lab_that_fails_too_often_exits_4(aiopslab):
    ended = aiopslab(*RUN, "-a", "noop", "-E", "fail=boot", "--retry-infra", "0")
    assert ended.code == 4
    assert "infra_error" in ended.out
    assert "no headline" in ended.out
    assert "aiopslab resume" in ended.out


def test_the_share_of_failures_that_is_tolerated_can_be_set(aiopslab):
    ended = aiopslab(
        *RUN, "-a", "noop", "-E", "fail=boot", "--retry-infra", "0", "--fail-on-infra", "1"
    )
    assert ended.code == 0


def test_results_as_json_are_one_document_whatever_the_display(aiopslab):
    ended = aiopslab(*RUN, "-a", "noop", "--json", "--display", "json")
    assert ended.document["schema"] == "aiopslab/results@1"
    assert ended.document["data"]["directory"] == "runs/r"
    assert {json.loads(line)["kind"] for line in ended.err.splitlines()} >= {
        "run_started",
        "trial_finished",
        "run_finished",
    }


def test_quiet_says_nothing_on_the_way(aiopslab):
    assert aiopslab(*RUN, "-a", "noop", "-q").err == ""


def test_a_dry_run_lists_the_trials_and_writes_nothing(aiopslab):
    ended = aiopslab("run", "quickstart", "--dry-run", "-k", "2", "--task-type", "diagnosis")
    assert ended.code == 0
    assert "6 trials by statistical; nothing was run" in ended.out
    assert not Path("runs").exists()
    planned = aiopslab("run", "quickstart", "--dry-run", "--json", "-l", "5").document
    assert planned["schema"] == "aiopslab/plan@1"
    assert len(planned["data"]) == 5


def test_excluding_everything_is_a_mistake(aiopslab):
    ended = aiopslab("run", "quickstart", "--dry-run", "-x", "*")
    assert ended.code == 2
    assert "--exclude" in ended.err


def test_a_run_that_exists_is_not_overwritten(aiopslab, finished):
    ended = aiopslab("run", "one", *LAB, "-a", "noop", "--name", "done")
    assert ended.code == 2
    assert f"aiopslab resume {finished}" in ended.err


def test_a_run_is_shown_with_scores_and_every_trial(aiopslab, finished):
    ended = aiopslab("show", finished)
    assert ended.code == 0
    assert "one-mitigation__1" in ended.out
    assert "submitted" in ended.out
    assert aiopslab("show", "done").out.splitlines()[0] == ended.out.splitlines()[0]
    document = aiopslab("show", finished, "--json").document
    assert document["schema"] == "aiopslab/run@1"
    assert document["data"]["schema"] == "aiopslab/run-record@1"


def test_runs_are_listed(aiopslab, finished):
    rows = aiopslab("list", "runs", "--json").document["data"]
    assert rows == [
        {
            "run": "done",
            "status": "success",
            "trials": "4/4",
            "agent": "orchestrator_fakes:Repairer",
        }
    ]


def test_a_finished_run_resumes_to_the_same_results(aiopslab, finished):
    before = Path(finished, "results.json").read_bytes()
    ended = aiopslab("resume", finished, "--force", "--display", "none")
    assert ended.code == 0
    assert Path(finished, "results.json").read_bytes() == before


def test_regrading_changes_nothing_and_says_so(aiopslab, finished):
    ended = aiopslab("regrade", finished)
    assert ended.code == 0
    assert "4 graded, 0 changed (0 up, 0 down)" in ended.out
    assert aiopslab("regrade", finished, "--json").document["data"]["up"] == []


def test_regrading_tells_which_trials_moved(aiopslab, finished):
    path = Path(finished, "trials/one-localization__1/answer.json")
    path.write_text(path.read_text(encoding="utf-8").replace("web", "db"), encoding="utf-8")
    ended = aiopslab("regrade", finished)
    assert "1 changed (0 up, 1 down)" in ended.out
    assert "down  one-localization__1" in ended.out


def test_regrading_explains_a_change_by_checks_scores_and_means(aiopslab, finished):
    path = Path(finished, "trials/one-localization__1/answer.json")
    path.write_text(path.read_text(encoding="utf-8").replace("web", "db"), encoding="utf-8")
    shutil.copytree(finished, "runs/again")
    ended = aiopslab("regrade", finished)
    lines = ended.out.splitlines()
    (check,) = [line.strip() for line in lines if "check " in line]
    assert check.startswith("check component: passed -> failed: named ")
    assert "        score ac_at_1: 1.00 -> 0.00" in lines
    (mean,) = [line for line in lines if line.startswith("mean  ")]
    assert mean.startswith("mean  localization: passed 1.00 -> 0.00, ")
    assert "scoring version" not in ended.out
    data = aiopslab("regrade", "runs/again", "--json").document["data"]
    (change,) = data["changes"]
    assert (change["trial"], change["before"], change["after"]) == (
        "one-localization__1", "passed", "failed",
    )  # fmt: skip
    assert data["scoring_version"] == {"old": [SCORING_VERSION], "new": SCORING_VERSION}


def test_regrading_names_the_scoring_version_that_graded_before(aiopslab, finished):
    path = Path(finished, "trials/one-diagnosis__1/grade.json")
    grade = json.loads(path.read_text(encoding="utf-8"))
    grade["checks"].append({**grade["checks"][0], "id": "old_rule"})
    path.write_text(json.dumps(grade | {"scoring_version": "0"}), encoding="utf-8")
    ended = aiopslab("regrade", finished)
    assert "4 graded, 0 changed (0 up, 0 down)" in ended.out
    assert "1 with the same verdict and other checks or scores" in ended.out
    assert f"scoring version 0, {SCORING_VERSION} -> {SCORING_VERSION}" in ended.out
    assert "same  one-diagnosis__1" in ended.out
    assert "check old_rule: passed -> absent" in ended.out


def test_a_run_says_which_scoring_versions_graded_it_and_how_to_make_them_one(aiopslab, finished):
    path = Path(finished, "trials/one-diagnosis__1/grade.json")
    grade = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(grade | {"scoring_version": "0"}), encoding="utf-8")
    both = f"scoring version 0, {SCORING_VERSION}"
    assert f"graded by {both}" in aiopslab("show", finished).out
    assert both in aiopslab("report", finished, "-f", "md").out.replace("\\", "")
    aiopslab("regrade", finished)
    shown = aiopslab("show", finished)
    assert "scoring version" not in shown.out
    report = json.loads(aiopslab("report", finished, "-f", "json").out)["data"]
    assert report["results"]["scoring_version"] == SCORING_VERSION


def test_a_grade_that_was_not_there_is_no_change_of_a_score(aiopslab, finished):
    Path(finished, "trials/one-diagnosis__1/grade.json").unlink()
    ended = aiopslab("regrade", finished)
    assert "same  one-diagnosis__1: had no grade" in ended.out
    assert "other checks or scores" not in ended.out


@pytest.mark.parametrize("sound", [True, False])
def test_check_exits_6_unless_every_incident_is_sound(aiopslab, monkeypatch, sound):
    from aiopslab.orchestrator import soundness

    async def check(targets, **_):
        proof = soundness.Proof(id="idle", holds=sound, detail="it passed")
        return [soundness.Verdict(incident=t, proofs=[proof]) for t in targets]

    monkeypatch.setattr(soundness, "check", check)
    ended = aiopslab("check", "release-errors")
    assert ended.code == (0 if sound else 6)
    assert ("NOT SOUND" in ended.out) is not sound
    assert ("release-errors: idle: it passed" in ended.out) is not sound
    assert aiopslab("check", "release-errors", "--json").document["schema"] == "aiopslab/check@1"


def test_check_takes_suites_seeds_and_proofs(aiopslab, monkeypatch):
    from aiopslab.orchestrator import soundness

    asked = {}

    async def check(targets, **options):
        asked.update(options, targets=targets)
        proof = soundness.Proof(id="fix", holds=False, detail="it failed")
        return [soundness.Verdict(incident="a", seed=s, proofs=[proof]) for s in options["seeds"]]

    monkeypatch.setattr(soundness, "check", check)
    ended = aiopslab("check", "x", "--suite", "core@1.0", "--seeds", "0,3-5", "--proof", "fix")
    assert asked["targets"] == ["x", "core@1.0"]
    assert asked["seeds"] == [0, 3, 4, 5]
    assert asked["only"] == ["fix"]
    assert "a (seed 3): fix: it failed" in ended.out
    assert ended.out.endswith("0 of 4: these proofs hold; not all were made\n")


@pytest.mark.parametrize("seeds", ["", "x", "1-", "-1", "1,,2", "5-3"])
def test_check_refuses_what_names_no_seeds(aiopslab, seeds):
    ended = aiopslab("check", "release-errors", f"--seeds={seeds}")
    assert ended.code == 2
    assert "names no seeds" in ended.err


def test_check_refuses_an_unknown_proof(aiopslab):
    ended = aiopslab("check", "release-errors", "--proof", "luck")
    assert ended.code == 2
    assert "no proof 'luck'" in ended.err
