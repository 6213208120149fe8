"""A user's mistake is one line that says what is wrong, and one that says what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopslab.cli import main
from aiopslab.errors import UsageError

INCIDENT = """\
schema: aiopslab/incident@1
name: mine
app: hotel
title: Somebody scaled rate to zero
faults:
  - {kind: workload/scaled-to-zero, target: rate}
symptom:
  any: [{alert: DeploymentReplicasMismatch}]
  within: 5m
difficulty: {hops: 0, signals: [kube]}
"""


@pytest.mark.parametrize(
    ("arguments", "wrong", "near"),
    [
        (["runn"], "runn", "run"),
        (["run", "quickstart", "--limt", "3"], "--limt", "--limit"),
        (["run", "quickstrat", "--dry-run"], "quickstrat", "quickstart"),
        (["run", "release-eror", "--dry-run"], "release-eror", "release-errors"),
        (["run", "quickstart", "-a", "statistcal"], "statistcal", "statistical"),
        (["show", "hotl"], "hotl", "hotel"),
        (["check", "releas-errors"], "releas-errors", "release-errors"),
        (["play", "release-eror"], "release-eror", "release-errors"),
        (["list", "problem"], "problem", "problems"),
    ],
)
def test_an_unknown_name_suggests_a_near_one(aiopslab, arguments, wrong, near):
    ended = aiopslab(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert wrong in ended.err
    assert near in ended.err
    assert "Traceback" not in ended.err
    assert len(ended.err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "nothing to run"),
        (["run", "quickstart", "-l", "0"], "--limit: "),
        (["run", "quickstart", "-k", "0"], "--attempts: "),
        (["run", "quickstart", "--clock", "sundial"], "--clock: 'sundial' is not a clock"),
        (["run", "quickstart", "--time-limit", "soon"], "--time-limit: 'soon' is not a duration"),
        (["run", "quickstart", "--token-limit", "many"], "--token-limit: 'many' is not a size"),
        (["run", "quickstart", "-A", "temperature"], "'temperature' is not KEY=VALUE"),
        (["run", "quickstart", "-A", "x=1"], "agent 'statistical' has no argument 'x'"),
        (["run", "quickstart", "-a", "nosuch.py:Agent"], "there is no file 'nosuch.py'"),
        (["run", "quickstart", "-e", "cloud"], "no environment 'cloud'"),
        (["run", "quickstart", "-a", "./nosuch"], "there is no folder './nosuch'"),
        (["run", "quickstart", "-a", "nosuch.py"], "nosuch.py:Class"),
        (["run", "quickstart", "-a", "statistcal", "--dry-run"], "no agent 'statistcal'"),
        (["run", "quickstart", "--cost-limit", "-1"], "--cost-limit: "),
        (["run", "quickstart", "--token-limit", "0"], "(got "),
        (["run", "quickstart", "-n", "-1"], "--concurrency: "),
        (["run", "quickstart", "--limt", "3"], "(aiopslab run --help)"),
        (["run", "quickstart", "-m", "gpt-5"], "agent 'statistical' takes no model"),
        (["run", "quickstart", "-a", "noop", "-m", "x", "--dry-run"], "takes no model"),
        (["run", "quickstart", "-a", "cmd:true", "--base-url", "http://x"], "--base-url: no model"),
        (["run", "quickstart", "--fail-on-infra", "nan"], "--fail-on-infra: nan is no share"),
        (["run", "quickstart", "--fail-on-infra", "10"], "--fail-on-infra: 10 is no share"),
        (["resume", "runs/nosuch", "--fail-on-infra", "-1"], "--fail-on-infra: -1 is no share"),
        (["check", "--margins", "m.jsonl", "--proof", "fix"], "neither --proof nor --keep"),
        (["check", "--margins", "m.jsonl", "--keep", "kept"], "neither --proof nor --keep"),
        (["up", "hotl"], "there is no app or incident 'hotl'"),
        (["run", "quickstart", "-a", "human"], "aiopslab play INCIDENT"),
        (["play", "quickstart"], "aiopslab list incidents --suite quickstart"),
        (["up", "quickstart"], "aiopslab list incidents --suite quickstart"),
        (["view", ".", "--port", "99999"], "cannot listen on port 99999"),
        (["show", "runs/nosuch"], "no run at 'runs/nosuch'"),
        (["resume", "runs/nosuch"], "no run at 'runs/nosuch'"),
        (["regrade", "runs/nosuch"], "no run at 'runs/nosuch'"),
    ],
)
def test_a_wrong_value_is_named_with_its_flag(aiopslab, arguments, said):
    ended = aiopslab(*arguments)
    assert ended.code == 2
    assert said in ended.err
    assert "Value error" not in ended.err
    assert "preparing" not in ended.err


@pytest.mark.parametrize(
    ("code", "said", "place"),
    [
        ("class Agent\n    pass\n", "SyntaxError: expected ':'", "mine.py:1"),
        ("\nimport nosuch_package\n", "No module named 'nosuch_package'", "mine.py:2"),
        ("class Agent:\n    def run(self, trial): ...\n", "neither 'async def run", "agents.md"),
        ("class Agnet: ...\n", "'mine.py' has no class 'Agent'", "'Agnet'"),
    ],
)
def test_a_broken_agent_is_refused_before_anything_boots(aiopslab, code, said, place):
    Path("mine.py").write_text(code, encoding="utf-8")
    ended = aiopslab("run", "quickstart", "-a", "mine.py:Agent")
    assert ended.code == 2
    assert said in ended.err
    assert place in ended.err
    assert len(ended.err.splitlines()) == 2
    assert not Path("runs").exists()


def test_a_missing_model_and_a_missing_key_are_preflight(aiopslab):
    pytest.importorskip("langchain_openai")
    without_model = aiopslab("run", "quickstart", "-a", "react")
    assert without_model.code == 3
    assert "--model" in without_model.err
    without_key = aiopslab("run", "quickstart", "-a", "react", "-m", "gpt-5")
    assert without_key.code == 3
    assert "OPENAI_API_KEY" in without_key.err


def test_a_record_of_another_version_says_what_it_is_and_hides_no_other(aiopslab):
    Path("runs/old").mkdir(parents=True)
    Path("runs/old/run.json").write_text('{"schema": "aiopslab/run-record@0"}', encoding="utf-8")
    ended = aiopslab("show", "runs/old")
    assert ended.code == 2
    assert "(got 'aiopslab/run-record@0')" in ended.err
    assert "another version" in ended.err
    listed = aiopslab("list", "runs")
    assert listed.code == 0
    assert listed.out.splitlines()[1].split() == ["old", "unreadable", "-", "-"]


def test_a_folder_without_runs_says_so(aiopslab):
    assert "no runs in 'nosuch'" in aiopslab("list", "runs", "--runs-dir", "nosuch").err


def test_bad_yaml_names_file_and_line(aiopslab):
    Path("mine.yaml").write_text(INCIDENT.replace("app: hotel", "app: [hotel"), encoding="utf-8")
    ended = aiopslab("run", "mine.yaml", "--dry-run")
    assert ended.code == 2
    assert "mine.yaml:4" in ended.err


def test_a_misspelt_key_of_an_incident_names_file_line_and_the_right_key(aiopslab):
    Path("mine.yaml").write_text(INCIDENT.replace("app:", "ap:"), encoding="utf-8")
    ended = aiopslab("run", "mine.yaml", "--dry-run")
    assert ended.code == 2
    assert "mine.yaml" in ended.err
    Path("mine.yaml").write_text(INCIDENT + "tagz: [x]\n", encoding="utf-8")
    ended = aiopslab("check", "mine.yaml")
    assert ended.code == 2
    assert "mine.yaml:11" in ended.err
    assert "'tags'" in ended.err


def test_a_bad_value_deep_inside_names_its_path(aiopslab):
    Path("mine.yaml").write_text(INCIDENT.replace("hops: 0", "hops: -1"), encoding="utf-8")
    ended = aiopslab("show", "mine.yaml")
    assert ended.code == 2
    assert "difficulty.hops" in ended.err


def test_an_incident_by_path_can_be_planned(aiopslab):
    Path("mine.yaml").write_text(INCIDENT, encoding="utf-8")
    ended = aiopslab("run", "mine.yaml", "--dry-run")
    assert ended.code == 0
    assert "mine-mitigation" in ended.out


def test_errors_are_documents_too_when_asked_for(aiopslab):
    ended = aiopslab("show", "hotl", "--json")
    assert ended.code == 2
    error = ended.document["error"]
    assert error["kind"] == "UsageError"
    assert "hotl" in error["message"]
    assert "hotel" in error["hint"]


def test_debug_shows_the_traceback(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        main(["show", "hotl", "--debug"])
